"""The settings of generation that a model's files state, as settings of condgen's own decoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["RULES", "decoding_settings", "has_rules"]

RULES = "rules"
"""Name of the scorer that forbids what the model's files forbid; see ``condgen_transformers.rules``."""

LENGTH = 256
"""Longest output in tokens where the files state none."""
_START = 2
"""Tokens that transformers counts and condgen doesn't: the first and the end token."""
_PREFIX = 6
"""Positions of a decoder that a prefix of several tokens and the end may take."""


def decoding_settings(config: Mapping[str, Any], generation: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of ``Decoding`` from ``config.json`` and ``generation_config.json`` (or the former again, as older models have
    it): the search that ``generate`` would run."""

    def given(name: str, default: Any) -> Any:
        value = generation.get(name, config.get(name))
        return default if value is None else value

    beam = int(given("num_beams", 1))
    longest = int(given("max_new_tokens", int(given("max_length", LENGTH + _START)) - _START + 1)) - 1
    decoder = config.get("decoder") if isinstance(config.get("decoder"), dict) else config
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else decoder
    limits = [text.get(name) for name in ("max_target_positions", "max_position_embeddings", "n_positions")]  # type: ignore[union-attr]
    longest = min([longest, *(int(limit) - _PREFIX for limit in limits if limit)])
    settings: dict[str, Any] = {
        "method": "beam" if beam > 1 else "greedy",
        "beam": beam,
        "max_length": max(longest, 1),
        "min_length": min(max(int(given("min_length", 0)) - 1, 0), max(longest, 1)),
        "no_repeat_ngram": int(given("no_repeat_ngram_size", 0)),
        "length_penalty": float(given("length_penalty", 1.0)) if beam > 1 else 0.0,
        "ends": "full" if given("early_stopping", False) is True else "beam",
    }
    if given("do_sample", False):
        settings |= {"method": "sample", "temperature": float(given("temperature", 1.0))}
        settings |= {"top_k": int(given("top_k", 50)), "top_p": float(given("top_p", 1.0))}
    if has_rules(config, generation):
        settings["weights"] = {RULES: 1.0}
    return settings


def has_rules(config: Mapping[str, Any], generation: Mapping[str, Any]) -> bool:
    """Whether the files forbid tokens."""
    names = ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "encoder_no_repeat_ngram_size")
    return any(generation.get(name) or config.get(name) for name in names)
