"""A vision transformer with a text decoder: ViT-GPT2 describes photos, TrOCR (Li et al. 2023) reads lines of print."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from condgen_transformers.attention import read
from condgen_transformers.families.pictures import PictureModel, grid_of
from condgen_transformers.loading import folder_of, load_network, load_tool
from condgen_transformers.model import Encoded

__all__ = ["VisionModel", "build"]


class VisionModel(PictureModel):
    """A vision encoder and a text decoder."""

    def read_attention(self) -> int:
        return read(self.network, ".crossattention") or read(self.network, ".encoder_attn")

    def read_batch(self, batch: Tensor) -> Encoded:
        """Encoder states of the patches."""
        return self.lay_out(self.network.encoder(pixel_values=batch.to(self.device)).last_hidden_state)


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> VisionModel:
    """The encoder and decoder with their weights."""
    with folder_of(files) as folder:
        network = load_network("VisionEncoderDecoderModel", folder, "eager")
        tokenizer = load_tool("AutoTokenizer", folder)
        processor = load_tool("AutoImageProcessor", folder)
    parts = network.config
    start = parts.decoder_start_token_id
    start = parts.decoder.bos_token_id if start is None else start
    return VisionModel(processor, grid_of(parts.encoder), network, tokenizer, [int(start)], config["options"])
