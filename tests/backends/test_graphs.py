"""Graphs compute what the model does, whatever the decoding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("onnx")

from condgen_cli.arrays import arrays_of
from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.errors import IntegrityError
from condgen_cli.export.pieces import make_graphs
from condgen_cli.files.weights import SCALE, load_arrays, load_weights, quantize_to_8_bits
from condgen_cli.item import Item
from condgen_cli.running.backends.sessions import GraphSession, open_session
from condgen_cli.running.decoding import Decoding, decode, force
from condgen_cli.running.likelihood import reference_log_probs
from condgen_translate.model import TranslateModel
from condgen_translate.sentences import TranslateConfig, TranslateGraphs

SENTENCES = ["a dog runs .", "two dogs run .", "a man sleeps .", "two men sleep and a dog runs ."] * 2
VOCABULARY = SubwordVocabulary.train(SENTENCES, 60)
ITEMS = [Item(text, text) for text in SENTENCES[:4]]

KINDS: dict[str, dict[str, Any]] = {
    "attention": {},
    "attention after the step": {"attend": "after", "match": "bilinear", "encoder_layers": 2},
    "input feeding": {"attend": "after", "input_feeding": True, "cell": "gru", "query_hidden": 5},
    "fixed": {"kind": "fixed", "cell": "gru"},
    "context": {"kind": "context", "bidirectional": False},
}

DECODINGS = {
    "greedy": Decoding("greedy", max_length=12),
    "beam": Decoding(beam=4, nbest=4, max_length=12, length_penalty=0.5),
    "wide beam": Decoding(beam=40, nbest=3, max_length=6, threshold=8.0),
    "no repetition": Decoding(beam=3, max_length=12, no_repeat_ngram=2, recombine=3),
    "samples": Decoding("sample", nbest=3, max_length=12, temperature=0.7, top_k=20, top_p=0.9),
}


def make_pair(weights: Mapping[str, Any] | None = None, **options: Any) -> tuple[TranslateModel, TranslateGraphs]:
    """A small model and its graphs; ``weights``: as they are stored, floats by default."""
    torch.manual_seed(1)
    config = TranslateConfig(**{"embedding_size": 24, "hidden_size": 32, "match_size": 10, **options})
    model = TranslateModel(config, VOCABULARY, VOCABULARY).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # else all tokens are about equally likely
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()} if weights is None else weights
    sessions = {name: session(name, content, arrays) for name, content in make_graphs(model, kinds(arrays)).items()}
    return model, TranslateGraphs(config, VOCABULARY, VOCABULARY, sessions)


def kinds(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: array.dtype for name, array in arrays.items()}


def session(name: str, content: bytes, arrays: Mapping[str, Any]) -> GraphSession:
    return open_session(Path(f"{name}.onnx"), arrays, 1, content)


PAIRS = {kind: make_pair(**options) for kind, options in KINDS.items()}


def memories(kind: str) -> list[tuple[Any, Any]]:
    """Model and memory, in torch and by graphs."""
    with torch.inference_mode():
        return [(model, model.encode(model.collate(ITEMS))) for model in PAIRS[kind]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", DECODINGS)
def test_hypotheses_are_the_same(kind: str, how: str) -> None:
    (first, wanted), (second, mine) = memories(kind)
    keys = list(range(len(ITEMS)))
    results = (decode(model, memory, DECODINGS[how], keys) for model, memory in ((first, wanted), (second, mine)))
    for row, other in zip(*results, strict=True):
        assert [one.ids for one in row] == [one.ids for one in other]
        for one, two in zip(row, other, strict=True):
            np.testing.assert_allclose(two.log_probs, one.log_probs, atol=1e-4)
            assert list(one.attention) == list(two.attention)
            for name in one.attention:
                np.testing.assert_allclose(two.attention[name], one.attention[name], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_forced_outputs_and_likelihoods_are_the_same(kind: str) -> None:
    pairs = memories(kind)
    ids = [[*VOCABULARY.encode(text), VOCABULARY.eos] for text in reversed(SENTENCES[:4])]
    for one, other in zip(*(force(model, memory, ids) for model, memory in pairs), strict=True):
        assert one.ids == other.ids
        np.testing.assert_allclose(other.log_probs, one.log_probs, atol=1e-4)
    references = [(text, "a man runs .") for text in SENTENCES[:4]]
    rows = [reference_log_probs(model, memory, references) for model, memory in pairs]
    for row, other in zip(*rows, strict=True):
        for wanted, mine in zip(row, other, strict=True):
            np.testing.assert_allclose(mine, wanted, atol=1e-4)


def test_a_memory_of_graphs_is_numpys_and_has_the_same_axes() -> None:
    (_, wanted), (_, mine) = memories("attention")
    assert mine.axes == wanted.axes
    assert isinstance(mine.values, np.ndarray)
    assert arrays_of(mine.values).to_numpy(mine.mask).tolist() == wanted.mask.tolist()
    assert mine.select(np.array([2, 0])).axes == [wanted.axes[2], wanted.axes[0]]


@pytest.mark.parametrize("bits", [8, 16])
def test_weights_are_read_as_they_are_stored(bits: int, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    model, _ = make_pair()
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    stored = quantize_to_8_bits(arrays) if bits == 8 else arrays
    stored = {
        name: array if name.endswith(SCALE) or array.dtype.kind != "f" else array.astype(np.float16)
        for name, array in stored.items()
    }
    assert bits == 16 or any(array.dtype == np.int8 for array in stored.values())
    save_file(stored, tmp_path / "model.safetensors")
    found = load_arrays(tmp_path / "model.safetensors")
    assert kinds(found) == kinds(stored)
    model.load_state_dict(load_weights(tmp_path / "model.safetensors"))
    graphs = {name: session(name, content, found) for name, content in make_graphs(model, kinds(found)).items()}
    computed = TranslateGraphs(model.config, VOCABULARY, VOCABULARY, graphs)
    with torch.inference_mode():
        wanted = decode(model, model.encode(model.collate(ITEMS)), DECODINGS["beam"])
    mine = decode(computed, computed.encode(computed.collate(ITEMS)), DECODINGS["beam"])
    assert [[one.ids for one in row] for row in mine] == [[one.ids for one in row] for row in wanted]


def test_weights_that_do_not_fit_are_refused() -> None:
    model, _ = make_pair()
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    step = make_graphs(model, kinds(arrays))["step"]
    for damage, message in {
        "missing": {**{name: array for name, array in arrays.items() if name != "decoder.bias"}},
        "shape": {**arrays, "decoder.bias": arrays["decoder.bias"][1:]},
        "kind": {**arrays, "decoder.bias": arrays["decoder.bias"].astype(np.float16)},
    }.items():
        with pytest.raises(IntegrityError, match="the weight decoder.bias" if damage != "missing" else "a weight decoder.bias"):
            session("step", step, message)


def test_a_graph_that_is_no_computation_is_refused() -> None:
    from onnx import helper

    made = helper.make_model(
        helper.make_graph([helper.make_node("Add", ["nothing"], ["y"])], "graph", [], []),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    with pytest.raises(IntegrityError, match="ONNX Runtime refuses the graph"):
        session("step", made.SerializeToString(), {})
