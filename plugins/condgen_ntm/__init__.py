"""Neural Turing machines: what the plugin registers. The work is in the modules that the specs name."""

from __future__ import annotations

from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import ComparisonSpec, DatasetSpec, MetricSpec, ModelSpec, Option, RecipeSpec, TaskSpec

CONDGEN_API = "2"

TASKS = {
    "copy": "copying up to 20 vectors",
    "repeat-copy": "copying up to 10 vectors up to 10 times",
    "associative-recall": "recalling one of up to 6 items",
    "n-grams": "predicting bits by 6-grams",
    "priority-sort": "sorting 20 vectors",
}
"""Of the paper, with what each is."""

_COUNT = Option("Sequences of each size.", "100")


@hookimpl
def condgen_register_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="ntm",
            help="Copy, recall and sort bits through a memory, and show what is written and read where.",
            reader="condgen_ntm.task:read",
            metrics=("bit_errors", "bits_per_sequence", "optimal_bits_per_sequence"),
            details=("target", "errors", "probabilities"),
            text="condgen_ntm.task:text",
            inputs="condgen_ntm.cli:ntm",
            options=("seed", "attention"),
            option_help={"model": "A model of the zoo, or a training run's folder.  [default: ntm-TASK]"},
        )
    ]


@hookimpl
def condgen_register_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="ntm",
            task="ntm",
            build="condgen_ntm.model:build",
            experiment="condgen_ntm.training:NtmExperiment",
            help="Neural Turing machine: a controller with heads that read and write a memory; or an LSTM beside it.",
            own_data=(("data.sizes",),),
        )
    ]


@hookimpl
def condgen_register_datasets() -> list[DatasetSpec]:
    lengths = "Vectors of a sequence: numbers and ranges between commas, such as 1-20,40."
    items = "Items of a sequence: numbers and ranges between commas, such as 2-6,12."
    options = {
        "copy": ("A sequence is to be written again.", {"lengths": Option(lengths, "20,40,80,120")}),
        "repeat-copy": (
            "A sequence is to be written so many times, and an end marker; every length with every number of repeats.",
            {"lengths": Option(lengths, "10,20"), "repeats": Option("Repeats, in the same way.", "10,20")},
        ),
        "associative-recall": ("Of items the one after the one that is asked for.", {"items": Option(items, "6,12,15,20")}),
        "n-grams": ("The next bit, by a 6-gram table drawn for each sequence.", {"lengths": Option(lengths, "200")}),
        "priority-sort": ("The 16 of 20 vectors with the highest priorities, in their order.", {"items": Option(items, "20")}),
    }
    return [
        DatasetSpec(
            name=f"ntm-{name}",
            task="ntm",
            help=f"{help} Drawn at random, the same every time.",
            open=f"condgen_ntm.data:{name.replace('-', '_')}_set",
            splits=("dev", "test"),
            options={**own, "count": _COUNT},
            licence="none needed: drawn at random",
            generated=True,
        )
        for name, (help, own) in options.items()
    ]


@hookimpl
def condgen_register_metrics() -> list[MetricSpec]:
    keys = ("bit_errors", "bits_per_sequence", "optimal_bits_per_sequence")
    help = "wrong bits of a sequence; its cross-entropy in bits; that of the best possible estimator, where it is known"
    return [MetricSpec(keys, "condgen_ntm.metrics:BitErrors", help, text=False)]


@hookimpl
def condgen_register_recipes() -> list[RecipeSpec]:
    files = [f"{task}{suffix}" for task in TASKS for suffix in ("", "-lstm")]
    return [RecipeSpec(f"ntm-{file}", "ntm", "condgen_ntm.recipes", f"{file}.toml") for file in files]


@hookimpl
def condgen_register_comparisons() -> list[ComparisonSpec]:
    comparisons = {
        "addressing": "Full addressing against addressing by content alone.",
        "initial-memory": "A constant memory at first against a learned one.",
        **{f"controller-{task}": f"The machine, and an LSTM without its memory: {what}." for task, what in TASKS.items()},
    }
    return [
        ComparisonSpec(f"ntm-{name}", "ntm", "condgen_ntm.comparisons", f"{name}.toml", help)
        for name, help in comparisons.items()
    ]
