"""Downloads: resumed, limited in size, verified, then renamed into place."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import TypeVar

from condgen_cli.errors import CondgenError, InputError, IntegrityError, NetworkError, NotFoundError, reason_of
from condgen_cli.files.locks import partial_file
from condgen_cli.files.transport import Body, Interrupted, connect, host_of, silence
from condgen_cli.files.waiting import PATIENCE
from condgen_cli.terminal import console

__all__ = ["Expected", "fetch", "fetch_bytes", "human_size", "storage_errors"]

ATTEMPTS = 4
FIRST_WAIT = 0.5
LONGEST_WAIT = 20.0
CHUNK = 1 << 18

T = TypeVar("T")


@dataclass(frozen=True)
class Expected:
    """Expected size in bytes and hashes of a file; 0 or empty: unknown."""

    size: int = 0
    sha256: str = ""
    md5: str = ""

    @property
    def has_hash(self) -> bool:
        return bool(self.sha256 or self.md5)

    def problem(self, path: Path) -> str:
        """What is wrong with a file, as part of a sentence; empty if it is as expected."""
        size = path.stat().st_size
        if self.size and size != self.size:
            return f"{size} bytes instead of {self.size}"
        for algorithm, digest in (("sha256", self.sha256), ("md5", self.md5)):
            if digest and _digest(path, algorithm) != digest.lower():
                return f"its {algorithm} is not {digest[:16]}…"
        return ""


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def fetch(
    urls: str | Sequence[str],
    destination: Path,
    *,
    size: int | None = None,
    sha256: str = "",
    md5: str = "",
    limit: int | None = None,
    description: str = "",
) -> Path:
    """Download a file to ``destination`` unless it is there already.

    The data go to ``NAME.part`` beside it, which a later call continues if a hash is known; only a complete, verified file
    gets the final name. Other processes that download the same file wait, if the file system has locks.

    Args:
        urls: absolute URLs, tried in order.
        destination: path of the file.
        size, sha256, md5: expected size in bytes and hashes, as far as known.
        limit: maximum size in bytes of a file of unknown size; None: no limit.
        description: label of the progress bar on a terminal; empty: no bar.
    Raises:
        NotFoundError: if no URL has the file.
        IntegrityError: if the file differs from what is expected.
        NetworkError: if the network fails, or is needed while offline.
        CondgenError: if the disk is full, the folder isn't writable, or another process holds the lock and makes no progress.
    """
    expected = Expected(size or 0, sha256, md5)
    with _lock_part(destination) as part:
        if (expected.size or expected.has_hash) and destination.is_file() and not expected.problem(destination):
            return destination
        download = _Download(part, expected, limit, description)
        download.run([urls] if isinstance(urls, str) else urls)
        with storage_errors(destination):
            download.part.replace(destination)
    return destination


def fetch_bytes(url: str, limit: int, seconds: float | None = None, attempts: int = ATTEMPTS) -> bytes:
    """The content of a URL, decompressed if the server has compressed it for the transfer.

    Args:
        limit: maximum size in bytes.
        seconds: maximum time without data from the server, and half of the maximum total time, name resolution included;
            time-outs are not retried then. None: as for ``fetch``.
        attempts: maximum number of attempts.
    Raises:
        InputError: if the content has more than ``limit`` bytes.
        NotFoundError, NetworkError: as ``fetch``.
    """

    def read() -> bytes:
        with connect(url, seconds=seconds) as body:
            if body.total is not None and body.total > limit:
                raise _too_large(url, limit)
            content = bytearray()
            while chunk := body.read(CHUNK):
                content += chunk
                if len(content) > limit:
                    raise _too_large(url, limit)
            if body.total is not None and len(content) < body.total:
                raise Interrupted(f"the connection closed after {len(content)} of {body.total} bytes")
            return _unpack(bytes(content), body, limit)

    return _with_retries(lambda: _run_within(2 * seconds, read, url) if seconds else read(), url, attempts, seconds)


def _run_within(seconds: float, operation: Callable[[], T], url: str) -> T:
    """The result of an operation with a time limit, which also covers name resolution and servers that send very slowly.

    Raises:
        Interrupted: if the time is over; the operation continues in a daemon thread.
    """
    done: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            done.append(operation())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not done:
        raise silence(url)
    return done[0]


def _unpack(content: bytes, body: Body, limit: int) -> bytes:
    """Decompress what a server has compressed against the request; a file that is itself compressed, as a .gz, is unchanged."""
    if not body.encoding:
        return content
    if body.encoding not in ("gzip", "x-gzip", "deflate"):
        raise NetworkError(f"{body.url}: the server sends it compressed{_packing(body.encoding)}")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either kind of header
    try:
        plain = unpacker.decompress(content, limit + 1)
    except zlib.error:
        return content
    if len(plain) > limit:
        raise _too_large(body.url, limit)
    if not unpacker.eof:
        raise Interrupted("the compressed data end too early")
    return plain


def _packing(encoding: str) -> str:
    return f" as {encoding[:20]}, which was not requested" if encoding else ""


@dataclass
class _Download:
    """A download in progress: the partial file, and what is known about the complete one."""

    part: Path
    expected: Expected
    limit: int | None
    description: str
    validator: str = ""
    encoding: str = ""

    def run(self, urls: Sequence[str]) -> None:
        """Download a verified file to ``part``, from the first URL that succeeds."""
        if self.part.is_symlink():
            raise IntegrityError(f"{self.part} is a link", "remove it")
        if not self.expected.has_hash:
            self._drop()  # without a hash, a continued file can't be verified
        failures: list[CondgenError] = []
        for url in urls:
            try:
                return self._fetch_from(url)
            except (IntegrityError, NetworkError, NotFoundError, InputError) as error:
                failures.append(error)
        raise _most_serious(failures)

    def _fetch_from(self, url: str) -> None:
        resumed = self._offset() > 0
        problem = self._attempt(url)
        if problem and resumed:
            # the partial file may be of another revision
            self._drop()
            problem = self._attempt(url)
        if problem:
            self._drop()
            packed = f"; the server sends it compressed{_packing(self.encoding)}" if self.encoding else ""
            raise IntegrityError(f"{url}: {problem}{packed}")

    def _attempt(self, url: str) -> str:
        self.validator = ""
        try:
            _with_retries(lambda: self._receive(url), url)
            with storage_errors(self.part):
                return self.expected.problem(self.part)
        except _WrongSizeError as error:
            return str(error)

    def _receive(self, url: str) -> None:
        """Complete the partial file in one connection."""
        offset = self._offset()
        if self.expected.size and offset == self.expected.size:
            return
        if offset and not self.expected.has_hash and not self.validator:
            self._drop()
            offset = 0
        with connect(url, offset, self.validator) as body:
            self.validator, self.encoding = body.validator, body.encoding
            self._check_announced(body)
            self._copy(body)
        whole, arrived = self.expected.size or body.total or 0, self._offset()
        if arrived < whole:
            raise Interrupted(f"the connection closed after {arrived} of {whole} bytes")

    def _check_announced(self, body: Body) -> None:
        if body.total is not None and self.expected.size and body.total != self.expected.size:
            raise _WrongSizeError(f"{body.total} bytes instead of {self.expected.size}")
        if body.total is not None and self.limit is not None and body.total > self.limit:
            raise _too_large(body.url, self.limit)
        needed = (self.expected.size or body.total or 0) - body.start
        if needed > shutil.disk_usage(self.part.parent).free:
            raise _storage_error(self.part, OSError(errno.ENOSPC, ""))

    def _copy(self, body: Body) -> None:
        total = self.expected.size or body.total
        with (
            storage_errors(self.part),
            self._bar(total) as advance,
            self.part.open("ab" if body.start else "wb") as out,
        ):
            advance(body.start)
            while chunk := body.read(CHUNK):
                out.write(chunk)
                advance(len(chunk))
                self._check_length(body.url, out.tell())
            out.flush()
            os.fsync(out.fileno())

    def _check_length(self, url: str, length: int) -> None:
        if self.expected.size and length > self.expected.size:
            raise _WrongSizeError(f"more than the expected {self.expected.size} bytes")
        if self.limit is not None and length > self.limit:
            self._drop()
            raise _too_large(url, self.limit)

    @contextmanager
    def _bar(self, total: int | None) -> Iterator[Callable[[float], None]]:
        if not self.description:
            yield lambda amount: None
            return
        with console.progress(total, self.description, unit="bytes") as advance:
            yield advance

    def _offset(self) -> int:
        try:
            size = self.part.stat().st_size
        except FileNotFoundError:
            return 0
        if self.expected.size and size > self.expected.size:
            self._drop()
            return 0
        return size

    def _drop(self) -> None:
        with storage_errors(self.part):
            self.part.unlink(missing_ok=True)


class _WrongSizeError(Exception):
    """The size of a download is wrong; the message is part of a sentence."""


def _with_retries(operation: Callable[[], T], url: str, attempts: int = ATTEMPTS, seconds: float | None = None) -> T:
    attempt = 1
    while True:
        try:
            return operation()
        except Interrupted as failure:
            reason = failure.reason
            wait = FIRST_WAIT * 2 ** (attempt - 1) if failure.wait is None else failure.wait
            if failure.wait is not None and wait > (seconds or LONGEST_WAIT):
                raise NetworkError(f"{url}: {reason}, and asks to wait {wait:.0f} seconds", "try again later") from None
            if attempt == attempts or (seconds and failure.silent):
                often = f" ({attempt} attempts)" if attempt > 1 else ""
                raise NetworkError(f"{url}: {reason}{often}", "try again later") from None
        if wait > PATIENCE:
            console.info(f"{host_of(url)}: {reason}; trying again in {wait:.0f} seconds")
        sleep(wait)
        attempt += 1


def _most_serious(failures: Sequence[CondgenError]) -> CondgenError:
    """The failure to report: a file that was downloaded and is wrong says more than one that wasn't downloaded."""
    if not failures:
        return NotFoundError("no URL is given")
    order = (IntegrityError, NetworkError, InputError, NotFoundError)
    error = min(failures, key=lambda failure: order.index(type(failure)))
    if len(failures) > 1:
        return type(error)(f"{error.message} (and {len(failures) - 1} more failed)", error.hint)
    return error


@contextmanager
def _lock_part(destination: Path) -> Iterator[Path]:
    with ExitStack() as stack:
        with storage_errors(destination):
            destination.parent.mkdir(parents=True, exist_ok=True)
            part = stack.enter_context(partial_file(destination))
        yield part


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Translate errors of writing to ``path`` into one clear line."""
    try:
        yield
    except OSError as error:
        raise _storage_error(path, error) from error


def _storage_error(path: Path, error: OSError) -> CondgenError:
    elsewhere = "set CONDGEN_HOME to a folder that can be written to"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CondgenError(f"the disk of {path.parent} is full", "free some space: the partial download is kept")
    if error.errno == errno.EFBIG:
        return CondgenError(f"{path} is larger than the file system allows", elsewhere)
    return CondgenError(f"cannot write to {path.parent}: {reason_of(error).lower()}", elsewhere)


def _too_large(url: str, limit: int) -> InputError:
    return InputError(f"{url} is larger than {human_size(limit)}")


def human_size(size: float) -> str:
    """A size in bytes with a unit, such as ``19.1 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
