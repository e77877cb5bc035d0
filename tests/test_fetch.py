"""One address of the web: what is asked, what is refused, and that it ends."""

import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
from badweb import photo, serving

from mlclassify.data import fetch
from mlclassify.data.fetch import (
    BudgetSpentError,
    Fetcher,
    FetchError,
    Limits,
    addresses,
    is_public,
)

LIMITS = {"max_bytes": 200_000, "max_total": 10**9, "timeout": 0.6, "deadline": 1.5, "retries": 0,
          "allow_private": True}


@pytest.fixture(scope="module")
def web():
    with serving() as server:
        yield server


def fetcher(**options):
    return Fetcher("test", Limits(**{**LIMITS, **options}))


def get(url, **options):
    with fetcher(**options) as web:
        return web.get(url)


def reason(url, **options):
    with pytest.raises(FetchError) as caught:
        get(url, **options)
    return str(caught.value)


# --- limits ---


def test_a_photo_and_a_redirect(web):
    assert get(web.url + "ok?1") == get(web.url + "moved?1") == photo(1)


@pytest.mark.parametrize("path, says", [
    ("missing", "status 404"),
    ("large", "more than 200000 bytes"),
    ("says_it_is_large", "more than 200000 bytes"),
    ("endless", "more than 200000 bytes"),
    ("silent", "timed out"),
    ("dripping", "more than 1.5 seconds"),
    ("dripping_headers", "more than 1.5 seconds"),
    ("to_file", "neither http nor https"),
    ("circle", "more than 5 redirects"),
    ("broken_off", "peer closed connection without sending complete message body (received 825 "
                   "bytes, expected 99999)"),
])  # fmt: skip
def test_a_bad_answer_is_an_error(web, path, says):
    assert reason(web.url + path) == says.replace("825", str(len(photo())))


@pytest.mark.parametrize("url", ["ftp://a/b.jpg", "file:///etc/passwd", "javascript:1", "x.jpg",
                                 "data:image/png;base64,AA", "", "http://", "http://a:99999/"])
def test_only_http(url):
    assert reason(url) == "neither http nor https"


def test_an_address_that_is_none():
    assert reason("http://a/\x00").startswith("Invalid non-printable ASCII character in URL")
    assert reason(f"http://{'a' * 300}/").startswith("no address of aaa")


def test_nothing_listens():
    assert "refused" in reason("http://127.0.0.1:9/a.jpg")


def test_what_is_asked(web):
    get(web.url + "ok?77#fragment")
    path, headers = web.asked[-1]
    headers = {key.lower(): value for key, value in headers.items()}
    assert path == "/ok?77" and headers["host"] == f"127.0.0.1:{web.server_port}"
    assert headers["accept-encoding"] == "identity" and headers["user-agent"] == "mlclassify"
    assert headers["accept"].startswith("image/jpeg,") and "avif" not in headers["accept"]


def test_bytes_of_all_answers_together(web):
    size = len(photo())
    with fetcher(max_total=2 * size + 10) as client:
        assert client.get(web.url + "ok") == client.get(web.url + "ok") == photo()
        assert client.left == 10
        for _ in range(2):
            asked = len(web.asked)
            with pytest.raises(BudgetSpentError, match=f"more than {2 * size + 10} bytes in all"):
                client.get(web.url + "ok")
            assert client.left == 0
        assert len(web.asked) == asked  # what is spent asks nobody


# --- again ---


def test_a_busy_server_is_asked_again(web):
    assert get(web.url + "busy_once?1", retries=1) == photo(1)
    assert get(web.url + "resets_once?2", retries=1, deadline=5) == photo(2)


def test_retries_are_counted_and_wait_longer_each_time(web, monkeypatch):
    waits = []
    with fetcher(retries=3, deadline=100) as client:
        monkeypatch.setattr(client._stopped, "wait", lambda seconds: waits.append(seconds))
        before = len(web.asked)
        with pytest.raises(FetchError, match="timed out|disconnected"):
            client.get(web.url + "resets?1")
    assert waits == [0.5, 1, 2] and len(web.asked) == before + 4


@pytest.mark.parametrize("path", ["busy?3600", "busy_until?3600", "busy?" + "9" * 4000])
def test_nobody_waits_an_hour(web, path):
    start = time.monotonic()
    assert reason(web.url + path, retries=5, deadline=20) == "status 429"
    assert time.monotonic() - start < 10


def test_retry_after_is_waited_for(web, monkeypatch):
    waits = []
    with fetcher(retries=1, deadline=100) as client:
        monkeypatch.setattr(client._stopped, "wait", lambda seconds: waits.append(seconds))
        for path in ("busy?7", "busy_until?50"):
            with pytest.raises(FetchError, match="status 429"):
                client.get(web.url + path)
    assert waits[0] == 7 and 45 < waits[1] <= 50


@pytest.mark.parametrize("text, seconds", [("", None), ("soon", None), ("12", 12), ("-3", None),
                                           ("Thu, 01 Jan 1970 00:00:00 GMT", 0)])
def test_what_retry_after_says(text, seconds):
    assert fetch._asked_wait(text) == seconds


# --- giving up ---


@pytest.mark.parametrize("path", ["silent", "dripping", "dripping_headers", "busy?30"])
def test_stop_ends_what_waits(web, path):
    says = []
    with fetcher(timeout=60, deadline=60, retries=2) as client:

        def work():
            with pytest.raises(FetchError) as caught:
                client.get(web.url + path)
            says.append(str(caught.value))

        thread = threading.Thread(target=work)
        before, start = len(web.asked), time.monotonic()
        thread.start()
        while len(web.asked) == before:
            time.sleep(0.01)
        time.sleep(0.05)
        client.stop()
        thread.join(10)
        assert says == ["given up"] and time.monotonic() - start < 5
        with pytest.raises(FetchError, match="given up"):
            client.get(web.url + "ok")
    assert not [t for t in threading.enumerate() if t.name.startswith("mlclassify-")]


# --- private addresses ---


@pytest.mark.parametrize("address", [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.2.1", "::", "::1", "fe80::1",
    "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1",
    "64:ff9b::a00:1", "fe80::1%lo", "2001:db8::1",
])  # fmt: skip
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111",
                                     "64:ff9b::101:101", "::ffff:1.1.1.1"])
def test_addresses_that_are(address):
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "0",
                                  "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"])
def test_private_addresses_are_refused_in_every_spelling(web, host):
    before = len(web.asked)
    says = reason(f"http://{host}:{web.server_port}/ok", allow_private=False)
    assert says.startswith("a private address (") and len(web.asked) == before


class Names:
    """A resolver and a network: what names lead to, and where connections really went."""

    def __init__(self, monkeypatch, port):
        self.answers, self.looked_up, self.connected = {}, [], []
        self.port, self.connect = port, socket.create_connection
        monkeypatch.setattr(socket, "getaddrinfo", self.resolve)
        monkeypatch.setattr(socket, "create_connection", self.redirect)

    def resolve(self, host, port, **options):
        self.looked_up.append(host)
        found = self.answers[host]
        found = found.pop(0) if isinstance(found[0], list) else found
        return [(None, None, None, None, (address, port)) for address in found]

    def redirect(self, address, timeout=None, source_address=None):
        self.connected.append(address)
        if address[0] == "203.0.112.9":
            raise ConnectionRefusedError("refused")
        sock = socket.socket()
        sock.settimeout(timeout)
        sock.connect(("127.0.0.1", self.port))
        return sock


@pytest.fixture
def names(monkeypatch, web):
    return Names(monkeypatch, web.server_port)


def test_a_redirect_into_a_private_address_is_refused(web, names):
    names.answers = {"photos.test": ["93.184.216.34"], "169.254.169.254": ["169.254.169.254"]}
    says = reason("http://photos.test/to_metadata", allow_private=False)
    assert says == "a private address (169.254.169.254)"
    assert names.connected == [("93.184.216.34", 80)]


def test_a_name_that_changes_its_mind_gains_nothing(web, names):
    names.answers = {"photos.test": [["93.184.216.34"], ["127.0.0.1"]]}
    assert get("http://photos.test/ok?3", allow_private=False) == photo(3)
    assert names.connected == [("93.184.216.34", 80)] and names.looked_up == ["photos.test"]
    assert web.asked[-1][1]["host"] == "photos.test"


def test_a_second_hop_is_looked_up_anew(web, names):
    names.answers = {"photos.test": [["93.184.216.34"], ["127.0.0.1"]]}
    assert reason("http://photos.test/moved", allow_private=False).startswith("a private address")
    assert len(names.connected) == 1


def test_one_private_address_of_several_is_enough_to_refuse(names):
    names.answers = {"photos.test": ["93.184.216.34", "10.0.0.1"]}
    assert reason("http://photos.test/ok", allow_private=False) == "a private address (10.0.0.1)"
    assert names.connected == []


def test_the_next_address_is_tried_where_one_is_not_reached(names):
    names.answers = {"photos.test": ["203.0.112.9", "93.184.216.34"]}
    assert get("http://photos.test/ok?4", allow_private=False) == photo(4)
    assert [host for host, _ in names.connected] == ["203.0.112.9", "93.184.216.34"]


def test_a_name_that_is_not_known_for_the_moment(monkeypatch):
    def fails(*args, **options):
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(fetch.BusyError, match=r"no address of a \(\[Errno -3\] try again\)"):
        addresses("a", 80)


# --- TLS ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of photos.test, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=photos.test", "-addext", "subjectAltName=DNS:photos.test", "-keyout",
         str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def secure(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with serving() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        yield Names(monkeypatch, server.server_port)


def test_a_certificate_is_checked_for_the_name_not_the_address(secure):
    secure.answers = {"photos.test": ["93.184.216.34"], "other.test": ["93.184.216.34"]}
    options = {"timeout": 5, "deadline": 10, "allow_private": False}
    assert get("https://photos.test/ok?5", **options) == photo(5)
    assert "certificate is not valid for 'other.test'" in reason("https://other.test/ok", **options)


def test_httpx_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ImportError) as caught:
        fetcher()
    assert str(caught.value) == (
        "test: needs httpx, which is not installed; pip install 'mlclassify[scrape]'"
    )
