"""Detecting what files contain, by content rather than by name: photos, video, sound or text."""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Collection, Iterable
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import IO, Any

from condgen_cli.errors import InputError
from condgen_cli.files.sources import STDIN, Source
from condgen_cli.item import Content

__all__ = [
    "CLIP_CONTAINERS",
    "Kind",
    "check_kind",
    "command_for",
    "is_picture",
    "kind_of",
    "open_content",
    "suffixes_of",
]

CLIP_CONTAINERS = (
    "mov,matroska,webm,avi,gif,apng,mpeg,mpegts,mpegvideo,flv,ogg,asf,h264,hevc,ivf,mjpeg,nut,dv,mxf,wtv,rm,obu,m4v,h263,vc1"
)
"""FFmpeg's formats of files with pictures, without playlists, which would open other files."""

_SOUND_CONTAINERS = "mp3,wav,aac,ac3,eac3,amr,flac,aiff,caf,w64,au,dts,ape,wv,tta,mpc"
"""FFmpeg's formats of files with sound alone."""

_HEAD = 4096
"""Number of bytes at the beginning of a file from which its kind is detected."""


class Kind(StrEnum):
    """What a file contains."""

    photo = "photo"
    clip = "clip"
    sound = "sound"
    text = "text"
    other = "other"

    @property
    def phrase(self) -> str:
        """Name of the kind in messages, with an article."""
        return _PHRASES[self][0]

    @property
    def plural(self) -> str:
        return _PHRASES[self][1]


_PHRASES = {
    Kind.photo: ("a photo", "photos"),
    Kind.clip: ("a video", "videos"),
    Kind.sound: ("a sound recording", "sound recordings"),
    Kind.text: ("a text", "texts"),
    Kind.other: ("a file of an unknown format", "files of unknown formats"),
}


def kind_of(source: Any) -> Kind:
    """Detect what a source contains; a damaged file counts as what it begins like.

    Animated pictures (GIF, WebP, PNG, AVIF) are clips. A container of sound and pictures (MP4, MKV, Ogg, …) is a clip if it has
    pictures other than cover art, else sound.

    Args:
        source: source as for ``open_content``.
    Raises:
        NotFoundError, NetworkError, InputError: as ``open_content``.
    """
    _, file = open_content(source, "a file")
    with file:
        head = file.read(_HEAD)
        file.seek(0)
        return _kind(head, file)


def is_picture(source: Any) -> bool:
    """Whether a source is a photo or an animation in a picture format. Arguments and errors as for ``kind_of``."""
    _, file = open_content(source, "a file")
    with file:
        return _picture(file) is not None


def check_kind(source: Source, wanted: Collection[Kind], otherwise: Kind) -> Kind:
    """Check that a source contains what a command reads, and return its kind.

    Args:
        source: file, URL or standard input.
        wanted: kinds that the running command reads.
        otherwise: kind to assume if neither content nor name determine it, so that the reader of that kind reports the error.
    Raises:
        InputError: if it contains something else; the hint is the command that reads it, if there is one.
        NotFoundError, NetworkError: as ``open_content``.
    """
    kind = kind_of(source)
    if kind in wanted:
        return kind
    suffix = Path(source.name).suffix.lower()
    named = next((one for one in wanted if suffix in suffixes_of([one])), None)
    if kind is Kind.other:
        return named or otherwise
    if kind is Kind.text and named:
        message = f"{source.name} is not {named.phrase} of a known format"
    else:
        message = f"{source.name} is {kind.phrase}, not {' or '.join(one.phrase for one in wanted)}"
    raise InputError(message, command_for(kind, source.location))


def command_for(kind: Kind, location: str) -> str | None:
    """The command line of the task that reads a kind; None if there is none.

    Args:
        kind: kind of the input.
        location: path, URL, or ``-``.
    """
    from condgen_cli.registry.plugins import manager

    name = next((spec.name for spec in manager().tasks.values() if kind in spec.kinds), None)
    if name is None:
        return None
    argument = location if location == STDIN or not location.startswith("-") else os.path.join(os.curdir, location)
    return f"condgen {name} {'--input ' if kind is Kind.text else ''}{shlex.quote(argument)}"


def suffixes_of(kinds: Iterable[str]) -> frozenset[str]:
    """Usual file name suffixes of some kinds, in lower case with the dot, according to the libraries that read them."""
    return frozenset().union(*map(_suffixes, kinds))


@cache
def _suffixes(kind: str) -> frozenset[str]:
    listed = {
        Kind.photo: _photo_suffixes,
        Kind.clip: _clip_suffixes,
        Kind.sound: _sound_suffixes,
        Kind.text: _text_suffixes,
    }
    return frozenset(listed[Kind(kind)]()) if kind in listed else frozenset()


def open_content(source: Any, kind: str) -> tuple[str, IO[bytes]]:
    """The name of a source for messages, and its content as a seekable file; a file on disk isn't read into memory.

    Args:
        source: path, URL or bytes of a file, or a ``Content`` such as a ``Source``.
        kind: expected kind with an article, such as ``an image``, for messages.
    Raises:
        NotFoundError: if the file doesn't exist.
        NetworkError: if a URL can't be fetched.
        InputError: if the file can't be read, or ``source`` is of another type.
    """
    unnamed = f"the {kind.partition(' ')[2]}"
    if isinstance(source, bytes | bytearray | memoryview):
        return unnamed, io.BytesIO(source)
    if isinstance(source, str | os.PathLike):
        source = Source(os.fspath(source))
    if isinstance(source, Source):
        return source.name, source.file()
    if not isinstance(source, Content):
        raise InputError(f"cannot read {kind} from an object of type {type(source).__name__}")
    return source.name, io.BytesIO(source.open())


_PHOTOS = (b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\xff\x0a", b"\xff\x4f\xff\x51")
_BOXED_PHOTOS = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\0\0\0\x0cJXL \r\n\x87\n")
_SOUNDS = (
    b"ID3",
    b"fLaC",
    b".snd",
    b"caff",
    b"riff\x2e\x91\xcf\x11",
    b"#!AMR",
    b"NIST_1A",
    b"MAC ",
    b"wvpk",
    b"TTA1",
)
_VIDEOS = (b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"FLV\x01", b"OggS", b"\0\0\x01\xba", b".RMF", b"DKIF")
_WAVES = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM")
_STILLS = (b"avif", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"miaf", b"mif2")
_SYNC = (b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2", b"\xff\xe3", b"\xff\xf1", b"\xff\xf9", b"\x0b\x77")
"""First bytes of MP3, AAC and AC-3 streams without a container."""

_TEXT_PICTURES = re.compile(rb"P[1-3]\s|/\* XPM|(/\*.*?\*/\s*)?#define \w+_width\s", re.DOTALL)
"""Beginnings of picture formats that are text."""


def _kind(head: bytes, file: IO[bytes]) -> Kind:
    if head.startswith((*_PHOTOS, *_BOXED_PHOTOS)):
        return Kind.photo
    if head[:4] in _WAVES and head[8:12] in (b"WAVE", b"AIFF", b"AIFC", b"8SVX", b"16SV"):
        return Kind.sound
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Kind.clip if head[12:16] == b"VP8X" and len(head) > 20 and head[20] & 2 else Kind.photo
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Kind.clip if b"acTL" in head.partition(b"IDAT")[0] else Kind.photo
    if head.startswith((*_SOUNDS, *_SYNC)):
        return Kind.sound
    if head[4:8] == b"ftyp" and head[8:12] in _STILLS:
        return Kind.photo
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide") or head.startswith(_VIDEOS) or head[8:12] == b"AVI ":
        return _streams(file) or (Kind.sound if head.startswith(b"OggS") else Kind.clip)
    if _is_text(head) and not _TEXT_PICTURES.match(head):
        return Kind.text
    return _picture(file) or _streams(file) or _sound(file) or Kind.other


def _is_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True  # UTF-16
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if len(head) < _HEAD or error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()  # a character is cut
    return bool(text) and not any(character < " " and character not in "\t\n\r\f\x1b" for character in text)


def _picture(file: IO[bytes]) -> Kind | None:
    """Photo or clip, if Pillow supports the format."""
    from condgen_cli.data.image import open_image

    file.seek(0)
    try:
        image = open_image(file)
    except Exception:  # Pillow's readers raise nearly anything
        return None
    try:
        moves = image.format in ("GIF", "FLI") and bool(getattr(image, "is_animated", False))
    except Exception:  # decoding it will report the error
        moves = False
    return Kind.clip if moves else Kind.photo


def _streams(file: IO[bytes]) -> Kind | None:
    """Clip or sound, if FFmpeg supports the container."""
    import av
    from av.stream import Disposition

    from condgen_cli.data.containers import open_container

    file.seek(0)
    try:
        with open_container(file, CLIP_CONTAINERS) as container:
            if any(not stream.disposition & Disposition.attached_pic for stream in container.streams.video):
                return Kind.clip
            return Kind.sound if container.streams.audio else None
    except (av.error.FFmpegError, OSError, ValueError):
        return None


def _sound(file: IO[bytes]) -> Kind | None:
    """Sound, if libsndfile supports the format."""
    import soundfile

    from condgen_cli.data.wave_header import is_libsndfile

    file.seek(0)
    if not is_libsndfile(file.read(32)):  # on anything else it tries libmpg123, which prints to the terminal
        return None
    file.seek(0)
    try:
        soundfile.info(file)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError):
        return None
    return Kind.sound


def _text_suffixes() -> set[str]:
    names = "txt text md rst tex csv tsv json jsonl xml html htm srt vtt log toml yaml yml ini py sh c h js"
    return {f".{name}" for name in names.split()}


def _photo_suffixes() -> set[str]:
    from PIL import Image

    from condgen_cli.data.image import FORMATS

    return {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS} - {".apng"}


def _clip_suffixes() -> set[str]:
    names = set(CLIP_CONTAINERS.split(",")) | {"vob", "dvd", "3gp", "ogv"}
    known = _extensions(names) | {".mpe", ".m2v", ".divx", ".qt"}
    return known - _photo_suffixes() - _sound_suffixes() | {".gif", ".apng"}


def _sound_suffixes() -> set[str]:
    import soundfile

    known = {f".{name.lower()}" for name in soundfile.available_formats()} - {".raw", ".mat4", ".mat5"}
    more = {".aif", ".aifc", ".oga", ".opus", ".spx", ".m4a", ".m4b", ".isma", ".mka", ".weba", ".wma", ".ra", ".mpga", ".bwf"}
    return known | _extensions(_SOUND_CONTAINERS.split(",")) | more


def _extensions(names: Collection[str]) -> set[str]:
    """FFmpeg's suffixes of formats, for reading and writing."""
    from av.format import ContainerFormat

    found: set[str] = set()
    for name in names:
        for mode in ("r", "w"):
            try:
                found |= {f".{extension.lower()}" for extension in ContainerFormat(name, mode).extensions}
            except ValueError:  # this build lacks it
                continue
    return found
