"""Opening a URL for reading from an offset on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from condgen_cli import __version__, settings
from condgen_cli.errors import CondgenError, InputError, NetworkError, NotFoundError, reason_of
from condgen_cli.files.names import PROTOCOLS, protocol_of
from condgen_cli.files.proxies import Proxy, proxy_for
from condgen_cli.files.waiting import Waiting

if TYPE_CHECKING:
    from io import BufferedReader

    import urllib3
    from urllib3 import BaseHTTPResponse

__all__ = ["Body", "Interrupted", "connect", "host_of", "silence"]

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
MOST_REDIRECTS = 10
CONNECT_SECONDS = 20
READ_SECONDS = 60
HUB = "https://huggingface.co"


class Interrupted(Exception):
    """A failure after which another attempt may succeed.

    Args:
        reason: reason as part of a sentence.
        wait: seconds that the server asks to wait; None if it doesn't say.
        silent: whether the server has not answered in time.
    """

    def __init__(self, reason: str, wait: float | None = None, silent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.silent = silent


@dataclass(frozen=True)
class Body:
    """An open download.

    Args:
        url: the URL, for messages.
        stream: the data.
        start: offset of the first byte: the requested one, or 0 if the server doesn't support ranges.
        total: size of the complete file in bytes; None if unknown.
        waiting: message while nothing arrives.
        validator: ETag or date that changes with the file; empty if the server gives none.
        encoding: compression that the server has applied without request; empty if none.
    """

    url: str
    stream: BufferedReader | BaseHTTPResponse
    start: int
    total: int | None
    waiting: Waiting
    validator: str = ""
    encoding: str = ""

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, as they arrive; none at the end.

        Raises:
            Interrupted: if the connection breaks.
        """
        with _errors(self.url), self.waiting:
            return self.stream.read1(size)


@contextmanager
def connect(url: str, offset: int = 0, validator: str = "", seconds: float | None = None) -> Iterator[Body]:
    """Open ``url`` from byte ``offset`` on, or from the beginning if the file has changed since ``validator`` was received.

    Args:
        url: absolute URL.
        offset: offset of the first byte to read.
        validator: validator of the earlier response; empty: none.
        seconds: time limit for an HTTP server to connect and to send data; None: the defaults for large files.
    Raises:
        Interrupted: if another attempt may succeed.
        NetworkError, NotFoundError, InputError: otherwise.
    """
    protocol = protocol_of(url)
    if protocol not in PROTOCOLS:
        raise InputError(f"cannot open {url}: unsupported protocol", f"one of: {', '.join(sorted(PROTOCOLS))}")
    if protocol != "file" and settings.current().offline:
        raise NetworkError(f"{url} is needed, but the network is off", "run it without --offline and CONDGEN_OFFLINE")
    with _errors(url), Waiting(host_of(url)) as waiting:
        local = protocol == "file"
        body = _open_file(url, offset, waiting) if local else _open_http(url, offset, validator, seconds, waiting)
    try:
        yield body
    finally:
        body.stream.close()


def host_of(url: str) -> str:
    """Host and port of a URL for messages, without user and password."""
    host = urlsplit(url).netloc.rpartition("@")[2] if url.isprintable() else ""
    return host or protocol_of(url)


def silence(url: str) -> Interrupted:
    """The failure of a server that has not answered in time."""
    return Interrupted(f"the server does not answer in time{_on_the_way(url)}", silent=True)


def _open_file(url: str, offset: int, waiting: Waiting) -> Body:
    from urllib.request import url2pathname  # brings a client for HTTP and parsers of mail

    file = Path(url2pathname(urlsplit(url).path)).open("rb")  # noqa: SIM115
    total = os.fstat(file.fileno()).st_size
    offset = offset if offset <= total else 0
    file.seek(offset)
    return Body(url, file, offset, total, waiting)


def _open_http(url: str, offset: int, validator: str, seconds: float | None, waiting: Waiting) -> Body:
    # compressed bodies would not match sizes, offsets and hashes
    headers = {"User-Agent": f"condgen/{__version__}", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    response = _follow_redirects(url, headers, seconds)
    start, total = _extent(response)
    if response.status == 416 or start not in (0, offset):
        response.close()
        if not offset:
            raise NetworkError(f"{url}: the server sends another range than the requested one")
        return _open_http(url, 0, "", seconds, waiting)
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    return Body(url, response, start, total, waiting, _validator(response.headers), "" if encoding == "identity" else encoding)


def _follow_redirects(url: str, headers: Mapping[str, str], seconds: float | None) -> BaseHTTPResponse:
    """The final response after redirects, which stay within HTTP; each uses the proxy for its URL."""
    address = _of_hub(url) if protocol_of(url) == "hf" else url
    for _ in range(MOST_REDIRECTS):
        with _errors(address):
            response = _request(address, headers, seconds)
            target = response.get_redirect_location()
            if not target:
                if not (200 <= response.status < 300 or (response.status == 416 and "Range" in headers)):
                    response.close()
                    raise _refusal(url, address, response)
                return response
            response.close()
            address = urljoin(address, target)
        if protocol_of(address) not in ("http", "https"):
            raise NetworkError(f"{url} redirects to {target[:200]}, which is not followed")
    raise NetworkError(f"{url} redirects in circles")


def _request(address: str, headers: Mapping[str, str], seconds: float | None) -> BaseHTTPResponse:
    """The response to a single request, whose body has not been read."""
    import urllib3

    parts = urllib3.util.parse_url(address)
    if not parts.host:
        raise InputError(f"{address} is not a URL")
    if parts.auth:
        headers = {**headers, **urllib3.util.make_headers(basic_auth=unquote(parts.auth))}
    timeout = urllib3.Timeout(connect=seconds or CONNECT_SECONDS, read=seconds or READ_SECONDS)
    client = _client(proxy_for(address))
    return client.request(
        "GET",
        address,
        headers=headers,
        timeout=timeout,
        retries=False,
        redirect=False,
        preload_content=False,
        decode_content=False,
    )


def _client(proxy: Proxy | None) -> urllib3.PoolManager:
    import urllib3

    if proxy is None:
        return urllib3.PoolManager()
    auth = urllib3.util.parse_url(proxy.url).auth
    return urllib3.ProxyManager(
        proxy.url, proxy_headers=urllib3.util.make_headers(proxy_basic_auth=unquote(auth)) if auth else None
    )


def _of_hub(url: str) -> str:
    """The HTTP URL of ``hf://[datasets/|spaces/]ORG/REPO[@REVISION]/PATH`` on the Hugging Face Hub."""
    match = re.fullmatch(r"hf://((?:datasets/|spaces/)?[^/@]+/[^/@]+)(?:@([^/]+))?/(.+)", url, re.IGNORECASE)
    if not match:
        raise InputError(f"{url} is not a URL of the Hugging Face Hub", "hf://ORG/REPO/PATH")
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
    return f"{endpoint}/{match[1]}/resolve/{match[2] or 'main'}/{match[3]}"


def _extent(response: BaseHTTPResponse) -> tuple[int, int | None]:
    """The offset of a response's first byte, -1 if a partial response doesn't state it, and the size of the file."""
    if response.status != 206:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isascii() and length.isdigit() else None
    match = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", response.headers.get("Content-Range", "").strip())
    if not match:
        return -1, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _validator(headers: Mapping[str, str]) -> str:
    etag = headers.get("ETag", "")
    # a weak ETag doesn't guarantee identical bytes
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")


@contextmanager
def _errors(url: str) -> Iterator[None]:
    try:
        yield
    except (CondgenError, Interrupted):
        raise
    except Exception as error:
        raise _translate(url, error) from error


def _translate(url: str, error: Exception) -> Exception:
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"{url} does not exist")
    if isinstance(error, OSError):  # of a file; errors of connections are wrapped
        return NetworkError(f"cannot read {url}: {reason_of(error)}")
    if isinstance(error, ValueError):
        return InputError(f"{url} is not a URL")
    import ssl

    from urllib3 import exceptions

    cause = _cause(error)
    if isinstance(cause, TimeoutError):
        return silence(url)
    host = urlsplit(url).hostname
    match error:
        case exceptions.ProxyError() | exceptions.ProtocolError() if status := _tunnel_status(cause):
            return _proxy_refusal(url, status)
        case exceptions.ProxyError():
            return NetworkError(f"cannot connect to {proxy_for(url)}: {reason_of(cause)}", "correct it, or unset it")
        case exceptions.NewConnectionError():
            return NetworkError(f"cannot connect to {host}: {reason_of(cause)}", "check the network connection")
        case exceptions.TimeoutError():
            return silence(url)
        case exceptions.SSLError() if isinstance(cause, ssl.SSLCertVerificationError):
            trusted = "check the address, and the clock of this machine; SSL_CERT_FILE names the certificates that it trusts"
            return NetworkError(f"{host} has no certificate that this machine trusts: {cause.verify_message}", trusted)
        case exceptions.SSLError() if not isinstance(cause, ssl.SSLEOFError):
            return NetworkError(f"cannot connect to {host}: {reason_of(cause)}", "check the address")
        case exceptions.ProtocolError() | exceptions.SSLError():
            return Interrupted(f"the connection broke off{_on_the_way(url)}")
    return NetworkError(f"cannot read {url}: {reason_of(error)}")


def _cause(error: BaseException) -> BaseException:
    """The operating system's error behind one of urllib3's; the outermost error if there is none."""
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, OSError):
        inner = inner.__cause__ or inner.__context__
    return inner or error


def _tunnel_status(cause: BaseException) -> int:
    """The status code of a proxy that refuses a tunnel; 0 for other failures."""
    match = re.match(r"Tunnel connection failed: (\d{3})", str(cause))
    return int(match[1]) if match else 0


def _on_the_way(url: str) -> str:
    proxy = proxy_for(url) if protocol_of(url) in ("http", "https") else None
    return f", asked through {proxy}" if proxy else ""


def _proxy_refusal(url: str, status: int) -> NetworkError:
    proxy = str(proxy_for(url) or "a proxy")
    if status == 407:
        return NetworkError(f"{proxy} wants a user and a password", "http://USER:PASSWORD@HOST:PORT")
    return NetworkError(f"{proxy} answers {status}")


def _refusal(url: str, address: str, response: BaseHTTPResponse) -> Exception:
    """The error for a response without the file; ``address`` is the URL after redirects."""
    status = response.status
    if status == 404:
        return NotFoundError(f"{url} does not exist")
    if status == 410:
        return NotFoundError(f"{url} does not exist any more")
    if status == 407:
        return _proxy_refusal(address, status)
    if status in RETRYABLE:
        wait = _wait(response.headers.get("Retry-After", ""))
        return Interrupted(f"the server answers {status}{_on_the_way(address)}", wait)
    return NetworkError(f"{url}: the server answers {status}{_on_the_way(address)}")


def _wait(value: str) -> float | None:
    """Seconds in a Retry-After header, a number or a date; None if it is neither."""
    from urllib3 import Retry
    from urllib3.exceptions import InvalidHeader

    try:
        return Retry().parse_retry_after(value)
    except (InvalidHeader, ValueError, OverflowError):
        return None
