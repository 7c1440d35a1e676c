"""Attention maps, and the generations of an input's parts joined to one."""

from __future__ import annotations

import numpy as np
import pytest

from condgen_cli import generation as generations
from condgen_cli.generation import AttentionMap, Axis, Generation, join


def part(output: str, source: str, heads: int = 0) -> Generation:
    """A generation whose every word looks at the words of its source alike."""
    tokens, positions = (*output.split(), "<eos>"), tuple(source.split())
    axes = [Axis("token", "tokens", tokens), Axis("source", "tokens", positions)]
    if heads:
        axes.insert(1, Axis.numbered("head", "heads", heads))
    shape = [len(axis) for axis in axes]
    count = len(tokens)
    return Generation(
        output,
        tokens,
        np.full(count, -0.5, np.float32),
        -0.5 * count,
        {"attention": AttentionMap(np.full(shape, 1 / len(positions), np.float32), tuple(axes))},
        source,
        {"gate": np.arange(count, dtype=np.float32)},
    )


def test_parts_follow_one_another_and_look_at_themselves_alone() -> None:
    joined = join([part("two dogs", "zwei Hunde rennen"), part("", "."), part("a cat", "eine Katze")])
    assert joined.output == "two dogs a cat"
    assert joined.tokens == ("two", "dogs", "<eos>", "<eos>", "a", "cat", "<eos>")
    assert joined.score == -3.5
    assert joined.condition == "zwei Hunde rennen . eine Katze"
    np.testing.assert_array_equal(joined.log_probs, np.full(7, -0.5))
    np.testing.assert_array_equal(joined.extras["gate"], [0, 1, 2, 0, 0, 1, 2])
    weights = joined.attention["attention"]
    assert weights.steps.labels == joined.tokens
    assert weights.axes[1] == Axis("source", "tokens", ("zwei", "Hunde", "rennen", ".", "eine", "Katze"))
    expected = np.zeros((7, 6), np.float32)
    expected[:3, :3], expected[3, 3], expected[4:, 4:] = np.float32(1 / 3), 1, 0.5
    np.testing.assert_array_equal(weights.weights, expected)


def test_heads_are_shared() -> None:
    joined = join([part("a", "b c", heads=2), part("d e", "f", heads=2)])
    weights = joined.attention["attention"]
    assert [axis.kind for axis in weights.axes] == ["tokens", "heads", "tokens"]
    assert weights.weights.shape == (5, 2, 3)
    np.testing.assert_allclose(weights.distributions().sum(-1), 1)
    assert not weights.weights[:2, :, 2].any()
    with pytest.raises(ValueError, match="can't be joined: 2 heads, 3 heads"):
        join([part("a", "b c", heads=2), part("d e", "f", heads=3)])


def test_maps_of_another_kind_are_not_joined() -> None:
    other = Generation(
        "x", ("x",), np.zeros(1, np.float32), 0.0,
        {"attention": AttentionMap(np.ones((1, 1), np.float32), (Axis("t", "tokens", ("x",)), Axis("s", "slots", ("0",))))},
        extras={"gate": np.zeros(1, np.float32)},
    )  # fmt: skip
    with pytest.raises(ValueError, match="can't be joined: 1 tokens, 1 slots"):
        join([part("a", "b"), other])


def test_one_part_is_itself_and_no_attention_stays_none() -> None:
    alone = part("a", "b")
    assert join([alone]) is alone
    joined = join([Generation("a", score=1.0), Generation("b", score=2.0)])
    assert (joined.output, joined.score, joined.attention, joined.condition) == ("a b", 3.0, {}, None)


def test_a_map_of_too_many_weights_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [part("a", "b c"), part("d", "e f")]
    monkeypatch.setattr(generations, "MAX_JOINED", 16)
    assert join(parts).attention
    monkeypatch.setattr(generations, "MAX_JOINED", 15)
    joined = join(parts)
    assert (joined.output, joined.attention) == ("a d", {})
