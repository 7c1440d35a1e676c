"""Settings of a run: how to decode, and what each result contains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from condgen_cli.running.decoding import Decoding

__all__ = ["Request"]


@dataclass(frozen=True)
class Request:
    """Settings of ``Runner.stream`` for all items.

    Args:
        decoding: decoding settings; None: the model's default.
        batch_size: number of items per batch.
        force: forced output for every item; None: the model decodes.
        seed: seed of sampling. The samples of an input depend only on the seed, the input's content and the number of equal
            inputs before it, not on batches, order or other inputs.
        conditions: whether generations hold the background that attention is drawn on, which may require reading the input
            again.
        live: whether items arrive interactively: a batch is then run with the available items instead of waiting until it is
            full.
        join_parts: whether the parts of an input are joined into one result; False: a result for each part.
        outputs: whether outputs are decoded; False: every output is empty.
        likelihoods: whether generations hold the log-probabilities of the items' references.
        references: whether generations hold the forced decoding of the items' references.
        explain: methods of ``condgen_cli.explain`` whose maps generations hold; empty: the model's own attention.
        contrast: another output, whose explanation is set against that of the output by every method; None: none.
        curves: whether generations hold the curves that tell how faithful the maps of ``explain`` are.
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
    references: bool = False
    explain: tuple[str, ...] = ()
    contrast: str | None = None
    curves: bool = False
