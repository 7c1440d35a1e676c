"""BLIP (Li et al. 2022): captions of photos. Only its ``text_decoder`` returns cross-attention."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from condgen_transformers.families.pictures import PictureModel, grid_of
from condgen_transformers.loading import folder_of, load_network, load_tool
from condgen_transformers.model import Encoded

__all__ = ["BlipModel", "build"]


class BlipModel(PictureModel):
    """BLIP. The option ``prompt`` is the beginning of the caption, such as ``a photography of``."""

    cross = ".crossattention.self"
    options = ("prompt",)

    def logits_size(self) -> int:
        return int(self.network.config.text_config.vocab_size)

    def read_batch(self, batch: Tensor) -> Encoded:
        """Encoder states of the patches."""
        return self.lay_out(self.network.vision_model(pixel_values=batch.to(self.device)).last_hidden_state)

    def decode(self, tokens: Tensor, cache: Any, states: Tensor, mask: Tensor | None) -> Tensor:
        logits: Tensor = self.network.text_decoder(
            input_ids=tokens, encoder_hidden_states=states, cache=cache, use_cache=True, is_decoder=True, return_dict=True
        ).logits
        return logits


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> BlipModel:
    """BLIP with its weights."""
    with folder_of(files) as folder:
        network = load_network("BlipForConditionalGeneration", folder, "eager")
        tokenizer = load_tool("AutoTokenizer", folder)
        processor = load_tool("AutoImageProcessor", folder)
    text = network.config.text_config
    prompt = tokenizer(config["options"].get("prompt", ""), add_special_tokens=False)["input_ids"]
    arguments = (network, tokenizer, [int(text.bos_token_id), *prompt], config["options"])
    return BlipModel(processor, grid_of(network.config.vision_config), *arguments, eos=int(text.sep_token_id))
