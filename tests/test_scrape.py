"""Finding photos on the web, downloading them, and files that are no photos."""

import csv
import hashlib
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from badweb import photo, serving
from PIL import Image as PillowImage

from mlclassify.data import download, fetch, scrape, search
from mlclassify.data.download import COLUMNS, read_manifest
from mlclassify.data.files import get_image_files
from mlclassify.data.lists import L
from mlclassify.data.scrape import (
    ImageHit,
    download_images,
    duckduckgo_search,
    erase_downloads,
    scrape_images,
    search_images,
    verify_images,
)
from mlclassify.data.search import SearchError
from mlclassify.vision.image import Image, open_image

HERE = {"allow_private": True}


@pytest.fixture(scope="module")
def server():
    with serving() as server:
        yield server


@pytest.fixture
def web(server):
    return server.url


def names(folder):
    return sorted(p.name for p in Path(folder).iterdir() if p.name != "manifest.csv")


# --- downloads ---


def test_photos_are_named_by_their_content(web, tmp_path):
    urls = [web + path for path in ("ok?1", "ok?2", "moved?1", "ok?1", "png?1")]
    saved, errors = download_images(urls, tmp_path / "new" / "teddy", **HERE)
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
        ("to_file", "neither http nor https"),
        ("circle", "redirects"),
    ],
)
def test_a_bad_answer_is_an_error_and_leaves_no_file(web, tmp_path, path, reason):
    start = time.monotonic()
    saved, errors = download_images(
        [web + "ok", web + path], tmp_path, max_bytes="200KB", timeout=0.6, deadline=1, retries=0,
        **HERE,
    )  # fmt: skip
    assert len(saved) == len(errors) == len(names(tmp_path)) == 1
    assert errors[0][0] == web + path and reason in errors[0][1]
    assert time.monotonic() - start < 4


def test_loopback_is_refused_unless_allowed(web, tmp_path):
    saved, errors = download_images([web + "ok"], tmp_path)
    assert saved == [] and errors == [(web + "ok", "a private address (127.0.0.1)")]


def test_what_says_it_is_packed_is_not_unpacked(web, tmp_path):
    assert len(download_images([web + "gzip"], tmp_path, **HERE)[0]) == 1


def test_retries(web, tmp_path):
    for retries, count in ((0, 0), (1, 1)):
        url = f"{web}busy_once?{retries}"
        saved, _ = download_images(url, tmp_path / "a", retries=retries, **HERE)
        assert len(saved) == count


def test_a_download_cannot_fill_the_disk(web, tmp_path, monkeypatch):
    size, urls = len(photo()), [f"{web}ok?{i}" for i in range(9)]
    saved, errors = download_images(urls, tmp_path / "a", max_total=4 * size + 99, **HERE)
    assert len(saved) == 4 and len(errors) == 5 and "bytes in all" in errors[0][1]
    disk = SimpleNamespace(free=2 * size + 10)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: disk)
    saved, errors = download_images(urls, tmp_path / "b", **HERE)
    assert len(saved) == 1 and errors[-1][1] == f"more than {size + 5} bytes in all"


def test_a_full_disk_is_not_an_error_of_one_link(web, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        download_images([web + "ok"], tmp_path, **HERE)
    assert list(tmp_path.iterdir()) == []


def test_as_many_at_a_time_as_asked_and_no_thread_is_left(web, tmp_path, monkeypatch):
    threads = set()

    def noted(fetcher, url):
        threads.add(threading.current_thread().name)
        time.sleep(0.01)
        return photo()

    monkeypatch.setattr(fetch.Fetcher, "get", noted)
    download_images([f"{web}ok?{i}" for i in range(20)], tmp_path, n_workers=3, **HERE)
    verify_images(get_image_files(tmp_path))
    assert len(threads) == 3
    assert not [t for t in threading.enumerate() if t.name.startswith("mlclassify-")]


def test_an_interrupt_keeps_what_was_had(web, tmp_path, monkeypatch):
    def step_that_stops(n=1):
        raise KeyboardInterrupt

    monkeypatch.delenv("MLCLASSIFY_PROGRESS", raising=False)
    monkeypatch.setattr("mlclassify.progress.LogLines.update", lambda *_: step_that_stops())
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        download_images([web + "ok", web + "silent"], tmp_path, timeout=60, deadline=60, **HERE)
    assert time.monotonic() - start < 4
    assert len(read_manifest(tmp_path)) == 1 == len(names(tmp_path))


@pytest.mark.parametrize("argument, value, says", [
    ("max_bytes", 0, "download_images: `max_bytes` must be bytes as an integer of at least 1, or a "
                     "text such as '500MB' (KB, MB or GB), got 0"),
    ("max_total", "all", "download_images: `max_total` must be bytes as an integer of at least 1, "
                         "or a text such as '500MB' (KB, MB or GB), got 'all'"),
    ("timeout", 0, "download_images: `timeout` must lie in [0.001, inf), got 0"),
    ("deadline", float("nan"), "download_images: `deadline` must lie in [0.001, inf), got nan"),
    ("retries", -1, "download_images: `retries` must be an integer of at least 0, got -1"),
    ("n_workers", 0, "download_images: `n_workers` must be an integer of at least 1, got 0"),
])  # fmt: skip
def test_limits_out_of_range(tmp_path, argument, value, says):
    with pytest.raises(ValueError) as caught:
        download_images(["http://a/b"], tmp_path, **{argument: value})
    assert str(caught.value) == says


# --- the manifest ---


def test_the_manifest_says_where_each_photo_is_from(web, tmp_path):
    hit = ImageHit(web + "ok?5", "=cmd|' /C calc'!A0", "http://page", "'Ann, \"the\" Lee", "by 2.0")
    saved, _ = download_images([hit, web + "missing"], tmp_path, retries=0, **HERE)
    with open(tmp_path / "manifest.csv", newline="") as file:
        head, row, failed = csv.reader(file)
    assert tuple(head) == COLUMNS
    assert ",".join(head) == "file,url,sha256,bytes,title,page,creator,licence,error"
    assert row == [saved[0].name, hit.url, hashlib.sha256(photo(5)).hexdigest(),
                   str(len(photo(5))), "'=cmd|' /C calc'!A0", "http://page",
                   "''Ann, \"the\" Lee", "by 2.0", ""]  # fmt: skip
    assert failed == ["", web + "missing", "", "", "", "", "", "", "status 404"]
    read = read_manifest(tmp_path)
    assert read[hit.url]["title"] == hit.title and read[hit.url]["creator"] == hit.creator


def test_what_is_there_is_not_asked_for_again(server, web, tmp_path):
    first, _ = download_images([web + "ok?6", web + "missing"], tmp_path, retries=0, **HERE)
    server.asked.clear()
    again, errors = download_images([web + "ok?6", web + "missing"], tmp_path, retries=0, **HERE)
    assert again == first and len(errors) == 1
    assert [path for path, _ in server.asked] == ["/missing"]
    first[0].unlink()
    assert download_images(web + "ok?6", tmp_path, **HERE)[0] == first and first[0].exists()
    assert len(read_manifest(tmp_path)) == 2


def test_a_manifest_cannot_name_files_elsewhere(web, tmp_path):
    (tmp_path / "secret.jpg").touch()
    line = ["../secret.jpg", web + "ok?7", *[""] * 7]
    (tmp_path / "a").mkdir()
    with open(tmp_path / "a" / "manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, line, ["too", "short"]])
    saved, _ = download_images([web + "ok?7"], tmp_path / "a", **HERE)
    assert saved[0].parent == tmp_path / "a" and len(saved[0].stem) == 40


def test_a_manifest_that_is_no_table_is_someone_elses(tmp_path):
    (tmp_path / "manifest.csv").write_bytes(",".join(COLUMNS).encode() + b"\n" + b"a" * 200_000)
    with pytest.raises(ValueError, match="must have no manifest.csv but its own"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.csv").write_bytes(b"")
    with pytest.raises(ValueError, match="must have no manifest.csv but its own"):
        read_manifest(tmp_path)


def test_a_manifest_of_someone_else_is_kept(web, tmp_path):
    (tmp_path / "manifest.csv").write_text("mine\n")
    with pytest.raises(ValueError) as caught:
        download_images([web + "ok"], tmp_path, **HERE)
    assert str(caught.value) == (
        "download_images: `folder` must have no manifest.csv but its own, got "
        f"'{tmp_path}/manifest.csv'; move that file away, or choose another folder"
    )
    assert (tmp_path / "manifest.csv").read_text() == "mine\n" and names(tmp_path) == []


# --- searching ---


class FakeDDGS:
    """What the package ddgs has under this name: pages of hits, or errors, in turn."""

    pages, calls = [], []

    def images(self, query, **options):
        self.calls.append((query, options))
        answer = self.pages.pop(0) if self.pages else Exception("No results found.")
        if isinstance(answer, Exception):
            raise answer
        return answer


def hits(*numbers, url="http://a/"):
    return [{"image": f"{url}{n}.jpg", "title": f"t{n}", "thumbnail": "http://thumb",
             "url": f"http://page/{n}", "height": "3", "width": 4, "source": "Bing"}
            for n in numbers]  # fmt: skip


@pytest.fixture
def ddgs(monkeypatch):
    monkeypatch.setattr(search.time, "sleep", lambda seconds: FakeDDGS.calls.append(seconds))
    monkeypatch.setitem(sys.modules, "ddgs", SimpleNamespace(DDGS=FakeDDGS))
    FakeDDGS.pages, FakeDDGS.calls = [], []
    return FakeDDGS


def test_ddgs_is_asked_page_by_page(ddgs):
    ddgs.pages = [hits(1, 2), hits(2, 3), hits(3)]
    found = search_images(" bear ", 10, type_image="photo")
    assert isinstance(found, L) and found.attrgot("url") == [f"http://a/{n}.jpg" for n in (1, 2, 3)]
    assert found[0] == ImageHit("http://a/1.jpg", "t1", "http://page/1")
    assert ddgs.calls == [
        ("bear", {"max_results": 10, "page": page, "type_image": "photo"}) for page in (1, 2, 3)
    ]


def test_no_more_than_asked_and_no_page_too_many(ddgs):
    ddgs.pages = [hits(1, 2, 3)]
    assert len(search_images("bear", 2)) == 2 and len(ddgs.calls) == 1


def test_no_results_are_no_error(ddgs):
    assert search_images("bear") == []


def test_what_ddgs_answers_is_not_trusted(ddgs):
    ddgs.pages = [[*hits(1), {"image": None}, {}, {"image": 7, "title": [1]}, "x", None]]
    assert search_images("bear").attrgot("url") == ["http://a/1.jpg"]


def test_ddgs_under_its_older_argument(ddgs, monkeypatch):
    def images(self, query, num_results=10, page=1):
        return hits(*range(num_results)) if page == 1 else []

    monkeypatch.setattr(ddgs, "images", images)
    assert len(search_images("bear", 30)) == 30


def test_ddgs_that_refuses_is_asked_again_but_not_for_ever(ddgs):
    ddgs.pages = [RuntimeError("202 Ratelimit"), hits(1)]
    assert len(search_images("bear", 1)) == 1 and ddgs.calls[1] == 1.0
    ddgs.pages, ddgs.calls = [RuntimeError("202 Ratelimit")] * 9, []
    FakeDDGS.calls = ddgs.calls
    with pytest.raises(SearchError) as caught:
        search_images("bear")
    assert str(caught.value) == (
        "search_images: `provider` 'ddgs' must answer, got RuntimeError: 202 Ratelimit; try again "
        "later, or search with provider='openverse'"
    )
    assert [call for call in ddgs.calls if isinstance(call, float)] == [1.0, 2.0]
    ddgs.pages = [hits(1), RuntimeError("202 Ratelimit")]
    assert len(search_images("bear")) == 1  # what the first page had is enough


def test_ddgs_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ddgs", None)
    with pytest.raises(ImportError) as caught:
        search_images("bear")
    assert str(caught.value) == (
        "search_images: needs ddgs, which is not installed; pip install 'mlclassify[scrape]', or "
        "search with provider='openverse'"
    )


@pytest.fixture
def openverse(server, monkeypatch):
    server.asked.clear()
    server.openverse = []
    monkeypatch.setattr(search, "OPENVERSE", server.url + "openverse")
    monkeypatch.setattr(fetch, "is_public", lambda address: True)
    monkeypatch.setattr(search.time, "sleep", server.asked.append)
    return server


def open_hits(*numbers):
    return [{"url": f"http://a/{n}.jpg", "title": f"t{n}", "foreign_landing_url": f"http://p/{n}",
             "creator": "Ann", "license": "by", "license_version": "2.0", "id": "x"}
            for n in numbers]  # fmt: skip


def test_openverse(openverse):
    openverse.openverse = [{"results": open_hits(*range(20)), "page_count": 3},
                           {"results": open_hits(*range(20, 40)), "page_count": 3}]  # fmt: skip
    found = search_images("polar bear", 30, "openverse", license_type="commercial")
    assert found.attrgot("url") == [f"http://a/{n}.jpg" for n in range(30)]
    assert found[0] == ImageHit("http://a/0.jpg", "t0", "http://p/0", "Ann", "by 2.0")
    (first, _), pause, (second, _) = openverse.asked
    assert first == "/openverse?q=polar+bear&page=1&page_size=20&license_type=commercial"
    assert pause == 1 and "page=2" in second


def test_openverse_ends_with_its_last_page_and_asks_for_no_more_than_wanted(openverse):
    openverse.openverse = [{"results": [*open_hits(1), {"url": None}, 3], "page_count": 1}]
    assert len(search_images("bear", 5, "openverse")) == 1
    assert openverse.asked[0][0].endswith("page_size=5")


@pytest.mark.parametrize("answer", [[], {}, {"results": 3, "page_count": 1}, "x", None,
                                    {"results": [], "page_count": "many"}])
def test_openverse_that_answers_something_else(openverse, answer):
    openverse.openverse = [answer]
    with pytest.raises(SearchError) as caught:
        search_images("bear", 5, "openverse")
    assert str(caught.value) == (
        "search_images: `provider` 'openverse' must answer with photos, got something else from "
        f"{openverse.url}openverse?q=bear&page=1&page_size=5; try again later, or search with "
        "provider='ddgs'"
    )


def test_openverse_that_is_gone(openverse, monkeypatch):
    monkeypatch.setattr(search, "OPENVERSE", openverse.url + "missing")
    with pytest.raises(SearchError, match="must answer with photos, got status 404 from"):
        search_images("bear", 5, "openverse")


@pytest.mark.parametrize("arguments, says", [
    (("", 3), "search_images: `query` must be a text that is not empty, got ''"),
    ((None, 3), "search_images: `query` must be a text that is not empty, got None"),
    (("a", 0), "search_images: `max_images` must be an integer of at least 1, got 0"),
    (("a", 3, "google"), "search_images: `provider` must be 'ddgs', 'openverse' or a function "
                         "(query, max_images) -> addresses of photos, got 'google'"),
])  # fmt: skip
def test_searches_that_make_no_sense(arguments, says):
    with pytest.raises(ValueError) as caught:
        search_images(*arguments)
    assert str(caught.value) == says


# --- the search of the post ---


def test_duckduckgo_search_of_the_post(ddgs, web, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fetch, "is_public", lambda address: True)
    ddgs.pages = [hits(*[f"ok?{n}&" for n in range(4)], url=web)]
    path = tmp_path / "bears"
    for label in ("grizzly",):
        saved = duckduckgo_search(path, label, f"{label} bear", max_results=3)
    assert capsys.readouterr().out == (
        f"Duckduckgo search: grizzly bear\nDownloading results into {path}/grizzly\n"
    )
    assert isinstance(saved, L) and get_image_files(path) == saved.sorted() and len(saved) == 1
    assert ddgs.calls[0] == ("grizzly bear", {"max_results": 3, "page": 1, "type_image": "photo",
                                              "layout": "Square"})  # fmt: skip


def test_duckduckgo_search_says_what_failed(ddgs, web, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fetch, "is_public", lambda address: True)
    ddgs.pages = [hits("missing?", url=web)]
    assert duckduckgo_search(tmp_path, "a", "a", 1, layout="Wide") == []
    assert capsys.readouterr().out.splitlines()[2] == (
        f"1 of 1 failed; first error: status 404 ({web}missing?.jpg)"
    )
    assert ddgs.calls[0][1]["layout"] == "Wide"
    with pytest.raises(ValueError) as caught:
        duckduckgo_search(tmp_path, "../a", "a")
    assert str(caught.value) == (
        "duckduckgo_search: `label` must be a name that a folder can have, got '../a'"
    )


# --- scraping ---


def searcher(web, asked):
    def search(query, max_images):
        asked.append((query, max_images))
        return [f"{web}ok?{len(asked) * 20 + i}" for i in range(9)] + [web + "missing"]

    return search


def test_scrape(web, tmp_path, capsys):
    asked = []
    path = scrape_images(str(tmp_path / "bears"), ("grizzly", "black"), "bear", max_images=5,
                         search=searcher(web, asked), **HERE)  # fmt: skip
    assert asked == [("grizzly bear", 5), ("black bear", 5)] and path == tmp_path / "bears"
    assert get_image_files(path).map(lambda p: p.parent.name) == ["black"] * 5 + ["grizzly"] * 5
    assert capsys.readouterr().out == "After checking for issues, 10 (total) images remain.\n"


def test_scrape_again_erases_or_adds(web, tmp_path):
    asked = []
    for erase, count in ((True, 3), (True, 3), (False, 6)):
        scrape_images(tmp_path / "b", "a", "", erase, max_images=3, search=searcher(web, asked),
                      **HERE)
        assert len(get_image_files(tmp_path / "b")) == count
    assert asked[0] == ("a", 3)


def test_scrape_deletes_no_file_of_someone_else(web, tmp_path):
    (tmp_path / "mine.jpg").touch()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / f"{'0' * 40}.jpg").touch()  # as an earlier download that broke since
    scrape_images(tmp_path, "a", "", False, 1, search=searcher(web, []), **HERE)
    assert (tmp_path / "mine.jpg").exists() and len(names(tmp_path / "a")) == 1


def test_scrape_by_the_name_of_a_provider(ddgs, web, tmp_path):
    ddgs.pages = [hits("ok?1&", url=web)]
    scrape_images(tmp_path / "b", "teddy", "bear", max_images=1, **HERE)
    assert ddgs.calls == [("teddy bear", {"max_results": 1, "page": 1})]
    assert len(get_image_files(tmp_path / "b" / "teddy")) == 1


def test_a_search_that_fails_erases_nothing(web, tmp_path):
    def search(query, max_images):
        if "b" in query:
            raise SearchError("gone")
        return [f"{web}ok?{i}" for i in range(max_images)]

    scrape_images(tmp_path / "s", "a", "", max_images=2, search=search, **HERE)
    with pytest.raises(SearchError, match="gone"):
        scrape_images(tmp_path / "s", ["a", "b"], "", search=search, **HERE)
    with pytest.raises(SearchError, match="gone"):
        scrape_images(tmp_path / "t", "b", "", search=search, **HERE)
    assert names(tmp_path) == ["s"] and len(get_image_files(tmp_path / "s")) == 2


def test_scrape_has_one_budget_for_all_labels(web, tmp_path):
    with pytest.raises(RuntimeError, match="'b' .3 links; first error: more than"):
        scrape_images(tmp_path / "b", ["a", "b"], "", max_images=3, search=searcher(web, []),
                      max_total=3 * len(photo()) + 99, n_workers=1, **HERE)
    assert len(get_image_files(tmp_path / "b")) == 3


def test_scrape_with_arguments_that_make_no_sense(tmp_path):
    with pytest.raises(ValueError, match="`provider` must be 'ddgs', 'openverse' or a function"):
        scrape_images(tmp_path / "b", ["a"], "bear", search=None)
    with pytest.raises(ValueError, match="`max_images` must be an integer of at least 1"):
        scrape_images(tmp_path / "b", ["a"], "bear", max_images=0, search=len)
    with pytest.raises(ValueError, match="scrape_images: `max_total` must be bytes"):
        scrape_images(tmp_path / "b", ["a"], "bear", max_total=0, search=len)


@pytest.mark.parametrize("label", ["", "..", "a/b", "/etc", ".hidden", "a\\b", "a\n", 3])
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
        scrape_images(tmp_path / "x", ["a", "b"], "", search=search, **HERE)
    assert len(get_image_files(tmp_path / "x")) == 1


# --- erasing ---


def test_erase_deletes_what_was_downloaded(web, tmp_path):
    download_images([web + "ok"], tmp_path / "b" / "a", **HERE)
    (tmp_path / "b" / "a" / ".part-0123456789abcdef").touch()
    (tmp_path / "b" / "empty").mkdir()
    erase_downloads(tmp_path / "b")
    assert names(tmp_path) == []
    erase_downloads(tmp_path / "b")


@pytest.mark.parametrize("foreign", ["notes.txt", "a/notes.txt", "a/holiday.jpg", "a/deep/x.jpg",
                                     "a/" + "0" * 40 + ".txt", ".git/config",
                                     "manifest.csv"])  # fmt: skip
def test_erase_refuses_anything_else(web, tmp_path, foreign):
    download_images([web + "ok"], tmp_path / "b" / "a", **HERE)
    path = tmp_path / "b" / foreign
    path.parent.mkdir(exist_ok=True, parents=True)
    path.touch()
    with pytest.raises(
        ValueError, match="`path` must hold only earlier downloads to be erased, got"
    ):
        scrape_images(tmp_path / "b", ["a"], "", search=lambda q, n: [])
    assert path.exists() and len(get_image_files(tmp_path / "b" / "a", recurse=False)) >= 1


def test_erase_refuses_a_manifest_of_someone_else(web, tmp_path):
    download_images([web + "ok"], tmp_path / "b" / "a", **HERE)
    (tmp_path / "b" / "a" / "manifest.csv").write_text("name,tasks\n")
    with pytest.raises(ValueError, match="earlier downloads to be erased, .*a/manifest.csv;"):
        erase_downloads(tmp_path / "b")


def test_erase_refuses_links_and_special_folders(web, tmp_path, monkeypatch):
    download_images([web + "ok"], tmp_path / "b" / "a", **HERE)
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
