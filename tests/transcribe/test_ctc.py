"""The CTC prefix scorer against a sum over every path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from condgen_cli.errors import UsageError
from condgen_cli.item import Item
from condgen_cli.model import Memory, SequenceModel, Step, select_state
from condgen_cli.running.decoding import Decoding, decode
from condgen_transcribe.ctc import BLANK, CTCPrefixScorer, align_labels

LABELS, EOS, BOS, SIZE = (1, 2), 3, 4, 5
POSITIONS = 4


def make_memory(lengths: tuple[int, ...] = (POSITIONS, POSITIONS)) -> Memory:
    log_probs = (2 * torch.randn(len(lengths), POSITIONS, SIZE, generator=torch.Generator().manual_seed(3))).log_softmax(-1)
    for row, length in enumerate(lengths):
        log_probs[row, length:] = -1e30
        log_probs[row, length:, BLANK] = 0.0
    return Memory(torch.zeros(len(lengths), POSITIONS, 1), auxiliary={"ctc": log_probs})


def probability(log_probs: Tensor, text: tuple[int, ...], whole: bool) -> float:
    """Of a text, or of everything that begins with it: of all paths that are read so."""
    total = 0.0
    for path in product(range(SIZE), repeat=len(log_probs)):
        written = tuple(label for label, _ in groupby(path) if label != BLANK)
        if written == text or (not whole and written[: len(text)] == text):
            total += math.exp(sum(float(log_probs[place, label]) for place, label in enumerate(path)))
    return total


@pytest.mark.parametrize("text", [(), (1,), (1, 1), (1, 2), (2, 1, 2)])
@pytest.mark.parametrize("lengths", [(4, 4), (4, 2)])
def test_scores_are_the_prefixes_share(text: tuple[int, ...], lengths: tuple[int, int]) -> None:
    memory, scorer = make_memory(lengths), CTCPrefixScorer(BOS, EOS)
    state = scorer.start(memory, 2)
    for token in (BOS, *text):
        scores, state = scorer.score(torch.full((4,), token), state, memory)
        state = select_state(state, torch.tensor([1, 0, 3, 2]))  # equal rows: nothing may change
    for row in range(4):
        log_probs = memory.auxiliary["ctc"][row // 2, : lengths[row // 2]]
        before = probability(log_probs, text, whole=False)
        if not before:  # too long for what was heard: it is out, whatever follows
            continue
        assert scores[row, EOS].exp() == pytest.approx(probability(log_probs, text, whole=True) / before, abs=1e-5)
        for label in LABELS:
            expected = probability(log_probs, (*text, label), whole=False) / before
            assert scores[row, label].exp() == pytest.approx(expected, abs=1e-5)


class Indifferent(SequenceModel):
    """A speller that finds every token equally likely."""

    def collate(self, items: Sequence[Item]) -> None:
        raise AssertionError("memories are made by hand")

    def encode(self, batch: None) -> Memory:
        raise AssertionError("memories are made by hand")

    class vocabulary:
        pad, bos, eos, unk = BLANK, BOS, EOS, BOS

        def __len__(self) -> int:
            return SIZE

    def start(self, memory: Memory, rows_per_item: int = 1) -> Tensor:
        return torch.zeros(len(memory) * rows_per_item, 1)

    def step(self, token: Tensor, state: Tensor, memory: Memory) -> Step:
        return Step(torch.zeros(len(token), SIZE), state)

    def scorers(self) -> dict[str, CTCPrefixScorer]:
        return {"ctc": CTCPrefixScorer(BOS, EOS)}


def test_a_beam_finds_what_the_listener_heard() -> None:
    memory = make_memory()
    found = decode(Indifferent(), memory, Decoding(beam=8, max_length=4, weights={"ctc": 1000.0}))
    for row, (best,) in enumerate(found):
        log_probs = memory.auxiliary["ctc"][row]
        texts = [text for length in range(1, 5) for text in product(LABELS, repeat=length)]
        likeliest = max(texts, key=lambda text: probability(log_probs, text, whole=True))
        assert tuple(best.ids) == (*likeliest, EOS)


def test_only_scorers_that_a_model_has_can_be_weighed() -> None:
    with pytest.raises(UsageError, match="no scorer 'lm'"):
        decode(Indifferent(), make_memory(), Decoding(weights={"lm": 0.5}))  # type: ignore[arg-type]


def read(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(label for label, _ in groupby(path) if label != BLANK)


@pytest.mark.parametrize("text", [(1,), (1, 1), (1, 2), (2, 1, 2), (1, 2, 1, 2)])
@pytest.mark.parametrize("lengths", [(5, 5), (5, 4)])
def test_places_are_those_of_the_likeliest_path(text: tuple[int, ...], lengths: tuple[int, int]) -> None:
    log_probs = (2 * torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(len(text)))).log_softmax(-1)
    log_probs[1, lengths[1] :] = -1e30
    log_probs[1, lengths[1] :, BLANK] = 0.0
    labels = torch.tensor([[*text, BLANK], [*text, BLANK]])
    found = align_labels(log_probs, labels, torch.tensor([len(text)] * 2))
    for row, length in enumerate(lengths):
        paths = [path for path in product(range(3), repeat=length) if read(path) == text]
        best = max(paths, key=lambda path: sum(float(log_probs[row, place, label]) for place, label in enumerate(path)))
        place, expected = 0, []
        for label, run in groupby(best):
            count = len(list(run))
            if label != BLANK:
                expected.append(max(range(place, place + count), key=lambda at: float(log_probs[row, at, label])))
            place += count
        assert found[row, : len(text)].tolist() == expected


@settings(max_examples=20)
@given(seed=st.integers(0, 999), pause=st.sampled_from([0, 10, 70, 150, 300]))
def test_long_utterances_score_as_ctc_says(seed: int, pause: int) -> None:
    """What is far from where it is said isn't summed; nor is a pause taken for the end."""
    rng = torch.Generator().manual_seed(seed)
    said = torch.randint(1, 5, (40,), generator=rng)
    size = 6
    frames: list[int] = []
    for number, label in enumerate(said.tolist()):
        frames += [BLANK] * int(torch.randint(1, 8, (1,), generator=rng)) + [label] * int(
            torch.randint(1, 3, (1,), generator=rng)
        )
        if number == 20:
            frames += [BLANK] * pause
    log_probs = torch.randn(len(frames), size, generator=rng)
    log_probs[torch.arange(len(frames)), frames] += 6
    log_probs = log_probs.log_softmax(-1).unsqueeze(0)
    memory = Memory(torch.zeros(1, len(frames), 1), auxiliary={"ctc": log_probs})
    # as it is said, and with some of it wrong
    for wrong in (0, 3):
        labels = said.clone()
        labels[torch.randperm(40, generator=rng)[:wrong]] = 1
        scorer = CTCPrefixScorer(5, 5)
        state, total = scorer.start(memory), 0.0
        for before, label in zip([5, *labels.tolist()], [*labels.tolist(), 5], strict=True):
            scores, state = scorer.score(torch.tensor([before]), state, memory)
            total += float(scores[0, label])
        lengths = torch.tensor([len(frames)]), torch.tensor([40])
        expected = -F.ctc_loss(log_probs.transpose(0, 1).double(), labels.unsqueeze(0), *lengths, reduction="sum")
        assert total == pytest.approx(float(expected), abs=0.01)
