"""M2M-100 (Fan et al. 2021) and NLLB (NLLB Team 2022): translation between any two of many languages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condgen_transformers.attention import ATTENTION
from condgen_transformers.families.texts import TextModel, choose_language
from condgen_transformers.loading import folder_of, load_network, load_tool

__all__ = ["M2MModel", "build"]


class M2MModel(TextModel):
    """M2M-100 or NLLB. The options ``source`` and ``target`` are language codes: ``de``; ``deu_Latn`` or its first part."""

    options = ("source", "target")

    def __init__(self, network: Any, tokenizer: Any, options: Mapping[str, str]) -> None:
        nllb = type(tokenizer).__name__.startswith("Nllb")
        codes: Mapping[str, int] = (
            dict(
                zip(
                    tokenizer.extra_special_tokens, tokenizer.convert_tokens_to_ids(tokenizer.extra_special_tokens), strict=True
                )
            )
            if nllb
            else tokenizer.lang_code_to_id
        )
        if "source" in options:
            tokenizer.src_lang = choose_language(codes, options["source"], "source")
        target = codes[choose_language(codes, options.get("target", ""), "target")]
        super().__init__(network, tokenizer, [int(network.config.decoder_start_token_id)], options, target)


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> M2MModel:
    """M2M-100 or NLLB with its weights."""
    with folder_of(files) as folder:
        network = load_network("M2M100ForConditionalGeneration", folder, ATTENTION)
        tokenizer = load_tool("AutoTokenizer", folder)
    return M2MModel(network, tokenizer, config["options"])
