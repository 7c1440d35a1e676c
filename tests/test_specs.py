"""Names that somebody mistypes."""

from __future__ import annotations

import pytest

from condgen_cli.cli.app import run
from condgen_cli.errors import NotFoundError
from condgen_cli.nn.match import match_function
from condgen_cli.specs import look_up
from condgen_cli.terminal.suggestions import near_names


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("BLEU", ["bleu", "bleu4"]),
        ("Bleu", ["bleu", "bleu4"]),
        ("wir", ["wer"]),
        ("MULTI30K", ["Multi30k"]),
        ("multi30", ["Multi30k"]),
        ("nothing like it", []),
        ("", []),
    ],
)
def test_near_names_whatever_their_case(name: str, near: list[str]) -> None:
    assert near_names(name, ["wer", "bleu4", "bleu", "Multi30k"]) == near


def test_names_that_differ_in_case_alone_are_all_offered() -> None:
    assert near_names("AB", ["ab", "aB", "xyz"]) == ["ab", "aB"]
    with pytest.raises(NotFoundError) as failure:
        look_up({"ab": 1}, "thing", "AB")
    assert failure.value.hint == "did you mean: ab"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["show", "NMT-DE-EN"], "nmt-de-en"),
        (["eval", "nmt-de-en", "--dataset", "MULTI30K"], "multi30k"),
        (["recipe", "show", "SAT"], "sat"),
        (["data", "show", "bAbI"], "babi"),
        (["data", "show", "multi30k", "--set", "SOURCE=de"], "source"),
        (["data", "show", "multi30k", "--set", "source=DE"], "de"),
        (["Eval"], "eval"),
    ],
)
def test_every_command_offers_near_names(arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) in (2, 3)
    assert f"did you mean: {hint}" in capsys.readouterr().err


def test_match_functions_are_offered_too() -> None:
    with pytest.raises(NotFoundError) as failure:
        match_function("Additive", 2, 2, 2)
    assert failure.value.hint == "did you mean: additive"
