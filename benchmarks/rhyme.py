"""Are a model's poems in form, and do they rhyme? ``python benchmarks/rhyme.py --data-dir DATA -m poem``

For each form: poems that the model writes after the form's name alone, with nothing that holds them to it; poems that are held
to it; the real poems of the test split; and these with their characters shuffled, for what is chance. Rhymes are heard by the
finals of today's Mandarin, in which many of the Tang poets' rhymes are none: see the metric ``rhyme``.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import torch

from condgen_cli.data.store import open_dataset
from condgen_cli.item import Item
from condgen_cli.running.decoding import Decoding, decode
from condgen_cli.running.runner import load
from condgen_generate.metrics import rhymes
from condgen_generate.prompt import Prompt
from condgen_generate.verse import FORMS, Form, form_of, lines_of, normalise

AT_ONCE = 100
LONGEST = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="poem")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--samples", type=int, default=500, help="poems of each form")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    model = load(options.model, "cpu", "torch").model
    real = [item.references[0] for item in open_dataset("chinese-poetry", "test", options.data_dir)]
    draw = random.Random(options.seed)
    kinds = {
        "as learnt": {form: write(model, form, False, options.samples, options.temperature) for form in FORMS},
        "held to the form": {form: write(model, form, True, options.samples, options.temperature) for form in FORMS},
        "real": {form: [poem for poem in real if form_of(poem) == form] for form in FORMS},
    }
    kinds["real, shuffled"] = {form: [shuffled(poem, draw) for poem in poems] for form, poems in kinds["real"].items()}
    print(f"{'':<18}{'form':>6}{'poems':>8}{'in form':>10}{'rhyme':>9}")
    for kind, by_form in kinds.items():
        exact = {form: [poem for poem in poems if form_of(poem) == form] for form, poems in by_form.items()}
        for form, poems in by_form.items():
            report(kind, form.name, poems, exact[form])
        report(
            kind, "all", [poem for poems in by_form.values() for poem in poems], [p for poems in exact.values() for p in poems]
        )


def write(model: object, form: Form, exact: bool, count: int, temperature: float) -> list[str]:
    """Poems of a model that is asked for a form, and held to it or not."""
    item = Item("x", Prompt(form=form, exact=exact, length=0 if exact else LONGEST))
    poems: list[str] = []
    while len(poems) < count:
        decoding = Decoding(
            method="sample", temperature=temperature, nbest=min(AT_ONCE, count - len(poems)), max_length=LONGEST
        )
        (found,) = decode(model, model.encode(model.collate([item])), decoding)
        poems += [model.write(one, item) for one in found]
    return poems


def shuffled(poem: str, draw: random.Random) -> str:
    """A poem's characters in another order, in the same form."""
    lines = lines_of(poem)
    characters = list("".join(lines))
    draw.shuffle(characters)
    size = len(lines[0])
    mixed = normalise("，".join("".join(characters[k : k + size]) for k in range(0, len(characters), size)))
    assert mixed is not None
    return mixed


def report(kind: str, form: str, poems: Sequence[str], exact: Sequence[str]) -> None:
    in_form = 100 * len(exact) / len(poems) if poems else float("nan")
    rhyming = 100 * sum(map(rhymes, exact)) / len(exact) if exact else float("nan")
    print(f"{kind:<18}{form:>6}{len(poems):>8}{in_form:>8.1f} %{rhyming:>7.1f} %")


if __name__ == "__main__":
    main()
