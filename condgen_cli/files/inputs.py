"""The files that a command reads, so that it never overwrites them.

Code that opens a file named by the user calls ``protect``; code that is about to replace a file calls ``refuse_input``. Files
are compared by device and inode, so that links and other spellings of a path are recognised.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from condgen_cli.errors import InputError, UsageError

__all__ = ["forget_inputs", "identity", "protect", "protect_where", "refuse_device", "refuse_input"]


@dataclass
class _Inputs:
    identities: set[tuple[int, int]] = field(default_factory=set)
    groups: list[Callable[[str], bool]] = field(default_factory=list)


_inputs: ContextVar[_Inputs | None] = ContextVar("condgen_inputs", default=None)


def forget_inputs() -> None:
    """Start a command, with no inputs yet."""
    _inputs.set(_Inputs())


def identity(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Device and inode of the file or folder that a path leads to; None if there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a name with a null character
        return None
    return found.st_dev, found.st_ino


def protect(path: str | os.PathLike[str]) -> None:
    """Register a file that the running command reads. Does nothing outside of a command, or if the file doesn't exist.

    Raises:
        InputError: if it is a device, see ``refuse_device``.
    """
    refuse_device(path, os.fspath(path))
    inputs, found = _inputs.get(), identity(path)
    if inputs is not None and found is not None:
        inputs.identities.add(found)


def refuse_device(file: str | os.PathLike[str] | int, name: str) -> None:
    """Refuse devices that never end, such as /dev/zero, as inputs; terminals and /dev/null are accepted.

    Args:
        file: path, which may not exist, or descriptor of an open file.
        name: name for the message.
    Raises:
        InputError: if it is such a device.
    """
    try:
        mode, number = (found := os.stat(file)).st_mode, found.st_rdev
        if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) or number == os.stat(os.devnull).st_rdev or _is_terminal(file):
            return
    except (OSError, ValueError):  # reported when it is opened
        return
    raise InputError(f"{name} is a device, not a file")


def _is_terminal(file: str | os.PathLike[str] | int) -> bool:
    if isinstance(file, int):
        return os.isatty(file)
    opened = os.open(file, os.O_RDONLY | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        return os.isatty(opened)
    finally:
        os.close(opened)


def protect_where(includes: Callable[[str], bool]) -> None:
    """Register inputs that are found lazily: ``includes`` tells whether an existing path is one of them."""
    inputs = _inputs.get()
    if inputs is not None:
        inputs.groups.append(includes)


def refuse_input(path: str | os.PathLike[str]) -> None:
    """Refuse to write a file that the running command reads.

    Raises:
        UsageError: if it is one.
    """
    inputs, found = _inputs.get(), identity(path)
    if inputs is None or found is None:
        return
    if found in inputs.identities or any(includes(os.fspath(path)) for includes in inputs.groups):
        raise UsageError(f"{os.fspath(path)} is an input and would be overwritten", "choose another name")
