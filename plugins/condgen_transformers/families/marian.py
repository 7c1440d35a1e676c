"""Marian (Junczys-Dowmunt et al. 2018): translation from one language to another, as OPUS-MT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condgen_transformers.attention import ATTENTION
from condgen_transformers.families.texts import TextModel
from condgen_transformers.loading import folder_of, load_network, load_tool

__all__ = ["MarianModel", "build"]


class MarianModel(TextModel):
    """Marian. Models of several target languages read a code before the text, as ``>>fra<<``: the option ``target``."""

    options = ("target",)

    def __init__(self, network: Any, tokenizer: Any, options: Mapping[str, str]) -> None:
        super().__init__(network, tokenizer, [int(network.config.decoder_start_token_id)], options)
        self.target = options.get("target", "")

    def text(self, item: Any) -> str:
        code = f">>{self.target}<< " if self.target else ""
        return code + super().text(item)


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> MarianModel:
    """Marian with its weights."""
    with folder_of(files) as folder:
        network = load_network("MarianMTModel", folder, ATTENTION)
        tokenizer = load_tool("MarianTokenizer", folder)
    return MarianModel(network, tokenizer, config["options"])
