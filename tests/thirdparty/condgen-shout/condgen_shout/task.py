import numpy as np

from condgen_cli.generation import Generation
from condgen_cli.metrics import Metric
from condgen_cli.model import Item

WORDS = {"calm": ("hello", "goodbye"), "angry": ("enough",)}


def read(source):
    yield Item(id=source, condition=source, source=source)


def dataset(root, split, mood="calm"):
    for word in WORDS[mood]:
        yield Item(id=word, condition=word, references=(word.upper(),), source=word)


def how_loud(runner):
    return Generation(f"{runner.name} shouts")


class Loudness(Metric):
    keys = ("loudness",)
    signature = "case:mixed"

    def statistics(self, items, generations):
        return np.array([[sum(c.isupper() for c in g.output), len(g.output)] for g in generations], float)

    def score(self, totals, n):
        return {"loudness": 100 * totals[..., 0] / totals[..., 1]}
