"""Whisper (Radford et al. 2022): sound of up to 30 seconds, in any of its languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from condgen_cli.data.audio import Sound, load_audio
from condgen_cli.errors import UsageError
from condgen_cli.generation import Axis, Generation
from condgen_cli.item import Item
from condgen_cli.running.decoding import Hypothesis
from condgen_cli.terminal.suggestions import suggestion
from condgen_transformers.attention import ATTENTION, reading
from condgen_transformers.families.speech import RATE, SpeechModel
from condgen_transformers.loading import folder_of, load_network, load_tool
from condgen_transformers.model import Encoded

__all__ = ["WhisperModel", "build"]


class Windows(NamedTuple):
    """A batch of windows of sound.

    Args:
        features: (batch, bins, frames) log-mel filter banks of 30 seconds, silence after the sound.
        seconds: length of each sound.
        starts: start of each sound in its recording, in seconds.
    """

    features: Tensor
    seconds: Sequence[float]
    starts: Sequence[float]

    def to(self, device: Any, **options: Any) -> Windows:
        return self._replace(features=self.features.to(device))


class WhisperModel(SpeechModel):
    """Whisper. The encoder reads 30 seconds, silence included; maps show the recording alone, and ``padding`` is the share of
    attention on the silence after it."""

    options = ("language", "task")
    hidden_as = "padding"

    def __init__(self, network: Any, tokenizer: Any, extractor: Any, options: Mapping[str, str]) -> None:
        self.extractor = extractor
        generation = network.generation_config
        self.languages: dict[str, int] = {
            code.strip("<|>"): index for code, index in (getattr(generation, "lang_to_id", None) or {}).items()
        }
        start = int(network.config.decoder_start_token_id)
        timeless = int(tokenizer.convert_tokens_to_ids("<|notimestamps|>"))
        prefix = [start, timeless]
        self.language = options.get("language", "auto")
        if self.languages:
            if self.language != "auto" and self.language not in self.languages:
                known = sorted(self.languages)
                raise UsageError(f"Whisper knows no language {self.language!r}", suggestion(self.language, known))
            tasks = generation.task_to_id
            task = options.get("task", "transcribe")
            if task not in tasks:
                raise UsageError(f"Whisper's tasks are {', '.join(tasks)}, not {task!r}", "task=translate")
            first = next(iter(self.languages.values()))
            prefix = [start, self.languages.get(self.language, first), int(tasks[task]), timeless]
        elif options.keys() & {"language", "task"}:
            raise UsageError("this Whisper is for English alone: it has no languages and tasks to choose from")
        super().__init__(network, tokenizer, prefix, options)

    def default_heads(self) -> str:
        return "align" if self.alignment_heads() else "mean"

    def alignment_heads(self) -> list[tuple[int, int]]:
        """The heads that follow the sound, from ``generation_config.json``."""
        return [(int(layer), int(head)) for layer, head in getattr(self.generation, "alignment_heads", None) or ()]

    def collate(self, items: Sequence[Item]) -> Windows:
        """A batch of filter banks of 30 seconds; what is longer is cut off, which ``finish`` warns of."""
        sounds = [load_audio(item.condition, RATE) for item in items]
        features = self.extractor(sounds, sampling_rate=RATE, return_tensors="np")["input_features"]
        seconds = [min(len(sound) / RATE, self.longest) for sound in sounds]
        return Windows(torch.from_numpy(features), seconds, [item.meta.get("start", 0.0) for item in items])

    def read_batch(self, batch: Windows) -> Encoded:
        """Encoder states, two hundredths of a second each."""
        states = self.network.model.encoder(batch.features.to(self.device)).last_hidden_state
        count = states.shape[1]
        width = self.longest / count
        lengths = [min(max(ceil(seconds / width), 1), count) for seconds in batch.seconds]
        shown = torch.arange(count) < torch.tensor(lengths).unsqueeze(1)
        axes = [
            (Axis("time", "time", tuple(round(start + width * place, 3) for place in range(length))),)
            for start, length in zip(batch.starts, lengths, strict=True)
        ]
        return Encoded(states, None, shown, axes, prefix=self._prefix(states))

    def _prefix(self, states: Tensor) -> Tensor | None:
        """The prefix of each row with the language that the decoder finds likeliest; None if the user named one."""
        if not self.languages or self.language != "auto":
            return None
        ids = torch.tensor(list(self.languages.values()), device=self.device)
        begin = torch.full((len(states), 1), self.prefix[0], device=self.device)
        with reading(len(states)):
            logits = self.decode(begin, None, states, None)[:, -1]
        prefix = torch.tensor([self.prefix], device=self.device).repeat(len(states), 1)
        prefix[:, 1] = ids[logits[:, ids].argmax(1)]
        return prefix

    def finish(self, generation: Generation, hypothesis: Hypothesis, item: Item) -> Generation:
        """The transcript with the times of its ``words``, and a warning of sound that wasn't read."""
        found = super().finish(generation, hypothesis, item)
        if not isinstance(item.condition, Sound):
            return found
        seconds = len(item.condition.samples) / item.condition.rate
        if seconds <= self.longest + 0.1:
            return found
        return replace(found, warnings=(*found.warnings, f"only the first {self.longest:g} of {seconds:.1f} seconds were read"))


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> WhisperModel:
    """Whisper with its weights."""
    with folder_of(files) as folder:
        network = load_network("WhisperForConditionalGeneration", folder, ATTENTION)
        tokenizer = load_tool("WhisperTokenizer", folder)
        extractor = load_tool("WhisperFeatureExtractor", folder)
    return WhisperModel(network, tokenizer, extractor, config["options"])
