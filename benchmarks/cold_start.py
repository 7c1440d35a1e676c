"""CPU seconds of one command from a cold start, beside ``python -c "import torch"``: ``python benchmarks/cold_start.py``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from common import cpu_seconds_of_process, medians, write_photos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model", default="sat")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="OMP_NUM_THREADS; 0 leaves it unset")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photo = write_photos(Path(folder), 1)[0]
        condgen = [sys.executable, "-m", "condgen_cli"]
        commands = {
            'python -c "pass"': [sys.executable, "-c", "pass"],
            'python -c "import torch"': [sys.executable, "-c", "import torch"],
            "condgen --version": [*condgen, "--version"],
            "condgen --help": [*condgen, "--help"],
            "condgen caption --help": [*condgen, "caption", "--help"],
            "condgen caption one.jpg": [*condgen, "caption", "-m", options.model, str(photo)],
        }
        environment = {"OMP_NUM_THREADS": str(options.threads)} if options.threads else {}
        actions = {name: partial(cpu_seconds_of_process, command, environment) for name, command in commands.items()}
        seconds = medians(actions, options.rounds)
    torch = seconds['python -c "import torch"']
    print(f"{'':26} CPU s   / import torch")
    for name, value in seconds.items():
        print(f"{name:26} {value:5.3f}   {value / torch:5.2f}")


if __name__ == "__main__":
    main()
