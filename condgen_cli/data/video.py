"""Loading videos of any kind and length as a few frames with their times."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import IO, Any

from PIL import Image

from condgen_cli.data.clip import FRAME_SIDE, Clip, ClipSource, evenly
from condgen_cli.data.content import Kind, kind_of, open_content
from condgen_cli.data.film import explain
from condgen_cli.data.film_sampling import sample_film
from condgen_cli.data.image import load_image, open_image
from condgen_cli.data.salvage import complete
from condgen_cli.data.truncation import missing_end
from condgen_cli.errors import InputError
from condgen_cli.files.sources import Source
from condgen_cli.item import Content

__all__ = ["Clip", "ClipSource", "Footage", "evenly", "load_clip"]

_UNTIMED = 100.0
"""Duration in milliseconds of a frame without a stated one, as in browsers."""


class Footage(Source, ClipSource):
    """A video file that is decoded when its clip is requested, and not again while that clip is referenced.

    Args:
        name: path, http(s) URL, or ``-``; or another source of the same bytes.
    """

    def __init__(self, name: str | Source) -> None:
        super().__init__(name)
        self._held: tuple[int, weakref.ref[Clip]] | None = None

    def clip(self, most: int) -> Clip:
        """The clip of ``load_clip``."""
        clip = self._held[1]() if self._held and self._held[0] == most else None
        if clip is None:
            clip = _load_file(self, most)
            self.warnings = clip.warnings
            self._held = most, weakref.ref(clip)
        return clip


def load_clip(source: Any, most: int = 16) -> Clip:
    """Load at most ``most`` frames of a video, evenly spread over its length.

    Time and memory don't grow with the length of a seekable video; others are decoded completely, with bounded memory. What is
    readable of a damaged video is used. A photo is a clip of one frame.

    Args:
        source: path, URL or bytes of a file (MP4, WebM, MKV, AVI, GIF or another format that FFmpeg supports), a
            ``condgen_cli.item.Content``, a ``ClipSource``, a ``Clip``, or a PIL image.
        most: maximum number of frames, at least 1.
    Raises:
        NotFoundError: if the file doesn't exist.
        NetworkError: if a URL can't be fetched.
        InputError: if it is not a video, or no frame can be decoded.
    """
    if isinstance(source, Clip):
        return source.thin(most)
    if isinstance(source, ClipSource):
        return source.clip(most).thin(most)
    return _still(source) if isinstance(source, Image.Image) else _load_file(source, most)


def _load_file(source: Any, most: int) -> Clip:
    if kind_of(source) is Kind.photo:
        return _still(source)
    name, file = open_content(source, "a video")
    with file:
        head = file.read(12)
        file.seek(0)
        if not head:
            raise InputError(f"{name} is empty")
        if head[8:] in (b"WEBP", b"avis"):
            return _animation(name, file, most)
        return sample_film(name, file, most)


def _still(source: Any) -> Clip:
    image = load_image(source)
    warnings = source.warnings if isinstance(source, Content) else ()
    return Clip((image,), (0.0,), 0.0, warnings, decoded=1)


def _animation(name: str, file: IO[bytes], most: int) -> Clip:
    """The clip of an animated picture, in a format of which FFmpeg only reads the first frame; it may be truncated."""
    missing = missing_end(file)
    fault: Exception | None = None
    for whole in (file, *complete(file)):
        try:
            clip = _decode_animation(whole, most)
        except InputError:
            raise
        except Exception as error:  # Pillow's readers raise nearly anything
            fault = fault or error
            continue
        return replace(clip, warnings=(f"cut short: {missing}",) if missing else ())
    raise InputError(f"{name} is a broken video: {explain(fault) if fault else 'nothing is there'}") from None


def _decode_animation(file: IO[bytes], most: int) -> Clip:
    """The frames that Pillow can decode. Errors are those of Pillow, if there are none."""
    times: list[float] = []
    end = 0.0
    file.seek(0)
    with open_image(file) as image:
        for index in range(int(getattr(image, "n_frames", 1))):
            try:
                image.seek(index)
                image.load()  # sets the frame's duration
            except Exception:
                if not times:
                    raise
                break
            times.append(end)
            end += float(image.info.get("duration") or _UNTIMED) / 1000
        chosen = evenly(times, end, most)
        frames = []
        for index in chosen:
            image.seek(index)
            frames.append(_shrink(load_image(image.copy())))
    shown = tuple(round(times[index], 3) for index in chosen)
    return Clip(tuple(frames), shown, round(end, 3), decoded=len(times) + len(chosen))


def _shrink(image: Image.Image) -> Image.Image:
    scale = min(1.0, FRAME_SIDE / min(image.size))
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale)))) if scale < 1 else image
