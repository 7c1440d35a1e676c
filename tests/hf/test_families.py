"""Families of transformers with tiny random weights: the same search, likelihoods and attention as transformers' own.

All families are in one module, so that one process imports transformers, which takes seconds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from condgen_cli.data.audio import Sound
from condgen_cli.item import Item
from condgen_cli.running.decoding import decode
from condgen_cli.running.runner import Request, Runner, load
from condgen_cli.testing import check_model

pytestmark = pytest.mark.hf
transformers = pytest.importorskip("transformers")

OPTIONS = {
    "mbart": "source=en_XX,target=de",
    "m2m_100": "source=eng,target=deu_Latn",
    "t5": "target=de",
    "whisper": "language=de",
}
FAMILIES = (
    *("whisper", "moonshine", "marian", "t5", "bart", "mbart", "m2m_100", "blenderbot"),
    *("vision-encoder-decoder", "trocr", "blip", "git"),
)
TEXTS = ("the dog sees a cat", "hello", "how are you now we go home")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: Any) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def runner(family: str, tiny: Any, tmp_path_factory: Any) -> Runner:
    folder = tiny.make(family, tmp_path_factory.mktemp("models"))
    return load(",".join(filter(None, [str(folder), OPTIONS.get(family)])), device="cpu")


@pytest.fixture(scope="module")
def items(runner: Runner) -> list[Item]:
    noise = np.random.default_rng(0)
    if runner.task == "transcribe":
        sounds = [0.1 * noise.standard_normal(size).astype(np.float32) for size in (9_000, 20_000, 16_000)]
        return [Item(str(len(sound)), Sound(sound, 16_000), references=("a dog",)) for sound in sounds]
    if runner.task == "caption":
        photos = [Image.fromarray(noise.integers(0, 255, (40, 50, 3), dtype=np.uint8)) for _ in range(3)]
        return [Item(str(index), photo, references=("a dog",)) for index, photo in enumerate(photos)]
    return [Item(text, (text,) if runner.task == "chat" else text, references=("a dog",)) for text in TEXTS]


@pytest.fixture(scope="module")
def reference(runner: Runner) -> Any:
    """The same network as transformers itself loads it."""
    folder = str(runner.name).partition(",")[0]
    return getattr(transformers, type(runner.model.network).__name__).from_pretrained(folder, attn_implementation="eager").eval()


def generate(runner: Runner, reference: Any, item: Item, **settings: Any) -> Any:
    """What ``generate`` of transformers returns for an item."""
    model: Any = runner.model
    inputs = model.collate([item])
    prefix = torch.tensor([model.prefix])
    common = {"return_dict_in_generate": True, "output_scores": True, "do_sample": False, **settings}
    name = type(model).__name__
    if name == "WhisperModel":
        general = transformers.GenerationMixin.generate  # Whisper's own divides the sound first
        return general(reference, inputs.features, decoder_input_ids=prefix, **processors_of(reference, prefix), **common)
    if name == "MoonshineModel":
        return reference.generate(inputs.sounds[0].unsqueeze(0), **common)
    if runner.task == "caption":
        return reference.generate(pixel_values=inputs, **({} if name == "VisionModel" else {"input_ids": None}), **common)
    forced = {} if model.forced is None else {"forced_bos_token_id": model.forced}
    return reference.generate(input_ids=inputs.ids, attention_mask=inputs.mask, **forced, **common)


def processors_of(reference: Any, prefix: Any) -> dict[str, Any]:
    kinds = transformers.generation.logits_process
    begin = kinds.SuppressTokensAtBeginLogitsProcessor(reference.generation_config.begin_suppress_tokens, prefix.shape[1])
    return {"logits_processor": transformers.LogitsProcessorList([begin])}


@pytest.mark.parametrize("beam", [1, 4])
def test_search_is_that_of_generate(runner: Runner, reference: Any, items: list[Item], beam: int) -> None:
    model: Any = runner.model
    length = 60
    compared = 0
    for item in items:
        settings = {"num_beams": beam, "num_return_sequences": beam, "length_penalty": 1.0, "early_stopping": False}
        found = generate(runner, reference, item, max_length=length, **settings)
        start = len(model.prefix)
        ends = [one[start:].tolist() for one in found.sequences]
        print([ (e.index(model.vocabulary.eos) if model.vocabulary.eos in e else None) for e in ends])
        if not all(model.vocabulary.eos in one for one in ends):
            continue  # cut at the limit, which condgen ends with the end token
        decoding = replace(
            runner.decoding, method="beam", beam=beam, nbest=beam, length_penalty=1.0, max_length=length - start, min_length=0
        )
        hypotheses = decode(model, model.encode(model.collate([item])), replace(decoding, ends="beam"))[0]
        assert [one.ids for one in hypotheses] == [one[: one.index(model.vocabulary.eos) + 1] for one in ends]
        if beam > 1:
            assert np.allclose([one.score for one in hypotheses], found.sequences_scores, atol=1e-4)
        compared += 1
    assert compared
