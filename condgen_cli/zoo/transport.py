"""One connection: a URL opened for reading from an offset on, with what the other side says about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from condgen_cli import __version__, settings
from condgen_cli.errors import CondgenError, InputError, NetworkError, NotFoundError
from condgen_cli.zoo.names import PROTOCOLS, protocol_of
from condgen_cli.zoo.proxies import proxy_for
from condgen_cli.zoo.waiting import Waiting

__all__ = ["Body", "Interrupted", "connect", "host_of"]

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS = 10
CONNECT_SECONDS = 20
READ_SECONDS = 60


class Interrupted(Exception):
    """A failure that another attempt may cure.

    Args:
        reason: half a sentence.
        wait: seconds that the server asks to wait; None if it doesn't say.
        silent: the other side has not answered in time.
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
        url: for messages.
        file: what is read.
        start: offset of the first byte: the one asked for, or 0 from a server that knows no ranges.
        total: size of the whole file, None if unknown.
        validator: an ETag or a date that changes with the file; empty if the server gives none.
        encoding: how the server says that it has packed the bytes, which nobody asked it to; empty if it hasn't.
    """

    url: str
    file: IO[bytes]
    start: int
    total: int | None
    validator: str = ""
    encoding: str = ""
    waiting: Waiting = field(default_factory=lambda: Waiting("data"))

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, none at the end.

        Raises:
            Interrupted: if the connection breaks.
        """
        with _errors(self.url), self.waiting:
            return self.file.read(size)


@contextmanager
def connect(url: str, offset: int = 0, validator: str = "", seconds: float | None = None) -> Iterator[Body]:
    """Open ``url`` from byte ``offset`` on; with a ``validator``, only if the file is still the one it came with.

    Args:
        seconds: that a server of HTTP may take to answer, and twice as many for all that it sends; None: as for large files.
    Raises:
        Interrupted: if another attempt may succeed.
        NetworkError, NotFoundError, InputError: if not.
    """
    protocol = protocol_of(url)
    if protocol not in PROTOCOLS:
        raise InputError(f"{url} is not a URL of a protocol that condgen opens", f"one of: {', '.join(sorted(PROTOCOLS))}")
    if protocol != "file" and settings.current().offline:
        raise NetworkError(f"{url} is needed, but the network is off", "run it without --offline and CONDGEN_OFFLINE")
    with _errors(url), Waiting(host_of(url)) as waiting:
        body = _open_http(url, offset, validator, seconds) if protocol in ("http", "https") else _open_other(url, offset)
    body = replace(body, waiting=waiting)
    try:
        yield body
    finally:
        body.file.close()


def host_of(url: str) -> str:
    """Whom a URL is read from, as messages name it: a host with its port, without user and password."""
    host = urlsplit(url).netloc.rpartition("@")[2] if url.isprintable() else ""
    return host or protocol_of(url)


def _open_http(url: str, offset: int, validator: str, seconds: float | None) -> Body:
    import aiohttp
    import fsspec

    # aiohttp's own limit is five minutes for a whole file; encoded bodies would not match sizes, offsets and hashes
    timeout = aiohttp.ClientTimeout(
        total=seconds and 2 * seconds, sock_connect=seconds or CONNECT_SECONDS, sock_read=seconds or READ_SECONDS
    )
    client = {"timeout": timeout, "trust_env": True, "auto_decompress": False}
    filesystem = fsspec.filesystem("http", client_kwargs=client)
    headers = {"User-Agent": f"condgen/{__version__}", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    try:
        file = _redirected(filesystem, url, headers)
    except aiohttp.ClientResponseError as error:
        if error.status == 416 and offset:
            return _open_http(url, 0, "", seconds)
        raise
    start, total = _extent(file.r.status, file.r.headers)
    if start not in (0, offset):
        file.close()
        return _open_http(url, 0, "", seconds)
    encoding = file.r.headers.get("Content-Encoding", "").strip().lower()
    return Body(url, file, start, total, _validator(file.r.headers), "" if encoding == "identity" else encoding)


def _redirected(filesystem: Any, url: str, headers: Mapping[str, str]) -> Any:
    """The open file that a URL leads to. Each step has the proxy that is set for it, and stays within HTTP."""
    address = url
    for _ in range(MOST_REDIRECTS):
        proxy = proxy_for(address)
        options = {"headers": dict(headers), "allow_redirects": False, "proxy": proxy and proxy.url}
        # block_size 0 streams one GET; a size, whichever, saves a HEAD before it
        file = filesystem.open(address, "rb", block_size=0, size=1, **options)
        target = file.r.headers.get("Location", "")
        if file.r.status not in REDIRECTS or not target:
            return file
        file.close()
        address = urljoin(address, target)
        if protocol_of(address) not in ("http", "https"):
            raise NetworkError(f"{url} redirects to {target[:200]}, which is not followed")
    raise NetworkError(f"{url} redirects in circles")


def _open_other(url: str, offset: int) -> Body:
    import fsspec

    if "::" in url:
        raise InputError(f"{url} is a chained URL")
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InputError(f"cannot open {url}: {error}") from None
    total = filesystem.info(path).get("size")
    file = filesystem.open(path, "rb")
    offset = offset if total is None or offset <= total else 0
    file.seek(offset)
    return Body(url, file, offset, total)


def _extent(status: int, headers: Mapping[str, str]) -> tuple[int, int | None]:
    """Offset of a response's first byte and the file's size; -1 for a partial response that doesn't say where it starts."""
    if status != 206:
        length = headers.get("Content-Length", "")
        return 0, int(length) if length.isascii() and length.isdigit() else None
    match = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", headers.get("Content-Range", "").strip())
    if not match:
        return -1, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _validator(headers: Mapping[str, str]) -> str:
    etag = headers.get("ETag", "")
    # a weak one allows differences in bytes
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")


@contextmanager
def _errors(url: str) -> Iterator[None]:
    try:
        yield
    except (CondgenError, Interrupted):
        raise
    except FileNotFoundError:
        raise NotFoundError(f"{url} does not exist") from None
    except TimeoutError:
        raise Interrupted(f"the server does not answer in time{_on_the_way(url)}", silent=True) from None
    except Exception as error:
        raise _translated(url, error) from error


def _translated(url: str, error: Exception) -> Exception:
    if protocol_of(url) not in ("http", "https"):
        return NetworkError(f"cannot read {url}: {_reason(error)}")
    import aiohttp

    match error:
        case aiohttp.ClientHttpProxyError():
            return NetworkError(f"{proxy_for(url) or 'a proxy'} answers {error.status}")
        case aiohttp.ClientConnectorError() if (proxy := proxy_for(url)) and proxy.host == error.host:
            return NetworkError(f"cannot connect to {proxy}: {_reason(error.os_error)}", "correct it, or unset it")
        case aiohttp.ClientResponseError():
            return _refusal(url, error)
        case aiohttp.ClientConnectorError():
            return NetworkError(f"cannot connect to {error.host}: {_reason(error.os_error)}", "check the network connection")
        case aiohttp.InvalidURL():
            return InputError(f"{url} is not a URL")
        case aiohttp.ClientError() | OSError():
            return Interrupted(f"the connection broke off{_on_the_way(url)}")
    return NetworkError(f"cannot read {url}: {_reason(error)}")


def _on_the_way(url: str) -> str:
    proxy = proxy_for(url) if protocol_of(url) in ("http", "https") else None
    return f", asked through {proxy}" if proxy else ""


def _refusal(url: str, error: Any) -> Exception:
    """For a response with an error status; a missing file has been dealt with before."""
    if error.status == 407:
        return NetworkError(f"{proxy_for(url) or 'a proxy'} wants a user and a password", "http://USER:PASSWORD@HOST:PORT")
    if error.status in RETRYABLE:
        return Interrupted(
            f"the server answers {error.status}{_on_the_way(url)}", _wait((error.headers or {}).get("Retry-After", ""))
        )
    if error.status == 410:
        return NotFoundError(f"{url} does not exist any more")
    return NetworkError(f"{url}: the server answers {error.status}{_on_the_way(url)}")


def _wait(value: str) -> float | None:
    """Seconds of a Retry-After header: a number or a date."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
