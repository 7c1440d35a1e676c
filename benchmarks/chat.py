"""CPU seconds of a reply after 1, 10 and 100 turns: ``python benchmarks/chat.py``.

The sizes are those of the recipe ``hred``; words are made up and weights random, on which time doesn't depend: each reply has
20 tokens, each turn about 12. A reply in a conversation, which reads the new turn and the one before, is set beside one for
which all turns are read anew, and beside one of the model that reads the last turn alone.
"""

from __future__ import annotations

import argparse
import random

import torch
from common import cpu_seconds, medians

from condgen_chat.config import ChatConfig
from condgen_chat.conversation import Conversation
from condgen_chat.model import ChatModel
from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.running.decoding import Decoding
from condgen_cli.running.runner import Bundle, Runner

HISTORIES = (1, 10, 100)
DECODING = Decoding("greedy", min_length=20, max_length=20, no_repeat_ngram=3)
MODELS = {
    "hred": ChatConfig(attention="words", max_tokens=32, cache=500),
    "seq2seq-chat": ChatConfig(encoder="last-turn", encoder_size=160, max_tokens=32),
}


def turns(count: int) -> list[str]:
    """Turns of 12 words."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 6))) for _ in range(3000)]
    return [" ".join(draw.choices(words, k=12)) for _ in range(count)]


def after(runner: Runner, count: int, anew: bool) -> float:
    """CPU seconds of the reply to the last of so many turns."""
    conversation = Conversation(runner, DECODING)
    said = turns(count)
    if count > 2 and not anew:
        conversation.turns = said[: count - 2]
        conversation.reply(said[count - 2])
    else:
        conversation.turns = said[:-1]
    started = cpu_seconds()
    conversation.reply(said[-1])
    return cpu_seconds() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    vocabulary = SubwordVocabulary.train(turns(2000), 6000)
    runners = {
        name: Runner(ChatModel(config, vocabulary).eval(), Bundle(name, "chat", "chat", {}, {}, {}), torch.device("cpu"))
        for name, config in MODELS.items()
    }
    cases = [("hred", False), ("hred", True), ("seq2seq-chat", True)]
    runs = {
        f"{name} {anew} {count}": (lambda name=name, anew=anew, count=count: after(runners[name], count, anew))
        for name, anew in cases
        for count in HISTORIES
    }
    for run in runs.values():
        run()
    found = medians(runs, options.rounds)
    print(f"{'CPU ms a reply after':<40}" + "".join(f"{count:>8}" for count in HISTORIES) + "  turns")
    for name, anew in cases:
        label = f"{name}, {'all it reads read anew' if anew else 'in a conversation'}"
        print(f"{label:<40}" + "".join(f"{1000 * found[f'{name} {anew} {count}']:8.1f}" for count in HISTORIES))


if __name__ == "__main__":
    main()
