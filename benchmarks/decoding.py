"""Beam search of a batch against a plain loop over photos and hypotheses: ``python benchmarks/decoding.py``.

Both run the same decoder on the same encoded photos, and must find the same captions.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common import cpu_seconds, medians, write_photos

from condgen_cli import load
from condgen_cli.model import Item
from condgen_cli.running.decoding import Decoding, decode


def plain_beam_search(model: Any, memory: Any, beam: int, max_length: int) -> list[int]:
    """The textbook's loop for one photo: every hypothesis is a Python list and steps on its own."""
    vocabulary = model.vocabulary
    never = [vocabulary.pad, vocabulary.bos, vocabulary.unk]
    alive: list[tuple[float, list[int], Any]] = [(0.0, [], model.start(memory))]
    finished: list[tuple[float, list[int]]] = []
    for position in range(max_length + 1):
        candidates: list[tuple[float, list[int], Any]] = []
        for score, ids, state in alive:
            step = model.step(torch.tensor([ids[-1] if ids else vocabulary.bos]), state, memory)
            log_probs = step.logits.log_softmax(-1)[0]
            log_probs[never if position else [*never, vocabulary.eos]] = -torch.inf
            if position == max_length:
                finished.append((score + float(log_probs[vocabulary.eos]), [*ids, vocabulary.eos]))
                continue
            best = log_probs.topk(beam + 1)
            for log_prob, index in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                candidates.append((score + log_prob, [*ids, index], step.state))
        candidates.sort(key=lambda candidate: -candidate[0])
        finished += [(score, ids) for score, ids, _ in candidates[:beam] if ids[-1] == vocabulary.eos]
        alive = [candidate for candidate in candidates if candidate[1][-1] != vocabulary.eos][:beam]
        if not alive or (finished and max(finished)[0] >= alive[0][0]):
            break
    return max(finished)[1]


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model", default="sat")
    parser.add_argument("--photos", type=int, default=32)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--max-length", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load(options.model, "cpu", "torch").model
    with TemporaryDirectory() as folder:
        photos = write_photos(Path(folder), options.photos)
        memory = model.encode(model.collate([Item(str(photo), photo) for photo in photos]))
    alone = [memory.select(torch.tensor([row])) for row in range(options.photos)]
    settings = Decoding(beam=options.beam, max_length=options.max_length)
    found: dict[str, list[list[int]]] = {}

    def batched() -> float:
        start = cpu_seconds()
        found["batched"] = [hypotheses[0].ids for hypotheses in decode(model, memory, settings)]
        return cpu_seconds() - start

    def plain() -> float:
        start = cpu_seconds()
        found["plain"] = [plain_beam_search(model, photo, options.beam, options.max_length) for photo in alone]
        return cpu_seconds() - start

    def one_by_one() -> float:
        start = cpu_seconds()
        found["one"] = [decode(model, photo, settings)[0][0].ids for photo in alone]
        return cpu_seconds() - start

    ways = {
        f"condgen, {options.photos} photos at once": batched,
        "condgen, one photo at a time": one_by_one,
        "plain loop": plain,
    }
    seconds = medians(ways, options.rounds)
    same = sum(one == other for one, other in zip(found["batched"], found["plain"], strict=True))
    length = sum(map(len, found["batched"])) / options.photos
    print(f"beam {options.beam}, {length:.1f} tokens a caption; {same} of {options.photos} captions equal in both")
    for name, value in seconds.items():
        print(f"{name:34} {options.photos / value:7.1f} photos per CPU second")


if __name__ == "__main__":
    main()
