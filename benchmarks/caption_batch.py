"""Photos per CPU second of captioning many photos, and where the time goes: ``python benchmarks/caption_batch.py``.

One thread for the arithmetic, so that each stage's CPU time is that of the thread it runs in.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import cpu_seconds, write_photos

from condgen_cli import load
from condgen_cli.running import decoding
from condgen_cli.running.runner import Request, read_items


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model", default="sat")
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--backend", default="auto", choices=("auto", "onnx", "torch"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    runner = load(options.model, "cpu", options.backend)
    model, stages = runner.model, defaultdict[str, float](float)
    model.collate = timed(model.collate, "read, decode, resize", stages)
    model.encode = timed(model.encode, "encoder", stages)
    decoding.decode = timed(decoding.decode, "decoder", stages)
    settings = decoding.Decoding(beam=options.beam, max_length=20)
    with tempfile.TemporaryDirectory() as folder, open("/dev/null", "w") as output:
        photos = write_photos(Path(folder), options.photos)
        items = [item for photo in photos for item in read_items("caption", str(photo))]
        list(runner.stream(items[:2], Request(settings, conditions=False)))  # the first call of an operator sets it up
        stages.clear()
        start, words = cpu_seconds(), 0
        for result in runner.stream(items, Request(settings, options.batch_size, conditions=False)):
            words += len(result.generations[0].tokens)
            print(f"{result.source}: {result.generations[0].output}", file=output)
        total = cpu_seconds() - start
    stages["everything else"] = total - sum(stages.values())
    print(f"{len(items)} photos, {words / len(items):.1f} words each, beam {options.beam}, batches of {options.batch_size}")
    print(f"{len(items) / total:.2f} photos per CPU second")
    for name, seconds in sorted(stages.items(), key=lambda stage: -stage[1]):
        print(f"{name:22} {1000 * seconds / len(items):6.1f} ms a photo {seconds / total:7.1%}")
    outside = total - stages["encoder"] - stages["decoder"]
    print(f"{'outside the model':22} {1000 * outside / len(items):6.1f} ms a photo {outside / total:7.1%}")


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
