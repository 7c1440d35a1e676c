"""Families of transformers with tiny random weights: the same search, likelihoods and attention as transformers' own.

All families are in one module, so that one process imports transformers, which takes seconds.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from condgen_cli.data.audio import Sound
from condgen_cli.item import Item
from condgen_cli.running.decoding import decode, force
from condgen_cli.running.likelihood import reference_log_probs
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
LENGTH = 60
"""Longest output of transformers in tokens, with the prefix."""
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
    folder = runner.bundle.files["config.json"].parent
    kind = getattr(transformers, type(runner.model.network).__name__)
    return kind.from_pretrained(folder, attn_implementation="eager").eval()


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


def test_the_contract_holds(runner: Runner, items: list[Item]) -> None:
    check_model(runner.model, items)


@pytest.mark.parametrize("beam", [1, 4])
def test_search_is_that_of_generate(runner: Runner, reference: Any, items: list[Item], beam: int) -> None:
    model: Any = runner.model
    start, eos = len(model.prefix), model.vocabulary.eos
    compared = 0
    for item in items:
        settings = {"num_beams": beam, "num_return_sequences": beam, "length_penalty": 1.0, "early_stopping": False}
        found = generate(runner, reference, item, max_length=LENGTH, **settings)
        expected = [one[start:].tolist() for one in found.sequences]
        if not all(eos in one for one in expected):
            continue  # cut at the limit, where condgen writes the end token
        settings = {"method": "beam", "beam": beam, "nbest": beam, "length_penalty": 1.0, "min_length": 0, "ends": "beam"}
        decoding = replace(runner.decoding, max_length=LENGTH - start, **settings)
        hypotheses = decode(model, model.encode(model.collate([item])), decoding)[0]
        assert [one.ids for one in hypotheses] == [one[: one.index(eos) + 1] for one in expected]
        if beam > 1:
            assert np.allclose([one.score for one in hypotheses], found.sequences_scores, atol=1e-4)
        compared += 1
    assert compared


def test_likelihoods_and_attention_are_those_of_transformers(runner: Runner, reference: Any, items: list[Item]) -> None:
    """A forced output, whose logits and attention transformers computes in one pass without a cache."""
    model: Any = runner.model
    item = items[0]
    ids = model.targets("a dog")
    hypothesis = force(model, model.encode(model.collate([item])), [ids])[0]
    logits, weights = teach(runner, reference, item, torch.tensor([[*model.prefix, *ids[:-1]]]))
    steps = slice(len(model.prefix) - 1, None)
    logits = logits[:, steps].clone()
    if model.forced is not None:
        logits[:, 0] = -torch.inf
        logits[:, 0, model.forced] = 0.0
    log_probs = logits.log_softmax(-1)[0, range(len(ids)), ids]
    assert np.allclose(hypothesis.log_probs, log_probs, atol=1e-4)
    assert np.allclose(reference_log_probs(model, model.encode(model.collate([item])), [["a dog"]])[0][0], log_probs, atol=1e-4)
    heads = torch.stack(list(weights)).mean((0, 2))[0, steps]
    if model.aligning:
        heads = torch.stack([weights[layer][0, head] for layer, head in model.aligning]).mean(0)[steps]
    mask = model.encode(model.collate([item])).mask
    shown = heads if mask is None else heads[:, : mask.shape[1]] * mask
    total = shown.sum(-1, keepdim=True)
    assert np.allclose(hypothesis.attention["attention"], shown / total, atol=1e-4)
    if model.hidden_as:
        assert np.allclose(hypothesis.extras[model.hidden_as], 1 - total[:, 0], atol=1e-4)
        assert hypothesis.extras[model.hidden_as].max() > 0.001


def teach(runner: Runner, reference: Any, item: Item, ids: Any) -> tuple[Any, Any]:
    """Logits and cross-attention (layer by layer) of decoder tokens (1, steps), as transformers computes them."""
    model: Any = runner.model
    inputs = model.collate([item])
    name = type(model).__name__
    with torch.inference_mode():
        if name == "GitModel":
            found = reference(input_ids=ids, pixel_values=inputs, output_attentions=True)
            patches = found.logits.shape[1] - ids.shape[1]
            return found.logits[:, patches:], [one[:, :, patches:, :patches] for one in found.attentions]
        if name == "BlipModel":
            states = reference.vision_model(pixel_values=inputs).last_hidden_state
            found = reference.text_decoder(
                input_ids=ids, encoder_hidden_states=states, is_decoder=True, output_attentions=True, return_dict=True
            )
            return found.logits, found.cross_attentions
        source = {
            "WhisperModel": lambda: {"input_features": inputs.features},
            "MoonshineModel": lambda: {"input_values": inputs.sounds[0].unsqueeze(0)},
            "VisionModel": lambda: {"pixel_values": inputs},
        }.get(name, lambda: {"input_ids": inputs.ids, "attention_mask": inputs.mask})()
        found = reference(**source, decoder_input_ids=ids, output_attentions=True, use_cache=False)
        return found.logits, found.cross_attentions


def test_results_have_what_commands_show(runner: Runner, items: list[Item]) -> None:
    """Batches give what single items give; maps have the task's axes; sampling and blocking work."""
    kinds = {"transcribe": ["time"], "caption": ["grid", "grid"]}.get(runner.task, ["tokens"])
    together = [result.generations[0] for result in runner.stream(items)]
    for item, one in zip(items, together, strict=True):
        (alone,) = runner.stream([item])
        assert alone.generations[0].output == one.output
        (map,) = one.attention.values()
        assert [axis.kind for axis in map.positions] == kinds
        assert len(map.steps) == len(one.tokens) == len(one.log_probs)
        assert np.allclose(map.distributions().sum(-1), 1, atol=1e-4)
    sample = replace(runner.decoding, method="sample", nbest=3, temperature=100.0, no_repeat_ngram=2, max_length=12)
    (drawn,) = runner.stream(items[:1], Request(sample, seed=1))
    assert len({one.tokens for one in drawn.generations}) > 1
    for one in drawn.generations if runner.task != "transcribe" else ():  # bytes of characters are shown together there
        assert len(set(pairwise(one.tokens))) == len(one.tokens) - 1


def test_explanations_reach_the_memory(runner: Runner, items: list[Item]) -> None:
    """Keys and values follow the memory's values, so that occlusion and gradients measure something."""
    model: Any = runner.model
    with torch.inference_mode():
        memory = model.encode(model.collate(items))
        ids = torch.tensor([[model.vocabulary.bos, *model.targets("a dog")]] * len(items))
        before = model.forward(memory, ids)
        assert torch.allclose(model.forward(model.refresh(memory), ids), before, atol=1e-4)
        assert not torch.allclose(
            model.forward(model.refresh(replace(memory, values=0 * memory.values)), ids), before, atol=1e-2
        )
    short = replace(runner.decoding, max_length=4)
    (result,) = runner.stream(items[:1], Request(short, explain=("occlusion", "gradient")))
    one = result.generations[0]
    assert set(one.attention) == {"occlusion", "gradient"}
    for map in one.attention.values():
        assert len(map.steps) == len(one.tokens)
        assert np.isfinite(map.weights).all()
        assert map.weights.sum() > 0
