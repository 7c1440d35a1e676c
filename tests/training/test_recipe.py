from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, model_validator

from condgen_cli.errors import NotFoundError, UsageError
from condgen_cli.training.library import find_recipe
from condgen_cli.training.overrides import parse_override
from condgen_cli.training.recipe import Recipe, check
from condgen_cli.training.stages import parse_recipe, parse_stages, read_recipe

MINIMAL = """
name = "small"
task = "caption"
[model]
architecture = "caption"
units = 512
[data]
dataset = "flickr8k"
[training]
metric = "bleu4"
"""

plain = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.text())
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6
)
bare_keys = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)


def parse(*overrides: str, text: str = MINIMAL) -> Recipe:
    return parse_recipe(text, "small.toml", overrides)


class TestParsing:
    def test_defaults_and_options_of_the_plugin(self) -> None:
        recipe = parse()

        assert (recipe.seed, recipe.init, recipe.training.epochs) == (0, None, 10)
        assert recipe.model.options == {"units": 512}
        assert recipe.data.options == {}

    def test_overrides_win_in_their_order(self) -> None:
        recipe = parse("training.lr=1", "training.lr=0.5", "model.match.name=dot", "init=sat", "training.betas=[0.8, 0.9]")

        assert recipe.training.lr == 0.5
        assert recipe.model.options["match"] == {"name": "dot"}
        assert recipe.init == "sat"
        assert recipe.training.betas == (0.8, 0.9)

    @pytest.mark.parametrize(
        ("override", "reason", "hint"),
        [
            ("training.epoch=3", "training.epoch: unknown key", "did you mean: epochs"),
            ("trainin={}", "trainin: unknown key", "did you mean: training"),
            ("training.epochs=0", "training.epochs: input should be greater than or equal to 1 (is 0)", None),
            ("training.epochs=many", "training.epochs: input should be a valid integer (is 'many')", None),
            ("training.epochs=true", "training.epochs: input should be a valid integer (is True)", None),
            ("training.optimizer=adam", "training.optimizer: input should be 'adamw', 'sgd' or 'rmsprop' (is 'adam')", None),
            ("training.average=last-0", "training.average: string should match pattern", None),
            (
                "training.lr_multipliers.encoder=-1",
                "training.lr_multipliers.encoder: input should be greater than or equal to 0",
                None,
            ),
            ("name='../elsewhere'", "name: string should match pattern", None),
            ("model={}", "model.architecture: missing", None),
            ("name.first=x", "name is not a section, so name.first can't be set", None),
        ],
    )
    def test_a_fault_is_one_line_with_the_key(self, override: str, reason: str, hint: str | None) -> None:
        with pytest.raises(UsageError) as caught:
            parse(override)
        assert reason in caught.value.message
        assert "\n" not in caught.value.message
        assert caught.value.hint == hint

    def test_further_faults_are_counted(self) -> None:
        with pytest.raises(UsageError, match=r"training\.epochs: .* \(and 1 more\)"):
            parse("training.epochs=0", "training.lr=0")

    @pytest.mark.parametrize(
        "text", ["name = ", "[model\n", '{"name": ', MINIMAL + "\nepochs = 2024-01-01", MINIMAL + "\nlr = inf"]
    )
    def test_text_that_is_no_recipe(self, text: str) -> None:
        with pytest.raises(UsageError, match=r"small\.toml: "):
            parse(text=text)

    def test_files_that_can_not_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
        with pytest.raises(NotFoundError, match="no recipe"):
            read_recipe(tmp_path / "none.toml")
        with pytest.raises(UsageError, match="cannot read"):
            read_recipe(tmp_path / "latin.toml")
        with pytest.raises(UsageError, match="cannot read"):
            read_recipe(tmp_path)

    def test_needs_no_torch(self) -> None:
        code = "import sys; from condgen_cli.training import parse_recipe; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

    @given(st.dictionaries(st.text(min_size=1), values, max_size=4), values)
    def test_the_resolved_recipe_reads_back_as_an_equal_one(self, options: dict[str, Any], value: Any) -> None:
        document = parse().model_dump(mode="json")
        document["model"] = {"architecture": "caption", "value": value}
        document["objective"] = options
        recipe = check(Recipe, document)
        text = recipe.to_json()

        again = parse_recipe(text, "recipe.json")
        assert again == recipe
        assert again.objective == options
        assert again.to_json() == text

    def test_a_plugin_checks_its_options_alike(self) -> None:
        class Options(BaseModel):
            model_config = ConfigDict(extra="forbid")
            units: int = 256

        assert check(Options, parse().model.options, "model").units == 512
        with pytest.raises(UsageError, match=r"^recipe: model\.unit: unknown key$") as caught:
            check(Options, {"unit": 1}, "model")
        assert caught.value.hint == "did you mean: units"


class TestDecoding:
    def test_made_of_its_section(self) -> None:
        decoding = parse("decoding.beam=3", "decoding.length_penalty=1").make_decoding()
        assert (decoding.beam, decoding.length_penalty) == (3, 1.0)

    @pytest.mark.parametrize(
        ("override", "reason"),
        [
            ("decoding.bean=3", r"decoding\.bean: unknown key"),
            ("decoding.beam=wide", r"decoding\.beam: input should be a valid integer"),
            ("decoding.beam=0", r"recipe: decoding: beam must lie between 1 and 1000"),
        ],
    )
    def test_faults(self, override: str, reason: str) -> None:
        with pytest.raises(UsageError, match=reason):
            parse(override).make_decoding()


class TestOverrides:
    @pytest.mark.parametrize(
        ("text", "path", "value"),
        [
            ("seed=3", ("seed",), 3),
            ("training.lr = 1e-3", ("training", "lr"), 1e-3),
            ("model.attention=additive", ("model", "attention"), "additive"),
            ("model.attention='dot'", ("model", "attention"), "dot"),
            ("a.b=true", ("a", "b"), True),
            ("a=True", ("a",), "True"),
            ("a=", ("a",), None),
            ("a=null", ("a",), None),
            ("a='null'", ("a",), "null"),
            ("data.options.lengths=5", ("data", "options", "lengths"), "5"),
            ("data.options.file=2024.10", ("data", "options", "file"), "2024.10"),
            ("data.options.file='a b'", ("data", "options", "file"), "a b"),
            ("data.options.lengths=[5, 7]", ("data", "options", "lengths"), "5,7"),
            ("data.options.group=", ("data", "options", "group"), None),
            ("a=b=c", ("a",), "b=c"),
            ("a=[1, 2]", ("a",), [1, 2]),
            ("a={b = 1}", ("a",), {"b": 1}),
            ("a=1\nb = 2", ("a",), "1\nb = 2"),
            ("a=2024-01-01", ("a",), "2024-01-01"),
            ("a=nan", ("a",), "nan"),
            ('a."b.c"=1', ("a", "b.c"), 1),
        ],
    )
    def test_values(self, text: str, path: tuple[str, ...], value: Any) -> None:
        assert parse_override(text) == (path, value)

    @pytest.mark.parametrize("text", ["epochs", "=3", ".a=3", "a.=3", "a b=3", "[a]=3", "a\nb=3", "{a}=1", "#=1"])
    def test_what_is_no_override(self, text: str) -> None:
        with pytest.raises(UsageError):
            parse_override(text)

    @given(st.lists(bare_keys, min_size=1, max_size=4), plain)
    def test_any_value_can_be_given(self, path: list[str], value: Any) -> None:
        # A JSON string is a TOML string but for DEL, which TOML wants escaped, and for surrogates.
        text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        assert parse_override(f"{'.'.join(path)}={text}") == (tuple(path), value)

    @given(st.text())
    def test_any_text_is_a_value_or_itself(self, text: str) -> None:
        _, value = parse_override(f"key={text}")
        assert value == text.strip() or not isinstance(value, str) or text.strip()[0] in "'\""
        json.dumps(value, allow_nan=False)

    @given(st.text())
    def test_any_text_is_parsed_or_refused(self, text: str) -> None:
        try:
            path, _ = parse_override(text)
        except UsageError:
            return
        assert path
        assert "=" in text


class TestOtherData:
    """``data.dataset=`` of another data set, with the recipes that come with condgen."""

    @pytest.fixture(autouse=True)
    def elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def changed(self, name: str, *overrides: str, stage: str = "") -> tuple[Recipe, list[str]]:
        told: list[str] = []
        stages = parse_stages(*find_recipe(name), overrides, told.append)
        return (stages.find(stage) if stage else stages.stages[0]).recipe, told

    def test_what_belonged_to_the_recipe_s_own_goes_and_what_the_user_gives_stays(self) -> None:
        recipe, told = self.changed("memn2n-task", "data.dataset=stories", "data.options.file=mine.txt")
        assert recipe.data.options == {"options": {"file": "mine.txt"}, "time_noise": 0.1}
        assert told == ["data.options left out: the recipe's are for babi, not for stories"]
        recipe, told = self.changed("hred", "data.dataset=dialogues", 'data.more=["chitchat"]', stage="words")
        assert recipe.data.options["more"] == ["chitchat"]

    def test_the_same_data_set_keeps_its_options(self) -> None:
        recipe, told = self.changed("memn2n-task", "data.dataset=babi", "data.options.task=5")
        assert recipe.data.options["options"] == {"task": "5", "size": "1k"}
        assert told == []

    def test_a_stage_goes_on_from_the_one_before_whatever_the_data(self) -> None:
        recipe, told = self.changed("shakespeare", "data.dataset=text-file", stage="plays")
        assert recipe.init == "stage:books"
        assert len(told) == 2
        assert self.changed("sat-video", "data.dataset=msvd")[0].init == "sat"
        recipe, _ = self.changed("las", "data.dataset=audio-folder", stage="speller-3")
        assert recipe.training.lr_multipliers == {"model.listener": 0.0}
        assert recipe.decoding["weights"] == {"ctc": 15.0, "language_model": 8.0}
        assert self.changed("shakespeare", "data.dataset=text-file", "init=runs/mine")[0].init == "runs/mine"

    def test_a_run_on_other_data_is_not_gone_on_from(self) -> None:
        text = MINIMAL.replace("[model]", 'init = "runs/before"\n[model]') + "lr_multipliers = { encoder = 0.1 }\n"
        told: list[str] = []
        recipe = parse_recipe(text, "small.toml", ["data.dataset=msvd"], told.append)
        assert (recipe.init, recipe.training.lr_multipliers) == (None, {})
        assert told == ["init=runs/before left out, since it was not trained on msvd: training starts from random weights"]
        run = Path("runs/before")
        run.mkdir(parents=True)
        (run / "recipe.json").write_text(recipe.to_json())
        recipe = parse_recipe(text, "small.toml", ["data.dataset=msvd"], told.append)
        assert recipe.init == "runs/before"
        assert len(told) == 1

    def test_a_model_on_the_same_data_keeps_what_goes_with_it(self) -> None:
        recipe, _ = self.changed("las-an4", "data.dataset=audio-folder", "data.language_model=runs/mine", stage="speech")
        assert recipe.model.options["language_model"]["layers"] == 1
        assert recipe.decoding["weights"] == {"ctc": 2.0, "language_model": 1.0}
        recipe, _ = self.changed("las-an4", "data.dataset=audio-folder", stage="speech")
        assert recipe.model.options["language_model"]["layers"] == 1


class TestValues:
    def test_a_key_without_a_value_is_unset(self) -> None:
        text = MINIMAL.replace("task =", 'seed = 3\ninit = "sat"\ntask =')
        assert parse(text=text).init == "sat"
        for override in ("init=", "init=null", 'init=""'):
            assert parse(override, text=text).init is None
        assert parse("init='null'", text=text).init == "null"
        assert parse("seed=", text=text).seed == 0
        assert parse("model.units=", "objective=null", "data.none.such=").model.options == {}
        with pytest.raises(UsageError, match=r"metric: missing"):
            parse("training.metric=")
        with pytest.raises(UsageError, match="inti: unknown key") as caught:
            parse("inti=")
        assert caught.value.hint == "did you mean: init"

    def test_options_of_a_data_set_are_texts_however_they_are_written(self) -> None:
        text = MINIMAL.replace('"flickr8k"', '"flickr8k"\noptions = { a = 5, b = true, c = [5, 7], d = 0.5, e = "x" }')
        expected = {"a": "5", "b": "true", "c": "5,7", "d": "0.5", "e": "x"}
        assert parse(text=text).data.options["options"] == expected
        given = ["data.options.a=5", "data.options.b=true", "data.options.c=[5, 7]", "data.options.d=0.5", "data.options.e='x'"]
        assert parse(*given).data.options["options"] == expected
        assert parse("data.options={a=5, c=[5, 7]}").data.options["options"] == {"a": "5", "c": "5,7"}

    def test_a_number_is_its_text_where_a_text_is_wanted(self) -> None:
        class Options(BaseModel):
            model_config = ConfigDict(extra="forbid")
            name: str
            more: list[str] = []
            count: int = 0

        assert parse("name=2024", "init=7").name == "2024"
        found = check(Options, {"name": 5, "more": ["a", 7, True], "count": 3}, "data")
        assert (found.name, found.more, found.count) == ("5", ["a", "7", "true"], 3)
        with pytest.raises(UsageError, match=r"data\.count: input should be a valid integer"):
            check(Options, {"name": 5, "count": "x"}, "data")

    def test_what_a_plugin_s_check_says_is_told_as_it_is(self) -> None:
        class Options(BaseModel):
            a: int = 0

            @model_validator(mode="after")
            def _checked(self) -> Options:
                raise ValueError("A and b don't go together")

        with pytest.raises(UsageError) as caught:
            check(Options, {"a": 1}, "model")
        assert caught.value.message == "recipe: model: a and b don't go together"
