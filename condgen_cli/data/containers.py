"""Opening audio and video files with FFmpeg."""

from __future__ import annotations

from typing import IO, Any

import av
import av.error
from av.container import InputContainer

from condgen_cli.data.pipe import Pipe
from condgen_cli.data.view import View

__all__ = ["explain_failure", "is_mp4", "open_container"]


def open_container(file: IO[bytes] | View | Pipe, formats: str) -> InputContainer:
    """Open a file as one of the given container formats.

    A fragmented MP4, as recorders write it, may end anywhere. FFmpeg looks for the headers of all fragments first and fails if
    the last one is truncated, so such a file is opened as not seekable, which FFmpeg reads as far as it goes.

    Args:
        file: file or pipe; a seekable one must be at its beginning.
        formats: FFmpeg's names of formats, separated by commas; no playlists, which would open other files.
    Raises:
        av.error.FFmpegError: if it can't be opened.
    """
    try:
        return _open(file, formats)
    except (av.error.EOFError, av.error.InvalidDataError):
        if isinstance(file, Pipe) or not is_mp4(file):
            raise
        file.seek(0)
        return _open(_Forward(file), formats)


def is_mp4(file: IO[bytes] | View | Pipe) -> bool:
    """Whether a file begins like MP4 or QuickTime."""
    if isinstance(file, Pipe):
        return file.peek(4, 4) in _MP4
    file.seek(4)
    return file.read(4) in _MP4


def explain_failure(error: Exception) -> str:
    """A library's reason why a file can't be read, as the end of a sentence."""
    text = str(getattr(error, "strerror", "") or error).partition("\n")[0]
    return text[:1].lower() + text[1:]


_MP4 = (b"ftyp", b"mdat", b"wide")


def _open(file: Any, formats: str) -> InputContainer:
    return av.open(file, "r", options={"format_whitelist": formats}, metadata_errors="ignore")


class _Forward:
    """A file as one that is not seekable."""

    def __init__(self, file: IO[bytes] | View) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return self._file.read(size) or b""
