"""The contract check for plugins' models finds what breaks the contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from torch import nn

from condgen_cli.generation import Generation
from condgen_cli.model import Item, Predictor
from condgen_cli.testing import check_model

ITEMS = [Item("1", "ab"), Item("2", "c")]


class Capitals(Predictor):
    """A model without a fault."""

    def collate(self, items: Sequence[Item]) -> list[str]:
        return [item.condition for item in items]

    def predict(self, batch: Any) -> list[Generation]:
        return [Generation(text.upper()) for text in batch]

    def length(self, item: Item) -> int:
        return len(item.condition)


class Mixing(Capitals):
    def predict(self, batch: Any) -> list[Generation]:
        return [Generation("".join(batch)) for _ in batch]


class Losing(Capitals):
    def predict(self, batch: Any) -> list[Generation]:
        return super().predict(batch)[:1]


class Halving(Capitals):
    def length(self, item: Item) -> int:
        return len(item.condition) / 2  # type: ignore[return-value]


class Imagining(Capitals):
    def example(self) -> Item:
        return "abc"  # type: ignore[return-value]


def test_a_predictor_keeps_the_contract() -> None:
    check_model(Capitals(), ITEMS)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Identity(), "derived neither from SequenceModel nor from Predictor"),
        (Mixing(), "the output of item 1 depends on the rest of the batch"),
        (Losing(), "2 items, but predict gives 1 generations"),
        (Halving(), "length gives a float for item 1, not an int"),
        (Imagining(), "gives a str, not an Item"),
    ],
)
def test_a_fault_is_named(model: nn.Module, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_model(model, ITEMS)
