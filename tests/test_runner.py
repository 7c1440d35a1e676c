"""Runners: items in, generations with attention out, in order; what fails harms nothing else."""

from __future__ import annotations

import contextvars
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from condgen_cli import load as public_load
from condgen_cli.data.text import WordVocabulary
from condgen_cli.errors import InputError, IntegrityError, NotFoundError, PluginError, UsageError
from condgen_cli.files.sources import Failure
from condgen_cli.generation import Axis, Generation
from condgen_cli.model import Item, Memory, Predictor, SequenceModel, Step
from condgen_cli.running.decoding import Decoding
from condgen_cli.running.pipeline import prefetch
from condgen_cli.running.runner import Bundle, Request, Runner, load
from condgen_cli.settings import Settings, current, use

CPU = torch.device("cpu")


class Letters:
    """A vocabulary of ``a`` to ``h``."""

    pad, bos, eos, unk = range(4)

    def __len__(self) -> int:
        return 12

    def encode(self, text: str) -> list[int]:
        return [ord(letter) - 93 for letter in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.token(index) for index in ids if index > 3)

    def token(self, index: int) -> str:
        return "<eos>" if index == self.eos else chr(index + 93)


class State(NamedTuple):
    position: Tensor


class Copier(SequenceModel):
    """Copies a string of letters: at step t it looks at position t alone, after the last one it ends."""

    def __init__(self, grid: bool = False) -> None:
        super().__init__()
        self.vocabulary = Letters()
        self.grid = grid
        self.collated: list[int] = []

    def collate(self, items: Sequence[Item]) -> list[str]:
        for item in items:
            if item.condition == "unreadable":
                raise InputError("it is unreadable")
            if not item.condition.isalpha():
                raise ValueError(f"no letters in {item.condition}\nsecond line")
        self.collated.append(len(items))
        return [item.condition for item in items]

    def condition(self, item: Item) -> Any:
        return item.condition.upper()

    def encode(self, batch: list[str]) -> Memory:
        if "face" in batch and len(batch) > 1:
            raise RuntimeError("out of memory")
        longest = max(map(len, batch))
        values, mask = torch.zeros(len(batch), longest, len(self.vocabulary)), torch.zeros(len(batch), longest).bool()
        for row, text in enumerate(batch):
            values[row, range(len(text)), self.vocabulary.encode(text)] = 20.0
            mask[row, : len(text)] = True
        return Memory(values, mask=mask, axes=[self.axes(text) for text in batch])

    def axes(self, text: str) -> tuple[Axis, ...]:
        if self.grid:
            return Axis.numbered("row", "grid", 2), Axis.numbered("column", "grid", len(text) // 2)
        return (Axis("letter", "tokens", tuple(text)),)

    def start(self, memory: Memory, rows_per_item: int = 1) -> State:
        return State(torch.zeros(len(memory) * rows_per_item, dtype=torch.long))

    def step(self, token: Tensor, state: State, memory: Memory) -> Step:
        assert memory.mask is not None
        m = len(token) // len(memory)
        values, mask = memory.values.repeat_interleave(m, 0), memory.mask.repeat_interleave(m, 0)
        length = mask.sum(1)
        looked = state.position.minimum(length - 1)
        weights = nn.functional.one_hot(looked, mask.shape[1]).float()
        logits = torch.einsum("rp,rpv->rv", weights, values)
        logits[state.position >= length] = 0.0
        logits[state.position >= length, self.vocabulary.eos] = 20.0
        return Step(logits, State(state.position + 1), {"attention": weights}, {"gate": weights.amax(1)})


def runner(model: Any = None) -> Runner:
    bundle = Bundle("copier", "copy", "copier", {}, {"beam": 2}, {})
    return Runner(model or Copier(), bundle, CPU)


def items(*texts: str) -> Iterator[Item]:
    for number, text in enumerate(texts):
        yield Item(str(number), text, source=f"{text}.txt")


class Overflowing(Copier):
    """Its scores are no numbers where it reads the letter e."""

    def step(self, token: Tensor, state: State, memory: Memory) -> Step:
        step = super().step(token, state, memory)
        lost = memory.values[:, :, self.vocabulary.encode("e")[0]].any(1).repeat_interleave(len(token) // len(memory))
        return replace(step, logits=step.logits.masked_fill(lost[:, None], torch.nan))


@pytest.mark.parametrize("decoding", [Decoding(beam=2), Decoding(method="greedy"), None], ids=["beam", "greedy", "forced"])
def test_an_input_without_an_output_is_an_error(decoding: Decoding | None) -> None:
    force = "cab" if decoding is None else None
    results = list(runner(Overflowing()).stream(items("abc", "face"), Request(decoding, force=force)))
    assert [bool(result.error) for result in results] == [False, True]
    assert "face.txt: the model has no output" in str(results[1].error)
    assert not results[1].generations


def test_order_and_attention_of_unequal_items() -> None:
    texts = ["abc", "h", "gfedcba", "bb", "cafe"]
    results = list(runner().stream(items(*texts), Request(batch_size=2)))
    assert [result.generations[0].output for result in results] == texts
    assert [result.source for result in results] == [f"{text}.txt" for text in texts]
    for text, result in zip(texts, results, strict=True):
        generation = result.generations[0]
        weights = generation.attention["attention"]
        assert generation.tokens == (*text, "<eos>")
        assert weights.steps.labels == generation.tokens
        assert weights.axes[1].labels == tuple(text), "padding must be cut off"
        np.testing.assert_array_equal(weights.weights[:-1], np.eye(len(text)))
        assert generation.condition == text.upper()
        assert generation.extras["gate"].shape == generation.log_probs.shape == (len(text) + 1,)


def test_grids_are_laid_out_row_by_row() -> None:
    generation = runner(Copier(grid=True))(Item("1", "abcdef"))
    weights = generation.attention["attention"]
    assert weights.weights.shape == (7, 2, 3)
    assert weights.strongest(4)[0][0] == (1, 1)


def test_errors_stay_with_their_items() -> None:
    stream = [
        *items("abc", "unreadable", "123", "face"),
        Failure("gone.txt", NotFoundError("gone.txt does not exist")),
        *items("de"),
    ]
    results = list(runner().stream(stream, Request(batch_size=10)))
    assert [result.generations[0].output if result.generations else None for result in results] == [
        "abc", None, None, "face", None, "de",
    ]  # fmt: skip
    assert [result.error and result.error.message for result in results] == [
        None,
        "it is unreadable",
        "123.txt: ValueError: no letters in 123",
        None,
        "gone.txt does not exist",
        None,
    ]
    assert results[4].source == "gone.txt"


def test_one_bad_item_does_not_break_up_its_batch() -> None:
    model = Copier()
    list(runner(model).stream(items("ab", "cd", "123", "ef"), Request(batch_size=4)))
    assert model.collated[-1] == 3


def under(settings: Settings, function: Callable[[], Any]) -> Any:
    """What the function gives under these settings, which end with it."""

    def run() -> Any:
        use(settings)
        return function()

    return contextvars.copy_context().run(run)


def test_debug_lets_unexpected_exceptions_through() -> None:
    with pytest.raises(ValueError, match="no letters"):
        under(Settings(debug=True), lambda: list(runner().stream(items("ab", "123"))))


def test_nbest_and_options_of_a_call() -> None:
    results = list(runner().stream(items("abc"), Request(Decoding(beam=3, nbest=3))))
    assert len(results[0].generations) == 3
    assert results[0].generations[0].score >= results[0].generations[1].score
    assert runner()(Item("1", "abcdefgh"), max_length=3).output == "abc"


def test_force() -> None:
    generation = runner()(Item("1", "abc"), force="ba")
    assert generation.tokens == ("b", "a", "<eos>")
    assert generation.score == pytest.approx(float(generation.log_probs.sum()))
    np.testing.assert_array_equal(generation.attention["attention"].weights, np.eye(3))
    assert generation.score < runner()(Item("1", "abc")).score


def test_sampling_with_a_seed_is_reproducible() -> None:
    def sampled(seed: int) -> list[Any]:
        decoding = Decoding(method="sample", nbest=4, temperature=20.0, max_length=6)
        (result,) = runner().stream(items("abc"), Request(decoding, seed=seed))
        return [generation.output for generation in result.generations]

    assert sampled(1) == sampled(1)
    assert sampled(1) != sampled(2)


def test_a_sample_depends_on_its_input_alone() -> None:
    decoding = Decoding(method="sample", temperature=20.0, max_length=6)

    def sampled(*texts: str, **options: Any) -> list[str]:
        return [result.generations[0].output for result in runner().stream(items(*texts), Request(decoding, **options))]

    abc, cafe, again = sampled("abc", "cafe", "abc")
    assert sampled("cafe", "h", "bad", "abc", "gg", "abc", batch_size=2) == [
        cafe,
        *sampled("h", "bad"),
        abc,
        *sampled("gg"),
        again,
    ]
    assert abc != again  # equal inputs have samples of their own
    assert runner()(Item("other name", "cafe"), method="sample", temperature=20.0, max_length=6).output == cafe
    assert runner()(Item("x", "cafe"), seed=1, method="sample", temperature=20.0, max_length=6).output != cafe


class Strange(Copier):
    """Knows what it has been made for, and what to think of its inputs."""

    def is_out_of_domain(self, item: Item, generation: Generation) -> bool:
        return "h" in item.condition and generation.mean_log_prob is not None

    def doubt(self, item: Item) -> str:
        return "a guess: b" if item.condition == "b" else ""


def warnings_of(texts: Sequence[str], model: Any = None, **options: Any) -> list[tuple[str, ...]]:
    return [result.generations[0].warnings for result in runner(model).stream(items(*texts), Request(**options))]


def test_a_loop_that_the_input_lacks_is_warned_of() -> None:
    class Babbler(Copier):
        def encode(self, batch: list[str]) -> Memory:
            return super().encode([text * 6 for text in batch])

    told = "the output repeats 'abc' over and over; --no-repeat-ngram 3 keeps it from that"
    assert warnings_of(["abc", "abcabcabcabcabc"], Babbler()) == [(told,), ()]
    assert warnings_of(["abcabcabcabcabc"]) == [()]
    assert warnings_of(["abc"], Babbler(), force="abcabcabcabcabcabc") == [()]
    rightly = Babbler()
    rightly.repeats = True
    assert warnings_of(["abc"], rightly) == [()]
    assert warnings_of(["abc"], Babbler(), decoding=Decoding(beam=2, no_repeat_ngram=3)) == [()]  # which writes no loop


def test_what_a_model_is_for_is_told_once() -> None:
    told = "this is unlike what the model was trained on"
    assert warnings_of(["a", "h", "ah", "b"], Strange()) == [(), (told,), (), ()]
    assert warnings_of(["h"], Strange(), force="a") == [()]


def test_doubts_come_with_the_output() -> None:
    results = list(runner(Strange()).stream(items("a", "b")))
    assert [result.generations[0].doubt for result in results] == ["", "a guess: b"]
    best = results[0].generations[0]
    assert best.mean_log_prob == pytest.approx(float(best.log_probs.mean()))
    assert Generation("").mean_log_prob is None


def test_conditions_are_only_made_where_they_are_drawn() -> None:
    (result,) = runner().stream(items("abc"), Request(conditions=False))
    assert result.generations[0].condition is None


def test_nothing_in_nothing_out() -> None:
    assert list(runner().stream([])) == []


def test_a_call_raises_the_item_s_error() -> None:
    with pytest.raises(InputError, match="unreadable"):
        runner()(Item("1", "unreadable"))


class Measuring(Copier):
    """A copier that tells how long its items are."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []

    def length(self, item: Item) -> int:
        return len(item.condition)

    def collate(self, items: Sequence[Item]) -> list[str]:
        batch = super().collate(items)
        self.batches.append(batch)
        return batch


def test_batches_hold_items_of_like_length_and_results_keep_their_order() -> None:
    texts = ["abcdefgh"[: 1 + 5 * number % 8] for number in range(2 * 16 * 3 + 5)]
    model = Measuring()
    stream = [*items(*texts), Failure("gone.txt", NotFoundError("gone.txt does not exist")), *items("bad", "123")]
    results = list(runner(model).stream(stream, Request(batch_size=3)))
    assert [result.generations[0].output for result in results if result.generations] == [*texts, "bad"]
    assert [result.source for result in results if result.error] == ["gone.txt", "123.txt"]
    full = [batch for batch in model.batches if len(batch) == 3]
    assert sum(len(set(map(len, batch))) > 1 for batch in full) < len(full) / 2
    lengths = sorted(map(len, texts[:48]), reverse=True)
    assert sorted((len(text) for batch in full[:16] for text in batch), reverse=True) == lengths, "a window is 16 batches"


def test_a_length_that_cannot_be_told_is_the_item_s_own_error() -> None:
    class Wrong(Measuring):
        def length(self, item: Item) -> int:
            if item.condition == "123":
                raise TypeError("no length")
            return super().length(item)

    results = list(runner(Wrong()).stream(items("ab", "123", "c"), Request(batch_size=2)))
    assert [result.error is None for result in results] == [True, False, True]


def test_live_items_are_answered_before_the_next_is_there() -> None:
    asked: Queue[Item | None] = Queue()
    results = runner(Measuring()).stream(iter(asked.get, None), Request(batch_size=8, live=True))  # type: ignore[arg-type]
    for text in ("abc", "d"):
        asked.put(Item(text, text))
        assert next(results).generations[0].output == text
    asked.put(None)
    assert list(results) == []


def parts(text: str, *conditions: str) -> list[Item]:
    count = len(conditions)
    return [Item(text, one, source=text, part=number, parts=count) for number, one in enumerate(conditions)]


@pytest.mark.parametrize("model", [Copier, Measuring])
def test_the_parts_of_an_input_give_one_result(model: Callable[[], Copier]) -> None:
    stream = [*items("a"), *parts("long", "abc", "de", "fgh"), *items("b")]
    results = list(runner(model()).stream(stream, Request(batch_size=2)))
    assert [result.generations[0].output for result in results] == ["a", "abc de fgh", "b"]
    joined = results[1].generations[0]
    assert (results[1].source, joined.tokens) == ("long", ("a", "b", "c", "<eos>", "d", "e", "<eos>", "f", "g", "h", "<eos>"))
    assert joined.score == pytest.approx(sum(runner()(Item("1", text)).score for text in ("abc", "de", "fgh")))
    weights = joined.attention["attention"]
    assert weights.axes[1].labels == tuple("abcdefgh")
    np.testing.assert_array_equal(weights.weights.argmax(1), [0, 1, 2, 2, 3, 4, 4, 5, 6, 7, 7])
    np.testing.assert_allclose(weights.weights.sum(1), 1)


def test_a_part_that_fails_fails_its_input_alone() -> None:
    stream = [*items("a"), *parts("long", "abc", "123", "de"), *items("b")]
    first, failed, last = runner().stream(stream, Request(batch_size=10))
    assert [one.generations[0].output for one in (first, last)] == ["a", "b"]
    assert (failed.source, failed.generations) == ("long", ())
    assert failed.error
    assert "no letters in 123" in failed.error.message


def test_an_output_is_forced_for_one_part_only() -> None:
    failed, alone = runner().stream([*parts("long", "a", "b"), *items("ab")], Request(force="ab"))
    assert failed.error
    assert "forced for one only" in failed.error.message
    assert alone.generations[0].output == "ab"


def test_an_input_with_nothing_in_it_never_reaches_the_model() -> None:
    model = Copier()
    empty = Item("2", "", source="empty", parts=0)
    results = list(runner(model).stream([*items("ab"), empty, *items("c")], Request(batch_size=8)))
    assert [result.generations[0].output for result in results] == ["ab", "", "c"]
    assert not results[1].generations[0].attention
    assert model.collated == [2]
    assert runner(model)(empty).output == ""


class Counter(Predictor):
    """A model that predicts, without tokens."""

    def collate(self, items: Sequence[Item]) -> Tensor:
        return torch.tensor([len(item.condition) for item in items])

    def predict(self, batch: Tensor) -> list[Generation]:
        return [Generation(int(length)) for length in batch]


def test_models_that_predict() -> None:
    counter = runner(Counter())
    assert [result.generations[0].output for result in counter.stream(items("abc", "d", "ef"), Request(batch_size=2))] == [
        3,
        1,
        2,
    ]
    with pytest.raises(UsageError, match="no tokens"):
        counter(Item("1", "abc"), force="ab")


def test_prefetch_keeps_order_and_its_bound() -> None:
    read, used, furthest = 0, 0, 0

    def values() -> Iterator[int]:
        nonlocal read, furthest
        for value in range(50):
            read += 1
            furthest = max(furthest, read - used)
            yield value

    results = []
    for result in prefetch(lambda value: value * value, values(), ahead=3):
        results.append(result)
        used += 1
    assert results == [value * value for value in range(50)]
    assert furthest <= 5


def test_prefetch_raises_where_the_exception_belongs() -> None:
    def values() -> Iterator[int]:
        yield from (1, 2)
        raise InputError("the list ends badly")

    results = prefetch(float, values(), ahead=4)
    assert [next(results), next(results)] == [1.0, 2.0]
    with pytest.raises(InputError, match="ends badly"):
        next(results)
    with pytest.raises(ZeroDivisionError):
        list(prefetch(lambda value: 1 / value, [1, 0, 2], ahead=1))


def test_prefetch_stops_when_nobody_listens() -> None:
    ended = threading.Event()

    def values() -> Iterator[int]:
        try:
            yield from iter(int, 1)
        finally:
            ended.set()

    stream = prefetch(float, values(), ahead=2)
    assert next(iter(stream)) == 0.0
    stream.close()  # type: ignore[attr-defined]
    assert ended.wait(5)


def test_prefetch_works_under_the_caller_s_settings() -> None:
    settings = Settings(zoos=("here",))
    assert under(settings, lambda: list(prefetch(lambda _: current().zoos, [1], ahead=1))) == [("here",)]


CONFIG = {
    "kind": "sat",
    "encoder": "lite0",
    "image_size": 64,
    "embedding_size": 8,
    "hidden_size": 8,
    "value_size": 8,
    "match_size": 8,
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the smallest caption model, in half precision."""
    from condgen_caption.model import build

    folder = tmp_path_factory.mktemp("weights")
    WordVocabulary(["a", "dog", "cat", "runs"]).save(folder / "vocabulary.json")
    torch.manual_seed(0)
    model = build(CONFIG, {"vocabulary.json": folder / "vocabulary.json"})
    save_file({name: tensor.half() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    return folder


@pytest.fixture
def run(weights: Path, tmp_path: Path) -> Path:
    """A training run's folder."""
    folder = tmp_path / "my-run"
    folder.mkdir()
    for name in ("vocabulary.json", "model.safetensors"):
        (folder / name).hardlink_to(weights / name)
    describe(folder)
    return folder


def describe(folder: Path, **changes: Any) -> None:
    description: Mapping[str, Any] = {
        "architecture": {"name": "caption", "config": CONFIG},
        "task": "caption",
        "decoding": {"beam": 3, "max_length": 6},
        "files": ["vocabulary.json", "model.safetensors"],
    } | changes
    (folder / "model.json").write_text(json.dumps(description))


def test_a_training_run_is_loaded_and_captions_anything_that_is_a_photo(run: Path) -> None:
    captioner = public_load(run)
    assert (captioner.name, captioner.task, captioner.entry) == ("my-run", "caption", None)
    assert captioner.decoding == Decoding(beam=3, max_length=6)
    assert {parameter.dtype for parameter in captioner.model.parameters()} == {torch.float32}
    assert not captioner.model.training
    image = Image.new("RGB", (90, 60), "red")
    image.save(run / "red.png")
    generations = [captioner(source) for source in (image, run / "red.png", str(run / "red.png"), Item("1", image))]
    assert len({generation.output for generation in generations}) == 1
    weights = generations[0].attention["attention"]
    assert [axis.kind for axis in weights.positions] == ["grid", "grid"]
    np.testing.assert_allclose(weights.weights.sum((1, 2)), 1.0, atol=1e-5)
    assert generations[0].condition.size == (90, 60)
    with pytest.raises(NotFoundError, match=r"green\.png does not exist"):
        captioner(str(run / "green.png"))


def test_weights_that_do_not_fit_are_named(run: Path) -> None:
    tensors = load_file(run / "model.safetensors")
    name = "decoder.bias"
    cases = [
        ({key: value for key, value in tensors.items() if key != name}, f"{name} missing"),
        (tensors | {"stranger": torch.zeros(1)}, "stranger unexpected"),
        (tensors | {name: torch.zeros(3)}, f"{name} of another shape"),
    ]
    for changed, message in cases:
        (run / "model.safetensors").unlink()
        save_file(changed, run / "model.safetensors")
        with pytest.raises(IntegrityError, match=message):
            load(run)
    (run / "model.safetensors").unlink()
    (run / "model.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(IntegrityError, match=r"cannot read model\.safetensors"):
        load(run)


def test_a_later_weights_file_wins(run: Path) -> None:
    save_file(
        {"decoder.bias": torch.full_like(load_file(run / "model.safetensors")["decoder.bias"], 7.0)}, run / "z.safetensors"
    )
    describe(run, files=["vocabulary.json", "model.safetensors", "z.safetensors"])
    assert (load(run).model.decoder.bias == 7.0).all()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"architecture": {"name": "unheard-of", "config": {}}}, PluginError, "'unheard-of', which no plugin brings"),
        ({"architecture": {"name": "caption"}}, IntegrityError, "is not a model's description"),
        ({"architecture": {"name": "caption", "config": {"kind": "?"}}}, UsageError, "kind"),
        ({"files": ["../secret"]}, IntegrityError, "secret"),
        ({"files": []}, PluginError, "can't build"),
        ({"files": ["absent.safetensors"]}, NotFoundError, "absent"),
        ({"decoding": {"beams": 3}}, IntegrityError, "decoding settings"),
        ({"decoding": {"beam": 0}}, IntegrityError, "beam must lie between 1 and"),
    ],
)
def test_a_wrong_description(run: Path, changes: dict[str, Any], error: type[Exception], message: str) -> None:
    describe(run, **changes)
    with pytest.raises(error, match=message):
        load(run)


class ByHalves(SequenceModel):
    """Has no vocabulary."""

    collate = encode = start = step = lambda *_: None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Identity, "builds an instance of Identity, which is neither a SequenceModel nor a Predictor"),
        (ByHalves, "builds an instance of ByHalves, whose vocabulary is None"),
    ],
)
def test_what_is_built_must_be_a_model(
    run: Path, monkeypatch: pytest.MonkeyPatch, model: Callable[[], nn.Module], message: str
) -> None:
    monkeypatch.setattr("condgen_caption.model.build", lambda config, files: model())
    with pytest.raises(PluginError, match=message) as raised:
        load(run)
    assert raised.value.hint


def test_a_model_that_lacks_a_step_can_not_be_made() -> None:
    class Stepless(SequenceModel):
        collate = encode = start = lambda *_: None

    with pytest.raises(TypeError, match="step"):
        Stepless()  # type: ignore[abstract]


def test_teacher_forcing_repeats_steps_by_default() -> None:
    model = Copier()
    memory = model.encode(["abc", "de"])
    targets = torch.tensor([[1, 4, 5], [1, 5, 5], [1, 7, 8], [1, 4, 4]])
    logits = model(memory, targets)
    assert logits.shape == (4, 3, len(model.vocabulary))
    found = logits.argmax(2)[::2].tolist()
    assert found == [model.vocabulary.encode("abc"), [*model.vocabulary.encode("de"), model.vocabulary.eos]]


def test_rows_of_a_memory_are_selected_with_all_that_it_holds() -> None:
    values = torch.arange(6.0).view(3, 2, 1)
    axes = [(Axis.numbered("place", "slots", count),) for count in (1, 2, 2)]
    memory = Memory(values, values + 1, values.squeeze(2) > 0, axes, {"more": values[:, 0]}, vector=values[:, 1])
    some = memory.select(torch.tensor([2, 0]))
    assert (len(some), [len(row[0]) for row in some.axes]) == (2, [2, 1])
    assert some.keys is not None
    assert some.mask is not None
    assert some.vector is not None
    assert some.vector.flatten().tolist() == [5, 1]
    assert some.auxiliary["more"].flatten().tolist() == [4, 0]
    assert (some.keys == some.values + 1).all()
    assert some.mask.tolist() == [[True, True], [False, True]]


def test_models_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDGEN_HOME", str(tmp_path))
    with pytest.raises(NotFoundError, match="no-such-model"):
        load("no-such-model")
    with pytest.raises(NotFoundError, match=r"holds no model\.json"):
        load(tmp_path)


def test_a_device_that_is_not_there(run: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(UsageError, match="no cuda device"):
        load(run, "cuda")
