"""BART (Lewis et al. 2020) and mBART (Liu et al. 2020): a text from a text, the latter from one language to another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condgen_transformers.attention import ATTENTION
from condgen_transformers.families.texts import TextModel, choose_language
from condgen_transformers.loading import folder_of, load_network, load_tool

__all__ = ["BartModel", "MBartModel", "build"]


class BartModel(TextModel):
    """BART."""

    def __init__(self, network: Any, tokenizer: Any, options: Mapping[str, str]) -> None:
        start = [int(network.config.decoder_start_token_id)]
        super().__init__(network, tokenizer, start, options, network.generation_config.forced_bos_token_id)


class MBartModel(TextModel):
    """mBART. The options ``source`` and ``target`` are its language codes, such as ``de_DE``, or their first part."""

    options = ("source", "target")

    def __init__(self, network: Any, tokenizer: Any, options: Mapping[str, str]) -> None:
        codes: Mapping[str, int] = {code: index for code, index in tokenizer.lang_code_to_id.items() if index is not None}
        if "source" in options:
            tokenizer.src_lang = choose_language(codes, options["source"], "source")
        start, forced = network.config.decoder_start_token_id, network.generation_config.forced_bos_token_id
        if "target" in options:
            target = codes[choose_language(codes, options["target"], "target")]
            # mBART-50 writes the language first, mBART begins with it
            start, forced = (start, target) if type(tokenizer).__name__.startswith("MBart50") else (target, None)
        elif start is None and forced is None:
            choose_language(codes, "", "target")
        super().__init__(network, tokenizer, [int(start)], options, forced)


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> BartModel | MBartModel:
    """BART or mBART with its weights."""
    with folder_of(files) as folder:
        tokenizer = load_tool("AutoTokenizer", folder)
        if type(tokenizer).__name__.startswith("MBart"):
            return MBartModel(load_network("MBartForConditionalGeneration", folder, ATTENTION), tokenizer, config["options"])
        kind = "AutoModelForSeq2SeqLM"
        return BartModel(load_network(kind, folder, ATTENTION), tokenizer, config["options"])
