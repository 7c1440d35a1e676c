"""Moonshine (Jeffries et al. 2024): English speech, whose waveform the encoder reads without padding to 30 seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.models.moonshine.modeling_moonshine import MoonshineEncoderModelOutput

from condgen_cli.data.audio import load_audio
from condgen_cli.generation import Axis
from condgen_cli.item import Item
from condgen_transformers.attention import ATTENTION
from condgen_transformers.families.speech import RATE, SpeechModel
from condgen_transformers.loading import folder_of, load_network, load_tool
from condgen_transformers.model import Encoded

__all__ = ["MoonshineModel", "build"]

SHORTEST = 0.1
"""In seconds: the encoder's convolutions need some samples."""


class Waves(NamedTuple):
    """A batch of sounds, each (samples,), with their starts in their recordings, in seconds."""

    sounds: Sequence[Tensor]
    starts: Sequence[float]

    def to(self, device: Any, **options: Any) -> Waves:
        return self._replace(sounds=[sound.to(device) for sound in self.sounds])


class MoonshineModel(SpeechModel):
    """Moonshine. Sounds are encoded one by one: the encoder normalises over time, so padding would change the result."""

    def collate(self, items: Sequence[Item]) -> Waves:
        """Waveforms at 16 kHz."""
        sounds = [torch.from_numpy(load_audio(item.condition, RATE)) for item in items]
        least = int(SHORTEST * RATE)
        padded = [nn.functional.pad(sound, (0, max(0, least - len(sound)))) for sound in sounds]
        return Waves(padded, [item.meta.get("start", 0.0) for item in items])

    def read_batch(self, batch: Waves) -> Encoded:
        """Encoder states, about 24 milliseconds each."""
        encoder = self.network.model.encoder
        states = [encoder(sound.to(self.device).unsqueeze(0)).last_hidden_state[0] for sound in batch.sounds]
        lengths = torch.tensor([len(one) for one in states])
        mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
        axes = [
            (Axis("time", "time", tuple(round(start + len(sound) / RATE / len(one) * at, 3) for at in range(len(one)))),)
            for sound, one, start in zip(batch.sounds, states, batch.starts, strict=True)
        ]
        return Encoded(nn.utils.rnn.pad_sequence(states, batch_first=True), mask, None, axes)

    def wrap(self, states: Tensor, mask: Tensor | None) -> Any:
        seen = None if mask is None else mask.int()
        return MoonshineEncoderModelOutput(last_hidden_state=states, attention_mask=seen)


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> MoonshineModel:
    """Moonshine with its weights."""
    with folder_of(files) as folder:
        network = load_network("MoonshineForConditionalGeneration", folder, ATTENTION)
        tokenizer = load_tool("AutoTokenizer", folder)
    return MoonshineModel(network, tokenizer, [int(network.config.decoder_start_token_id)], config["options"])
