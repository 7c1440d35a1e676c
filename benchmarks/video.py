"""Where the time of captioning clips goes: ``python benchmarks/video.py MODEL``.

Clips of 1280×720 pixels, 25 frames a second, of three photos that come with scikit-image and that the camera moves over. One
thread for the arithmetic, so that each stage's CPU time is that of the thread it runs in; FFmpeg decodes in threads of its own,
whose time is what remains of the process'.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from common import PHOTOS, cpu_seconds

from condgen_cli import load
from condgen_cli.running import decoding
from condgen_cli.running.runner import Request, read_items

RATE = 25
SIZE = (1280, 720)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="sat-video")
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--seconds", type=int, nargs="+", default=[6, 60])
    options = parser.parse_args()
    torch.set_num_threads(1)
    runner = load(options.model, "cpu", "torch")
    model, stages = runner.model, defaultdict[str, float](float)
    model.collate = timed(model.collate, "decode, resize", stages)
    model.encode = timed(model.encode, "encoder", stages)
    decoding.decode = timed(decoding.decode, "decoder", stages)
    for seconds in options.seconds:
        with tempfile.TemporaryDirectory() as folder:
            paths = [write_clip(Path(folder) / f"{number}.mp4", number, seconds) for number in range(options.clips)]
            items = [item for path in paths for item in read_items("caption", str(path))]
            list(runner.stream(items[:1], Request(conditions=False)))  # the first call of an operator sets it up
            stages.clear()
            start = cpu_seconds()
            list(runner.stream(items, Request(batch_size=4, conditions=False)))
            total = cpu_seconds() - start
        # what FFmpeg's threads take is the process' and no Python thread's
        rest = total - stages["encoder"] - stages["decoder"] - stages["decode, resize"]
        print(f"clips of {seconds} s: {1000 * total / len(items):.0f} CPU ms each")
        for name, taken in (*stages.items(), ("FFmpeg's threads and everything else", rest)):
            print(f"  {name:38} {1000 * taken / len(items):7.1f} ms a clip {taken / total:7.1%}")


def write_clip(path: Path, number: int, seconds: int) -> Path:
    """H.264 at the encoder's own key frame interval."""
    import av
    from PIL import Image, ImageOps
    from skimage import data

    scenes = [Image.fromarray(getattr(data, PHOTOS[(number + scene) % len(PHOTOS)])()).convert("RGB") for scene in range(3)]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for frame in range(RATE * seconds):
            scene, part = divmod(3 * frame / (RATE * seconds), 1)
            picture = ImageOps.fit(scenes[int(scene)], SIZE, Image.Resampling.BILINEAR, bleed=0.2 * part)
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())
    return path


def timed(function: Callable[..., Any], stage: str, stages: defaultdict[str, float]) -> Callable[..., Any]:
    """``function``, its CPU time in the calling thread added to a stage."""

    def call(*arguments: Any) -> Any:
        start = time.thread_time()
        try:
            return function(*arguments)
        finally:
            stages[stage] += time.thread_time() - start

    return call


if __name__ == "__main__":
    main()
