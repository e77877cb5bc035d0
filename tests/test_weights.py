"""Reading, writing and finding files of weights; nothing here touches a network."""

import hashlib
import json
import os
import subprocess
import sys
import textwrap
import types

import numpy as np
import pytest
from safetensors.numpy import save

from mlclassify import weights
from mlclassify.checkpoint import read_checkpoint
from mlclassify.learner import load_learner
from mlclassify.weights import (
    ModelFileError,
    Pinned,
    cache_folder,
    cached_file,
    pretrained_tensors,
    read_tensors,
    write_tensors,
)
from mlclassify.wholefile import write_file

TENSORS = {"conv1.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    """Neither this machine's weights nor its cache nor its network."""
    monkeypatch.delenv("MLCLASSIFY_WEIGHTS", raising=False)
    monkeypatch.setenv("MLCLASSIFY_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)


@pytest.fixture
def published(monkeypatch):
    """A hub that serves small weights; returns the list of what was asked of it."""
    data = save(TENSORS)
    pinned = Pinned("some/where", "abc", "model.safetensors", hashlib.sha256(data).hexdigest())
    monkeypatch.setitem(weights.PINNED, "resnet18", pinned)
    asked = []

    def serve(tmp_path, served=data):
        def hf_hub_download(repository, file, revision):
            asked.append((repository, file, revision))
            (tmp_path / "fetched").write_bytes(served)
            return str(tmp_path / "fetched")

        hub = types.SimpleNamespace(hf_hub_download=hf_hub_download)
        monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
        return asked

    return serve


def test_written_is_read(tmp_path):
    write_tensors(tmp_path / "a.safetensors", TENSORS, {"format": "x"})
    tensors, metadata = read_tensors(tmp_path / "a.safetensors", "test")
    assert metadata == {"format": "x"}
    np.testing.assert_array_equal(tensors["conv1.weight"], TENSORS["conv1.weight"])


def test_a_part_of_an_array_is_written_as_it_reads(tmp_path):
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    parts = {"columns": whole[:, 1:3], "turned": whole.T, "number": np.float32(7)}
    write_tensors(tmp_path / "a.safetensors", parts)
    tensors, _ = read_tensors(tmp_path / "a.safetensors", "test")
    for name, part in parts.items():
        np.testing.assert_array_equal(tensors[name], part)


def test_a_file_may_be_saved_over_after_loading(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, TENSORS)
    tensors, _ = read_tensors(path, "test")
    write_tensors(path, tensors)
    np.testing.assert_array_equal(read_tensors(path, "test")[0]["conv1.weight"],
                                  TENSORS["conv1.weight"])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_file(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_file(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_files_have_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_file(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def _with_header(header, tail=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + tail


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
HOSTILE = {
    "empty": b"",
    "short": b"\x01\x02",
    "text": b"these are no weights, only words that stand in a file",
    "header longer than the file": (2**63).to_bytes(8, "little") + b"{}",
    "no JSON": _with_header(b"{nonsense"),
    "a hole": _with_header({"a": {**ENTRY, "data_offsets": [4, 8]}}, bytes(8)),
    "an overlap": _with_header({"a": ENTRY, "b": ENTRY}, bytes(4)),
    "cut data": _with_header({"a": ENTRY}, bytes(3)),
    "wrong size": _with_header({"a": {**ENTRY, "shape": [2]}}, bytes(4)),
    "unknown dtype": _with_header({"a": {**ENTRY, "dtype": "X9"}}, bytes(4)),
    "nested JSON": _with_header(b"[" * 100000),
    "huge shape": _with_header({"a": {**ENTRY, "shape": [2**62, 2**62]}}, bytes(4)),
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00]\x94.",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_that_is_not_whole_is_named(kind, tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(HOSTILE[kind])
    with pytest.raises(ModelFileError, match="bad.safetensors.*whole safetensors file"):
        read_tensors(path, "load_learner")


def test_metadata_may_be_null(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(_with_header({"__metadata__": None, "a": ENTRY}, bytes(4)))
    assert read_tensors(path, "test")[1] == {}
    for read in (load_learner, read_checkpoint):
        with pytest.raises(ModelFileError, match="must be a file that learn"):
            read(path)


LARGE = {
    "header": (90 << 20).to_bytes(8, "little") + b"{}",
    "tensor": _with_header({"a": {**ENTRY, "shape": [2**38], "data_offsets": [0, 2**40]}}),
    "shape": _with_header({"a": {**ENTRY, "shape": [2**20, 2**18]}}, bytes(4)),
    "nothing of much": _with_header({"a": {**ENTRY, "shape": [0, 2**62], "data_offsets": [0, 0]}}),
    "many": _with_header({f"{i}": {**ENTRY, "shape": [2**30], "data_offsets": [0, 2**32]}
                          for i in range(100)}, bytes(64)),
}
BOUNDED = """
    import resource, sys
    from mlclassify.weights import ModelFileError, read_tensors
    import safetensors.numpy

    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (20 << 20),) * 2)
    for path in sys.argv[1:]:
        try:
            read_tensors(path, "load_learner")
            sys.exit(f"{path} was read")
        except ModelFileError as error:
            print(path in str(error))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
def test_sizes_in_a_header_are_compared_with_the_file_before_memory_is_taken(tmp_path):
    """20 MB are free, and each file speaks of more."""
    for name, data in LARGE.items():
        (tmp_path / name).write_bytes(data)
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(BOUNDED),
                           *(str(tmp_path / name) for name in LARGE)],
                          text=True, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"] * len(LARGE)


def test_every_cut_of_a_file_is_noticed(tmp_path):
    data, path = save(TENSORS), tmp_path / "cut.safetensors"
    for n in range(len(data)):
        path.write_bytes(data[:n])
        with pytest.raises(ModelFileError, match="cut.safetensors"):
            read_tensors(path, "test")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no /dev/zero")
def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe", tmp_path):
        with pytest.raises(ModelFileError, match="must be a regular file"):
            read_tensors(path, "test")


def test_weights_argument_comes_first(tmp_path, monkeypatch):
    write_tensors(tmp_path / "a.safetensors", TENSORS)
    monkeypatch.setenv("MLCLASSIFY_WEIGHTS", str(tmp_path / "missing"))
    tensors, path = pretrained_tensors("resnet18", weights=tmp_path / "a.safetensors")
    assert path == tmp_path / "a.safetensors" and list(tensors) == ["conv1.weight"]


@pytest.mark.parametrize("named", ["resnet18.safetensors", "."])
def test_environment_names_a_file_or_a_folder(named, tmp_path, monkeypatch):
    write_tensors(tmp_path / "resnet18.safetensors", TENSORS)
    monkeypatch.setenv("MLCLASSIFY_WEIGHTS", str(tmp_path / named))
    assert pretrained_tensors("resnet18")[1] == tmp_path / "resnet18.safetensors"


def test_named_weights_that_are_missing_are_an_error(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="`weights` must name a file.*nowhere"):
        pretrained_tensors("resnet18", weights=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds resnet18.safetensors"):
        pretrained_tensors("resnet18", weights=tmp_path)
    monkeypatch.setenv("MLCLASSIFY_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="MLCLASSIFY_WEIGHTS must name a file"):
        pretrained_tensors("resnet18")


def test_nothing_found_says_the_three_ways_out():
    with pytest.raises(FileNotFoundError) as caught:
        pretrained_tensors("resnet18")
    text = str(caught.value)
    assert text.startswith("vision_learner: no pretrained weights of resnet18 here")
    for way in ("weights='FILE.safetensors'", "MLCLASSIFY_WEIGHTS", "mlclassify[hub]",
                "pretrained=False"):
        assert way in text


def test_a_download_is_checked_and_kept(tmp_path, published):
    asked = published(tmp_path)
    for _ in range(2):
        tensors, path = pretrained_tensors("resnet18")
        assert list(tensors) == ["conv1.weight"]
    assert asked == [("some/where", "model.safetensors", "abc")]
    assert path == cached_file("resnet18") and path.parent == tmp_path / "home" / "weights"
    assert path.name == f"resnet18-{weights.PINNED['resnet18'].sha256[:8]}.safetensors"


def test_a_wrong_download_is_not_kept(tmp_path, published):
    published(tmp_path, served=save({"other": np.zeros(3, np.float32)}))
    with pytest.raises(ModelFileError, match="must have the sha256"):
        pretrained_tensors("resnet18")
    assert not cached_file("resnet18").exists()


def test_a_damaged_cache_is_named(tmp_path, published):
    published(tmp_path)
    _, path = pretrained_tensors("resnet18")
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(ModelFileError, match=f"{path.name}.*delete the file"):
        pretrained_tensors("resnet18")


def test_cache_folder(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "home"
    monkeypatch.delenv("MLCLASSIFY_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "mlclassify"


def test_pins_are_the_published_ones():
    pin = weights.PINNED["resnet18"]
    assert (pin.repository, pin.revision[:7], pin.sha256[:8]) == (
        "timm/resnet18.tv_in1k", "bbd144b", "694f673d")
    assert len(pin.sha256) == 64 and len(pin.revision) == 40
