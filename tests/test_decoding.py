"""Decoding against a slow reference that enumerates every sequence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from condgen_cli.errors import UsageError
from condgen_cli.model import Item, Memory, SequenceModel, Step
from condgen_cli.running.decoding import Decoding, decode, force
from condgen_cli.running.randomness import stream_key

PAD, BOS, EOS, UNK = range(4)
WORDS = (4, 5, 6)


class Specials:
    pad, bos, eos, unk = PAD, BOS, EOS, UNK

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size


class State(NamedTuple):
    hidden: Tensor


def keys(seed: int, items: int) -> list[int]:
    return [stream_key(seed, item) for item in range(items)]


class Decoded(SequenceModel):
    """A model whose memories are made by hand."""

    def collate(self, items: Sequence[Item]) -> None:
        raise AssertionError("memories are made by hand")

    def encode(self, batch: None) -> Memory:
        raise AssertionError("memories are made by hand")


class Toy(Decoded):
    """A tiny random recurrent model whose state mixes every token read so far with its memory row."""

    def __init__(self, seed: int, size: int = 4 + len(WORDS)) -> None:
        super().__init__()
        self.vocabulary = Specials(size)
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.randn(size, 5, generator=generator)
        self.mix = torch.randn(5, 5, generator=generator)
        self.out = 2 * torch.randn(5, size, generator=generator)

    def start(self, memory: Memory, rows_per_item: int = 1) -> State:
        return State(memory.values.mean(1).repeat_interleave(rows_per_item, 0))

    def step(self, token: Tensor, state: State, memory: Memory) -> Step:
        per_item = len(token) // len(memory)
        hidden = (state.hidden @ self.mix + self.table[token] + memory.values[:, 0].repeat_interleave(per_item, 0)).tanh()
        scores = (hidden.view(len(memory), per_item, -1) @ memory.values.transpose(1, 2)).softmax(-1)
        return Step(hidden @ self.out, State(hidden), {"attention": scores.flatten(0, 1)}, {"first": hidden[:, 0]})


def toy_memory(items: int, seed: int = 0) -> Memory:
    return Memory(torch.randn(items, 3, 5, generator=torch.Generator().manual_seed(seed)))


def written_out(model: Toy, memory: Memory, item: int, ids: Sequence[int]) -> tuple[list[float], list[np.ndarray]]:
    """Log-probability and attention of each token, one row and one token at a time."""
    row = memory.select(torch.tensor([item]))
    state: Any = model.start(row)
    token, log_probs, attention = BOS, [], []
    for target in ids:
        step = model.step(torch.tensor([token]), state, row)
        state, token = step.state, target
        log_probs.append(float(step.logits.log_softmax(-1)[0, target]))
        attention.append(step.attention["attention"][0].numpy())
    return log_probs, attention


def every_sequence(max_length: int, min_length: int = 1) -> Iterator[list[int]]:
    for length in range(min_length, max_length + 1):
        for words in product(WORDS, repeat=length):
            yield [*words, EOS]


@settings(max_examples=25)
@given(seed=st.integers(0, 999), penalty=st.sampled_from([0.0, 0.7, 1.0]), items=st.integers(1, 3), minimum=st.integers(1, 2))
def test_a_full_beam_finds_the_best_of_all_sequences(seed: int, penalty: float, items: int, minimum: int) -> None:
    model, memory = Toy(seed), toy_memory(items, seed)
    decoding = Decoding(beam=40, nbest=3, length_penalty=penalty, max_length=3, min_length=minimum)
    for item, found in enumerate(decode(model, memory, decoding)):
        scored = []
        for ids in every_sequence(3, minimum):
            log_probs, _ = written_out(model, memory, item, ids)
            scored.append((sum(log_probs) / len(ids) ** penalty, ids))
        best = sorted(scored, reverse=True)[:3]
        assert [hypothesis.ids for hypothesis in found] == [ids for _, ids in best]
        assert [hypothesis.score for hypothesis in found] == pytest.approx([score for score, _ in best], abs=1e-4)


def repeats(ids: Sequence[int], size: int) -> bool:
    ngrams = [tuple(ids[start : start + size]) for start in range(len(ids) - size + 1)]
    return len(set(ngrams)) < len(ngrams)


@settings(max_examples=25)
@given(seed=st.integers(0, 999), items=st.integers(1, 3), size=st.integers(1, 3))
def test_a_full_beam_finds_the_best_of_all_sequences_without_an_ngram_twice(seed: int, items: int, size: int) -> None:
    model, memory = Toy(seed), toy_memory(items, seed)
    decoding = Decoding(beam=130, nbest=3, max_length=4, no_repeat_ngram=size)
    for item, found in enumerate(decode(model, memory, decoding)):
        allowed = [ids for ids in every_sequence(4) if not repeats(ids, size)]
        scored = [(sum(written_out(model, memory, item, ids)[0]), ids) for ids in allowed]
        assert [hypothesis.ids for hypothesis in found] == [ids for _, ids in sorted(scored, reverse=True)[:3]]


@settings(max_examples=25)
@given(seed=st.integers(0, 999), size=st.integers(1, 3))
def test_samples_hold_no_ngram_twice(seed: int, size: int) -> None:
    decoding = Decoding("sample", nbest=4, max_length=9, no_repeat_ngram=size)
    for found in decode(Toy(seed), toy_memory(3, seed), decoding, keys(seed, 3)):
        assert len(found) == 4
        assert not any(repeats(hypothesis.ids, size) for hypothesis in found)


@settings(max_examples=25)
@given(seed=st.integers(0, 999), size=st.integers(60, 300), beam=st.integers(1, 6))
def test_a_beam_keeps_the_best_of_a_large_vocabulary(seed: int, size: int, beam: int) -> None:
    model, memory = Toy(seed, size), toy_memory(2, seed)
    for item, (found,) in enumerate(decode(model, memory, Decoding(beam=beam, max_length=3))):
        row = memory.select(torch.tensor([item]))
        alive: list[tuple[float, list[int], Any]] = [(0.0, [], model.start(row))]
        finished: list[tuple[float, list[int]]] = []
        for position in range(4):
            candidates = []
            for score, ids, state in alive:
                step = model.step(torch.tensor([[BOS, *ids][-1]]), state, row)
                log_probs = step.logits.log_softmax(-1)[0].tolist()
                words = [EOS] if position == 3 else [*([EOS] if position else []), *range(UNK + 1, size)]
                candidates += [(score + log_probs[token], [*ids, token], step.state) for token in words]
            candidates.sort(key=lambda candidate: -candidate[0])
            finished += [(score, ids) for score, ids, _ in candidates[:beam] if ids[-1] == EOS]
            alive = [candidate for candidate in candidates if candidate[1][-1] != EOS][:beam]
        score, ids = max(finished)
        assert found.ids == ids
        assert found.score == pytest.approx(score, abs=1e-4)


@settings(max_examples=25)
@given(seed=st.integers(0, 999), method=st.sampled_from(["greedy", "beam", "sample"]))
def test_a_hypothesis_carries_the_log_probabilities_and_attention_of_its_own_path(seed: int, method: Any) -> None:
    model, memory = Toy(seed), toy_memory(3, seed)
    decoding = Decoding(method=method, beam=3, nbest=1 if method == "greedy" else 2, max_length=5)
    for item, found in enumerate(decode(model, memory, decoding, keys(seed, 3))):
        for hypothesis in found:
            log_probs, attention = written_out(model, memory, item, hypothesis.ids)
            assert hypothesis.log_probs == pytest.approx(log_probs, abs=1e-4)
            assert hypothesis.score == pytest.approx(sum(log_probs), abs=1e-3)
            np.testing.assert_allclose(hypothesis.attention["attention"], attention, atol=1e-5)
            assert len(hypothesis.extras["first"]) == len(hypothesis.ids)
            assert hypothesis.ids[-1] == EOS
            assert not {PAD, BOS, UNK} & set(hypothesis.ids)


@pytest.mark.parametrize("method", ["greedy", "beam"])
def test_a_batch_decodes_as_its_items_one_by_one(method: Any) -> None:
    model, memory = Toy(7), toy_memory(6, 7)
    decoding = Decoding(method=method, beam=3, max_length=8)
    together = decode(model, memory, decoding)
    for item, found in enumerate(together):
        (alone,) = decode(model, memory.select(torch.tensor([item])), decoding)
        assert alone[0].ids == found[0].ids
        assert alone[0].score == pytest.approx(found[0].score, abs=1e-5)
    assert len({len(found[0].ids) for found in together}) > 1  # so that some items left the batch before others


def test_greedy_takes_the_likeliest_token_each_time() -> None:
    model, memory = Toy(3), toy_memory(1, 3)
    (found,) = decode(model, memory, Decoding(method="greedy", max_length=6))
    ids: list[int] = []
    while len(ids) < 6 and (not ids or ids[-1] != EOS):
        allowed = WORDS if not ids else (*WORDS, EOS)
        options = {token: written_out(model, memory, 0, [*ids, token])[0][-1] for token in allowed}
        ids.append(max(options, key=options.__getitem__))
    assert found[0].ids == (ids if ids[-1] == EOS else [*ids, EOS])


def test_samples_follow_the_model() -> None:
    model, memory = Toy(1), toy_memory(1, 1)
    (found,) = decode(model, memory, Decoding(method="sample", nbest=4000, max_length=2), keys(0, 1))
    first = Counter(hypothesis.ids[0] for hypothesis in found)
    probabilities = {token: np.exp(written_out(model, memory, 0, [token])[0][0]) for token in WORDS}
    total = sum(probabilities.values())
    for token, probability in probabilities.items():
        assert first[token] / 4000 == pytest.approx(probability / total, abs=0.03)


def test_sampling_repeats_with_its_seed_and_differs_without() -> None:
    model, memory = Toy(2), toy_memory(2, 2)
    decoding = Decoding(method="sample", nbest=8, max_length=5)

    def draw(seed: int) -> list[list[list[int]]]:
        return [[h.ids for h in found] for found in decode(model, memory, decoding, keys(seed, 2))]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


@settings(max_examples=25)
@given(seed=st.integers(0, 999), items=st.integers(1, 5), samples=st.integers(1, 3), data=st.data())
def test_samples_depend_on_no_batch_and_no_other_sample(seed: int, items: int, samples: int, data: st.DataObject) -> None:
    model, memory, streams = Toy(seed), toy_memory(items, seed), keys(seed, items)
    decoding = Decoding("sample", nbest=3, max_length=70)
    together = decode(model, memory, decoding, streams)
    rows = data.draw(st.lists(st.sampled_from(range(items)), min_size=1, max_size=items, unique=True))
    some = decode(model, memory.select(torch.tensor(rows)), replace(decoding, nbest=samples), [streams[row] for row in rows])
    for row, found in zip(rows, some, strict=True):
        every = [hypothesis.ids for hypothesis in together[row]]
        assert len(found) == samples
        assert all(hypothesis.ids in every for hypothesis in found)


def test_without_keys_samples_come_from_the_generator_of_torch() -> None:
    model, memory = Toy(2), toy_memory(2, 2)

    def draw(seed: int) -> list[list[int]]:
        torch.manual_seed(seed)
        return [h.ids for found in decode(model, memory, Decoding("sample", nbest=8, max_length=5)) for h in found]

    assert draw(1) == draw(1) != draw(2)


def test_a_rule_against_repetition_yields_where_nothing_else_can_be_written() -> None:
    class One(Decoded):
        """Writes fours alone until it may end."""

        vocabulary = Specials(6)

        def start(self, memory: Memory, rows_per_item: int = 1) -> State:
            return State(torch.zeros(len(memory) * rows_per_item, 1))

        def step(self, token: Tensor, state: State, memory: Memory) -> Step:
            logits = torch.full((len(token), 6), -1e4)
            logits[:, 4] = 0.0
            return Step(logits, state)

    for method in ("greedy", "sample"):
        decoding = Decoding(method, max_length=5, min_length=5, no_repeat_ngram=1)  # type: ignore[arg-type]
        ((found,),) = decode(One(), toy_memory(1), decoding)
        assert found.ids == [4, 4, 4, 4, 4, EOS]


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}])
def test_narrow_sampling_is_greedy(options: dict[str, Any]) -> None:
    model, memory = Toy(4), toy_memory(3, 4)
    greedy = decode(model, memory, Decoding(method="greedy", max_length=5))
    sampled = decode(model, memory, Decoding(method="sample", nbest=2, max_length=5, **options))
    for best, drawn in zip(greedy, sampled, strict=True):
        assert [hypothesis.ids for hypothesis in drawn] == [best[0].ids] * 2


def test_top_p_keeps_the_smallest_set_that_reaches_p() -> None:
    model, memory = Toy(1), toy_memory(1, 1)
    probabilities = np.array([np.exp(written_out(model, memory, 0, [token])[0][0]) for token in WORDS])
    probabilities /= probabilities.sum()
    order = np.argsort(-probabilities)
    p = float(probabilities[order[0]]) + 1e-3
    (found,) = decode(model, memory, Decoding(method="sample", nbest=300, max_length=1, top_p=p))
    assert {hypothesis.ids[0] for hypothesis in found} == {WORDS[order[0]], WORDS[order[1]]}


def test_force_scores_what_it_is_given() -> None:
    model, memory = Toy(5), toy_memory(2, 5)
    given_ids = [[4, 5, EOS], [6, EOS]]
    for item, hypothesis in enumerate(force(model, memory, given_ids)):
        log_probs, attention = written_out(model, memory, item, given_ids[item])
        assert hypothesis.ids == given_ids[item]
        assert hypothesis.log_probs == pytest.approx(log_probs, abs=1e-4)
        np.testing.assert_allclose(hypothesis.attention["attention"], attention, atol=1e-5)


class NoFives:
    """A scorer that forbids one token and counts steps in its state."""

    def start(self, memory: Memory, rows_per_item: int = 1) -> State:
        return State(torch.zeros(len(memory) * rows_per_item, 1))

    def score(self, token: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        scores = torch.zeros(len(token), 4 + len(WORDS))
        scores[:, 5] = -1e4
        return scores, State(state.hidden + 1)


def test_a_second_scorer_has_its_say() -> None:
    model, memory = Toy(6), toy_memory(4, 6)
    decoding = Decoding(beam=4, max_length=6, min_length=3)
    alone = decode(model, memory, decoding)
    assert any(5 in found[0].ids for found in alone)
    both = decode(model, memory, decoding, scorers=[(NoFives(), 0.5)])
    assert not any(5 in found[0].ids for found in both)


@pytest.mark.parametrize(
    "options",
    [
        {"beam": 0},
        {"nbest": 0},
        {"beam": 2, "nbest": 3},
        {"temperature": 0.0},
        {"top_p": 0.0},
        {"top_k": -1},
        {"max_length": 0},
        {"max_length": 10**9},
        {"beam": 100_000},
        {"beam": 2.5},
        {"method": "sample", "nbest": 100_000},
        {"method": "beam", "beam": 1000, "nbest": 1001},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"length_penalty": float("nan")},
        {"length_penalty": 1e308},
        {"top_p": float("nan")},
        {"threshold": float("nan")},
        {"weights": {"other": float("nan")}},
        {"max_length": 2, "min_length": 3},
        {"method": "guess"},
        {"method": "greedy", "nbest": 2},
        {"recombine": -1},
        {"threshold": -1.0},
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Decoding(**options)


def test_no_inputs_give_no_hypotheses() -> None:
    assert decode(Toy(0), toy_memory(1).select(torch.tensor([], dtype=torch.long)), Decoding()) == []


class Second:
    """A judge with a mind of its own: a toy model's."""

    def __init__(self, seed: int) -> None:
        self.model = Toy(seed)

    def start(self, memory: Memory, rows_per_item: int = 1) -> State:
        return self.model.start(memory, rows_per_item)

    def score(self, token: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        step = self.model.step(token, state, memory)
        return step.logits.log_softmax(-1), step.state


class Judged(Toy):
    def scorers(self) -> dict[str, Second]:
        return {"second": Second(9)}


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), items=st.integers(1, 3), penalty=st.sampled_from([0.0, 1.0]))
def test_a_second_pass_ranks_what_the_first_one_found(seed: int, items: int, penalty: float) -> None:
    model, memory = Judged(seed), toy_memory(items)
    first = Decoding(beam=30, nbest=4, max_length=3, length_penalty=penalty)
    found = decode(Second(9).model, memory, first)
    decoding = Decoding(beam=30, nbest=3, max_length=3, length_penalty=penalty, weights={"second": 1.0}, second_pass=True)
    for item, hypotheses in enumerate(decode(model, memory, decoding)):
        expected = []
        for one in found[item]:
            log_probs, attention = written_out(model, memory, item, one.ids)
            expected.append((one.score + sum(log_probs) / len(one.ids) ** penalty, one.ids, log_probs, attention))
        best = sorted(expected, key=lambda judged: -judged[0])[:3]
        assert [hypothesis.ids for hypothesis in hypotheses] == [ids for _, ids, _, _ in best]
        for hypothesis, (score, _, log_probs, attention) in zip(hypotheses, best, strict=True):
            assert hypothesis.score == pytest.approx(score, abs=1e-4)
            np.testing.assert_allclose(hypothesis.log_probs, log_probs, atol=1e-4)
            np.testing.assert_allclose(hypothesis.attention["attention"], np.stack(attention), atol=1e-5)


def test_without_scorers_the_model_searches_itself() -> None:
    model, memory = Judged(1), toy_memory(2)
    alone, zero = (
        decode(model, memory, Decoding(max_length=5, weights=weights, second_pass=True)) for weights in ({}, {"second": 0})
    )
    plain = decode(model, memory, Decoding(max_length=5))
    assert [found[0].ids for found in alone] == [found[0].ids for found in zero] == [found[0].ids for found in plain]


def test_samples_have_one_pass() -> None:
    model, memory = Judged(1), toy_memory(2)
    options = {"method": "sample", "max_length": 5, "weights": {"second": 0.5}}
    one, two = (
        decode(model, memory, Decoding(**options, second_pass=second), keys(1, 2))  # type: ignore[arg-type]
        for second in (False, True)
    )
    assert [found[0].ids for found in one] == [found[0].ids for found in two]


def test_a_threshold_gives_up_what_is_far_behind() -> None:
    """Of two beginnings the worse one leads to the better end: only a search that isn't narrow finds it."""
    table = {BOS: {4: 0.6, 5: 0.4}, 4: {4: 0.5, EOS: 0.5}, 5: {EOS: 1.0}}

    class Chain(Decoded):
        vocabulary = Specials(6)

        def start(self, memory: Memory, rows_per_item: int = 1) -> State:
            return State(torch.zeros(len(memory) * rows_per_item, 1))

        def step(self, token: Tensor, state: State, memory: Memory) -> Step:
            rows = [[table[int(one)].get(other, 0.0) for other in range(6)] for one in token]
            return Step(torch.tensor(rows).log(), state)

    def found(threshold: float) -> list[int]:
        (best,) = decode(Chain(), toy_memory(1), Decoding(beam=4, max_length=3, threshold=threshold))[0]
        return best.ids

    assert found(0.0) == found(0.5) == [5, EOS]  # log 0.6 - log 0.4 = 0.41
    assert found(0.3) == [4, EOS]


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), items=st.integers(1, 3), size=st.integers(1, 3))
def test_of_hypotheses_with_one_end_the_best_goes_on(seed: int, items: int, size: int) -> None:
    """A beam that holds everything gives, for each end, the best of the beginnings that could lead to it."""
    model, memory = Toy(seed), toy_memory(items, seed)
    decoding = Decoding(beam=130, nbest=130, max_length=4, min_length=4, recombine=size)
    for item, found in enumerate(decode(model, memory, decoding)):
        scores = {(): 0.0}
        for _ in range(4):
            longer = {(*ids, word): sum(written_out(model, memory, item, [*ids, word])[0]) for ids in scores for word in WORDS}
            best: dict[tuple[int, ...], tuple[int, ...]] = {}
            for ids in sorted(longer, key=longer.__getitem__, reverse=True):
                best.setdefault(ids[-size:], ids)
            scores = {ids: longer[ids] for ids in best.values()}
        # the end token counts as one of the last too: of those with the same size - 1 words before it one ends
        ended: dict[tuple[int, ...], list[int]] = {}
        finals = {ids: sum(written_out(model, memory, item, [*ids, EOS])[0]) for ids in scores}
        for ids in sorted(finals, key=finals.__getitem__, reverse=True):
            ended.setdefault(ids[len(ids) - size + 1 :], [*ids, EOS])
        assert sorted(hypothesis.ids for hypothesis in found) == sorted(ended.values())


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), penalty=st.sampled_from([0.5, 1.0]))
def test_searches_end_as_they_are_told(seed: int, penalty: float) -> None:
    """With ``beam``, the best is that of the whole list; with ``full``, a beam that has finished is all that is looked at."""
    model, memory = Toy(seed), toy_memory(2, seed)
    common = Decoding(beam=3, length_penalty=penalty, max_length=6)
    (first, _), (whole, _) = (decode(model, memory, replace(common, ends="beam", nbest=count)) for count in (1, 3))
    assert first[0].ids == whole[0].ids
    (early, _) = decode(model, memory, replace(common, ends="full"))
    (usual, _) = decode(model, memory, common)
    assert early[0].score <= usual[0].score + 1e-5
    assert usual[0].score <= first[0].score + 1e-5


def test_an_unknown_end_is_refused() -> None:
    with pytest.raises(UsageError, match="ends must be"):
        Decoding(ends="never")  # type: ignore[arg-type]
