"""Colour photos with 16 bits per channel, of which Pillow keeps 8."""

from __future__ import annotations

from typing import IO

from PIL import Image

from condgen_cli.data.depth import to_bytes

__all__ = ["deep_colours"]


def deep_colours(file: IO[bytes], alpha: bool) -> Image.Image | None:
    """Decode a PNG, SGI or TIFF with 16 bits per channel by all of its bits; None if FFmpeg can't read it.

    Args:
        file: seekable file.
        alpha: whether it has transparency.
    """
    import av

    file.seek(0)
    try:
        with av.open(file, "r", options={"format_whitelist": "png_pipe,sgi_pipe,tiff_pipe"}) as container:
            frame = next(container.decode(video=0))
            values = frame.to_ndarray(format="rgba64le" if alpha else "rgb48le")
    except (av.error.FFmpegError, OSError, ValueError, StopIteration):
        return None
    picture = Image.fromarray(to_bytes(values[..., :3]))
    if alpha:
        picture.putalpha(Image.fromarray(to_bytes(values[..., 3])))
    return picture
