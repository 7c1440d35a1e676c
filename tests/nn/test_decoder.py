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
from condgen_cli.nn import SOURCE, CandidateSampler, RecurrentDecoder, make_attention

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
    "copying": {"attended": True, "copying": True},
    "copying after a GRU's step": {"attended": True, "copying": True, "cell": "gru", "attend": "after"},
    "vector at every step": {},
    "vector at the first step": {"feed": "first"},
    "vector at the start": {"feed": "start"},
}


def make(attended: bool = False, located: bool = False, **options: Any) -> RecurrentDecoder:
    torch.manual_seed(0)
    attention = make_attention("additive", HIDDEN, CONTEXT, 4, located=located) if attended else None
    return RecurrentDecoder(WORDS, EMBEDDING, HIDDEN, CONTEXT, attention, dropout=0.5, **options).eval()


def make_memory(decoder: RecurrentDecoder, batch: int) -> Memory:
    values = torch.randn(batch, 4, CONTEXT)
    keys = None if decoder.attention is None else decoder.attention.keys(values)
    auxiliary = {"vector": values.mean(1)} | ({SOURCE: torch.randint(WORDS, (batch, 4))} if decoder.copying else {})
    return Memory(values, keys, auxiliary=auxiliary)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(1, 5), min_size=6, max_size=6))
def test_teacher_forcing_equals_repeated_steps(kind: str, lengths: list[int]) -> None:
    decoder = make(**KINDS[kind])
    memory = make_memory(decoder, 3)
    tokens = torch.randint(0, WORDS, (6, 5))
    with torch.no_grad():
        forced = decoder(memory, tokens, torch.tensor(lengths))
        logits = decoder.logits(forced.features, forced.copies)
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


def test_copying_needs_attention() -> None:
    with pytest.raises(UsageError, match="copying"):
        make(copying=True)


def test_what_is_attended_to_is_copied() -> None:
    decoder = make(attended=True, copying=True)
    memory = make_memory(decoder, 1)
    source = torch.tensor([[3, 5, 3, 8]])
    memory = replace(memory, auxiliary={**memory.auxiliary, SOURCE: source})
    assert decoder.copying is not None
    with torch.no_grad():
        decoder.copying.gate.bias.fill_(-100.0)
        written = decoder.step(torch.tensor([4]), decoder.start(memory), memory)
        decoder.copying.gate.bias.fill_(0.5)
        both = decoder.step(torch.tensor([4]), decoder.start(memory), memory)
    share = torch.tensor(0.5).sigmoid()
    expected = (1 - share) * written.logits[0].softmax(0)
    for token, weight in zip(source[0].tolist(), both.attention["attention"][0], strict=True):
        expected[token] += share * weight
    torch.testing.assert_close(both.logits[0].exp(), expected)
    torch.testing.assert_close(both.extras["copied"], share.view(1))
    assert float(written.extras["copied"]) == 0.0


def test_where_nothing_can_be_read_nothing_is_copied() -> None:
    decoder = make(attended=True, copying=True)
    memory = replace(make_memory(decoder, 1), mask=torch.zeros(1, 4, dtype=torch.bool))
    with torch.no_grad():
        step = decoder.step(torch.tensor([4]), decoder.start(memory), memory)
    assert float(step.extras["copied"]) == 0.0
    assert float(step.logits.exp().sum()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("sampled", [False, True])
def test_the_loss_of_a_copying_decoder_is_that_of_its_logits(sampled: bool) -> None:
    decoder = make(attended=True, copying=True)
    memory = make_memory(decoder, 2)
    inputs, targets = torch.randint(0, WORDS, (2, 4, 5))
    forced = decoder(memory, inputs, torch.tensor([5, 3, 4, 1]))
    wanted = targets.flatten()[forced.kept]
    expected = -decoder.logits(forced.features, forced.copies).gather(1, wanted.unsqueeze(1)).mean()
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
        decoder.logits(forced.features, forced.copies).log_softmax(-1)[:, 1].sum().backward()
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in decoder.parameters())


def test_a_vector_beside_attention_is_read_at_every_step() -> None:
    changed = {}
    for size in (0, CONTEXT):
        decoder = make(attended=True, attend="after", vector_size=size)
        memory = make_memory(decoder, 2)
        other = replace(memory, auxiliary={"vector": memory.auxiliary["vector"] + 1})
        state, token = decoder.start(memory), torch.tensor([3, 4])
        with torch.no_grad():
            logits = [decoder.step(token, state, one).logits for one in (memory, other)]
        changed[size] = not torch.equal(*logits)
    assert changed == {0: False, CONTEXT: True}
