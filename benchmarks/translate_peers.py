"""Training and translation beside OpenNMT-py and JoeyNMT: ``python benchmarks/translate_peers.py``.

All three train the same network on the same sentences of Multi30k (``--data-dir``), cut into pieces by one vocabulary: a
bidirectional GRU, a GRU with attention after the step and input feeding, one matrix for embeddings and output, batches of 64
sentences, Adam, dropout 0.3, label smoothing 0.1. ``--peers`` is the interpreter of an environment with ``OpenNMT-py==3.0.4``,
``joeynmt==2.3.0`` and ``importlib_metadata``. Every system runs in a process of its own with one thread. Counted are CPU
seconds

* of training, from the end of the first step to the end of the last, and the target tokens between, ends included;
* of translation with the loaded model, after a first run over 64 sentences, and the target tokens written, ends left out.

A system's own training first gives it a model that ends its sentences (``--train-steps``); it is kept in ``--work``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

from common import cpu_seconds

SYSTEMS = ("condgen", "opennmt", "joeynmt")
SIZE, BATCH, BEAM, LENGTH = 256, 64, 5, 60
DROPOUT, SMOOTHING, RATE, CLIP = 0.3, 0.1, 0.001, 2.0
VOCABULARY = 5000
ATTENTION = {"bilinear": ("general", "luong"), "additive": ("mlp", "bahdanau")}
"""Match functions, and what OpenNMT-py and JoeyNMT call them."""


class Search(NamedTuple):
    """Of a translation: tokens of the shortest and the longest output, and the length penalty."""

    shortest: int
    longest: int
    penalty: float


# Training


def train_condgen(folder: Path, run: Path, match: str, steps: int) -> None:
    from condgen_cli.training import build_experiment, parse_recipe, train
    from condgen_cli.training.batches import batches_of_like_length
    from condgen_translate.training import TranslateExperiment

    recipe = f"""
        name = "speed"
        task = "translate"
        [model]
        architecture = "translate"
        cell = "gru"
        embedding_size = {SIZE}
        hidden_size = {SIZE}
        match = "{match}"
        match_size = {SIZE}
        attend = "after"
        input_feeding = true
        share_embeddings = true
        dropout = {DROPOUT}
        [data]
        dataset = "parallel"
        options = {{source = "raw.{{split}}.src", target = "raw.{{split}}.trg"}}
        vocabulary_size = {VOCABULARY}
        max_length = 200
        [objective]
        label_smoothing = {SMOOTHING}
        [decoding]
        max_length = {LENGTH}
        [training]
        epochs = 1
        batch_size = {BATCH}
        lr = {RATE}
        clip = {CLIP}
        schedule = "constant"
        metric = "bleu"
    """
    parsed = parse_recipe("\n".join(line.strip() for line in recipe.splitlines()), "speed.toml", ())
    experiment = build_experiment(parsed, folder, run)
    assert isinstance(experiment, TranslateExperiment)
    experiment.sizes = experiment.sizes[: BATCH * steps]
    # a part to sort is to hold as many batches as it would of all the data, and as OpenNMT-py is given
    with patch("condgen_translate.training.batches_of_like_length", partial(batches_of_like_length, parts=1)):
        train(parsed, experiment, run, force=True, device="cpu")


def train_opennmt(folder: Path, run: Path, match: str, steps: int) -> None:
    from onmt.bin.train import main

    files = {
        "corpus": {"path_src": f"{folder}/{steps}.src", "path_tgt": f"{folder}/{steps}.trg"},
        "valid": {"path_src": f"{folder}/dev.src", "path_tgt": f"{folder}/dev.trg"},
    }
    options = {
        "src_vocab": folder / "vocabulary.txt",
        "tgt_vocab": folder / "vocabulary.txt",
        "save_data": run,
        "save_model": run / "model",
        "save_checkpoint_steps": steps,
        "train_steps": steps,
        "valid_steps": 10 * steps,
        "num_workers": 0,
        "bucket_size": BATCH * steps,
        "batch_size": BATCH,
        "batch_type": "sents",
        "normalization": "tokens",
        "encoder_type": "brnn",
        "decoder_type": "rnn",
        "rnn_type": "GRU",
        "layers": 1,
        "hidden_size": SIZE,
        "word_vec_size": SIZE,
        "global_attention": ATTENTION[match][0],
        "dropout": DROPOUT,
        "label_smoothing": SMOOTHING,
        "optim": "adam",
        "learning_rate": RATE,
        "max_grad_norm": CLIP,
    }
    switches = ["share_vocab", "share_embeddings", "share_decoder_embeddings", "overwrite"]
    flags = [f"--{name}={value}" for name, value in options.items()] + [f"--{name}" for name in switches]
    sys.argv = ["onmt_train", *flags, f"--data={json.dumps(files)}"]
    main()


def joey_config(folder: Path, run: Path, match: str, steps: int) -> dict[str, Any]:
    side = {"level": "word", "voc_file": str(folder / "vocabulary.txt")}
    files = {"train": str(folder / str(steps)), "dev": str(folder / "dev")}
    embeddings = {"embedding_dim": SIZE, "scale": True, "dropout": DROPOUT}
    layers = {"type": "recurrent", "rnn_type": "gru", "hidden_size": SIZE, "num_layers": 1, "embeddings": embeddings}
    decoder = {"dropout": 0.0, "hidden_dropout": DROPOUT, "input_feeding": True, "attention": ATTENTION[match][1]}
    return {
        "name": "speed",
        "model_dir": str(run),
        "use_cuda": False,
        "data": {**files, "dataset_type": "plain", "src": side | {"lang": "src"}, "trg": side | {"lang": "trg"}},
        "model": {
            "initializer": "xavier_uniform",
            "tied_embeddings": True,
            "tied_softmax": True,
            "encoder": layers | {"bidirectional": True, "dropout": DROPOUT},
            "decoder": layers | decoder | {"init_hidden": "bridge"},
        },
        "training": {
            "optimizer": "adam",
            "learning_rate": RATE,
            "scheduling": "exponential",
            "decrease_factor": 1.0,
            "clip_grad_norm": CLIP,
            "label_smoothing": SMOOTHING,
            "normalization": "tokens",
            "batch_size": BATCH,
            "batch_type": "sentence",
            "epochs": 1,
            "validation_freq": steps,
            "logging_freq": steps,
            "overwrite": True,
        },
        "testing": {"batch_size": BATCH, "batch_type": "sentence", "max_output_length": LENGTH},
    }


def train_joeynmt(folder: Path, run: Path, match: str, steps: int) -> None:
    from joeynmt.helpers import make_model_dir
    from joeynmt.training import train

    make_model_dir(run, overwrite=True)
    train(0, 1, joey_config(folder, run, match, steps), skip_test=True)


# Translation: a function that translates a list of lines and gives the number of tokens written


def translate_condgen(folder: Path, run: Path, match: str, search: Search) -> Callable[[list[str]], int]:
    from condgen_cli import load
    from condgen_cli.model import Item
    from condgen_cli.running.decoding import Decoding
    from condgen_cli.running.runner import Request

    runner = load(run)
    decoding = Decoding(beam=BEAM, min_length=search.shortest, max_length=search.longest, length_penalty=search.penalty)

    def translate(lines: list[str]) -> int:
        items = [Item(str(number), line) for number, line in enumerate(lines)]
        results = [result.generations[0] for result in runner.stream(items, Request(decoding, BATCH, conditions=False))]
        return sum(len([token for token in generation.tokens if token != "<eos>"]) for generation in results)

    return translate


def translate_opennmt(folder: Path, run: Path, match: str, search: Search) -> Callable[[list[str]], int]:
    import onmt.opts
    from onmt.constants import CorpusTask
    from onmt.inputters.dynamic_iterator import build_dynamic_dataset_iter
    from onmt.inputters.inputter import IterOnDevice
    from onmt.transforms import TransformPipe, get_transforms_cls
    from onmt.translate.translator import build_translator
    from onmt.utils.parse import ArgumentParser

    parser = ArgumentParser()
    onmt.opts.config_opts(parser)
    onmt.opts.translate_opts(parser, dynamic=True)
    (model,) = run.glob("model_step_*.pt")
    source = run / "source.txt"
    flags = [f"--model={model}", f"--src={source}", f"--output={run / 'output.txt'}", f"--beam_size={BEAM}"]
    flags += [f"--min_length={search.shortest}", f"--max_length={search.longest}", f"--batch_size={BATCH}", "--ban_unk_token"]
    flags += ["--length_penalty=avg", f"--alpha={search.penalty}"] if search.penalty else ["--length_penalty=none"]
    options = parser.parse_args(flags)
    ArgumentParser.validate_translate_opts(options)
    ArgumentParser._get_all_transform_translate(options)
    ArgumentParser._validate_transforms_opts(options)
    ArgumentParser.validate_translate_opts_dynamic(options)
    translator = build_translator(options, report_score=False)
    transforms = get_transforms_cls(options._all_transform)

    def translate(lines: list[str]) -> int:
        source.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        batches = build_dynamic_dataset_iter(options, transforms, translator.vocabs, task=CorpusTask.INFER)
        used = [batches.transforms[name] for name in options.transforms if name in batches.transforms]
        _, found = translator._translate(IterOnDevice(batches, options.gpu), transform=TransformPipe.build_from(used))
        return sum(len(best[0].split()) for best in found)

    return translate


def translate_joeynmt(folder: Path, run: Path, match: str, search: Search) -> Callable[[list[str]], int]:
    from joeynmt.config import parse_global_args
    from joeynmt.prediction import predict, prepare

    config = joey_config(folder, run, match, 1)
    lengths = {"min_output_length": search.shortest, "max_output_length": search.longest}
    config["testing"] |= lengths | {"beam_size": BEAM, "beam_alpha": search.penalty or -1, "generate_unk": False}
    options = parse_global_args(config, rank=0, mode="translate")
    model, _, _, data = prepare(options, rank=0, mode="translate")

    def translate(lines: list[str]) -> int:
        data.reset_cache()
        for line in lines:
            data.set_item(line)
        found = predict(
            model, data, options.device, options.n_gpu, normalization="none", args=options.test, autocast=options.autocast
        )[3]
        return sum(len([token for token in tokens if token not in ("</s>", "<pad>")]) for tokens in found)

    return translate


TRAIN = {"condgen": train_condgen, "opennmt": train_opennmt, "joeynmt": train_joeynmt}
TRANSLATE = {"condgen": translate_condgen, "opennmt": translate_opennmt, "joeynmt": translate_joeynmt}


# Processes


def work(system: str, what: str, folder: Path, run: Path, match: str, steps: int, search: Search) -> None:
    """One system's part, in a process of its own; the last line it prints is JSON."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    torch.set_num_threads(1)
    torch.manual_seed(1)
    run.mkdir(parents=True, exist_ok=True)
    if what == "translate":
        file = folder / ("raw.test.src" if system == "condgen" else "test.src")
        lines = file.read_text(encoding="utf-8").splitlines()
        translate = TRANSLATE[system](folder, run, match, search)
        translate(lines[:BATCH])
        began = cpu_seconds()
        tokens = translate(lines)
        print(json.dumps({"tokens": tokens, "seconds": cpu_seconds() - began}))
        return
    times: list[float] = []

    def after_step(*_: object) -> None:
        times.append(cpu_seconds())
        if what == "time" and len(times) == steps:  # without what comes after training
            print(json.dumps({"steps": steps - 1, "seconds": times[-1] - times[0]}), flush=True)
            os._exit(0)

    register_optimizer_step_post_hook(after_step)
    TRAIN[system](folder, run, match, steps)
    print("{}")


def call(options: argparse.Namespace, system: str, what: str, steps: int, run: str) -> dict[str, float]:
    """A worker's last line."""
    arguments = ["--worker", system, what, run, "--work", str(options.work), "--match", options.match]
    arguments += ["--steps", str(steps), "--length-penalty", str(options.length_penalty)]
    arguments += ["--exact-length", str(options.exact_length)]
    python = sys.executable if system == "condgen" else options.peers
    environment = {"OMP_NUM_THREADS": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "CUDA_VISIBLE_DEVICES": ""}
    found = subprocess.run([python, __file__, *arguments], env=os.environ | environment, capture_output=True, text=True)
    if found.returncode:
        sys.exit(f"failed: {system} {what}\n{found.stderr[-3000:]}")
    parsed: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return parsed


def prepare(data_dir: Path, folder: Path, train_steps: int, steps: int, sentences: int) -> float:
    """Write texts, pieces and the vocabulary; returns the mean number of target tokens of the sentences that are timed."""
    from condgen_cli.data.subwords import SubwordVocabulary
    from condgen_translate.data import multi30k

    folder.mkdir(parents=True, exist_ok=True)
    train = [(item.condition, item.references[0]) for item in multi30k(data_dir, "train")][: BATCH * max(train_steps, steps)]
    dev = [(item.condition, item.references[0]) for item in multi30k(data_dir, "dev")]
    vocabulary = SubwordVocabulary.train([text for side in (0, 1) for text in [pair[side] for pair in train]], VOCABULARY)

    def write(name: str, texts: list[str]) -> None:
        (folder / name).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")

    def pieces(text: str) -> str:
        return " ".join(vocabulary.token(index) for index in vocabulary.encode(text))

    write("vocabulary.txt", list(vocabulary.tokens[4:]))
    # of like length, so that every system's batches hold the same sentences
    test = sorted(dev[-sentences:], key=lambda pair: len(vocabulary.encode(pair[0])))
    for name, pairs in {"train": train, "dev": dev[:BATCH], "test": test}.items():
        for side, suffix in enumerate(("src", "trg")):
            write(f"raw.{name}.{suffix}", [pair[side] for pair in pairs])
    for name, pairs in {str(train_steps): train, str(steps): train[: BATCH * steps], "dev": dev[:BATCH], "test": test}.items():
        for side, suffix in enumerate(("src", "trg")):
            write(f"{name}.{suffix}", [pieces(pair[side]) for pair in pairs])
    return sum(len(vocabulary.encode(pair[1])) + 1 for pair in train[: BATCH * steps]) / (BATCH * steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="the folder of Multi30k")
    parser.add_argument("--peers", help="the interpreter of the environment with OpenNMT-py and JoeyNMT")
    parser.add_argument("--work", type=Path, default=Path("translate_peers"), help="gets texts and models")
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=SYSTEMS)
    parser.add_argument("--match", default="bilinear", choices=sorted(ATTENTION))
    parser.add_argument("--length-penalty", type=float, default=0.0)
    parser.add_argument("--exact-length", type=int, default=0, help="of every output, for models hardly trained")
    parser.add_argument("--train-steps", type=int, default=400, help="of the models that translate")
    parser.add_argument("--steps", type=int, default=30, help="of training that are timed")
    parser.add_argument("--sentences", type=int, default=300, help="that are translated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("train", "translate"), help="time nothing else")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        system, what, run = options.worker
        search = Search(options.exact_length or 1, options.exact_length or LENGTH, options.length_penalty)
        work(system, what, options.work, options.work / run, options.match, options.steps, search)
        return
    if options.data_dir is None or options.peers is None:
        parser.error("--data-dir and --peers are needed")
    length = prepare(options.data_dir, options.work, options.train_steps, options.steps, options.sentences)
    measures: dict[str, Callable[[str], tuple[float, float]]] = {}

    def training(system: str) -> tuple[float, float]:
        found = call(options, system, "time", options.steps, f"{system}-timed")
        return length * BATCH * found["steps"], found["seconds"]

    def translation(system: str) -> tuple[float, float]:
        found = call(options, system, "translate", 1, run_of(system))
        return found["tokens"], found["seconds"]

    def run_of(system: str) -> str:
        return f"{system}-{options.match}-{options.train_steps}"

    if options.only != "translate":
        measures["training"] = training
    if options.only != "train":
        measures["translation"] = translation
        for system in options.systems:
            if not (options.work / run_of(system) / "done").exists():
                call(options, system, "train", options.train_steps, run_of(system))
                (options.work / run_of(system) / "done").touch()
    for name, measure in measures.items():
        found: dict[str, list[tuple[float, float]]] = {system: [] for system in options.systems}
        for _ in range(options.rounds):
            for system in options.systems:  # taking turns, so that a slow minute harms all alike
                found[system].append(measure(system))
        print(f"{name}: target tokens, CPU seconds, tokens per CPU second")
        for system, pairs in found.items():
            tokens, seconds = pairs[0][0], median(pair[1] for pair in pairs)
            print(f"  {system:8} {tokens:8.0f} {seconds:7.2f} {tokens / seconds:7.0f}")


if __name__ == "__main__":
    main()
