"""What the benchmarks share: photos that anyone has, CPU seconds, medians."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

PHOTOS = ("astronaut", "cat", "coffee", "hubble_deep_field", "rocket")
"""Photos that come with scikit-image, without a download."""


def write_photos(folder: Path, count: int) -> list[Path]:
    """``count`` JPEG files of 500×375 pixels, the size of a photo in Flickr8k: crops, ever closer, of scikit-image's own."""
    from PIL import Image, ImageOps
    from skimage import data

    originals = [Image.fromarray(getattr(data, name)()) for name in PHOTOS]
    paths = []
    for number in range(count):
        turn, which = divmod(number, len(originals))
        photo = ImageOps.fit(originals[which].convert("RGB"), (500, 375), bleed=min(0.02 * turn, 0.4))
        paths.append(folder / f"{number:04}.jpg")
        photo.save(paths[-1], quality=90)
    return paths


def cpu_seconds_of_process(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """User and system seconds of a process from start to end, its threads and children included."""
    return usage_of_process(command, environment)[0]


def usage_of_process(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """User and system seconds of a process from start to end, its threads and children included, and its peak memory in MB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(command)}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)


def cpu_seconds() -> float:
    """User and system seconds of this process so far, over all its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def medians(actions: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of what each action returns, the actions taking turns, so that a slow minute harms all alike."""
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            taken[name].append(action())
    return {name: median(values) for name, values in taken.items()}
