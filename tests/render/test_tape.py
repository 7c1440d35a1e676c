"""A memory's tape: slots down, steps across."""

from __future__ import annotations

import base64
import json
import re

import numpy as np

from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.render import attention_text
from condgen_cli.render.figure import figure
from condgen_cli.render.page import page
from condgen_cli.render.tape import Tape


def generation(steps: int = 4, slots: int = 6, tape: bool = True) -> Generation:
    """Step i writes slot i, half as much at its last step."""
    weights = np.zeros((steps, slots), np.float32)
    weights[np.arange(steps), np.arange(steps) % slots] = 0.8
    weights[-1] /= 2
    axes = (Axis("step", "tokens", tuple(f"{step:02}" for step in range(steps))), Axis.numbered("slot", "slots", slots))
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in ((steps, slots, 3), (steps, 1, 3), (steps, 1, 3))]
    condition = Tape(*arrays) if tape else None
    return Generation("01", attention={"write": AttentionMap(weights, axes)}, condition=condition)


def test_a_row_for_each_slot_that_is_looked_at() -> None:
    lines = attention_text(generation(), width=40, color=False).splitlines()
    assert lines[-7:] == [
        "  0 0 0 0",
        "  0 1 2 3",
        "0 @@",
        "1   @@",
        "2     @@",
        "3       ++",
        ".",
    ]


def test_steps_that_do_not_fit_go_on_below() -> None:
    text = attention_text(generation(steps=30, slots=6), width=20, color=False)
    assert all(len(line) <= 20 for line in text.splitlines())
    assert sum(line.startswith("0 ") and "@" in line for line in text.splitlines()) == 2


def test_a_head_that_looks_nowhere_in_particular_is_a_line() -> None:
    one = generation()
    weights = np.full((4, 20), 0.05, np.float32)
    weights[2, 3] = 0.11
    axes = (one.attention["write"].axes[0], Axis.numbered("slot", "slots", 20))
    spread = AttentionMap(weights, axes)
    text = attention_text(Generation("01", attention={"read": spread}, condition=one.condition), width=60, color=False)
    assert text.splitlines()[-1] == "Spread over the slots, 0.11 at most on one."
    weights[2, 3] = 0.4
    assert "go from 0 to 0.40" in attention_text(
        Generation("01", attention={"read": AttentionMap(weights, axes)}, condition=one.condition), width=60, color=False
    )


def test_slots_without_a_tape_stay_across() -> None:
    lines = attention_text(generation(tape=False), width=40, color=False).splitlines()
    assert [line[:2] for line in lines[-4:]] == ["00", "01", "02", "03"]


def test_the_figure_has_slots_as_rows() -> None:
    wide, high = figure(generation(steps=30, slots=4), "t"), figure(generation(steps=30, slots=30), "t")
    assert wide.width / wide.height > high.width / high.height


def test_the_figure_leaves_out_slots_beyond_those_that_are_looked_at() -> None:
    assert figure(generation(steps=4, slots=60), "t").height == figure(generation(steps=4, slots=6), "t").height


def test_the_page_holds_the_memory_step_by_step() -> None:
    one = generation()
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page(one, "<t>"))[1])  # type: ignore[index]
    assert (data["steps"], data["slots"], data["size"]) == (["00", "01", "02", "03"], 6, 3)
    cells = np.frombuffer(base64.b64decode(data["contents"]["cells"]), np.uint8).astype(float).reshape(4, 6, 3)
    assert isinstance(one.condition, Tape)
    np.testing.assert_allclose((cells - 127) / 127 * data["contents"]["largest"], one.condition.contents, atol=0.02)
    weights = np.frombuffer(base64.b64decode(data["panels"][0]["cells"]), np.uint8).reshape(4, 6)
    assert weights[0].tolist() == [254, 0, 0, 0, 0, 0]
    assert "<t>" not in page(one, "<t>")
