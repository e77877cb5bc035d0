"""The page's server: this machine only, one folder only, and nobody who does not know the token.

Every path starts with a token that is new for each run, so no other page in the browser, and no
other user of the machine, can ask or change anything; the Host and Origin headers are looked at
besides, against names that are made to lead here. Photos are asked for by number, never by path.
"""

from __future__ import annotations

import html
import json
import logging
import secrets
import threading
import webbrowser
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

from mlclassify.checks import check_whole
from mlclassify.label.session import Session
from mlclassify.types import StrPath
from mlclassify.wholefile import open_regular

_MAX_BODY = 64_000
_STATIC = {"": ("label.html", "text/html"), "label.js": ("label.js", "text/javascript"),
           "label.css": ("label.css", "text/css")}  # fmt: skip
_IMAGE_TYPES = {".png": "image/png", ".apng": "image/png", ".webp": "image/webp",
                ".gif": "image/gif", ".bmp": "image/bmp", ".dib": "image/bmp"}  # fmt: skip
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src "
    "'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_log = logging.getLogger(__name__)


def label_images(path: StrPath, labels: str | Iterable[str] | None = None,
                 csv_fname: StrPath = "labels.csv", label_delim: str = " ",
                 from_folders: bool = False, port: int = 0, open_browser: bool = False) -> Path:
    """Serve a page to label the photos of a folder, until someone says there that it is done.

    Parameters
    ----------
    path : path or str
        The folder.
    labels : str or collection of str, optional
        Labels to offer; more can be added on the page.
    csv_fname : path or str
        The table to read and write, relative to `path`, with columns ``fname`` and ``labels``.
    label_delim : str
        Between two labels in it.
    from_folders : bool
        Offer the name of a photo's folder as its label, ticked.
    port : int
        Default: one that is free.
    open_browser : bool
        Open the page in the browser of this machine.

    Returns
    -------
    Path
        The table.

    Raises
    ------
    FileNotFoundError
        `path` is no folder.
    ValueError
        There are no photos in it, the table is none, or a label cannot stand in it.
    OSError
        The port is taken.

    Examples
    --------
    ``label_images("bears", ["black", "grizzly", "teddy"])``
    """
    session = Session(path, labels, csv_fname, label_delim, from_folders)
    check_whole("label_images", "port", port, at_least=0)
    with LabelServer(session, port) as server:
        try:
            print(f"Label {len(session)} photos at {server.url} (Ctrl-C ends it)", flush=True)
            if open_browser:
                webbrowser.open(server.url)
            server.serve_forever(poll_interval=0.1)
        finally:
            kept, dropped = session.counts()
            print(f"{kept} photos kept, {dropped} dropped: {session.csv}", flush=True)
    return session.csv


class LabelServer(ThreadingHTTPServer):
    """The server of a `Session`, bound when it is made; `url` is where its page is.

    Parameters
    ----------
    session : Session
        Photos and their labels.
    port : int
        Of this machine; 0 takes one that is free.
    """

    daemon_threads = True

    def __init__(self, session: Session, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.session, self.token = session, secrets.token_urlsafe(16)
        self.hosts = [f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")]

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{self.hosts[0]}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that hangs up."""
        _log.debug("not answered", exc_info=True)

    def stop(self) -> None:
        """End `serve_forever`; for threads that answer a request."""
        threading.Thread(target=self.shutdown).start()


class _Refused(Exception):
    """A request that is not answered as it hoped."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: LabelServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)

    def do_GET(self) -> None:
        self._guarded(self._get)

    def do_POST(self) -> None:
        self._guarded(self._post)

    def _guarded(self, answer: Callable[[str], None]) -> None:
        try:
            answer(self._part())
        except _Refused as refused:
            self._fail(refused.status, refused)
        except (ValueError, TypeError, RecursionError) as error:
            self._fail(HTTPStatus.BAD_REQUEST, error)
        except OSError as error:
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, error)

    def _part(self) -> str:
        """Return the part of the path after the token, if the request may be answered."""
        host, origin = self.headers.get("Host"), self.headers.get("Origin")
        if host not in self.server.hosts:
            raise _Refused(HTTPStatus.FORBIDDEN, "not the name of this server")
        if origin not in (None, f"http://{host}"):
            raise _Refused(HTTPStatus.FORBIDDEN, "another page")
        token, slash, part = self.path.removeprefix("/").partition("/")
        known = secrets.compare_digest(token.encode(), self.server.token.encode())
        if not (known and slash):
            raise _Refused(HTTPStatus.FORBIDDEN, "no token, or an old one: see the terminal")
        return part

    def _get(self, part: str) -> None:
        if part in _STATIC:
            name, kind = _STATIC[part]
            text = resources.files("mlclassify.label").joinpath(name).read_text("utf-8")
            folder = html.escape(str(self.server.session.root))
            self._send(text.replace("{{folder}}", folder).encode(), f"{kind}; charset=utf-8")
        elif part == "state":
            self._send_json(self.server.session.state())
        else:
            fn = self.server.session.photo(self._number(part))
            kind = _IMAGE_TYPES.get(fn.suffix.lower(), "image/jpeg")
            with open_regular(fn, "label_images") as file:
                self._send(file.read(), kind)

    def _post(self, part: str) -> None:
        body = self._body()
        if part == "done":
            self._send_json({})
            self.server.stop()
            return
        i = self._number(part)
        labels = body.get("labels", [])
        if not isinstance(labels, list):
            raise ValueError("labels must be a list")
        self.server.session.decide(i, body.get("decision"), labels)
        self._send_json({"labels": self.server.session.labels})

    def _number(self, part: str) -> int:
        """Return the number of a photo in a path."""
        name, _, number = part.partition("/")
        good = name == "photo" and number.isascii() and number.isdecimal() and len(number) < 12
        if not good or int(number) >= len(self.server.session):
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such thing")
        return int(number)

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()) or int(length) > _MAX_BODY:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {_MAX_BODY} bytes")
        # No form of another page can send this type.
        if self.headers.get_content_type() != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not application/json")
        body = json.loads(self.rfile.read(int(length)))
        if not isinstance(body, dict):
            raise ValueError("the body must be an object")
        return body

    def _fail(self, status: HTTPStatus, error: Exception) -> None:
        self.close_connection = True  # what is left of the body has not been read
        self._send_json({"error": str(error)}, status)

    def _send_json(self, value: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(json.dumps(value).encode(), "application/json", status)

    def _send(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
