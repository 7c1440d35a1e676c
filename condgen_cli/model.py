"""The base classes of models in torch, ``SequenceModel`` and ``Predictor``, and the memory that a decoder attends to."""

from __future__ import annotations

from torch import nn

from condgen_cli.arrays import repeat_rows, same_kind, select_rows
from condgen_cli.contract import Contract, Memory, PredictorContract, SequenceContract, Step, Tokens, Vocabulary
from condgen_cli.item import Item

__all__ = [
    "Item",
    "Memory",
    "Model",
    "Predictor",
    "SequenceModel",
    "Step",
    "Tokens",
    "Vocabulary",
    "repeat_state",
    "same_kind",
    "select_state",
]

repeat_state = repeat_rows
select_state = select_rows


class Model(nn.Module, Contract):
    """A model in torch: derive from ``SequenceModel`` or ``Predictor``."""


class SequenceModel(Model, SequenceContract):
    """A model in torch that encodes an item into a memory and generates its output token by token: derive from it, and
    implement ``collate``, ``encode``, ``start`` and ``step`` (see ``condgen_cli.contract.SequenceContract``)."""

    # nn.Module's own would come first
    forward = SequenceContract.forward


class Predictor(Model, PredictorContract):
    """A model in torch without token-by-token decoding, such as a classifier: derive from it, and implement ``collate`` and
    ``predict`` (see ``condgen_cli.contract.PredictorContract``)."""
