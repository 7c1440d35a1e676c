"""What families that read sound share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from condgen_cli.data.audio import Sound, load_audio
from condgen_cli.generation import Generation
from condgen_cli.item import Item
from condgen_cli.running.decoding import Hypothesis
from condgen_transcribe.subtitles import time_words
from condgen_transformers.model import HubModel

__all__ = ["RATE", "SpeechModel"]

RATE = 16000


class SpeechModel(HubModel):
    """A model that reads sound of up to ``longest`` seconds; recordings that are longer are cut at silences."""

    longest = 30.0

    def example(self) -> Item:
        return Item("example", Sound(np.zeros(RATE, np.float32), RATE))

    def condition(self, item: Item) -> Sound:
        """The sound that attention maps are drawn with."""
        return Sound(load_audio(item.condition, RATE), RATE)

    def finish(self, generation: Generation, hypothesis: Hypothesis, item: Item) -> Generation:
        """The transcript with the times of its ``words``."""
        found = super().finish(generation, hypothesis, item)
        return replace(found, details={"words": time_words(found, item)})
