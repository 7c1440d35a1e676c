"""A user's own data with the recipes that come with condgen: only the data set is named, and the rest follows; and with the
zoo's models, in 8 bits as they are, to begin with."""

from __future__ import annotations

import json
import os
import random
import stat
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from condgen_cli.cli.app import run
from condgen_cli.registry.plugins import manager
from condgen_cli.running.runner import load
from condgen_cli.training import build_experiment, find_recipe, parse_stages
from condgen_ntm import TASKS

Make = Callable[[Path], None]
WORDS = ("red", "green", "blue", "grey", "black", "white", "brown", "pink")


def text(folder: Path) -> None:
    (folder / "input.txt").write_text("The cat sat on the mat — über Öl.\n" * 20)


def pictures(folder: Path) -> None:
    rng = np.random.default_rng(1)
    for number in range(30):
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(folder / f"{number}.png")


def photos(folder: Path) -> None:
    rng = np.random.default_rng(1)
    lines = []
    for number, word in enumerate(WORDS):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        split = "train" if number < 5 else "dev"
        lines += [f"{number}.png\ta {word} square\t{split}", f"{number}.png\tsomething {word}\t{split}"]
    (folder / "captions.tsv").write_text("\n".join(lines) + "\n")


def pairs(folder: Path) -> None:
    for split in ("train", "dev"):
        (folder / f"{split}.tsv").write_text("".join(f"das ist {word}\tthis is {word}\n" for word in WORDS))


def dialogues(folder: Path) -> None:
    for split in ("train", "dev"):
        lines = [json.dumps(["Hello!", f"Do you like {word}?", f"Yes, {word} it is."]) for word in WORDS]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")


def recordings(folder: Path, samples: int = 12000) -> None:
    rng = np.random.default_rng(1)
    for split in ("train", "dev"):
        for number in range(3):
            with wave.open(str(folder / f"{split}-{number}.wav"), "wb") as file:
                file.setparams((1, 2, 16000, 0, "NONE", ""))
                file.writeframes(rng.integers(-9000, 9000, samples, dtype=np.int16).tobytes())
        lines = [f"{split}-{number}.wav\tthe word {WORDS[number]}\n" for number in range(3)]
        (folder / f"{split}.tsv").write_text("".join(lines))


def stories(folder: Path) -> None:
    for split in ("train", "dev"):
        places = ("kitchen", "garden", "office", "hallway")
        lines = [f"1 Mary went to the {place}.\n2 John slept.\n3 Where is Mary?\t{place}\t1\n" for place in places]
        (folder / f"{split}.txt").write_text("".join(lines))


def nothing(folder: Path) -> None:
    pass


def clips(folder: Path) -> None:
    rng = np.random.default_rng(1)
    lines = []
    for number, word in enumerate(WORDS[:3]):
        frames = [Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)) for _ in range(3)]
        frames[0].save(folder / f"{number}.gif", save_all=True, append_images=frames[1:], duration=200)
        lines.append(f"{number}.gif\ta {word} square\t{'train' if number < 2 else 'dev'}")
    (folder / "captions.tsv").write_text("\n".join(lines) + "\n")


def poems(folder: Path) -> None:
    draw, characters = random.Random(0), "天地玄黃宇宙洪荒春夏秋冬日月山水"
    lines = ("".join(draw.choices(characters, k=5)) for _ in range(400))
    rows = [{"paragraphs": [f"{a}，{b}。", f"{c}，{d}。"]} for a, b, c, d in zip(*[lines] * 4, strict=True)]
    (folder / "tang_poems.jsonl").write_text("\n".join(map(json.dumps, rows)))


def speech(folder: Path) -> None:
    recordings(folder, 32000)
    for split in ("train", "dev"):
        lines = [f"{split}-{number}.wav\tTHE WORD {WORDS[number].upper()}\n" for number in range(3)]
        (folder / f"{split}.tsv").write_text("".join(lines))
    (folder / "lines.txt").write_text("THE WORD IS RED\nTHE WORD IS BLUE\n")
    (folder / "words.dict").write_text("the DH AH0\nword W ER1 D\nis IH1 Z\nred R EH1 D\ngreen G R IY1 N\nblue B L UW1\n")


PHOTOS = ["data.dataset=captioned-folder", "data.min_count=1", "model.image_size=64"]
PICTURES = ["data.dataset=pictures", "data.options.size=6", "--set", "colors=4"]
PAIRS = ["data.dataset=parallel", "--set", "tsv={split}.tsv"]
DIALOGUES = ["data.dataset=dialogues"]
STORIES = ["data.dataset=stories"]
SPEECH = ["data.dataset=audio-folder", "decoding.beam=2", "model.channels=4", "model.listener_size=16", "model.hidden_size=16"]
DRAWN = ["data.batches=1", "data.options.count=2"]
CASES: dict[str, tuple[Make, list[str], str]] = {
    "nic": (photos, PHOTOS, ""),
    "sat": (photos, PHOTOS, ""),
    "nic-video": (clips, PHOTOS, ""),
    "sat-video": (clips, PHOTOS, ""),
    "hred": (dialogues, DIALOGUES, "data.more left out"),
    "seq2seq-chat": (dialogues, DIALOGUES, "data.more left out"),
    "seq2seq-chat-3": (dialogues, DIALOGUES, "data.more left out"),
    "poem": (poems, ["data.min_count=1"], ""),
    "shakespeare": (text, ["data.dataset=text-file", "stages.books.data.text=input.txt"], "data.with_dev left out"),
    "grid-lstm": (pictures, PICTURES, "23 pictures"),
    "pixel-lstm": (pictures, PICTURES, "23 pictures"),
    "grid-lstm-emoji": (
        pictures,
        ["--set", "tile=", "--set", "size=6", "model.height=6", "model.width=6", "data.options.colors=4"],
        "23 pictures",
    ),
    **{f"ntm-{task}{kind}": (nothing, DRAWN, "") for task in TASKS for kind in ("", "-lstm")},
    "memn2n": (stories, STORIES, "data.options left out"),
    "memn2n-1k": (stories, STORIES, "data.options left out"),
    "memn2n-task": (stories, STORIES, "data.options left out"),
    "memn2n-task-10k": (stories, STORIES, "data.options left out"),
    "las": (
        speech,
        [
            *SPEECH,
            "stages.lm.data.text=lines.txt",
            *(f"stages.{stage}.data.dictionary=words.dict" for stage in ("phones", "phones-2", "speller-3")),
            "stages.speller-3.data.words.text=lines.txt",
        ],
        "stage 9 of 9, speller-3",
    ),
    "las-an4": (speech, SPEECH, ""),
    "nmt-de-en": (pairs, PAIRS, "8 pairs"),
    "nmt-de-en-context": (pairs, PAIRS, "8 pairs"),
    "nmt-de-en-fixed": (pairs, PAIRS, "8 pairs"),
    "nmt-zh-en": (pairs, PAIRS, "data.more, data.weight left out"),
    "nmt-zh-en-context": (pairs, PAIRS, "8 pairs"),
    "nmt-zh-en-tatoeba": (pairs, PAIRS, "8 pairs"),
}
"""By the name of a recipe: what makes its data, the arguments, and what is told on stderr."""


def test_every_recipe_is_tried() -> None:
    assert CASES.keys() == manager().recipes.keys()


@pytest.mark.parametrize("name", CASES)
def test_two_steps_of_every_stage_of_a_shipped_recipe(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On data of the user's: as the names in the recipe itself are those of something, see ``test_shipped``."""
    monkeypatch.setenv("CONDGEN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("condgen_cli.training.loop.draw_curve", lambda records, metric, title, path: path.touch())
    monkeypatch.chdir(tmp_path)
    make, arguments, told = CASES[name]
    data = tmp_path / "mine"
    data.mkdir()
    make(data)
    command = ["train", name, *arguments, "--data-dir", "mine", "-o", "run", "--device", "cpu", "--format", "json"]
    code = run([*command, "training.epochs=2", "training.evaluate_every=9", "training.log_every=1"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    summary = json.loads(printed.out)
    assert {stage["steps"] for stage in summary.get("stages", [summary])} == {2}
    assert told in printed.err
    assert printed.err.count("2 steps in all") == len(parse_stages(*find_recipe(name)).stages)
    umask = os.umask(0)
    os.umask(umask)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~umask}


WAYS = {
    "caption": ("sat", "sat", photos, ["data.dataset=captioned-folder"]),
    "clips": ("sat-video", "sat-video", clips, ["data.dataset=captioned-folder", "data.min_count=1"]),
    "chat": ("hred", "hred", dialogues, ["data.dataset=dialogues"]),
    "text": ("shakespeare", "shakespeare", text, ["data.dataset=text-file"]),
    "pictures": ("grid-lstm-emoji", "grid-lstm-emoji", pictures, ["data.options.size=20", "data.options.tile="]),
    "qa": ("memn2n", "memn2n", stories, ["data.dataset=stories"]),
    "ntm": ("ntm-copy", "ntm-copy", nothing, ["data.options.count=2"]),
    "translate": ("nmt-de-en", "nmt-de-en", pairs, ["data.dataset=parallel", "data.options.tsv={split}.tsv"]),
    "transcribe": (
        "las-an4",
        "las-an4",
        recordings,
        ["data.dataset=audio-folder", "data.speeds=[1.0]", "data.language_model="],
    ),
}
LAST = {
    "sat": "reward",
    "sat-video": "reward",
    "hred": "cache",
    "shakespeare": "plays",
    "memn2n": "rectified",
    "las-an4": "speech",
}
"""The stage that goes on from it."""
"""By name: a recipe, a model of the zoo, what makes the data, overrides."""


@pytest.mark.parametrize("name", WAYS)
def test_a_model_of_the_zoo_is_where_training_begins(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDGEN_HOME", str(tmp_path / "home"))
    recipe, init, make, overrides = WAYS[name]
    make(tmp_path)
    stages = parse_stages(*find_recipe(recipe), [*overrides, f"init={init}"], first=LAST.get(recipe))
    stage = stages.find(LAST[recipe]) if recipe in LAST else stages.stages[0]
    experiment = build_experiment(stage.recipe, tmp_path, tmp_path / "run")
    begun, expected = experiment.objective.model.state_dict(), load(init, "cpu", backend="torch").model.state_dict()
    shared = begun.keys() & expected.keys()
    same = [key for key in shared if torch.equal(begun[key], expected[key])]
    assert len(shared) == len(begun)
    assert len(same) >= len(shared) - 2  # a vocabulary may have grown by words of the data


ALONE = ("las-an4", "--stage", "speech", "data.dataset=audio-folder", "init=las-an4", "data.language_model=")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["hred", "data.dataset=dialogues", "init=sat"], 2, "init: sat is a model for caption, not for chat"),
        ([*ALONE, "model.ctc=false"], 2, "objective.ctc: the model has no output for it"),
        ([*ALONE, "decoding.weights.words=1"], 2, "the model has no scorer 'words'"),
        (["memn2n", "data.dataset=stories", "init=memn2n"], 2, "init: memn2n doesn't know the answer 'zanzibar'"),
        (["poem", "data.dataset=text-file"], 2, "text-file has no poems in a form"),
        (["grid-lstm-emoji"], 2, ". has no sheet of pictures of 20 pixels"),
        (["ntm-copy", "model.hidden_size=1000000000000"], 1, "there is not enough memory"),
    ],
)
def test_what_does_not_go_together_is_told_in_one_line(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CONDGEN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for make in (text, pictures, dialogues, recordings):
        make(tmp_path)
    for split in ("train", "dev"):
        (tmp_path / f"{split}.txt").write_text("1 Mary went to Zanzibar.\n2 Where is Mary?\tZanzibar\t1\n")
    assert run(["train", *arguments, "--data-dir", ".", "-o", "run", "--device", "cpu"]) == code
    printed = capsys.readouterr()
    assert f"error: {'recipe: ' if message.startswith(('init', 'objective')) else ''}{message}" in printed.err
    assert not Path("run").exists()
