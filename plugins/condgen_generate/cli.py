"""What ``condgen generate`` takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer

from condgen_cli.errors import CondgenError, UsageError
from condgen_cli.files.sources import Failure
from condgen_cli.inputs.expansion import expand
from condgen_cli.inputs.lines import Text, Texts, text_inputs
from condgen_cli.item import Item
from condgen_cli.options import InputOpt
from condgen_cli.running.limits import LONGEST_OUTPUT, MOST_SAMPLES
from condgen_cli.tasks.job import Job, TaskOptions
from condgen_generate.prompt import Prompt
from condgen_generate.verse import form_named

__all__ = ["Script", "generate"]

LONGEST = 5000
"""Tokens that may be written at most if no length is given: a text model ends by itself, a picture when it is full."""
LOOSE = 200
"""Characters that a poem may have if it isn't held to a form."""


class Script(StrEnum):
    """Chinese characters."""

    simplified = "simplified"
    traditional = "traditional"


PromptsArg = Annotated[
    list[str] | None, typer.Argument(metavar="PROMPT", help="What to go on from, each in quotes.  [default: nothing]")
]
FormOpt = Annotated[
    str | None,
    typer.Option(
        "--form",
        metavar="SxL",
        help="A poem of L lines of S characters: 5x4, 7x4, 5x8, 7x8.  [default: by the prompt, else 7x4]",
    ),
]
AcrosticOpt = Annotated[
    str | None, typer.Option("--acrostic", metavar="TEXT", help="A poem whose lines begin with these characters.")
]
ExactOpt = Annotated[
    bool, typer.Option("--exact/--no-exact", help="Hold a poem to its form, or write it as the model has learnt the form.")
]
ScriptOpt = Annotated[
    Script | None, typer.Option("--script", help="Characters of poems and of their prompts.  [default: simplified]")
]
LengthOpt = Annotated[
    int | None, typer.Option("--length", min=1, max=LONGEST_OUTPUT, metavar="N", help="Characters to write after the prompt.")
]
StopOpt = Annotated[str | None, typer.Option("--stop", metavar="TEXT", help="End before this text.")]
NumberOpt = Annotated[
    int, typer.Option("--number", "-n", min=1, max=MOST_SAMPLES, metavar="N", help="Samples for each prompt, likeliest first.")
]
CompleteOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--complete",
        metavar="PICTURE",
        help="A part of a picture to go on from: its first rows, or a whole one, transparent where it is unknown; repeatable.",
    ),
]


def generate(
    options: TaskOptions,
    prompts: PromptsArg = None,
    input: InputOpt = None,
    form: FormOpt = None,
    acrostic: AcrosticOpt = None,
    exact: ExactOpt = True,
    script: ScriptOpt = None,
    length: LengthOpt = None,
    stop: StopOpt = None,
    complete: CompleteOpt = None,
    number: NumberOpt = 1,
) -> Job:
    """Write texts, poems and pictures, step by step, and show how they come about.

    -o FILE.png takes all pictures; FILE.gif and FILE.html play the order in which their pixels appear.
    """
    asked: dict[str, object] = {"--form": form, "--acrostic": acrostic, "--no-exact": not exact, "--script": script}
    asked |= {"--length": length, "--stop": stop}
    given = tuple(flag for flag, value in asked.items() if value not in (None, False))
    prompt = Prompt(
        form=form_named(form) if form is not None else None,
        acrostic=acrostic or "",
        exact=exact,
        length=length or (0 if exact else LOOSE),
        stop=stop or "",
        simplified=script is not Script.traditional,
        asked=given,
    )
    options = replace(options, sample=True, nbest=number, max_length=max(length or 0, LONGEST))
    if complete:
        if prompts or input is not None:
            raise UsageError("--complete gives the beginning: it goes without a prompt")
        if given:
            raise UsageError(f"--complete makes pictures: it goes without {', '.join(given)}")
        return Job(Texts(_pictures(complete), len(complete) > 1), options)
    inputs = text_inputs(prompts or [], input) if prompts or input is not None else Texts([Text("free", "")], several=False)
    return Job(Texts(_items(inputs, prompt), inputs.several, inputs.live), options)


def _pictures(arguments: Sequence[str]) -> Iterator[Item | Failure]:
    """Parts of pictures; those that can't be read are failures in their places."""
    from condgen_cli.data.content import Kind, check_kind, is_picture
    from condgen_cli.data.image import Photo, load_image

    found = expand(arguments, kinds=[Kind.photo])
    for source in found:
        if isinstance(source, Failure):
            yield source
            continue
        photo = Photo(source)
        try:
            if not is_picture(photo):  # the first frame of one that moves is taken
                check_kind(photo, [Kind.photo], otherwise=Kind.photo)
            yield Item(source, load_image(photo, alpha=True), source=source, warnings=photo.warnings)
        except CondgenError as error:
            yield Failure(source, error)
    found.warn_of_left_out()


def _items(texts: Texts, prompt: Prompt) -> Iterator[Item | Failure]:
    for text in texts:
        if isinstance(text, Text):
            yield Item(text.name, prompt._replace(text=text.text), source=text.name, text=text.text, warnings=text.warnings)
        else:
            assert isinstance(text, Failure)
            yield text
