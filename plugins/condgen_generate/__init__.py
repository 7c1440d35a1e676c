"""Generation: what the plugin registers. The work is in the modules that the specs name."""

from __future__ import annotations

from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import (
    Archive,
    ComparisonSpec,
    DatasetSpec,
    InspectorSpec,
    MetricSpec,
    ModelSpec,
    Option,
    RecipeSpec,
    TaskSpec,
)

CONDGEN_API = "2"


@hookimpl
def condgen_register_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(
            name="generate",
            help="Write texts, poems and pictures, step by step, and show how they come about.",
            reader="condgen_generate.task:read",
            metrics=("nats_per_char", "bits_per_char", "perplexity"),
            details=("steps", "rows", "palette", "given"),
            files={
                ".png": "condgen_generate.pictures:sheet",
                ".gif": "condgen_generate.pictures:film",
                ".html": "condgen_generate.pictures:page",
            },
            text="condgen_generate.task:text",
            steps="condgen_generate.task:steps_text",
            inputs="condgen_generate.cli:generate",
            model="poem",
            options=("temperature", "top_k", "top_p", "no_repeat_ngram", "seed", "show_attention"),
            option_help={
                "show_attention": "There is no attention: print each step's probability, surprise and likeliest tokens, or the"
                " stages of a picture."
            },
        )
    ]


@hookimpl
def condgen_register_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="text-lm",
            task="generate",
            build="condgen_generate.text_model:build",
            experiment="condgen_generate.text_training:TextExperiment",
            help="Character LSTM: continues a text, or writes poems in a form.",
            own_data=(("data.text", "data.text_parts"), ("data.with_dev",)),
            graphs="condgen_generate.texts:build_graphs",
        ),
        ModelSpec(
            name="image",
            task="generate",
            build="condgen_generate.image_model:build",
            experiment="condgen_generate.image_training:ImageExperiment",
            help="Autoregressive model of pixels: an LSTM in raster order, or a 3-D grid LSTM.",
            own_data=(("model.height",), ("model.width",), ("model.palette",)),
        ),
    ]


@hookimpl
def condgen_register_datasets() -> list[DatasetSpec]:
    return [
        DatasetSpec(
            name="tinyshakespeare",
            task="generate",
            help="1.1 million characters of Shakespeare, split 80/10/10 % in order; segments of 1,000 after prompts of 1,000.",
            open="condgen_generate.text_data:tinyshakespeare",
            licence="public domain",
            homepage="https://github.com/karpathy/char-rnn",
            archives=(
                Archive(
                    "input.txt",
                    ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
                    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                    size=1115394,
                ),
            ),
            metrics=("nats_per_char", "bits_per_char", "perplexity"),
        ),
        DatasetSpec(
            name="chinese-poetry",
            task="generate",
            help="Tang poems of 4 or 8 lines of 5 or 7 characters, without duplicates: about 31,000/1,800/3,600.",
            open="condgen_generate.text_data:chinese_poetry",
            language="zh",
            licence="MIT (the collection)",
            homepage="https://github.com/chinese-poetry/chinese-poetry",
            metrics=("bits_per_char", "nats_per_char", "perplexity"),
        ),
        DatasetSpec(
            name="binarized-mnist",
            task="generate",
            help="Handwritten digits, 28x28, each pixel sampled once as black or white: 50,000/10,000/10,000.",
            open="condgen_generate.image_data:binarized_mnist",
            licence="CC BY-SA 3.0",
            homepage="https://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",
            metrics=("nll_nats", "bits_per_dim"),
        ),
        DatasetSpec(
            name="mnist",
            task="generate",
            help="Handwritten digits in levels of grey, from the publisher's idx files: 50,000/10,000/10,000.",
            open="condgen_generate.image_data:grey_mnist",
            options={"levels": Option("Levels of grey, 2 to 256.", "4")},
            licence="CC BY-SA 3.0",
            homepage="http://yann.lecun.com/exdb/mnist/",
            metrics=("bits_per_dim", "nll_nats"),
        ),
        DatasetSpec(
            name="pictures",
            task="generate",
            help="Your own small pictures, quantised to a common palette: 80/10/10 % by name.",
            open="condgen_generate.image_data:pictures",
            options={
                "size": Option("Side of the pictures, in pixels.", "20"),
                "colors": Option("Colours of the palette.", "16"),
                "tile": Option("Side of the pictures on a sheet with one pixel of margin around each.  [default: no sheets]"),
            },
            licence="yours",
            metrics=("bits_per_dim", "nll_nats"),
        ),
        DatasetSpec(
            name="text-file",
            task="generate",
            help="Your own text in UTF-8, split like tinyshakespeare.",
            open="condgen_generate.text_data:text_file",
            options={"file": Option("File in the folder, or a pattern such as *.txt for several, in order.", "input.txt")},
            licence="yours",
            metrics=("nats_per_char", "bits_per_char", "perplexity"),
        ),
    ]


@hookimpl
def condgen_register_metrics() -> list[MetricSpec]:
    metrics = {
        "form": "poems exactly in a regular form, percent",
        "rhyme": "poems whose even lines rhyme in modern Mandarin, percent of those in a form",
    }
    return [MetricSpec((key,), f"condgen_generate.metrics:{key.title()}", help) for key, help in metrics.items()]


@hookimpl
def condgen_register_inspectors() -> list[InspectorSpec]:
    help = "How much each earlier pixel influences the next one."
    return [InspectorSpec("influence", "image", "condgen_generate.influence:influence", help)]


@hookimpl
def condgen_register_comparisons() -> list[ComparisonSpec]:
    help = "Raster LSTM against grid LSTM, by number of parameters."
    return [ComparisonSpec("generate-size", "generate", "condgen_generate.comparisons", "size.toml", help)]


@hookimpl
def condgen_register_recipes() -> list[RecipeSpec]:
    names = ("poem", "shakespeare", "grid-lstm", "grid-lstm-emoji", "pixel-lstm")
    return [RecipeSpec(name, "generate", "condgen_generate.recipes", f"{name}.toml") for name in names]
