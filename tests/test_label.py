"""The page to label photos on: what it writes, and whom it answers."""

import contextlib
import csv
import http.client
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.request

import pytest
from PIL import Image

from mlclassify.data.table import LabelTable, read_table
from mlclassify.label import server as server_module
from mlclassify.label import session as session_module
from mlclassify.label.server import LabelServer, label_images
from mlclassify.label.session import Session

NAMES = ["a.jpg", "b.png", "c & <img src=x onerror=document.title='bad'>.jpg", "sub/d.jpg"]


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "photos <b>"
    (path / "sub").mkdir(parents=True)
    for i, name in enumerate(NAMES):
        Image.new("RGB", (30 + i, 20), (60 * i, 90, 120)).save(path / name)
    return path


def rows(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


# --- the session ---


def test_what_is_decided_is_written_at_once(folder):
    session = Session(folder, ["bear", "sea"])
    session.decide(0, "keep", ["sea", "bear", "sea"])
    assert rows(folder / "labels.csv") == [["fname", "labels"], ["a.jpg", "sea bear"]]
    session.decide(3, "keep", [])
    session.decide(1, "drop", ["sea"])
    assert rows(folder / "labels.csv")[1:] == [["a.jpg", "sea bear"], ["sub/d.jpg", ""]]
    assert rows(folder / "labels.dropped.csv") == [["fname"], ["b.png"]]
    session.decide(0, "drop")
    session.decide(1, None)
    assert rows(folder / "labels.csv")[1:] == [["sub/d.jpg", ""]]
    assert rows(folder / "labels.dropped.csv") == [["fname"], ["a.jpg"]]
    assert session.counts() == (1, 1)
    again = Session(folder).state()["photos"]
    assert [photo["decision"] for photo in again] == ["drop", None, None, "keep"]


def test_a_table_that_is_there_goes_on(folder):
    (folder / "x.csv").write_text("fname,labels,is_valid\nb.png,sea;polar bear,True\n"
                                  "gone.jpg,sea,\n")
    session = Session(folder, "sun", "x.csv", ";")
    assert session.labels == ["sun", "polar bear", "sea"]
    assert session.state()["photos"][1] == {
        "name": "b.png", "labels": ["sea", "polar bear"], "decision": "keep"}  # fmt: skip
    session.decide(0, "keep", ["new one"])
    session.decide(1, "keep", ["sun"])
    assert rows(folder / "x.csv") == [["fname", "labels", "is_valid"], ["b.png", "sun", "True"],
                                      ["gone.jpg", "sea", ""], ["a.jpg", "new one", ""]]
    assert session.labels[-1] == "new one"


def test_folders_offer_labels_but_decide_nothing(folder):
    session = Session(folder / "..", from_folders=True, label_delim=";")
    assert session.labels == ["photos <b>", "sub"] and session.counts() == (0, 0)
    assert session.state()["photos"][3]["labels"] == ["sub"] and not session.csv.exists()


def test_an_error_changes_nothing(folder, monkeypatch):
    session = Session(folder)
    session.decide(0, "keep", ["sea"])
    before = session.state()
    for arguments in ((0, "keep", ["a b"]), (0, "maybe", []), (0, "keep", [""])):
        with pytest.raises(ValueError):
            session.decide(*arguments)
    monkeypatch.setattr(session_module, "write_file", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        session.decide(0, "drop")
    monkeypatch.undo()
    assert session.state() == before and rows(folder / "labels.csv")[1:] == [["a.jpg", "sea"]]


def test_a_crash_between_the_two_files_loses_no_photo(folder, monkeypatch):
    session = Session(folder)
    session.decide(0, "keep", ["sea"])
    monkeypatch.setattr(LabelTable, "write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        session.decide(0, "drop")
    assert Session(folder).state()["photos"][0]["decision"] == "drop"


def test_links_out_of_the_folder_are_no_photos(folder, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.jpg")
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "out").symlink_to(tmp_path)
    session = Session(folder)
    assert [p["name"] for p in session.state()["photos"]] == NAMES
    (folder / "a.jpg").unlink()
    (folder / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(FileNotFoundError) as caught:
        session.photo(0)
    assert str(caught.value) == f"label_images: photo 0 must lie in {folder}"


@pytest.mark.parametrize("data", [b"fname\n\xff.png\n", b"fname\n" + b"a" * 200_000])
def test_a_table_of_dropped_photos_that_is_none(folder, data):
    (folder / "labels.dropped.csv").write_bytes(data)
    with pytest.raises(ValueError, match="label_images: .*dropped.csv' must be a table of the"):
        Session(folder)


def test_arguments_that_make_no_sense(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, says in [
        ((tmp_path / "empty",), f"label_images: `path` must hold photos, got none in "
                                f"'{tmp_path}/empty'"),
        ((folder, ["polar bear"]), "label_images: `label` must be a text on one line without the "
         "delimiter ' ', got 'polar bear'; choose another label_delim"),
        ((folder, None, "labels.csv", ""), "label_images: `label_delim` must be a text that is not "
                                           "empty, got ''"),
    ]:  # fmt: skip
        with pytest.raises(ValueError) as caught:
            Session(*arguments)
        assert str(caught.value) == says
    with pytest.raises(FileNotFoundError):
        Session(tmp_path / "none")
    with pytest.raises(ValueError, match="label_images: `port` must be an integer of at least 0"):
        label_images(folder, port=-1)


# --- the server ---


@contextlib.contextmanager
def serving(session):
    with LabelServer(session) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def server(folder):
    with serving(Session(folder, ["bear", "sea"])) as server:
        yield server


def ask(server, part, body=None, path=None, **headers):
    """Return (status, headers, body) of an answer; a body that is no bytes is sent as JSON."""
    line = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    if body is not None:
        headers = {"Content-Type": "application/json", **headers}
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    path = path or f"/{server.token}/{part}"
    line.request("GET" if body is None else "POST", path, data, headers)
    answer = line.getresponse()
    found = answer.status, answer.headers, answer.read()
    line.close()
    return found


def test_the_page_and_its_parts(server):
    assert server.url == f"http://127.0.0.1:{server.server_port}/{server.token}/"
    status, headers, page = ask(server, "")
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"photos &lt;b&gt;" in page and b"<b>" not in page and b"<script>" not in page
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer" and headers["Cache-Control"] == "no-store"
    for part, kind in (("label.js", "text/javascript"), ("label.css", "text/css")):
        assert ask(server, part)[1]["Content-Type"].startswith(kind)
    state = json.loads(ask(server, "state")[2])
    assert state["labels"] == ["bear", "sea"]
    assert [photo["name"] for photo in state["photos"]] == NAMES


def test_photos_come_as_they_are(server, folder):
    for i, kind in ((0, "image/jpeg"), (1, "image/png"), (3, "image/jpeg")):
        status, headers, data = ask(server, f"photo/{i}")
        assert (status, headers["Content-Type"]) == (200, kind)
        assert data == (folder / NAMES[i]).read_bytes()


def test_a_photo_that_has_become_a_pipe_is_not_waited_for(server, folder):
    (folder / "a.jpg").unlink()
    os.mkfifo(folder / "a.jpg")
    status, _, body = ask(server, "photo/0")
    assert status == 400 and b"must be a regular file, got a pipe" in body


def test_decisions_over_http(server, folder):
    assert ask(server, "photo/1", {"decision": "keep", "labels": ["sea", "new"]})[0] == 200
    status, _, data = ask(server, "photo/0", {"decision": "drop"})
    assert status == 200 and json.loads(data)["labels"] == ["bear", "sea", "new"]
    assert read_table(folder / "labels.csv").rows == {"b.png": ["sea", "new"]}
    assert json.loads(ask(server, "state")[2])["photos"][0]["decision"] == "drop"


@pytest.mark.parametrize("part", ["photo/4", "photo/-1", "photo/x", "photo/", "photo/1/2", "etc",
                                  "photo/../../a.jpg", "photo/%2e%2e/a.jpg", "photo/%C2%B2",
                                  "label.py", "page/label.js", "photo/" + "9" * 400,
                                  "../server.py"])
def test_only_photos_by_number(server, part):
    status, headers, data = ask(server, part)
    assert status == 404 and json.loads(data) == {"error": "there is no such thing"}
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["/", "//", "/state", "/wrong/state", "/{token}", "/{token}x/",
                                  "/photo/0"])
def test_nothing_without_the_token(server, path):
    path = path.replace("{token}", server.token)
    for body in (None, {"decision": "drop"}):
        status, _, data = ask(server, "", body, path=path)
        assert status == 403 and b"token" in data
    assert server.session.counts() == (0, 0)


@pytest.mark.parametrize("headers, says", [
    ({"Host": "evil.test"}, "not the name of this server"),
    ({"Host": "127.0.0.1"}, "not the name of this server"),
    ({"Host": "evil.test:{port}"}, "not the name of this server"),
    ({"Origin": "http://evil.test"}, "another page"),
    ({"Origin": "null"}, "another page"),
    ({"Origin": "https://127.0.0.1:{port}"}, "another page"),
])  # fmt: skip
def test_other_pages_are_refused(server, headers, says):
    headers = {k: v.replace("{port}", str(server.server_port)) for k, v in headers.items()}
    for part, body in (("state", None), ("photo/0", {"decision": "drop"}), ("done", {})):
        status, _, data = ask(server, part, body, **headers)
        assert status == 403 and json.loads(data) == {"error": says}
    assert server.session.counts() == (0, 0)


def test_its_own_names_are_answered(server):
    for name in ("127.0.0.1", "localhost"):
        own = f"{name}:{server.server_port}"
        assert ask(server, "state", Host=own, Origin=f"http://{own}")[0] == 200


@pytest.mark.parametrize("body, headers, status", [
    (b"decision=drop", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    (b"{}", {"Content-Type": "text/plain"}, 415),
    (b"{", {}, 400),
    (b"[]", {}, 400),
    (b"\xff", {}, 400),
    (b"[" * 60_000, {}, 400),
    (b"{}" + b" " * 64_000, {}, 413),
    (b"{}", {"Content-Length": "-1"}, 413),
    (b"{}", {"Content-Length": "x"}, 413),
    ({"decision": "maybe"}, {}, 400),
    ({"decision": ["keep"]}, {}, 400),
    ({"decision": "keep", "labels": "sea"}, {}, 400),
    ({"decision": "keep", "labels": [["sea"]]}, {}, 400),
    ({"decision": "keep", "labels": [7]}, {}, 400),
    ({"decision": "keep", "labels": ["two words"]}, {}, 400),
])  # fmt: skip
def test_bodies_that_make_no_sense(server, body, headers, status):
    got, _, data = ask(server, "photo/0", body, **headers)
    assert got == status and json.loads(data)["error"]
    assert server.session.counts() == (0, 0) and not server.session.csv.exists()


def test_a_full_disk_is_said_on_the_page(server, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mlclassify.data.table.write_file", full)
    status, _, data = ask(server, "photo/0", {"decision": "keep", "labels": []})
    assert status == 500 and "No space left" in json.loads(data)["error"]
    assert server.session.counts() == (0, 0)


def test_many_at_once(server, folder):
    def work(i):
        for label in ("sea", "bear"):
            assert ask(server, f"photo/{i}", {"decision": "keep", "labels": [label]})[0] == 200

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_table(folder / "labels.csv").rows == {name: ["bear"] for name in NAMES}


def test_label_images_ends_when_the_page_says_done(folder, capsys, monkeypatch):
    opened = []

    def browse(url):
        opened.append(url)
        threading.Timer(0.1, done, [url]).start()

    def done(url):
        kind = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{url}done", b"{}", kind), timeout=5):
            pass

    monkeypatch.setattr(server_module.webbrowser, "open", browse)
    assert label_images(folder, ["bear"], open_browser=True) == folder / "labels.csv"
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"Label 4 photos at {opened[0]} (Ctrl-C ends it)"
    assert printed[1] == f"0 photos kept, 0 dropped: {folder}/labels.csv"


# --- the page in a browser ---


class Browser:
    """A headless Chromium, spoken to over a pair of pipes in its DevTools protocol."""

    def __init__(self, program, profile):
        down, self._down = os.pipe()
        self._up, up = os.pipe()
        command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                   "--disable-dev-shm-usage", f"--user-data-dir={profile}",
                   "--remote-debugging-pipe", "about:blank"]  # fmt: skip
        # The protocol wants the pipes as 3 and 4, whatever numbers they have here.
        self._run = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{down} 4>&{up}', "bash", *command], pass_fds=(down, up),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(down)
        os.close(up)
        self._count, self._left, self._session = 0, b"", None
        pages = self.call("Target.getTargets")["targetInfos"]
        page = next(target for target in pages if target["type"] == "page")["targetId"]
        found = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = found["sessionId"]

    def call(self, method, **parameters):
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._down, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self):
        while b"\0" not in self._left:
            self._left += os.read(self._up, 1 << 16) or pytest.fail("the browser has gone")
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def js(self, expression):
        return self.call("Runtime.evaluate", expression=expression)["result"].get("value")

    def press(self, key, text=None):
        codes = {"Enter": 13, "ArrowLeft": 37, "ArrowRight": 39}
        code = codes.get(key, ord(key.upper()) if len(key) == 1 else 0)
        text = text or (key if len(key) == 1 else {"Enter": "\r"}.get(key, ""))
        key = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def until(self, expression, value):
        end = time.monotonic() + 20
        while (found := self.js(expression)) != value:
            assert time.monotonic() < end, f"{expression} is {found!r}, not {value!r}"
            time.sleep(0.02)

    def close(self):
        self._run.kill()
        self._run.wait()
        os.close(self._down)
        os.close(self._up)


@pytest.fixture
def browser(tmp_path):
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no browser: apt-get install chromium")
    found = Browser(program, tmp_path / "profile")
    yield found
    found.close()


def text(name):
    return f"document.getElementById('{name}').textContent"


TICKED = "[...document.querySelectorAll('#labels :checked')].map(e => e.parentNode.textContent)+''"


def written(table, rows):
    """Wait until a table says what the page already shows."""
    end = time.monotonic() + 20
    while (found := read_table(table).rows) != rows:
        assert time.monotonic() < end, found
        time.sleep(0.02)


def test_a_browser_and_a_keyboard(browser, server, folder):
    table = folder / "labels.csv"
    browser.call("Page.navigate", url=server.url)
    browser.until(text("name"), "a.jpg")
    assert browser.js(text("count")) == "1 of 4: 0 kept, 0 dropped"
    assert browser.js("document.title") == f"Labels of {folder}"
    browser.until("document.getElementById('photo').naturalWidth", 30)
    browser.press("2")
    browser.press("1")
    browser.press("Enter")
    browser.until(text("name"), "b.png")
    browser.press("d")
    browser.until(text("name"), NAMES[2])  # as text: nothing in it has become a part of the page
    assert browser.js("document.images.length") == 1 and "bad" not in browser.js("document.title")
    browser.press("n")
    for letter in "fox":
        browser.press(letter)
    browser.press("Enter")
    browser.until(text("labels"), " 1 bear 2 sea 3 fox")
    assert browser.js(TICKED) == " 3 fox"
    browser.press("ArrowLeft")
    browser.press("ArrowLeft")
    browser.until(TICKED, " 1 bear, 2 sea")
    browser.until(text("count"), "1 of 4: 2 kept, 1 dropped")
    written(table, {"a.jpg": ["sea", "bear"], NAMES[2]: ["fox"]})
    browser.press("u")
    browser.until(text("count"), "1 of 4: 1 kept, 1 dropped")
    written(table, {NAMES[2]: ["fox"]})
    browser.js("document.querySelectorAll('#labels input')[1].click()")
    browser.until(text("count"), "1 of 4: 2 kept, 1 dropped")
    written(table, {NAMES[2]: ["fox"], "a.jpg": ["bear"]})
    browser.press("n")
    for letter in "a b":
        browser.press(letter)
    browser.press("Enter")
    browser.until(text("error"), "label_images: `label` must be a text on one line without the "
                                 "delimiter ' ', got 'a b'; choose another label_delim")
    browser.until(TICKED, " 1 bear")
    written(table, {NAMES[2]: ["fox"], "a.jpg": ["bear"]})
    browser.js("document.getElementById('done').click()")
    browser.until("document.body.textContent", "Done; this page can be closed.")
