"""Blenderbot (Roller et al. 2021): a reply to the turns of a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condgen_cli.item import Item
from condgen_transformers.attention import ATTENTION
from condgen_transformers.families.texts import TextModel
from condgen_transformers.loading import folder_of, load_network, load_tool

__all__ = ["BlenderbotModel", "build"]


class BlenderbotModel(TextModel):
    """Blenderbot. It reads all turns, the latest ones where they are too many."""

    def example(self) -> Item:
        return Item("example", ("Hello!",))

    def text(self, item: Item) -> str:
        """The turns between the tokens of end and begin."""
        tokenizer = self.vocabulary.tokenizer
        return f"{tokenizer.eos_token} {tokenizer.bos_token}".join(map(str, item.condition))


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> BlenderbotModel:
    """Blenderbot with its weights."""
    with folder_of(files) as folder:
        network = load_network("BlenderbotForConditionalGeneration", folder, ATTENTION)
        tokenizer = load_tool("AutoTokenizer", folder, truncation_side="left")
    return BlenderbotModel(network, tokenizer, [int(network.config.decoder_start_token_id)], config["options"])
