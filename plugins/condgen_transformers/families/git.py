"""GIT (Wang et al. 2022): one decoder reads the patches of a photo, then words, so it attends to patches by self-attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from condgen_cli.model import Memory
from condgen_transformers.attention import read, reading
from condgen_transformers.cache import OWN, State, cross_tensors, fill, state_of, stored
from condgen_transformers.families.pictures import PictureModel, grid_of
from condgen_transformers.loading import folder_of, load_network, load_tool
from condgen_transformers.model import Encoded

__all__ = ["GitModel", "build"]


class GitModel(PictureModel):
    """GIT. The memory is what the decoder's keys and values hold of the patches; ``elsewhere`` is the share of attention on the
    class token and on the words so far."""

    hidden_as = "elsewhere"

    def read_attention(self) -> int:
        return read(self.network.git.encoder, ".attention.self", fold=False)

    def read_batch(self, batch: Tensor) -> Encoded:
        """The decoder's keys and values of the patches."""
        return self._read(batch)[0]

    def encode(self, batch: Tensor) -> Memory:
        """A memory of the patches, with the decoder's keys and values of the patches and the prefix."""
        found, whole = self._read(batch)
        assert found.shown is not None
        auxiliary = cross_tensors(whole.first(whole.steps - 1), None)
        return Memory(found.states, None, found.shown.to(self.device), found.axes, auxiliary)

    def _read(self, batch: Tensor) -> tuple[Encoded, State]:
        """The keys and values of the patches, and the decoder's state after the patches and the prefix."""
        prefix = torch.tensor([self.prefix], device=self.device).expand(len(batch), -1)
        cache = DynamicCache()
        with reading(len(batch)):
            self.network(input_ids=prefix, pixel_values=batch.to(self.device), cache=cache, use_cache=True)
        whole = state_of(cache)
        patches = whole.steps - prefix.shape[1]
        layers = [one[:, :, :patches].transpose(1, 2).flatten(2) for pair in zip(*whole, strict=True) for one in pair]
        return self.lay_out(torch.cat(layers, 2)), whole

    def refresh(self, memory: Memory) -> Memory:
        """The memory with its values as the decoder's keys and values of the patches."""
        own = stored(memory.auxiliary, OWN)
        heads, size = own.keys[0].shape[1], own.keys[0].shape[3]
        parts = memory.values.reshape(*memory.values.shape[:2], -1, heads, size)
        tensors = [part.transpose(1, 2) for part in parts.unbind(2)]
        made = [
            torch.cat([new, old[:, :, new.shape[2] :]], 2)
            for new, old in zip(tensors, (one for pair in zip(*own, strict=True) for one in pair), strict=True)
        ]
        state = State(tuple(made[0::2]), tuple(made[1::2]))
        return replace(memory, auxiliary={**memory.auxiliary, **cross_tensors(state, None)})

    def advance(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State, list[Tensor]]:
        real = torch.where(tokens >= self.vocabulary.pad, self.prefix[-1], tokens)
        cache = fill(state)
        patches = memory.values.shape[1]
        # words are counted from 0, without the patches before them
        places = torch.arange(state.steps - patches, state.steps - patches + tokens.shape[1], device=self.device)
        with reading(len(memory)) as weights:
            logits = self.network(
                input_ids=real, position_ids=places.expand(len(tokens), -1), cache=cache, use_cache=True
            ).logits
        padded = torch.nn.functional.pad(logits, (0, 1), value=-torch.inf)
        return padded, state_of(cache), [one[..., :patches] for one in weights]


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> GitModel:
    """GIT with its weights."""
    with folder_of(files) as folder:
        network = load_network("GitForCausalLM", folder, "eager")
        tokenizer = load_tool("AutoTokenizer", folder)
        processor = load_tool("AutoImageProcessor", folder)
    start = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else network.config.bos_token_id
    arguments = (network, tokenizer, [int(start)], config["options"])
    return GitModel(processor, grid_of(network.config.vision_config), *arguments, eos=int(network.config.eos_token_id))
