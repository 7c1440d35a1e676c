"""Characters per CPU second of the text models, in training and sampling: ``python benchmarks/generate.py``.

The sizes are those of the recipes ``shakespeare`` and ``poem``; texts are made up, time doesn't depend on what they say.
Sampling is incremental: each step reads one character. Beside it stands a loop that reads all that is written at every step.
"""

from __future__ import annotations

import argparse
import random
import tomllib
from importlib.resources import files

import torch
from common import cpu_seconds, medians

from condgen_cli.item import Item
from condgen_cli.running.decoding import Decoding, decode
from condgen_cli.running.randomness import stream_key
from condgen_cli.training.batches import teacher_forcing
from condgen_generate.prompt import Prompt
from condgen_generate.text_model import TextConfig, TextModel
from condgen_generate.text_training import Objective, StreamBatch, VerseBatch
from condgen_generate.verse import FORMS
from condgen_generate.vocabulary import CharacterVocabulary

CLIP = 1.0
LETTERS = 65
"""Characters of tiny-shakespeare."""
IDEOGRAPHS = 5614
"""Characters that come twice in the poems that are trained on."""
WRITTEN = 200
"""Characters of a sample of a stream."""


class Case:
    """A recipe's model, and a batch as it is trained with."""

    def __init__(self, name: str) -> None:
        recipe = tomllib.loads((files("condgen_generate.recipes") / f"{name}.toml").read_text())
        options = {key: value for key, value in recipe["model"].items() if key != "architecture"}
        config = TextConfig(**options)
        draw = random.Random(0)
        self.verse = config.kind == "verse"
        first, count = (0x4E00, IDEOGRAPHS - 2) if self.verse else (0x20, LETTERS - 1)
        characters = [chr(first + number) for number in range(count)]
        controls = [form.name for form in FORMS] if self.verse else []
        vocabulary = CharacterVocabulary.build([*characters, "，。" if self.verse else "\n"], controls)
        self.model = TextModel(config, vocabulary)
        rows = recipe["training"]["batch_size"]
        self.objective = Objective(self.model, rows)
        if self.verse:
            poems = [vocabulary.encode("".join(draw.choices(characters, k=FORMS[number % 4].length))) for number in range(rows)]
            self.batch: StreamBatch | VerseBatch = VerseBatch(*teacher_forcing(poems, vocabulary.bos, vocabulary.eos, 0))
        else:
            tokens = torch.randint(vocabulary.first, len(vocabulary), (rows, recipe["data"]["steps"] + 1))
            self.batch = StreamBatch(tokens[:, :-1], tokens[:, 1:], torch.tensor(False))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), fused=True)
        self.prompt = Prompt(form=FORMS[3], exact=True) if self.verse else Prompt(length=WRITTEN, exact=True)
        self.written = FORMS[3].length if self.verse else WRITTEN

    def train(self, batches: int) -> float:
        """Characters per CPU second."""
        self.objective.train()
        started, done = cpu_seconds(), 0.0
        for _ in range(batches):
            loss, stats = self.objective(self.batch)
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
            self.optimizer.step()
            done += stats["tokens"]
        return done / (cpu_seconds() - started)

    def sample(self, rows: int) -> float:
        """Characters per CPU second, ``rows`` samples at once."""
        self.objective.eval()
        started = cpu_seconds()
        memory = self.model.encode(self.model.collate([Item("x", self.prompt)]))
        found = decode(self.model, memory, Decoding(method="sample", nbest=rows, max_length=1000), [stream_key(0, self.prompt)])
        assert len(found[0]) == rows
        return rows * self.written / (cpu_seconds() - started)

    @torch.inference_mode()
    def reread(self) -> float:
        """Characters per CPU second of one sample, all before it read again at every step."""
        self.objective.eval()
        started = cpu_seconds()
        read = [self.model.vocabulary.first]
        for _ in range(self.written):
            features, _ = self.model.network(torch.tensor([read]))
            read.append(int(torch.multinomial(self.model.network.logits(features[:, -1]).softmax(1), 1)))
        return self.written / (cpu_seconds() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name in ("shakespeare", "poem"):
        case = Case(name)
        weights = sum(parameter.numel() for parameter in case.model.parameters())
        print(f"{name}: {weights:,} parameters")
        actions = {
            "training": lambda case=case: case.train(options.batches),
            "one sample": lambda case=case: case.sample(1),
            "16 samples at once": lambda case=case: case.sample(16),
            "one sample, all read again at each step": case.reread,
        }
        for action in actions.values():
            action()  # what is slow the first time isn't measured
        for what, speed in medians(actions, options.rounds).items():
            print(f"  {what}: {speed:,.0f} characters per CPU second")


if __name__ == "__main__":
    main()
