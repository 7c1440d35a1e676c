"""The text model against slow readings of its definition: the network, carried states, constraints."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from condgen_cli.errors import InputError, UsageError
from condgen_cli.item import Item
from condgen_cli.running.decoding import Decoding, decode
from condgen_cli.running.likelihood import reference_log_probs
from condgen_cli.running.randomness import stream_key
from condgen_cli.testing import check_model
from condgen_generate.prompt import Prompt
from condgen_generate.text_model import TextConfig, TextModel
from condgen_generate.verse import FORMS, Form, form_of
from condgen_generate.vocabulary import CharacterVocabulary

CHARACTERS = "天地玄黃宇宙洪荒日月盈昃辰宿列張春夏秋冬"


def stream(**options: object) -> TextModel:
    torch.manual_seed(0)
    config = TextConfig(embedding_size=6, hidden_size=7, layers=2, **options)
    return TextModel(config, CharacterVocabulary.build(["\nabcdef gh"])).eval()


def verse(**options: object) -> TextModel:
    torch.manual_seed(0)
    config = TextConfig(kind="verse", embedding_size=6, hidden_size=7, layers=1, tied=True, **options)
    vocabulary = CharacterVocabulary.build([CHARACTERS + "，。"], [form.name for form in FORMS])
    return TextModel(config, vocabulary).eval()


def item(prompt: Prompt, name: str = "x") -> Item:
    return Item(name, prompt, source=name)


def sampled(model: TextModel, prompts: Sequence[Prompt], seed: int = 0, **options: object) -> list[list[str]]:
    items = [item(prompt) for prompt in prompts]
    decoding = Decoding(method="sample", max_length=200, **options)
    found = decode(
        model, model.encode(model.collate(items)), decoding, [stream_key(seed, place) for place in range(len(items))]
    )
    return [[model.write(one, item) for one in row] for row, item in zip(found, items, strict=True)]


def slow_logits(model: TextModel, ids: Sequence[int]) -> Tensor:
    """Logits after each token, by the equations of the LSTM."""
    network = model.network
    layers, size = network.lstm.num_layers, network.lstm.hidden_size
    hidden, cell = ([torch.zeros(size) for _ in range(layers)] for _ in range(2))
    rows = []
    for index in ids:
        signal = network.embedding.weight[index] * network.embedding.embedding_dim**0.5
        for layer in range(layers):
            weights = [getattr(network.lstm, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            gates = weights[0] @ signal + weights[1] @ hidden[layer] + weights[2] + weights[3]
            i, f, g, o = gates.chunk(4)
            cell[layer] = f.sigmoid() * cell[layer] + i.sigmoid() * g.tanh()
            hidden[layer] = signal = o.sigmoid() * cell[layer].tanh()
        if network.readout is not None:
            rows.append(network.embedding.weight @ network.readout(signal).tanh() + network.bias)
        else:
            rows.append(network.output.weight @ signal + network.bias)
    return torch.stack(rows)


@pytest.mark.parametrize("model", [stream(), stream(tied=True), verse()])
def test_it_keeps_the_contract(model: TextModel) -> None:
    streams = [Prompt("abc", length=3), Prompt(""), Prompt("fade", exact=True, stop="ab"), Prompt("a", length=9, stop="c")]
    poems = [Prompt(form=FORMS[0]), Prompt("天", FORMS[1], exact=True), Prompt("", FORMS[3], length=30)]
    check_model(model, [item(prompt) for prompt in (poems if model.config.kind == "verse" else streams)])


@pytest.mark.parametrize("tied", [False, True])
@torch.inference_mode()
def test_likelihoods_are_those_of_a_slow_loop_over_the_prompt_and_the_text(tied: bool) -> None:
    model = stream(tied=tied)
    prompts, texts = ["abc gh", "", "d"], ["fed", "abcdefgh", "g"]
    memory = model.encode(model.collate([item(Prompt(prompt)) for prompt in prompts]))
    found = reference_log_probs(model, memory, [(text,) for text in texts])
    for prompt, text, (log_probs,) in zip(prompts, texts, found, strict=True):
        read = model.vocabulary.encode("\n" + prompt + text)
        expected = (
            slow_logits(model, read[:-1]).log_softmax(-1)[-len(text) :].gather(1, torch.tensor(read[-len(text) :])[:, None])
        )
        torch.testing.assert_close(torch.from_numpy(log_probs), expected.squeeze(1))


@torch.inference_mode()
def test_the_state_after_a_prompt_goes_on_as_if_nothing_had_come_between() -> None:
    model, text = stream(), "abcdefgh fed a cab hag beach"

    def total(prompt: str, rest: str) -> Tensor:
        memory = model.encode(model.collate([item(Prompt(prompt))]))
        ((log_probs,),) = reference_log_probs(model, memory, [(rest,)])
        return torch.from_numpy(log_probs)

    whole = total("", text)
    for place in (1, 7, 20):
        torch.testing.assert_close(total(text[:place], text[place:]), whole[place:])


@torch.inference_mode()
def test_poems_are_read_after_their_form_and_end() -> None:
    model = verse()
    poem = "天地玄黃宇，宙洪荒日月。盈昃辰宿列，張春夏秋冬。"
    memory = model.encode(model.collate([item(Prompt(form=form)) for form in (FORMS[0], FORMS[3])]))
    found = [row[0] for row in reference_log_probs(model, memory, [(poem,)] * 2)]
    for form, log_probs in zip(("5x4", "7x8"), found, strict=True):
        ids = [model.vocabulary.control(form), *model.vocabulary.encode(poem), model.vocabulary.eos]
        expected = slow_logits(model, ids[:-1]).log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None]).squeeze(1)
        torch.testing.assert_close(torch.from_numpy(log_probs), expected)


@pytest.mark.parametrize("form", FORMS)
def test_an_untrained_model_held_to_a_form_keeps_it_and_the_acrostic(form: Form) -> None:
    acrostic = "春夏秋冬天地玄黃"[: form.lines]
    prompts = [
        Prompt(form=form, acrostic=acrostic, exact=True),
        Prompt("日月，", form, exact=True),
        Prompt(form=form, exact=True),
    ]
    whole, begun, free = sampled(verse(), prompts, nbest=5)
    for poem in (*whole, *begun, *free):
        assert form_of(poem) == form
    assert all("".join(poem[:: form.syllables + 1]) == acrostic for poem in whole)
    assert all(poem.startswith("日月") for poem in begun)
    assert len({*free}) == 5


def test_held_to_nothing_an_untrained_model_keeps_no_form() -> None:
    (poems,) = sampled(verse(), [Prompt(form=FORMS[0], length=60)], nbest=8)
    assert not any(map(form_of, poems))
    assert max(map(len, poems)) <= 60


def test_a_text_is_as_long_as_asked_and_ends_before_the_stop() -> None:
    model = stream()
    long, short = sampled(model, [Prompt("ab", length=80, exact=True), Prompt("", length=3, exact=True)], nbest=3)
    assert {len(text) for text in long} == {82}
    assert all(text.startswith("ab") for text in long)
    assert {len(text) for text in short} == {3}
    (free,) = sampled(model, [Prompt("", length=150, exact=True)])
    stop = free[0][60:62]
    stopped, whole = sampled(
        model, [Prompt("", length=150, exact=True, stop=stop), Prompt(stop, length=150, exact=True)], nbest=4
    )
    assert all(stop not in text for text in stopped)
    assert any(len(text) < 150 for text in stopped)
    assert all(len(text) == 152 for text in whole)


def test_unknown_characters_stand_where_they_were_given_and_are_told_of() -> None:
    model = verse()
    prompt = item(Prompt(form=FORMS[0], acrostic="春龘秋冬", exact=True))
    memory = model.encode(model.collate([prompt]))
    ((one,),) = decode(model, memory, Decoding(method="sample", max_length=99), [1])
    poem = model.write(one, prompt)
    assert form_of(poem) == FORMS[0]
    assert poem[::6] == "春龘秋冬"
    from condgen_cli.generation import Generation

    told = model.finish(Generation(poem), one, prompt)
    assert told.warnings == ("the model does not know 龘, and reads it as an unknown character",)
    assert [step["token"] for step in told.details["steps"]][6] == "<unk>"


@torch.inference_mode()
def test_probabilities_that_are_told_are_those_without_any_mask() -> None:
    from condgen_cli.generation import Generation

    model = verse()
    prompt = item(Prompt("天地", FORMS[0], exact=True))
    ((one,),) = decode(model, model.encode(model.collate([prompt])), Decoding(method="sample", max_length=99))
    steps = model.finish(Generation(""), one, prompt).details["steps"]
    ids = [model.vocabulary.control("5x4"), *one.ids]
    expected = slow_logits(model, ids[:-1]).softmax(-1)
    assert len(steps) == len(one.ids) == 25
    for step, row, index in zip(steps, expected, one.ids, strict=True):
        assert step["probability"] == pytest.approx(float(row[index]), abs=1e-5)
        assert step["bits"] == pytest.approx(-float(row[index].log2()), abs=1e-3)
        assert [other["token"] for other in step["likeliest"]] == [model.vocabulary.token(int(i)) for i in row.topk(5).indices]


def test_scripts() -> None:
    vocabulary = CharacterVocabulary.build(["雲開見月明故鄉頭，。"], [form.name for form in FORMS])
    model = TextModel(TextConfig(kind="verse", embedding_size=6, hidden_size=7, layers=1), vocabulary).eval()
    simplified = Prompt("云开见月明", FORMS[0], exact=True, simplified=True)
    traditional = Prompt("雲開見月明", FORMS[0], exact=True)
    batch = model.collate([item(simplified), item(traditional)])
    assert torch.equal(batch.places[0], batch.places[1])
    one, other = sampled(model, [simplified, traditional])
    assert one[0].startswith("云开见月明，")
    assert other[0].startswith("雲開見月明，")
    assert not set("雲開見鄉頭") & set(one[0])


def test_what_the_model_can_not_begin_with_is_refused() -> None:
    with pytest.raises(UsageError, match="doesn't write poems"):
        stream().collate([item(Prompt(form=FORMS[0]))])
    with pytest.raises(InputError, match="can't write 'zq'"):
        stream().collate([item(Prompt(stop="azq"))])
    with pytest.raises(UsageError, match="--length and --stop can't be used"):
        verse().collate([item(Prompt(exact=True, length=5))])
    with pytest.raises(UsageError, match="can't begin with both"):
        verse().collate([item(Prompt("天", FORMS[0], "地", exact=True))])
