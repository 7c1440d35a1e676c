"""Translation: what the plugin registers. The work is in the modules that the specs name."""

from __future__ import annotations

from collections.abc import Mapping

from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import Archive, ComparisonSpec, DatasetSpec, ModelSpec, Option, RecipeSpec, TaskSpec

CONDGEN_API = "2"

_MULTI30K = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw"
_MULTI30K_FILES = {
    "train.de": (637044, "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6"),
    "train.en": (568929, "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f"),
    "train.fr": (604242, "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c"),
    "val.de": (24681, "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a"),
    "val.en": (21650, "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28"),
    "val.fr": (23001, "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9"),
    "test_2016_flickr.de": (22890, "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8"),
    "test_2016_flickr.en": (21077, "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9"),
    "test_2016_flickr.fr": (22310, "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90"),
}
"""Size and SHA-256 of the files as published."""


def _target_language(options: Mapping[str, str]) -> str:
    """The target language of a data set of Chinese and English."""
    return "en" if options["source"] == "zh" else "zh"


@hookimpl
def condgen_register_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="translate",
            help="Translate texts or the lines of a file, and show which words each word comes from.",
            reader="condgen_translate.task:read",
            metrics=("bleu", "chrf"),
            kinds=("text",),
            model="nmt-zh-en",
            options=("search", "sampling", "force", "attention"),
        )
    ]


@hookimpl
def condgen_register_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="translate",
            task="translate",
            build="condgen_translate.model:build",
            experiment="condgen_translate.training:TranslateExperiment",
            help="Recurrent encoder and decoder, joined by a fixed vector (at the start or at each step) or by attention.",
            own_data=(("data.weight",),),
            graphs="condgen_translate.sentences:build_graphs",
        )
    ]


@hookimpl
def condgen_register_datasets() -> list[DatasetSpec]:
    length = Option("Report scores by source length.", choices=("length",), scores=False)
    return [
        DatasetSpec(
            name="multi30k",
            task="translate",
            help="Descriptions of photos in German, English and French (task 1): 29,000/1,014/1,000.",
            open="condgen_translate.data:multi30k",
            options={
                "source": Option("Language to translate from.", "de", ("de", "en", "fr")),
                "target": Option("Language to translate to.", "en", ("de", "en", "fr")),
                "group": length,
            },
            language=lambda options: options["target"],
            licence="none stated; the English descriptions are Flickr30k's",
            homepage="https://github.com/multi30k/dataset",
            archives=tuple(
                Archive(f"{name}.gz", (f"{_MULTI30K}/{name}.gz",), sha256=sha256, size=size)
                for name, (size, sha256) in _MULTI30K_FILES.items()
            ),
        ),
        DatasetSpec(
            name="tatoeba-cmn",
            task="translate",
            help="Chinese and English sentences of Tatoeba, about 30,000 pairs.",
            open="condgen_translate.data:tatoeba_cmn",
            options={
                "source": Option("Language to translate from; the other is the target.", "zh", ("zh", "en")),
                "group": length,
            },
            language=_target_language,
            licence="CC BY 2.0 FR",
            homepage="https://www.manythings.org/anki/",
        ),
        DatasetSpec(
            name="zh-en",
            task="translate",
            help="Chinese and English sentences of one of several files in a folder: NAME.{train,dev,test}.tsv.",
            open="condgen_translate.data:zh_en",
            options={
                "name": Option("Beginning of the file's name."),
                "source": Option("Language to translate from; the other is the target.", "zh", ("zh", "en")),
                "group": length,
            },
            language=_target_language,
            licence="as each file's publisher states",
        ),
        DatasetSpec(
            name="parallel",
            task="translate",
            help="Your own sentence pairs: two text files, or one with columns.",
            open="condgen_translate.data:parallel",
            options={
                "source": Option("File with one sentence per line; {split} stands for the split."),
                "target": Option("File with their translations, line by line."),
                "tsv": Option("Tab-separated file with both, instead of the two."),
                "columns": Option("Columns of source and target in the tsv file.", "1,2"),
                "language": Option("Language of the translations, such as zh, by which BLEU is tokenised."),
                "group": length,
            },
            language=lambda options: options.get("language", ""),
            licence="yours",
        ),
    ]


@hookimpl
def condgen_register_recipes() -> list[RecipeSpec]:
    names = ("nmt-de-en", "nmt-de-en-context", "nmt-de-en-fixed", "nmt-zh-en", "nmt-zh-en-context", "nmt-zh-en-tatoeba")
    return [RecipeSpec(name, "translate", "condgen_translate.recipes", f"{name}.toml") for name in names]


@hookimpl
def condgen_register_comparisons() -> list[ComparisonSpec]:
    comparisons = {
        "match": "Match functions at equal budget.",
        "sharing": "One set of parameters for encoder and decoder, or two, by the number of training pairs.",
        "length": "The three kinds of decoder, by source length.",
    }
    return [
        ComparisonSpec(f"translate-{name}", "translate", "condgen_translate.comparisons", f"{name}.toml", help)
        for name, help in comparisons.items()
    ]
