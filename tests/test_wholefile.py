"""Files read and written whole: remains of the killed, and what is no regular file."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import pytest
from tiny import register, tiny, tiny_learner, tiny_loaders

from mlclassify import wholefile
from mlclassify.data.download import MANIFEST, OWN_NAME, read_manifest
from mlclassify.data.table import read_table
from mlclassify.label.session import Session
from mlclassify.learner import load_learner
from mlclassify.tracker import CSVLogger
from mlclassify.vision.all import ImageDataLoaders
from mlclassify.vision.image import Image, open_image
from mlclassify.vision.learner import vision_learner
from mlclassify.wholefile import write_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks and special files of POSIX")


@pytest.fixture(autouse=True)
def _nothing_hangs():
    """What waits for a pipe ends as an error."""
    def too_long(*_):
        raise TimeoutError("it waited")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


# --- what a killed writer leaves

KILLED = """
import os, signal, sys
from mlclassify import wholefile

def die(_):
    os.kill(os.getpid(), signal.SIGKILL)

wholefile.os.fsync = die
wholefile.write_file(sys.argv[1], b"half")
"""


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path):
    path = tmp_path / "a.csv"
    write_file(path, b"old")
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", KILLED, path], timeout=60)
        assert done.returncode == -signal.SIGKILL
        assert path.read_bytes() == b"old"
        remains = set(names(tmp_path)) - {"a.csv"}
        assert len(remains) == 1 and remains.pop().startswith(".a.csv.")
    write_file(tmp_path / "b.csv", b"other")  # of other names it knows nothing
    assert len(names(tmp_path)) == 3
    write_file(path, b"new")
    assert names(tmp_path) == ["a.csv", "b.csv"] and path.read_bytes() == b"new"


def test_a_writer_at_work_keeps_its_file(tmp_path, monkeypatch):
    path, reached, go_on = tmp_path / "a", threading.Event(), threading.Event()
    flushed = os.fsync

    def slow(handle):
        if threading.current_thread() is not threading.main_thread():
            reached.set()
            assert go_on.wait(30)
        flushed(handle)

    monkeypatch.setattr(wholefile.os, "fsync", slow)
    thread = threading.Thread(target=write_file, args=(path, b"slow"))
    thread.start()
    assert reached.wait(30)
    write_file(path, b"fast")
    assert path.read_bytes() == b"fast" and len(names(tmp_path)) == 2
    go_on.set()
    thread.join()
    assert names(tmp_path) == ["a"] and path.read_bytes() == b"slow"


def test_a_file_taken_for_remains_before_it_was_locked_is_made_again(tmp_path, monkeypatch):
    made = []

    def unlucky(**options):
        handle, name = tempfile.mkstemp(**options)
        made.append(name)
        if len(made) == 1:
            os.unlink(name)
        return handle, name

    monkeypatch.setattr(wholefile, "tempfile", type("", (), {"mkstemp": staticmethod(unlucky)}))
    write_file(tmp_path / "a", b"whole")
    assert len(made) == 2 and names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_only_remains_are_removed(tmp_path):
    others = [".a.tmp", ".a.12345678.tmp~", ".aa.12345678.tmp", "a.12345678.tmp", ".a.1234567.tmp"]
    for name in others:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".a.folder00.tmp").mkdir()
    os.symlink(tmp_path / others[0], tmp_path / ".a.linked00.tmp")
    os.mkfifo(tmp_path / ".a.a_pipe00.tmp")
    before = names(tmp_path)
    write_file(tmp_path / "a", b"")
    assert names(tmp_path) == sorted([*before, "a"])


def test_remains_of_a_manifest_do_not_keep_its_folder(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / MANIFEST], timeout=60)
    assert done.returncode == -signal.SIGKILL and OWN_NAME.fullmatch(names(tmp_path)[0])


# --- what is no regular file

def pipe(path):
    os.mkfifo(path)
    return "a pipe"


def unix_socket(path):
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket may be only so long
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)
    return "a socket"


def device(path):
    os.symlink("/dev/zero", path)
    return "a device"


def folder(path):
    path.mkdir()
    return "a folder"


KINDS = {"pipe": pipe, "socket": unix_socket, "device": device, "folder": folder}


def csv_log(path):
    learn = tiny_learner(path=path.parent)
    with learn.no_logging(), learn.no_bar():
        learn.fit(1, cbs=CSVLogger(path.name, append=True))


def label(path):
    Image.new("RGB", (4, 4)).save(path.with_name("photo.jpg"))
    Session(path.parent, csv_fname=path.name)


def dropped(path):
    Image.new("RGB", (4, 4)).save(path.with_name("photo.jpg"))
    Session(path.parent, csv_fname="labels.csv")


READERS = {
    "load_learner": ("a.safetensors", load_learner),
    "load": ("a.safetensors", lambda path: tiny_learner(path=path.parent, model_dir=".").load("a")),
    "weights": ("a.safetensors", lambda path: vision_learner(tiny_loaders(), tiny, weights=path)),
    "read_table": ("labels.csv", read_table),
    "from_csv": ("labels.csv", lambda path: ImageDataLoaders.from_csv(path.parent)),
    "read_manifest": (MANIFEST, lambda path: read_manifest(path.parent)),
    "label_images": ("labels.csv", label),
    "dropped photos": ("labels.dropped.csv", dropped),
    "CSVLogger": ("history.csv", csv_log),
    "open_image": ("a.jpg", open_image),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_refused_and_not_waited_for(reader, kind, tmp_path, monkeypatch):
    register(monkeypatch)
    name, read = READERS[reader]
    path = tmp_path / name
    said = KINDS[kind](path)
    with pytest.raises((ValueError, OSError), match=f"{said}|regular file|must be a file|holds"):
        read(path)


def test_a_pipe_that_is_put_there_between_two_looks_is_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "a")
    (tmp_path / "b").write_bytes(b"")
    monkeypatch.setattr(wholefile.os, "stat", lambda _, real=os.stat: real(tmp_path / "b"))
    with pytest.raises(ValueError, match="'.*a' must be a regular file, got a pipe"):
        read_table(tmp_path / "a")


def test_a_link_to_a_regular_file_is_read(tmp_path):
    write_file(tmp_path / "real.csv", b"fname,labels\n1.jpg,sea sky\n")
    os.symlink("real.csv", tmp_path / "link.csv")
    assert read_table(tmp_path / "link.csv").rows == {"1.jpg": ["sea", "sky"]}


@pytest.mark.parametrize("kind", [*KINDS, "link", "dangling link"])
def test_nothing_but_a_regular_file_is_written_over(kind, tmp_path):
    path = tmp_path / "a"
    if "link" in kind:
        if kind == "link":
            (tmp_path / "target").write_bytes(b"old")
        os.symlink("target", path)
    else:
        KINDS[kind](path)
    before, mode = names(tmp_path), os.lstat(path).st_mode
    with pytest.raises((FileExistsError, IsADirectoryError), match=r"^\[Errno \d+\] Is a"):
        write_file(path, b"new")
    assert names(tmp_path) == before and os.lstat(path).st_mode == mode
    if kind == "link":
        assert (tmp_path / "target").read_bytes() == b"old"


def test_an_export_over_a_link_names_both(tmp_path, monkeypatch):
    register(monkeypatch)
    os.symlink("elsewhere", tmp_path / "export.safetensors")
    with pytest.raises(FileExistsError, match="export: `fname` must be a place to write to, got "
                       ".*export.safetensors' .Is a symbolic link, no regular file"):
        tiny_learner(path=tmp_path).export()
