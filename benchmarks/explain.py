"""What explaining a caption costs beside the caption itself: ``python benchmarks/explain.py``.

CPU seconds of a photo: read, encoded and decoded; and the same with the maps of a method. The difference is what the method
costs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from common import cpu_seconds, medians, write_photos

from condgen_cli import load
from condgen_cli.explain import METHODS
from condgen_cli.model import Item
from condgen_cli.running.request import Request


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model", default="sat")
    parser.add_argument("--photos", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", default=",".join(name for name in METHODS if name != "attention"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    runner = load(options.model, "cpu")
    with TemporaryDirectory() as folder:
        items = [Item(str(photo), photo) for photo in write_photos(Path(folder), options.photos)]

        def explain(*methods: str) -> Callable[[], float]:
            def action() -> float:
                start = cpu_seconds()
                for _ in runner.stream(items, Request(explain=methods, batch_size=1, conditions=False)):
                    pass
                return cpu_seconds() - start

            return action

        methods = options.methods.split(",")
        found = medians({"caption": explain(), **{name: explain(name) for name in methods}}, options.rounds)
    caption = found["caption"]
    print(f"{'caption alone':22}{caption / options.photos:8.3f} CPU s a photo")
    for name in methods:
        more = found[name] - caption
        print(f"{name:22}{more / options.photos:8.3f} CPU s more, {more / caption:.1f} times the caption")


if __name__ == "__main__":
    main()
