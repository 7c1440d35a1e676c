"""Videos of any kind as a few frames with their times: what a network reads of a clip, however long it is."""

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
from condgen_cli.inputs.sources import Source
from condgen_cli.item import Content

__all__ = ["Clip", "ClipSource", "Footage", "evenly", "load_clip"]

_UNTIMED = 100.0
"""Milliseconds that a frame is shown which doesn't say for how long, as browsers have it."""


class Footage(Source, ClipSource):
    """A video's file that is decoded when its clip is asked for, and not again while somebody holds that clip.

    Args:
        name: a path, an http(s) URL, or ``-``; or another source, of the same bytes.
    """

    def __init__(self, name: str | Source) -> None:
        super().__init__(name)
        self._held: tuple[int, weakref.ref[Clip]] | None = None

    def clip(self, most: int) -> Clip:
        """As ``load_clip``."""
        clip = self._held[1]() if self._held and self._held[0] == most else None
        if clip is None:
            clip = _load_file(self, most)
            self.warnings = clip.warnings
            self._held = most, weakref.ref(clip)
        return clip


def load_clip(source: Any, most: int = 16) -> Clip:
    """A video as at most ``most`` frames, evenly spread over its length.

    Time and memory don't grow with the length of a video that can be sought in; where it can't, it is decoded from its
    beginning to its end, and memory stays bounded. What is readable of a damaged video is used. A photo is a clip of one frame.

    Args:
        source: a path, a URL, the bytes of a file (MP4, WebM, MKV, AVI, GIF or another that FFmpeg knows), a
            ``condgen_cli.item.Content``, a ``ClipSource``, a ``Clip``, or a PIL image.
        most: frames; at least 1.
    Raises:
        NotFoundError: if the file doesn't exist.
        NetworkError: if a URL can't be fetched.
        InputError: if it is no video, or no frame of it can be decoded.
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
    """A picture that moves, in a format of which FFmpeg reads the first frame; what is there of one that is cut short."""
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
    """As many frames as Pillow can decode; raises what Pillow raises if there are none."""
    times: list[float] = []
    end = 0.0
    file.seek(0)
    with open_image(file) as image:
        for index in range(int(getattr(image, "n_frames", 1))):
            try:
                image.seek(index)
                image.load()  # which tells how long the frame is shown
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
