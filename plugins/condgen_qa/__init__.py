"""Question answering: what the plugin registers. The work is in the modules that the specs name."""

from __future__ import annotations

from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import Archive, ComparisonSpec, DatasetSpec, MetricSpec, ModelSpec, Option, RecipeSpec, TaskSpec

CONDGEN_API = "2"


@hookimpl
def condgen_register_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="qa",
            help="Answer questions about a story, and show which sentences each hop looked at.",
            reader="condgen_qa.task:read",
            metrics=("accuracy", "error", "fact_recall", "fact_recall_1", "fact_recall_2", "fact_recall_3"),
            details=("answers",),
            text="condgen_qa.task:text",
            inputs="condgen_qa.cli:qa",
            model="memn2n",
            options=("attention",),
        )
    ]


@hookimpl
def condgen_register_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="qa",
            task="qa",
            build="condgen_qa.model:build",
            experiment="condgen_qa.training:QaExperiment",
            help="End-to-end memory network: hops of attention over a story's sentences.",
        )
    ]


@hookimpl
def condgen_register_datasets() -> list[DatasetSpec]:
    return [
        DatasetSpec(
            name="babi",
            task="qa",
            help="20 tasks of reasoning over short stories (bAbI v1.2): 900/100/1,000 questions each, or 9,000/1,000/1,000.",
            open="condgen_qa.data:babi",
            options={
                "task": Option("Tasks between commas, such as 1,2,4-20.  [default: all]"),
                "size": Option("Training questions of a task.", "1k", ("1k", "10k")),
            },
            licence="CC BY 3.0",
            homepage="https://research.facebook.com/downloads/babi/",
            archives=(
                Archive(
                    "tasks_1-20_v1-2.tar.gz",
                    (
                        "http://www.thespermwhale.com/jaseweston/babi/tasks_1-20_v1-2.tar.gz",
                        "https://s3.amazonaws.com/text-datasets/babi_tasks_1-20_v1-2.tar.gz",
                    ),
                ),
            ),
            passing={"error": 5.0},
        ),
        DatasetSpec(
            name="stories",
            task="qa",
            help="Your own stories with questions, in bAbI's format.",
            open="condgen_qa.data:stories",
            options={"file": Option("In the folder; {split} in it stands for the split.", "{split}.txt")},
            licence="yours",
        ),
    ]


@hookimpl
def condgen_register_metrics() -> list[MetricSpec]:
    keys = ("fact_recall", "fact_recall_1", "fact_recall_2", "fact_recall_3")
    help = "supporting facts among the most attended sentences, percent: of all hops, of each"
    return [MetricSpec(keys, "condgen_qa.metrics:FactRecall", help, text=False)]


@hookimpl
def condgen_register_recipes() -> list[RecipeSpec]:
    names = ("memn2n", "memn2n-1k", "memn2n-task", "memn2n-task-10k")
    return [RecipeSpec(name, "qa", "condgen_qa.recipes", f"{name}.toml") for name in names]


@hookimpl
def condgen_register_comparisons() -> list[ComparisonSpec]:
    help = "Hops, tying, encodings, linear start: what each brings."
    return [ComparisonSpec("qa-choices", "qa", "condgen_qa.comparisons", "choices.toml", help)]
