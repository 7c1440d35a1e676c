"""What a runner is asked for: how to decode, and what each result has to hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from condgen_cli.running.decoding import Decoding

__all__ = ["Request"]


@dataclass(frozen=True)
class Request:
    """What ``Runner.stream`` does with every item.

    Args:
        decoding: how outputs are searched or drawn; None: the model's default.
        batch_size: items that the model runs at once.
        force: the output that the model is made to write for every item; None: it decodes.
        seed: of sampling. What is drawn for an input depends on the seed, on what the input is, and on how many equal inputs
            came before: on no batch, place or other input.
        conditions: whether generations hold what attention is drawn on; without it nothing is read a second time.
        live: whether items come as somebody writes them: a batch is then run with the items that are there, rather than
            when it is full.
        join_parts: whether an input that was cut into parts has one result; False gives a result for each part.
        outputs: whether outputs are written; False leaves each output empty.
        likelihoods: whether generations hold the log-probabilities of their items' references.
    """

    decoding: Decoding | None = None
    batch_size: int = 16
    force: str | None = None
    seed: int = 0
    conditions: bool = True
    live: bool = False
    join_parts: bool = True
    outputs: bool = True
    likelihoods: bool = False
