"""The command. Heavy modules are imported inside it, so that its --help stays quick."""

from __future__ import annotations

from typing import Annotated

import typer

from condgen_cli import console
from condgen_cli.options import ShowAttentionOpt


def command(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="Words, or - to read lines from stdin.")],
    show_attention: ShowAttentionOpt = False,
) -> None:
    """Write a word in capitals, letter by letter."""
    from condgen_cli.decoding import Decoding, decode
    from condgen_cli.generation import AttentionMap, Axis, Generation
    from condgen_cli.render import attention_text
    from condgen_example.model import build
    from condgen_example.task import read

    model = build({}, {})
    items = [item for text in texts for item in read(text)]
    memory = model.encode(model.collate(items))
    hypotheses = decode(model, memory, Decoding("greedy", max_length=memory.values.shape[1]))
    for row, (best, *_) in enumerate(hypotheses):
        output = model.vocabulary.decode(best.ids)
        print(output)
        if show_attention:
            tokens = tuple(model.vocabulary.token(index) for index in best.ids)
            (letters,) = memory.axes[row]
            weights = best.attention["attention"][:, : len(letters)]
            attention = AttentionMap(weights, (Axis("letter", "tokens", tokens), letters))
            generation = Generation(output, tokens, best.log_probs, best.score, {"attention": attention})
            print(attention_text(generation, width=console.width(), color=console.use_color()))
