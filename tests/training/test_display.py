from __future__ import annotations

import io

import pytest

from condgen_cli.training.display import make_display

STEP = {"step": 50, "epoch": 2, "loss": 1.25, "lr": 0.001, "gradient_norm": 0.5, "tokens_per_second": 1234.5}
EVALUATION = {"step": 60, "epoch": 2, "dev": {"bleu4": 21.5}, "best": True}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, visible: bool = True) -> str:
    monkeypatch.setattr("sys.stderr", stream)
    with make_display("sat", visible) as display:
        display.advance(0.5)
        display.show(STEP)
        display.show(EVALUATION)
    return stream.getvalue()


def test_lines_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(monkeypatch, io.StringIO()).splitlines() == [
        "epoch 2  step 50  loss 1.2500  lr 1.00e-03  gradient 0.5  1234 tokens/s",
        "epoch 2  step 60  dev: bleu4 21.5  (best)",
    ]


def test_live_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    text = show(monkeypatch, Terminal())
    assert "\x1b[" in text
    assert "loss 1.2500" in text
    assert "dev: bleu4 21.5  (best)" in text
    assert "50%" in text


def test_nothing_if_another_process_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(monkeypatch, io.StringIO(), visible=False) == ""
