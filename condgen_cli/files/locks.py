"""Locking the partial file of a download, so that one process at a time writes it and none waits for ever."""

from __future__ import annotations

import errno
import glob
import os
import re
import secrets
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from condgen_cli.errors import CondgenError
from condgen_cli.files.waiting import Waiting

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["STALLED_SECONDS", "leftovers", "partial_file"]

STALLED_SECONDS = 150.0
"""Seconds without progress after which the holder of a lock isn't waited for; time-outs of servers are shorter."""
POLL_SECONDS = 0.5


@contextmanager
def partial_file(destination: Path) -> Iterator[Path]:
    """The partial file of a download to ``destination``, ``NAME.part`` beside it, locked for this process.

    On file systems without locks, such as some network file systems, each process writes a file of its own, continuing an
    abandoned one if there is one; at worst a file is downloaded twice.

    Raises:
        CondgenError: if another process holds the lock and makes no progress.
        OSError: if the folder of the destination isn't writable.
    """
    part = destination.with_name(destination.name + ".part")
    lock_file = destination.with_name(f".{destination.name}.lock")
    if not _has_locks(lock_file):
        own = _take_over(part)
        try:
            yield own
        finally:
            with suppress(OSError):
                own.replace(part)  # for the next process; there is nothing if the download succeeded
        return
    from filelock import FileLock

    # older versions of filelock would make the lock unreadable for other users of a shared folder
    lock = FileLock(lock_file, mode=stat.S_IMODE(lock_file.stat().st_mode))
    _acquire(lock, part)
    try:
        yield part
    finally:
        lock.release()


def leftovers(destination: Path) -> list[Path]:
    """Partial files that interrupted downloads of a file have left."""
    return [path for path in destination.parent.glob(f"{glob.escape(destination.name)}.part*") if path.is_file()]


def _acquire(lock: BaseFileLock, part: Path) -> None:
    from filelock import Timeout

    size, since = _size(part), monotonic()
    with Waiting(f"another process that downloads {part.name.removesuffix('.part')}"):
        while True:
            try:
                lock.acquire(timeout=POLL_SECONDS)
                return
            except Timeout:
                if (now := _size(part)) != size:
                    size, since = now, monotonic()
                elif monotonic() - since > STALLED_SECONDS:
                    held = f"has received nothing for {STALLED_SECONDS:.0f} seconds"
                    message = f"another process is downloading {part.with_suffix('')}, and {held}"
                    raise CondgenError(message, "end that process, or try again later") from None


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return -1


def _has_locks(file: Path) -> bool:
    """Whether the file system supports locks; the file is created. This is tested directly, since filelock would use the
    existence of the file as a lock instead, which remains when a process is killed."""
    with file.open("a") as opened:
        if sys.platform == "win32":
            return True
        import fcntl

        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
    return True


def _take_over(part: Path) -> Path:
    """A partial file of this process alone, continuing one that an ended process of this machine has left, if there is one."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:40]
    own = part.with_name(f"{part.name}.{host}.{os.getpid()}.{secrets.token_hex(4)}")
    abandoned = [
        path for path in part.parent.glob(f"{glob.escape(part.name)}.{host}.*.*") if not _is_running(path.name.split(".")[-2])
    ]
    for path in (part, *abandoned):
        with suppress(OSError):  # another process was faster
            path.rename(own)
            break
    return own


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except OSError:
        return True
    return True
