"""The recurrent decoder: teacher forcing equals repeated steps, and both equal the equations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from condgen_cli.errors import UsageError
from condgen_cli.model import Memory
from condgen_cli.nn import CACHE, CandidateSampler, RecurrentDecoder, make_attention

WORDS, EMBEDDING, HIDDEN, CONTEXT = 9, 6, 7, 5

KINDS: dict[str, dict[str, Any]] = {
    "attention": {"attended": True},
    "attention after the step": {"attended": True, "attend": "after"},
    "attention with input feeding": {"attended": True, "attend": "after", "input_feeding": True},
    "attention of a GRU": {"attended": True, "cell": "gru"},
    "attention after a GRU's step": {"attended": True, "cell": "gru", "attend": "after", "gate": True},
    "vector at every step of a GRU": {"cell": "gru"},
    "vector at the first step of a GRU": {"cell": "gru", "feed": "first"},
    "gated attention": {"attended": True, "gate": True},
    "located attention": {"attended": True, "located": True},
    "located attention after the step": {"attended": True, "located": True, "attend": "after"},
    "attention and a vector": {"attended": True, "vector_size": CONTEXT},
    "attention and a vector of a GRU, after the step": {
        "attended": True,
        "vector_size": CONTEXT,
        "cell": "gru",
        "attend": "after",
    },
    "attention, a vector and input feeding": {"attended": True, "vector_size": 5, "attend": "after", "input_feeding": True},
    "attention and a cache": {"attended": True, "cache": True},
    "vector and a cache of a GRU": {"cache": True, "cell": "gru"},
    "vector at every step": {},
    "vector at the first step": {"feed": "first"},
    "vector at the start": {"feed": "start"},
}


def make(attended: bool = False, located: bool = False, **options: Any) -> RecurrentDecoder:
    torch.manual_seed(0)
    attention = make_attention("additive", HIDDEN, CONTEXT, 4, location_aware=located) if attended else None
    return RecurrentDecoder(WORDS, EMBEDDING, HIDDEN, CONTEXT, attention, dropout=0.5, **options).eval()


def make_memory(decoder: RecurrentDecoder, batch: int) -> Memory:
    values = torch.randn(batch, 4, CONTEXT)
    keys = None if decoder.attention is None else decoder.attention.keys(values)
    memory = Memory(values, keys, vector=values.mean(1))
    if decoder.cache is None:
        return memory
    mask = torch.arange(4) >= torch.arange(batch).unsqueeze(1)  # the first has all four entries, the others fewer
    return remember(memory, torch.randn(batch, 4, EMBEDDING), torch.randint(WORDS, (batch, 4)), mask)


def remember(memory: Memory, keys: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor) -> Memory:
    return replace(memory, auxiliary={**memory.auxiliary, **dict(zip(CACHE, (keys, tokens, mask), strict=True))})


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10)
@given(lengths=st.lists(st.integers(1, 5), min_size=6, max_size=6))
def test_teacher_forcing_equals_repeated_steps(kind: str, lengths: list[int]) -> None:
    decoder = make(**KINDS[kind])
    memory = make_memory(decoder, 3)
    tokens = torch.randint(0, WORDS, (6, 5))
    with torch.no_grad():
        forced = decoder(memory, tokens, torch.tensor(lengths))
        logits = decoder.logits(forced.features, forced.cached)
        state, stepped, weights = decoder.start(memory, 2), [], []
        for position in range(5):
            step = decoder.step(tokens[:, position], state, memory)
            state = step.state
            stepped.append(step.logits)
            if step.attention:
                weights.append(step.attention["attention"])
    assert sorted(forced.kept.tolist()) == [row * 5 + step for row in range(6) for step in range(lengths[row])]
    torch.testing.assert_close(logits, torch.stack(stepped, 1).flatten(0, 1)[forced.kept], atol=1e-5, rtol=1e-5)
    if forced.weights is not None:
        each = torch.stack(weights, 1)
        torch.testing.assert_close(forced.weights, each.flatten(0, 1)[forced.kept], atol=1e-5, rtol=1e-5)
        real = torch.arange(5) < torch.tensor(lengths).unsqueeze(1)
        torch.testing.assert_close(forced.attended, (each * real.unsqueeze(2)).sum(1), atol=1e-5, rtol=1e-5)
    else:
        assert "attention" not in kind


def test_input_feeding_needs_attention_after_the_step() -> None:
    with pytest.raises(UsageError, match="input feeding"):
        make(attended=True, input_feeding=True)


def test_what_was_written_in_a_like_place_is_likely_again() -> None:
    decoder = make(cache=True)
    plain = make_memory(decoder, 1)
    keys, tokens = torch.randn(1, 5, EMBEDDING), torch.tensor([[3, 5, 3, 8, 1]])
    memory = remember(plain, keys, tokens, torch.tensor([[True, True, True, True, False]]))
    assert decoder.cache is not None
    token, state = torch.tensor([4]), decoder.start(memory)
    with torch.no_grad():
        decoder.cache.gate.bias.fill_(0.5)
        decoder.cache.sharpness.fill_(0.7)
        features = decoder(memory, token.unsqueeze(1)).features
        found = decoder.step(token, state, memory)
        written = decoder.step(token, state, replace(memory, auxiliary={}))
    share, sharpness = torch.tensor(0.5).sigmoid(), torch.tensor(0.7).exp()
    weights = torch.stack([sharpness * features[0] @ key for key in keys[0, :4]]).softmax(0)
    expected = (1 - share) * written.logits[0].softmax(0)
    for place, weight in zip(tokens[0].tolist(), weights, strict=False):
        expected[place] += share * weight
    torch.testing.assert_close(found.logits[0].exp(), expected)
    torch.testing.assert_close(found.extras["cache"], share.view(1))
    assert "cache" not in written.extras


def test_an_empty_cache_says_nothing() -> None:
    decoder = make(attended=True, cache=True)
    memory = make_memory(decoder, 1)
    empty = remember(memory, torch.randn(1, 4, EMBEDDING), torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 4).bool())
    with torch.no_grad():
        step = decoder.step(torch.tensor([4]), decoder.start(empty), empty)
    assert float(step.extras["cache"]) == 0.0
    assert float(step.logits.exp().sum()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("sampled", [False, True])
def test_with_a_cache_the_loss_is_that_of_the_logits(sampled: bool) -> None:
    decoder = make(attended=True, cache=True)
    memory = make_memory(decoder, 2)
    inputs, targets = torch.randint(0, WORDS, (2, 4, 5))
    forced = decoder(memory, inputs, torch.tensor([5, 3, 4, 1]))
    wanted = targets.flatten()[forced.kept]
    expected = -decoder.logits(forced.features, forced.cached).gather(1, wanted.unsqueeze(1)).mean()
    candidates = CandidateSampler(torch.ones(WORDS), WORDS)(wanted) if sampled else None
    found = decoder.cross_entropy(forced, targets, candidates=candidates)
    torch.testing.assert_close(found, expected)
    parameters = [parameter for parameter in decoder.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(found, parameters, retain_graph=True)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, parameters))


def test_the_gate_scales_the_context() -> None:
    decoder = make(attended=True, gate=True)
    memory = make_memory(decoder, 1)
    assert decoder.gate is not None
    with torch.no_grad():
        decoder.gate.bias.fill_(-100.0)
        shut = decoder.step(torch.tensor([4]), decoder.start(memory), memory)
        elsewhere = Memory(-memory.values, memory.keys, auxiliary=memory.auxiliary)
        unseen = decoder.step(torch.tensor([4]), decoder.start(memory), elsewhere)
    assert float(shut.extras["gate"]) == 0.0
    torch.testing.assert_close(shut.logits, unseen.logits)


def test_fed_first_the_vector_reaches_the_state_alone() -> None:
    decoder = make(feed="first")
    here, there = make_memory(decoder, 1), make_memory(decoder, 1)
    state = decoder.start(here)
    with torch.no_grad():
        torch.testing.assert_close(
            decoder.step(torch.tensor([4]), state, here).logits, decoder.step(torch.tensor([4]), state, there).logits
        )
        assert not torch.equal(decoder.start(here).hidden, decoder.start(there).hidden)


def test_gradients_reach_every_parameter() -> None:
    for options in KINDS.values():
        decoder = make(**options)
        memory = make_memory(decoder, 2)
        forced = decoder(memory, torch.randint(0, WORDS, (4, 3)), torch.tensor([3, 2, 3, 1]))
        decoder.logits(forced.features, forced.cached).log_softmax(-1)[:, 1].sum().backward()
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in decoder.parameters())


def test_a_vector_beside_attention_is_read_at_every_step() -> None:
    changed = {}
    for size in (0, CONTEXT):
        decoder = make(attended=True, attend="after", vector_size=size)
        memory = make_memory(decoder, 2)
        other = replace(memory, vector=memory.vector + 1)
        state, token = decoder.start(memory), torch.tensor([3, 4])
        with torch.no_grad():
            logits = [decoder.step(token, state, one).logits for one in (memory, other)]
        changed[size] = not torch.equal(*logits)
    assert changed == {0: False, CONTEXT: True}


def test_a_memory_without_a_vector_is_refused_in_plain_words() -> None:
    with pytest.raises(ValueError, match="needs a memory with a vector"):
        make().start(Memory(torch.zeros(1, 4, CONTEXT)))
