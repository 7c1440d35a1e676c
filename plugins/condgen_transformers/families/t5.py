"""T5 (Raffel et al. 2020): what is to be done stands before the text, as in ``translate English to German: …``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condgen_cli.item import Item
from condgen_transformers.attention import ATTENTION
from condgen_transformers.families.texts import TextModel
from condgen_transformers.loading import folder_of, load_network, load_tool

__all__ = ["T5Model", "build"]


class T5Model(TextModel):
    """T5. The options ``source`` and ``target``, or ``prefix``, say what stands before the text; without them, nothing does."""

    cross = ".EncDecAttention"
    options = ("source", "target", "prefix")

    def __init__(self, network: Any, tokenizer: Any, options: Mapping[str, str]) -> None:
        super().__init__(network, tokenizer, [int(network.config.decoder_start_token_id)], options)
        known = getattr(network.config, "task_specific_params", None) or {}
        source, target = options.get("source", "en"), options.get("target", "")
        written = known.get(f"translation_{source}_to_{target}", {}).get("prefix", f"translate {source} to {target}: ")
        self.instruction = options["prefix"] + " " if "prefix" in options else written if target else ""

    def positions(self) -> int:
        """T5's positions are relative: the tokenizer's limit alone counts."""
        return 10_000

    def text(self, item: Item) -> str:
        return self.instruction + super().text(item)


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> T5Model:
    """T5 with its weights."""
    with folder_of(files) as folder:
        network = load_network("T5ForConditionalGeneration", folder, ATTENTION)
        tokenizer = load_tool("AutoTokenizer", folder)
    return T5Model(network, tokenizer, config["options"])
