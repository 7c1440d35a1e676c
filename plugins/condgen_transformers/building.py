"""The builders of the families, which import transformers only when a model is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from condgen_transformers.loading import import_transformers

__all__ = ["bart", "blenderbot", "blip", "git", "m2m_100", "marian", "moonshine", "t5", "vision_encoder_decoder", "whisper"]

Builder = Callable[[Mapping[str, Any], Mapping[str, Path]], Any]


def _builder(family: str) -> Builder:
    def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> Any:
        """A model with its weights.

        Raises:
            PluginError: if transformers isn't installed.
        """
        import_transformers()
        return import_module(f"condgen_transformers.families.{family}").build(config, files)

    return build


whisper = _builder("whisper")
moonshine = _builder("moonshine")
marian = _builder("marian")
t5 = _builder("t5")
bart = _builder("bart")
m2m_100 = _builder("m2m_100")
vision_encoder_decoder = _builder("vision_encoder_decoder")
blip = _builder("blip")
git = _builder("git")
blenderbot = _builder("blenderbot")
