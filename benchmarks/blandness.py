"""What decoding does to bland replies: ``python benchmarks/blandness.py --data-dir DATA -m hred seq2seq-chat``

The same dialogues are answered by greedy search, with n-grams blocked, with mutual information (Li et al. 2016) of several
weights, in a beam too, and by nucleus sampling (Holtzman et al. 2020). The metrics are those of ``condgen eval``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from condgen_chat.metrics import Blandness
from condgen_cli.data.store import open_dataset
from condgen_cli.running.decoding import Decoding
from condgen_cli.running.runner import Request, load

DECODINGS = {
    "greedy": {"method": "greedy"},
    "greedy, no 3-gram twice": {"method": "greedy", "no_repeat_ngram": 3},
    "greedy, mmi 0.3": {"method": "greedy", "no_repeat_ngram": 3, "weights": {"mmi": 0.3}},
    "greedy, mmi 0.6": {"method": "greedy", "no_repeat_ngram": 3, "weights": {"mmi": 0.6}},
    "beam of 5": {"beam": 5, "no_repeat_ngram": 3},
    "beam of 5, mmi 0.6": {"beam": 5, "no_repeat_ngram": 3, "weights": {"mmi": 0.6}},
    "sampled, temperature 0.6": {"method": "sample", "temperature": 0.6},
    "sampled, nucleus 0.9": {"method": "sample", "top_p": 0.9},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", nargs="+", default=["hred", "seq2seq-chat"])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--dataset", default="self-dialogue")
    parser.add_argument("--limit", type=int, default=1000, help="replies")
    options = parser.parse_args()
    items = list(open_dataset(options.dataset, "test", options.data_dir, {}))[: options.limit]
    metric = Blandness()
    print(f"{'':<14}{'':<26}" + "".join(f"{key:>16}" for key in metric.keys))
    for name in options.model:
        runner = load(name, "cpu", "torch")
        for label, settings in DECODINGS.items():
            results = runner.stream(items, Request(Decoding(**{"max_length": 40, **settings}), 64, conditions=False))
            replies = [result.generations[0] for result in results]
            scores = metric.score(metric.statistics(items, replies).sum(0), len(items))
            print(f"{name:<14}{label:<26}" + "".join(f"{float(scores[key]):16.2f}" for key in metric.keys), flush=True)


if __name__ == "__main__":
    main()
