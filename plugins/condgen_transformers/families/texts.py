"""What families that read a text share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from condgen_cli.errors import UsageError
from condgen_cli.generation import Axis
from condgen_cli.item import Item
from condgen_cli.terminal.suggestions import suggestion
from condgen_transformers.model import Encoded, HubModel
from condgen_transformers.vocabulary import HubVocabulary

__all__ = ["TextModel", "Texts", "choose_language"]


class Texts(NamedTuple):
    """A batch of source texts.

    Args:
        ids: (batch, positions).
        mask: (batch, positions), 1 for real tokens.
    """

    ids: Tensor
    mask: Tensor

    def to(self, device: Any, **options: Any) -> Texts:
        return Texts(self.ids.to(device), self.mask.to(device))


class TextModel(HubModel):
    """A model that reads a text. ``text`` makes it of an item's condition."""

    def text(self, item: Item) -> str:
        """The text that the encoder reads."""
        return str(item.condition)

    def example(self) -> Item:
        return Item("example", "Hello!")

    def length(self, item: Item) -> int:
        """Number of characters, by which batches are sorted."""
        return len(self.text(item))

    def collate(self, items: Sequence[Item]) -> Texts:
        """A batch of token ids; a text that is longer than the encoder's positions loses its end."""
        tokenizer = self.vocabulary.tokenizer
        limit = min(int(tokenizer.model_max_length), self.positions())
        found = tokenizer(
            [self.text(item) for item in items], padding=True, truncation=True, max_length=limit, return_tensors="pt"
        )
        return Texts(found["input_ids"], found["attention_mask"])

    def positions(self) -> int:
        """Largest number of tokens that the encoder reads."""
        return int(getattr(self.network.config, "max_position_embeddings", None) or 512)

    def read_batch(self, batch: Texts) -> Encoded:
        """Encoder states of the tokens."""
        states = self.network.get_encoder()(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
        labels = HubVocabulary(self.vocabulary.tokenizer, self.vocabulary.pad, -1)
        axes = [
            (Axis("source", "tokens", tuple(labels.token(index) for index in ids[mask.bool()].tolist())),)
            for ids, mask in zip(batch.ids, batch.mask, strict=True)
        ]
        return Encoded(states, batch.mask.bool(), None, axes, source=batch.ids)


def choose_language(codes: Mapping[str, int], wanted: str, which: str) -> str:
    """A language code that the tokenizer knows: ``wanted`` itself, or the only one that begins with it.

    Args:
        codes: ids by code, such as ``deu_Latn``.
        wanted: what the user wrote.
        which: ``source`` or ``target``, for the error.
    Raises:
        UsageError: if there is none, or several.
    """
    if wanted in codes:
        return wanted
    near = [code for code in codes if wanted and code.startswith(wanted + "_")]
    if len(near) == 1:
        return near[0]
    known = sorted(codes)
    shown = ", ".join(near or known[:8]) + ("" if near or len(known) <= 8 else f" and {len(known) - 8} more")
    if not wanted:
        raise UsageError(f"this model translates between many languages: it needs a {which} language", f"{which}={known[0]}")
    raise UsageError(
        f"this model has no {which} language {wanted!r}: it has {shown}", suggestion(wanted, known) or f"{which}={known[0]}"
    )
