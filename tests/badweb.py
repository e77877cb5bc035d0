"""A web that is not to be trusted: a server on loopback that answers by the name in the path."""

import email.utils
import io
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image


def photo(extra=0, format="JPEG"):
    """The bytes of a photo, another one for each `extra`."""
    buffer = io.BytesIO()
    Image.new("RGB", (40 + extra, 30), (200, 50, 99)).save(buffer, format)
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    """``/name?number`` is answered by the method of that name."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        name, _, number = self.path.strip("/").partition("?")
        getattr(self, name)(int(number) if number.isdecimal() else 0)

    def log_message(self, *args):
        pass

    def answer(self, body, status=200, length=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", len(body) if length is None else length)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def times(self):
        """How often this path has been asked for by now."""
        return sum(path == self.path for path, _ in self.server.asked)

    def ok(self, extra):
        self.answer(photo(extra))

    def png(self, extra):
        self.answer(photo(extra, "PNG"))

    def missing(self, _):
        self.answer(photo(), status=404)

    def html(self, _):
        self.answer(b"<html>no photo</html>", Content_Type="image/jpeg")

    def half(self, _):
        self.answer(photo()[:300])

    def broken_off(self, _):
        self.answer(photo(), length=99999)
        self.close_connection = True

    def large(self, _):
        self.answer(b"\xff\xd8" + bytes(300_000))

    def says_it_is_large(self, _):
        self.answer(b"", length=10**15)

    def endless(self, _):
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(1000))
        except OSError:
            self.close_connection = True

    def silent(self, _):
        self.server.closing.wait(5)
        self.close_connection = True

    def dripping(self, _):
        self.send_response(200)
        self.end_headers()
        self.drip(b"x")

    def dripping_headers(self, _):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self.drip(b"X-More: yes\r\n")

    def drip(self, piece):
        try:
            while not self.server.closing.wait(0.05):
                self.wfile.write(piece)
        except OSError:
            pass
        self.close_connection = True

    def gzip(self, extra):
        self.answer(photo(extra), Content_Encoding="gzip")

    def moved(self, extra):
        self.answer(b"", status=302, Location=f"/ok?{extra}")

    def to_file(self, _):
        self.answer(b"", status=302, Location="file:///etc/passwd")

    def to_metadata(self, _):
        self.answer(b"", status=301, Location="http://169.254.169.254/latest/meta-data")

    def circle(self, _):
        self.answer(b"", status=302, Location="/circle")

    def busy_once(self, extra):
        if self.times() == 1:
            self.answer(b"", status=503, Retry_After="0")
        else:
            self.ok(extra)

    def busy(self, wait):
        self.answer(b"", status=429, Retry_After=str(wait))

    def busy_until(self, seconds):
        self.answer(b"", 429, Retry_After=email.utils.formatdate(time.time() + seconds))

    def resets_once(self, extra):
        if self.times() == 1:
            self.close_connection = True
        else:
            self.ok(extra)

    def openverse(self, _):
        self.answer(json.dumps(self.server.openverse.pop(0)).encode())


class Server(ThreadingHTTPServer):
    """Says nothing when a client hangs up, which is what these clients are to do."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.openverse, self.closing = [], [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request, client_address):
        pass


@contextmanager
def serving():
    """A server that runs inside a with block."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
