"""The partial file of a download, which one process at a time writes: nobody waits for ever, on any file system."""

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
from condgen_cli.zoo.waiting import Waiting

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["STALLED_SECONDS", "leftovers", "partial_file"]

STALLED_SECONDS = 150.0
"""A process that has held a lock so long without writing anything is not waited for: a server's silence is shorter."""
POLL_SECONDS = 0.5


@contextmanager
def partial_file(destination: Path) -> Iterator[Path]:
    """The file that a download to ``destination`` grows in, ``NAME.part`` beside it; whoever wants the same waits for it.

    Where the file system has no locks, as in some network homes, nobody waits: each process writes a file of its own, which
    begins as what an earlier one has left, and all that can happen is that a file is downloaded twice.

    Raises:
        CondgenError: if another process holds the lock and writes nothing.
        OSError: if nothing can be written beside the destination.
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

    # older versions of filelock would shut others out of a shared folder
    lock = FileLock(lock_file, mode=stat.S_IMODE(lock_file.stat().st_mode))
    _acquire(lock, part)
    try:
        yield part
    finally:
        lock.release()


def leftovers(destination: Path) -> list[Path]:
    """The partial files that broken downloads have left of a file."""
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
                    held = f"has got nothing for {STALLED_SECONDS:.0f} seconds"
                    message = f"another process downloads {part.with_suffix('')}, and {held}"
                    raise CondgenError(message, "end that process, or try again later") from None


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return -1


def _has_locks(file: Path) -> bool:
    """Whether the file system locks files; the file is made. Asked directly, since filelock would fall back on the file's being
    there, which lasts when a process is killed."""
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
    """A partial file of this process alone, with what was left by one that has ended on this machine, if there is such."""
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
