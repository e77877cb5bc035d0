"""Bytes from an address of the web that nobody vouches for.

Every hop of a redirect is looked at anew: http or https, and a name that leads to public addresses
only. What is connected to is the address that was looked at, so a name that changes its mind in
between gains nothing. Time and bytes have limits however a server behaves, and one that is busy is
asked again, but not for long.
"""

from __future__ import annotations

import email.utils
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import httpx

MAX_REDIRECTS = 5
BUSY = frozenset((408, 425, 429, 500, 502, 503, 504))  # may answer a moment later
_MOVED = frozenset((301, 302, 303, 307, 308))
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

# Compressed answers could grow without bound when unpacked; photos gain nothing from it. The
# formats are those that `open_image` reads: a server that has several chooses by this.
_HEADERS = {
    "accept": "image/jpeg,image/png,image/webp,image/gif;q=0.9,*/*;q=0.5",
    "accept-encoding": "identity",
    "user-agent": "mlclassify",
}


class FetchError(Exception):
    """Why an address gave nothing."""


class BudgetSpentError(FetchError):
    """All bytes that a download may take are taken."""


class BusyError(FetchError):
    """A server that may answer later.

    Attributes
    ----------
    wait : float or None
        How many seconds it asks for.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class Limits:
    """What a download may cost.

    Attributes
    ----------
    max_bytes : int
        Of one answer.
    max_total : int
        Bytes of all answers together.
    timeout : float
        Seconds to wait for a server to connect or to send something.
    deadline : float
        Seconds for one address in all, repeated tries and waits included.
    retries : int
        How often a server that is busy or silent is asked again.
    allow_private : bool
        Whether addresses of this machine and its network may be asked.
    """

    max_bytes: int
    max_total: int
    timeout: float
    deadline: float
    retries: int = 2
    allow_private: bool = False


class Fetcher:
    """Asks addresses within limits; threads may share one. A context manager.

    Parameters
    ----------
    function : str
        Who needs it, for the message where httpx is not installed.
    limits : Limits

    Attributes
    ----------
    left : int
        Bytes that may still come.
    """

    def __init__(self, function: str, limits: Limits) -> None:
        self._httpx = _import_httpx(function)
        # A connection is kept for no second request: it belongs to an address, not to the name
        # that its certificate was checked for.
        kept = self._httpx.Limits(max_keepalive_connections=0)
        self._client: httpx.Client = self._httpx.Client(
            timeout=limits.timeout, headers=_HEADERS, limits=kept
        )
        self.limits, self.left = limits, limits.max_total
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._open: set[Line] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def stop(self) -> None:
        """Give up: whoever waits or reads ends with a FetchError."""
        self._stopped.set()
        with self._lock:
            for line in self._open:
                line.cut()

    def get(self, url: str) -> bytes:
        """Return what an address answers.

        Parameters
        ----------
        url : str

        Returns
        -------
        bytes

        Raises
        ------
        FetchError
            The message is the reason, without the address.
        """
        end, turn = time.monotonic() + self.limits.deadline, 0
        while True:
            try:
                return self._follow(url, end)
            except BusyError as error:
                wait = 0.5 * 2**turn if error.wait is None else error.wait
                if turn == self.limits.retries or wait > end - time.monotonic():
                    raise
                if self._stopped.wait(wait):
                    raise FetchError("given up") from None
                turn += 1

    def _follow(self, address: str, end: float) -> bytes:
        """Ask, going where the answers say, until one has a body."""
        url = self._url(address)
        self._take(0)
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._ask(url, end)
            if isinstance(answer, bytes):
                return answer
            url = self._url(answer, url)
        raise FetchError(f"more than {MAX_REDIRECTS} redirects")

    def _url(self, text: str, base: httpx.URL | None = None) -> httpx.URL:
        """Return an address as httpx reads it, the one that all looks at it go by."""
        try:
            url: httpx.URL = self._httpx.URL(text) if base is None else base.join(text)
        except (self._httpx.InvalidURL, ValueError) as error:
            raise FetchError(_reason(error)) from None
        if url.scheme not in _PORTS or not url.host or (url.port or 0) > 65535:
            raise FetchError("neither http nor https")
        return url

    def _ask(self, url: httpx.URL, end: float) -> bytes | str:
        """Return the body of an answer, or where it says to go."""
        host, port = url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme]
        *others, last = addresses(host, port, self.limits.allow_private)
        for address in others:
            try:
                return self._ask_at(address, url, end)
            except (self._httpx.ConnectError, self._httpx.ConnectTimeout):
                continue  # a name may have an address that this network does not reach
        try:
            return self._ask_at(last, url, end)
        except (self._httpx.ConnectError, self._httpx.ConnectTimeout) as error:
            raise BusyError(_reason(error)) from None

    def _ask_at(self, address: str, url: httpx.URL, end: float) -> bytes | str:
        with self._line(end) as line:
            try:
                with self._client.stream(**_request(url, address, line)) as response:
                    answer = self._read(response)
            except self._httpx.HTTPError as error:
                if not line.is_cut:
                    raise self._judged(error) from None
            if line.is_cut:  # then what looks like the end of a body is none
                stopped, seconds = self._stopped.is_set(), self.limits.deadline
                raise FetchError("given up" if stopped else f"more than {seconds:g} seconds")
            return answer

    def _judged(self, error: httpx.HTTPError) -> Exception:
        """Return what an error of httpx means; those of connecting are for `_ask`."""
        unreached = isinstance(error, (self._httpx.ConnectError, self._httpx.ConnectTimeout))
        busy = isinstance(error, self._httpx.TransportError)
        return error if unreached else (BusyError if busy else FetchError)(_reason(error))

    @contextmanager
    def _line(self, end: float) -> Iterator[Line]:
        """Have a connection that is cut at the time `end`, or when all is given up."""
        line = Line()
        timer = threading.Timer(max(0, end - time.monotonic()), line.cut)
        timer.name = "mlclassify-deadline"
        timer.start()
        with self._lock:
            self._open.add(line)
        try:
            if self._stopped.is_set():
                raise FetchError("given up")
            yield line
        finally:
            timer.cancel()
            timer.join()
            with self._lock:
                self._open.discard(line)
            line.close()

    def _read(self, response: httpx.Response) -> bytes | str:
        headers, status = response.headers, response.status_code
        if status in _MOVED and "location" in headers:
            return headers["location"]
        if status in BUSY:
            raise BusyError(f"status {status}", _asked_wait(headers.get("retry-after", "")))
        if status != 200:
            raise FetchError(f"status {status}")
        return self._body(response)

    def _body(self, response: httpx.Response) -> bytes:
        data, most = bytearray(), self.limits.max_bytes
        if int(response.headers.get("content-length", 0)) > most:
            raise FetchError(f"more than {most} bytes")
        for chunk in response.iter_raw():
            self._take(len(chunk))
            data += chunk
            if len(data) > most:
                raise FetchError(f"more than {most} bytes")
        return bytes(data)

    def _take(self, n: int) -> None:
        with self._lock:
            spent, self.left = n > self.left or not self.left, max(0, self.left - n)
        if spent:
            raise BudgetSpentError(f"more than {self.limits.max_total} bytes in all")


class Line:
    """A connection that another thread can cut, whatever it is waiting for.

    httpx has no limit of time for a whole answer: a server that sends one byte of a header every
    few seconds would hold a thread for days.
    """

    def __init__(self) -> None:
        self.is_cut, self._lock = False, threading.Lock()
        self._socket: socket.socket | None = None

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Note the socket, when httpcore has connected it; TLS will wrap the same connection."""
        if event == "connection.connect_tcp.complete":
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket").dup()
                self._shut()

    def cut(self) -> None:
        """End the connection: a read that waits in another thread returns."""
        with self._lock:
            self.is_cut = True
            self._shut()

    def _shut(self) -> None:
        if self.is_cut and self._socket is not None:
            with suppress(OSError):  # the other side was faster
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Free what notes the connection."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()


def _import_httpx(function: str) -> ModuleType:
    try:
        import httpx
    except ImportError as error:
        raise ImportError(
            f"{function}: needs httpx, which is not installed; pip install 'mlclassify[scrape]'"
        ) from error
    return httpx


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def addresses(host: str, port: int, allow_private: bool = False) -> list[str]:
    """Look a name up, and refuse it if it leads to an address that is not public.

    Parameters
    ----------
    host : str
    port : int
    allow_private : bool

    Returns
    -------
    list of str
        At least one.

    Raises
    ------
    FetchError

    Examples
    --------
    >>> addresses("127.1", 80, allow_private=True)
    ['127.0.0.1']
    >>> addresses("127.1", 80)
    Traceback (most recent call last):
    ...
    mlclassify.data.fetch.FetchError: a private address (127.0.0.1)
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        busy = getattr(error, "errno", None) == socket.EAI_AGAIN
        reason = f"no address of {host} ({_reason(error)})"
        raise (BusyError if busy else FetchError)(reason) from None
    answer = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    private = [] if allow_private else [a for a in answer if not is_public(a)]
    if private:
        raise FetchError(f"a private address ({private[0]})")
    return answer


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the open internet, also where IPv6 wraps an IPv4.

    Parameters
    ----------
    address : str

    Returns
    -------
    bool

    Examples
    --------
    >>> is_public("1.1.1.1"), is_public("192.168.0.1"), is_public("::ffff:10.0.0.1")
    (True, False, False)
    """
    ip = ipaddress.ip_address(address)
    inner = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    if ip in _NAT64:
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    ip = inner or ip
    return ip.is_global and not ip.is_multicast


def _request(url: httpx.URL, address: str, line: Line) -> dict[str, Any]:
    """Return the request for `url` at `address`, in the name of its host to server and TLS."""
    return {
        "method": "GET",
        "url": url.copy_with(host=address, fragment=None),
        "headers": {"host": url.netloc.decode("ascii")},
        "extensions": {"sni_hostname": url.raw_host.decode("ascii"), "trace": line.trace},
        "follow_redirects": False,
    }


def _asked_wait(text: str) -> float | None:
    """Return the seconds of Retry-After, a number or a date; None where it says nothing."""
    try:
        if text.isdecimal():
            return int(text)
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
