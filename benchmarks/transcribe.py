"""Speech recognition beside pocketsphinx and Whisper: ``python benchmarks/transcribe.py MODEL --data-dir DATA``.

All systems hear the same utterances of a test set as the same samples, in one process with one thread. They are already
loaded and have heard the first utterance once. They take turns, utterance by utterance, so that a slow minute harms all alike;
counted are CPU seconds. The real-time factor is the median over utterances of CPU seconds per second of sound.

``MODEL`` is a condgen model or a run's folder; it may be left out. pocketsphinx and faster-whisper (``base``, 8-bit weights,
beam 5) take part where they are installed. ``--dictionary`` and ``--lm`` add pocketsphinx with these in place of its own,
such as AN4's ``etc/an4.dic`` and ``etc/an4.ug.lm``.

Word error rates are condgen's own metric. References and outputs are normalised alike before: capitals, and whatever is no
letter, digit or apostrophe counts as a space. Numbers stay as each system writes them.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from common import cpu_seconds
from numpy.typing import NDArray

from condgen_cli import load
from condgen_cli.data.audio import Sound, load_audio
from condgen_cli.data.store import open_dataset
from condgen_cli.generation import Generation
from condgen_cli.item import Item
from condgen_cli.metrics.report import interval_cell, report
from condgen_cli.metrics.suite import build_suite
from condgen_cli.registry.plugins import manager
from condgen_cli.render.tables import table

RATE = 16_000
METRICS = ("wer", "substitutions", "deletions", "insertions")

Samples = NDArray[np.float32]
Recogniser = Callable[[Samples], str]


class Outcome(NamedTuple):
    """What a system wrote for an utterance, and in how many CPU seconds."""

    text: str
    seconds: float


def condgen(model: str) -> Recogniser:
    runner = load(model, "cpu")
    return lambda samples: str(runner(Item("utterance", Sound(samples, RATE))).output)


def pocketsphinx(dictionary: Path | None = None, lm: Path | None = None) -> Recogniser:
    from pocketsphinx import Decoder

    files = {"dict": dictionary, "lm": lm}
    decoder = Decoder(samprate=RATE, loglevel="FATAL", **{name: str(path) for name, path in files.items() if path})

    def recognise(samples: Samples) -> str:
        decoder.start_utt()
        decoder.process_raw((samples * 32767).clip(-32768, 32767).astype(np.int16).tobytes(), full_utt=True)
        decoder.end_utt()
        best = decoder.hyp()
        return best.hypstr if best else ""

    return recognise


def whisper() -> Recogniser:
    from faster_whisper import WhisperModel

    model = WhisperModel("base", device="cpu", compute_type="int8", cpu_threads=1)

    def recognise(samples: Samples) -> str:
        segments, _ = model.transcribe(samples, language="en", beam_size=5)
        return " ".join(segment.text for segment in segments)

    return recognise


def normalised(text: str) -> str:
    """Capitals; words of letters, digits and apostrophes, divided by single spaces."""
    return " ".join(re.sub(r"[^\w']|_", " ", text.upper()).split())


def heard(systems: dict[str, Recogniser], utterances: Iterable[tuple[Item, Samples]]) -> Iterator[dict[str, Outcome]]:
    """What each system writes, utterance by utterance."""
    for number, (_, samples) in enumerate(utterances):
        outcomes = {}
        for name, recognise in systems.items():
            if not number:
                recognise(samples)
            start = cpu_seconds()
            text = recognise(samples)
            outcomes[name] = Outcome(text, cpu_seconds() - start)
        yield outcomes
        print(number + 1, *(outcome.text for outcome in outcomes.values()), sep=" | ", file=sys.stderr)


def row(name: str, items: list[Item], outcomes: list[Outcome], durations: list[float]) -> list[str]:
    """A system's line of the table."""
    suite = build_suite(METRICS, manager().metrics)
    references = [Item(item.id, None, tuple(map(normalised, item.references))) for item in items]
    generations = [Generation(normalised(outcome.text)) for outcome in outcomes]
    statistics = suite.statistics(references, generations)
    scores = report(suite, references, generations, statistics, seed=12345, resamples=1000).metrics
    factor = median(outcome.seconds / duration for outcome, duration in zip(outcomes, durations, strict=True))
    errors = [f"{scores[key].value:.0f}" for key in METRICS[1:]]
    return [name, interval_cell(scores["wer"]), *errors, f"{factor:.3f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--dataset", choices=("an4", "librispeech"), default="librispeech")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--dictionary", type=Path)
    parser.add_argument("--lm", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    systems: dict[str, Recogniser] = {}
    if options.model:
        systems[Path(options.model).name] = condgen(options.model)
    if find_spec("pocketsphinx"):
        systems["pocketsphinx"] = pocketsphinx()
        if options.dictionary or options.lm:
            systems["pocketsphinx, own words"] = pocketsphinx(options.dictionary, options.lm)
    if find_spec("faster_whisper"):
        systems["faster-whisper base int8"] = whisper()
    items = list(islice(open_dataset(options.dataset, "test", options.data_dir), options.limit))
    samples = [load_audio(item.condition, RATE) for item in items]
    durations = [len(one) / RATE for one in samples]
    outcomes = list(heard(systems, zip(items, samples, strict=True)))
    rows = [row(name, items, [outcome[name] for outcome in outcomes], durations) for name in systems]
    title = f"{options.dataset} test, {len(items)} utterances, {sum(durations) / 60:.1f} minutes"
    print(table(["system", "wer", *METRICS[1:], "real-time factor"], rows, title=title, color=False, width=120))


if __name__ == "__main__":
    main()
