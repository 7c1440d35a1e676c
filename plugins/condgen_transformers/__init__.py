"""Models of Hugging Face transformers: what the plugin registers. The work is in the modules that the specs name.

``transformers`` is an optional dependency, imported only when such a model is built: ``pip install 'condgen[hf]'``.
"""

from __future__ import annotations

from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import CommandSpec, ModelSourceSpec, ModelSpec

CONDGEN_API = "2"

SCHEME = "hf"

PREFIX = "transformers-"
"""Prefix of the names of architectures, before transformers' ``model_type``. A plugin that registers an architecture of such a
name adds a family: it is found by ``config.json``."""

_FAMILIES = {
    "whisper": ("transcribe", "whisper", "Whisper: 30 seconds of sound, any language."),
    "moonshine": ("transcribe", "moonshine", "Moonshine: English speech of any length."),
    "marian": ("translate", "marian", "Marian: one pair of languages, as OPUS-MT."),
    "t5": ("translate", "t5", "T5: a text after a prefix, such as 'translate English to German:'."),
    "bart": ("translate", "bart", "BART: a text from a text."),
    "mbart": ("translate", "bart", "mBART: many languages."),
    "m2m_100": ("translate", "m2m_100", "M2M-100 and NLLB: many languages."),
    "vision-encoder-decoder": (
        "caption",
        "vision_encoder_decoder",
        "A vision transformer and a text decoder: ViT-GPT2, TrOCR.",
    ),
    "blip": ("caption", "blip", "BLIP: captions of photos."),
    "git": ("caption", "git", "GIT: one decoder reads patches and words."),
    "blenderbot": ("chat", "blenderbot", "Blenderbot: replies in a conversation."),
}


@hookimpl
def condgen_register_model_sources() -> list[ModelSourceSpec]:
    help = "Models of Hugging Face transformers, from the Hub or a folder."
    return [ModelSourceSpec(SCHEME, "condgen_transformers.source:HubSource", marker="config.json", help=help)]


@hookimpl
def condgen_register_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name=f"{PREFIX}{family}",
            task=task,
            build=f"condgen_transformers.building:{module}",
            help=help,
            loads_weights=True,
        )
        for family, (task, module, help) in _FAMILIES.items()
    ]


@hookimpl
def condgen_register_commands() -> list[CommandSpec]:
    help = "Publish a model on the Hugging Face Hub, or in a folder."
    return [CommandSpec("publish", help, "condgen_transformers.publishing:publish")]
