"""Finding files that are no photos, and downloads from a server that misbehaves."""

import io
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from mlclassify.data import scrape
from mlclassify.data.files import get_image_files
from mlclassify.data.lists import L
from mlclassify.data.scrape import (
    download_images,
    erase_downloads,
    scrape_images,
    verify_images,
)
from mlclassify.vision.image import Image, open_image


def photo(extra=0, format="JPEG"):
    buffer = io.BytesIO()
    PillowImage.new("RGB", (40 + extra, 30), (200, 50, 99)).save(buffer, format)
    return buffer.getvalue()


class Server(BaseHTTPRequestHandler):
    """Answers of a web that is not to be trusted."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        name, _, number = self.path.strip("/").partition("?")
        getattr(self, name)(int(number or 0))

    def log_message(self, *args):
        pass

    def answer(self, body, status=200, length=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", len(body) if length is None else length)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def ok(self, extra):
        self.answer(photo(extra))

    def png(self, extra):
        self.answer(photo(extra, "PNG"))

    def missing(self, _):
        self.answer(photo(), status=404)

    def html(self, _):
        self.answer(b"<html>no photo</html>", **{"Content-Type": "image/jpeg"})

    def half(self, _):
        self.answer(photo()[:300])

    def broken_off(self, _):
        self.answer(photo(), length=99999)
        self.close_connection = True

    def large(self, _):
        self.answer(b"\xff\xd8" + bytes(300_000))

    def endless(self, _):
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(1000))
        except OSError:
            self.close_connection = True

    def silent(self, _):
        time.sleep(1.2)
        self.close_connection = True

    def dripping(self, _):
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(60):
                self.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            pass
        self.close_connection = True

    def gzip(self, extra):
        self.answer(photo(extra), **{"Content-Encoding": "gzip"})

    def moved(self, extra):
        self.answer(b"", status=302, Location=f"/ok?{extra}")

    def to_file(self, _):
        self.answer(b"", status=302, Location="file:///etc/passwd")

    def circle(self, _):
        self.answer(b"", status=302, Location="/circle")


class QuietServer(ThreadingHTTPServer):
    """Says nothing when a client hangs up, which is what these clients are to do."""

    def handle_error(self, request, client_address):
        pass


@pytest.fixture(scope="module")
def web():
    server = QuietServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def names(folder):
    return sorted(p.name for p in Path(folder).iterdir())


# --- downloads ---


def test_photos_are_named_by_their_content(web, tmp_path):
    urls = [web + path for path in ("ok?1", "ok?2", "moved?1", "ok?1", "png?1")]
    saved, errors = download_images(urls, tmp_path / "new" / "teddy")
    assert errors == [] and len(saved) == 3 and len(names(tmp_path / "new" / "teddy")) == 3
    assert saved.attrgot("suffix").sorted() == [".jpg", ".jpg", ".png"]
    assert all(len(p.stem) == 40 and open_image(p).height == 30 for p in saved)
    assert not saved[0].stat().st_mode & 0o111 and verify_images(saved) == []


@pytest.mark.parametrize(
    "path, reason",
    [
        ("missing", "status 404"),
        ("html", "not a readable photo"),
        ("half", "not a readable photo"),
        ("broken_off", "peer closed connection"),
        ("large", "more than 200000 bytes"),
        ("endless", "more than 200000 bytes"),
        ("silent", "timed out"),
        ("dripping", "more than 1 seconds"),
        ("to_file", "Unsupported protocol|unsupported protocol"),
        ("circle", "redirects"),
    ],
)
def test_a_bad_answer_is_an_error_and_leaves_no_file(web, tmp_path, path, reason):
    start = time.monotonic()
    saved, errors = download_images(
        [web + "ok", web + path], tmp_path, max_bytes=200_000, timeout=0.6, deadline=1
    )
    assert len(saved) == len(errors) == len(names(tmp_path)) == 1
    assert errors[0][0] == web + path and any(r in errors[0][1] for r in reason.split("|"))
    assert time.monotonic() - start < 4


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/b.jpg",
        "file:///etc/passwd",
        "javascript:1",
        "data:image/png;base64,AA",
        "x.jpg",
        "",
    ],
)
def test_only_http(url, tmp_path):
    saved, errors = download_images([url], tmp_path)
    assert saved == [] and errors == [(url, "neither http nor https")]


def test_what_says_it_is_packed_is_not_unpacked(web, tmp_path):
    assert len(download_images([web + "gzip"], tmp_path)[0]) == 1


def test_no_server_is_an_error(tmp_path):
    saved, errors = download_images(["http://127.0.0.1:9/a.jpg"], tmp_path, timeout=1)
    assert saved == [] and len(errors) == 1


def test_a_full_disk_is_not_an_error_of_one_link(web, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        download_images([web + "ok"], tmp_path)
    assert names(tmp_path) == []


def test_no_thread_is_left(web, tmp_path):
    download_images([f"{web}ok?{i}" for i in range(20)], tmp_path)
    verify_images(get_image_files(tmp_path))
    assert not [t for t in threading.enumerate() if t.name.startswith("mlclassify-")]


# --- scraping ---


def searcher(web, asked):
    def search(query, max_images):
        asked.append((query, max_images))
        return [f"{web}ok?{len(asked) * 20 + i}" for i in range(9)] + [web + "missing"]

    return search


def test_scrape(web, tmp_path, capsys):
    asked = []
    path = scrape_images(str(tmp_path / "bears"), ("grizzly", "black"), "bear", max_images=5,
                         search=searcher(web, asked))  # fmt: skip
    assert asked == [("grizzly bear", 5), ("black bear", 5)] and path == tmp_path / "bears"
    assert get_image_files(path).map(lambda p: p.parent.name) == ["black"] * 5 + ["grizzly"] * 5
    assert capsys.readouterr().out == "After checking for issues, 10 (total) images remain.\n"


def test_scrape_again_erases_or_adds(web, tmp_path):
    asked = []
    for erase, count in ((True, 3), (True, 3), (False, 6)):
        scrape_images(tmp_path / "b", "a", "", erase, max_images=3, search=searcher(web, asked))
        assert len(get_image_files(tmp_path / "b")) == count
    assert asked[0] == ("a", 3)


def test_scrape_needs_a_search(tmp_path):
    with pytest.raises(ValueError, match=r"`search` must be a function \(query, max_images\)"):
        scrape_images(tmp_path, ["a"], "bear")
    with pytest.raises(ValueError, match="`max_images` must be an integer of at least 1"):
        scrape_images(tmp_path, ["a"], "bear", max_images=0, search=len)
    assert tmp_path.exists()


@pytest.mark.parametrize("label", ["", "..", "a/b", "/etc", ".hidden", "a\\b"])
def test_labels_must_be_names_of_folders(tmp_path, label):
    with pytest.raises(ValueError, match="`labels` must be names that a folder can have"):
        scrape_images(tmp_path / "b", ["ok", label], "bear", search=lambda q, n: [])
    assert not (tmp_path / "b").exists()


def test_a_label_without_photos_is_an_error_at_the_end(web, tmp_path):
    def search(query, max_images):
        return [web + ("ok" if "b" in query else "missing")]

    with pytest.raises(
        RuntimeError, match=r"could be had for 'a' \(1 links; first error: status 404"
    ):
        scrape_images(tmp_path / "x", ["a", "b"], "", search=search)
    assert len(get_image_files(tmp_path / "x")) == 1


# --- erasing ---


def test_erase_deletes_what_was_downloaded(web, tmp_path):
    download_images([web + "ok"], tmp_path / "b" / "a")
    (tmp_path / "b" / "a" / ".part-0123456789abcdef").touch()
    (tmp_path / "b" / "empty").mkdir()
    erase_downloads(tmp_path / "b")
    assert names(tmp_path) == []
    erase_downloads(tmp_path / "b")


@pytest.mark.parametrize("foreign", ["notes.txt", "a/notes.txt", "a/holiday.jpg", "a/deep/x.jpg",
                                     "a/" + "0" * 40 + ".txt", ".git/config"])  # fmt: skip
def test_erase_refuses_anything_else(web, tmp_path, foreign):
    download_images([web + "ok"], tmp_path / "b" / "a")
    path = tmp_path / "b" / foreign
    path.parent.mkdir(exist_ok=True, parents=True)
    path.touch()
    with pytest.raises(
        ValueError, match="`path` must hold only earlier downloads to be erased, got"
    ):
        scrape_images(tmp_path / "b", ["a"], "", search=lambda q, n: [])
    assert path.exists() and len(get_image_files(tmp_path / "b" / "a", recurse=False)) >= 1


def test_erase_refuses_links_and_special_folders(web, tmp_path, monkeypatch):
    download_images([web + "ok"], tmp_path / "b" / "a")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "a").symlink_to(tmp_path / "b" / "a")
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "b"))
    for path in (
        tmp_path / "link",
        tmp_path / "c",
        tmp_path / "file",
        tmp_path / "b",
        Path("/"),
        ".",
    ):
        with pytest.raises(ValueError, match="must hold only earlier downloads"):
            erase_downloads(path)
    assert len(get_image_files(tmp_path / "b")) == 1


# --- the cell of the post ---


def test_verify_images(shared):
    files = get_image_files(shared("torture/made"))
    bad = verify_images(files[:12])
    assert isinstance(bad, L) and bad.attrgot("name") == [
        "bad_crc.png",
        "bomb_12000x12000_1bit.png",
        "empty.jpg",
    ]
    assert verify_images([]) == [] and verify_images(L(files[0])) == []


def test_verify_lets_an_interrupt_through(monkeypatch, tmp_path):
    def interrupted(fn):
        raise KeyboardInterrupt

    monkeypatch.setattr(scrape, "verify_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verify_images([tmp_path / "a.jpg"])


def test_the_cleaning_of_the_post(tmp_path):
    """What the post does with the files it has downloaded, with its names and calls."""
    (tmp_path / "teddy").mkdir()
    (tmp_path / "teddy" / "1.jpg").write_bytes(photo())
    (tmp_path / "teddy" / "2.jpg").write_bytes(photo()[:200])
    see_through = PillowImage.fromarray(np.zeros((4, 4, 4), np.uint8), "RGBA")
    see_through.save(tmp_path / "teddy" / "3.png")
    filenames = get_image_files(tmp_path)
    failed = verify_images(filenames)
    failed.map(Path.unlink)
    if failed != []:
        _ = [filenames.remove(f) for f in failed]
    converted = L()
    for image in filenames:
        if ".png" in str(image):
            with Image.open(image) as im:
                converted.append(image)
                im.convert("RGBA").save(f"{image}2.png")
    converted.map(Path.unlink)
    assert get_image_files(tmp_path).attrgot("name") == ["1.jpg", "3.png2.png"]
    assert np.asarray(open_image(tmp_path / "teddy" / "3.png2.png")).min() == 255
