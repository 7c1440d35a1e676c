"""What ONNX Runtime saves beside torch, on the same models and inputs: ``python benchmarks/backends.py [PART …]``.

Commands from a cold start, with their memory, and many inputs at once; one thread. The two backends take turns.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

from common import cpu_seconds, usage_of_process, write_photos

from condgen_cli import load
from condgen_cli.item import Item
from condgen_cli.running.runner import Request, read_items

BACKENDS = ("torch", "onnx")
SENTENCES = ["Zwei junge Männer sitzen im Park und lesen ein Buch .", "Ein Hund läuft über die Wiese .", "Wo ist der Bahnhof ?"]

Work = Callable[[], float]


def captions(count: int, folder: Path) -> list[Item]:
    return [item for photo in write_photos(folder, count) for item in read_items("caption", str(photo))]


def sentences(count: int, folder: Path) -> list[Item]:
    return [Item(str(number), SENTENCES[number % len(SENTENCES)]) for number in range(count)]


def prompts(count: int, folder: Path) -> list[Item]:
    return [item for _ in range(count) for item in read_items("generate", "ROMEO:")]


PARTS: dict[str, tuple[str, Callable[[int, Path], list[Item]], int]] = {
    "photos": ("sat", captions, 32),
    "translations": ("nmt-de-en", sentences, 96),
    "texts": ("shakespeare", prompts, 4),
}
"""Model, inputs and their number."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"commands, {', '.join(PARTS)}; without any, all")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    wanted = options.parts or ["commands", *PARTS]
    with tempfile.TemporaryDirectory() as folder:
        if "commands" in wanted:
            compare_commands(Path(folder), options.rounds)
        for name, part in PARTS.items():
            if name in wanted:
                compare_streams(name, *part, Path(folder), options.rounds)


def compare_commands(folder: Path, rounds: int) -> None:
    condgen = [sys.executable, "-m", "condgen_cli"]
    photo = str(write_photos(folder, 1)[0])
    commands = {"import torch": [sys.executable, "-c", "import torch"]}
    for backend in BACKENDS:
        commands[f"translate 你好, {backend}"] = [*condgen, "translate", "你好", "--backend", backend]
        commands[f"caption one.jpg, {backend}"] = [*condgen, "caption", photo, "--backend", backend]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            found[name].append(usage_of_process(command, {}))
    seconds = {name: median(pair[0] for pair in pairs) for name, pairs in found.items()}
    print(f"{'':24} CPU s   / import torch   peak MB")
    for name, pairs in found.items():
        ratio, peak = seconds[name] / seconds["import torch"], max(pair[1] for pair in pairs)
        print(f"{name:24} {seconds[name]:5.2f}   {ratio:14.2f} {peak:9.0f}")


def compare_streams(
    name: str, model: str, make: Callable[[int, Path], list[Item]], count: int, folder: Path, rounds: int
) -> None:
    works = {backend: stream(model, backend, make(count, folder)) for backend in BACKENDS}
    taken: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
    for _ in range(rounds):
        for backend, work in works.items():
            taken[backend].append(work())
    medians = {backend: median(values) for backend, values in taken.items()}
    print(
        f"{name} ({count}, {model}): " + ", ".join(f"{backend} {value:.2f} CPU s" for backend, value in medians.items()), end=""
    )
    print(f"; torch / onnx {medians['torch'] / medians['onnx']:.2f}")


def stream(model: str, backend: str, items: Sequence[Item]) -> Work:
    """A function that runs the model on all items, and returns CPU seconds."""
    runner = load(model, "cpu", backend)
    request = Request(runner.decoding, conditions=False)
    list(runner.stream(items[:2], request))  # the first call sets operators up
    return partial(run, lambda: list(runner.stream(items, request)))


def run(work: Callable[[], object]) -> float:
    begun = cpu_seconds()
    work()
    return cpu_seconds() - begun


if __name__ == "__main__":
    main()
