"""Photos of 16 bits in colour, of which Pillow keeps 8."""

from __future__ import annotations

from typing import IO

from PIL import Image

from condgen_cli.data.depth import to_bytes

__all__ = ["deep_colours"]


def deep_colours(file: IO[bytes], alpha: bool) -> Image.Image | None:
    """The picture of a PNG, SGI or TIFF of 16 bits, by all of them; None if FFmpeg can't read it.

    Args:
        file: can be sought in.
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
