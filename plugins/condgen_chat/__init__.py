"""Dialogue: what the plugin registers. The work is in the modules that the specs name."""

from __future__ import annotations

from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import ComparisonSpec, DatasetSpec, MetricSpec, ModelSpec, Option, RecipeSpec, TaskSpec

CONDGEN_API = "2"

_METRICS = ("perplexity", "distinct1", "distinct2", "reply_length", "common_replies")
_PROBE = ("greets_again", "recalls_first", "follows_topic")


@hookimpl
def condgen_register_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="chat",
            help="Talk with a model, and show which turns a reply looks back at.",
            reader="condgen_chat.task:read",
            metrics=_METRICS,
            inputs="condgen_chat.cli:chat",
            model="hred",
            options=("search", "scorers", "sampling", "force", "attention"),
        )
    ]


@hookimpl
def condgen_register_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="chat",
            task="chat",
            build="condgen_chat.model:build",
            experiment="condgen_chat.training:ChatExperiment",
            help="Hierarchical recurrent encoder-decoder, or one that reads the last turn or turns as a text.",
            own_data=(("data.limit",),),
        )
    ]


@hookimpl
def condgen_register_datasets() -> list[DatasetSpec]:
    options = {
        "replies": Option("The most items of a dialogue; 0: all.", "10"),
        "filter": Option("End dialogues before a word of the list against abuse.", "yes", ("yes", "no")),
    }
    return [
        DatasetSpec(
            name="self-dialogue",
            task="chat",
            help="24,000 chats about films, music and sport, both sides by one writer (Self-dialogue Corpus).",
            open="condgen_chat.data:self_dialogue",
            options=options,
            licence="BSD-3-Clause",
            homepage="https://github.com/jfainberg/self_dialogue_corpus",
        ),
        DatasetSpec(
            name="chitchat",
            task="chat",
            help="7,000 chats between students (BYU chit-chat dataset).",
            open="condgen_chat.data:chitchat",
            options=options,
            licence="MIT",
            homepage="https://github.com/BYU-PCCL/chitchat-dataset",
        ),
        DatasetSpec(
            name="dialogues",
            task="chat",
            help="Your own dialogues, one in each line as JSON.",
            open="condgen_chat.data:dialogues",
            options={"file": Option("In the folder; {split} in it stands for the split.", "{split}.jsonl"), **options},
            licence="yours",
        ),
        DatasetSpec(
            name="context-probe",
            task="chat",
            help="200 dialogues that only a model with a memory answers well: greetings, the first turn, a new topic.",
            open="condgen_chat.probe:context_probe",
            splits=("test",),
            licence="Apache-2.0",
            generated=True,
            metrics=_PROBE,
        ),
    ]


@hookimpl
def condgen_register_metrics() -> list[MetricSpec]:
    blandness = "condgen_chat.metrics:Blandness"
    help = "n-grams of the replies that are different ones, percent; words of a reply; share of the ten commonest, percent"
    probe = "replies that greet once more, name what was said first, turn to the new topic, percent"
    return [
        MetricSpec(_METRICS[1:], blandness, help, text=False),
        MetricSpec(_PROBE, "condgen_chat.metrics:ContextProbe", probe, text=False),
    ]


@hookimpl
def condgen_register_recipes() -> list[RecipeSpec]:
    names = ("hred", "seq2seq-chat", "seq2seq-chat-3")
    return [RecipeSpec(name, "chat", "condgen_chat.recipes", f"{name}.toml") for name in names]


@hookimpl
def condgen_register_comparisons() -> list[ComparisonSpec]:
    help = "A dialogue's turns one by one, the last turn alone, the last three joined."
    return [ComparisonSpec("chat-context", "chat", "condgen_chat.comparisons", "context.toml", help)]
