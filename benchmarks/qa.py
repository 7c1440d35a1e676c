"""Questions per CPU second of a memory network, in training and answering: ``python benchmarks/qa.py``.

The sizes are those of the recipe ``memn2n-1k``: three hops, position encoding, adjacent tying, batches of 32. Beside it
runs the network as one writes it down from the paper, a loop over hops and in it one over sentences, with the same weights;
its answers are checked to be the same. Stories are made up, as long as those of bAbI; time doesn't depend on what they say.
"""

from __future__ import annotations

import argparse
import random

import torch
import torch.nn.functional as F
from common import cpu_seconds, medians
from torch import Tensor, nn

from condgen_cli.model import Item
from condgen_qa.config import QaConfig
from condgen_qa.model import QaModel
from condgen_qa.objective import Objective
from condgen_qa.stories import Stories
from condgen_qa.text import Question
from condgen_qa.training import QuestionSet
from condgen_qa.vocabulary import StoryVocabulary

WORDS, ANSWERS, BATCH = 150, 60, 32
CLIP = 40.0


def questions(count: int) -> list[Item]:
    """Stories of 2 to 30 sentences of 4 to 8 words, as most of bAbI's are."""
    draw = random.Random(0)
    words = [f"w{number}" for number in range(WORDS)]

    def sentence() -> str:
        return " ".join(draw.choices(words, k=draw.randint(4, 8)))

    pool = [sentence() for _ in range(2000)]
    made = []
    for number in range(count):
        story = tuple(draw.choices(pool, k=draw.randint(2, 30)))
        made.append(Item(str(number), Question(story, sentence()), references=(words[draw.randrange(ANSWERS)],), group="all"))
    return made


class Plain(nn.Module):
    """The same network, sentence by sentence.

    Args:
        model: whose weights it takes.
    """

    def __init__(self, model: QaModel) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding.from_pretrained(e, freeze=False) for e in model.embeddings[0].unbind(1))
        self.times = nn.ModuleList(nn.Embedding.from_pretrained(t, freeze=False) for t in model.times[0].unbind(1))
        self.answers = model.answer_ids
        self.hops = model.config.hops

    def encode(self, words: Tensor, embedding: nn.Module) -> Tensor:
        """Texts (batch, longest), padded with -1, as vectors (batch, size): eq. of section 4.1."""
        known = (words >= 0).float()
        vectors = embedding(words.clamp(min=0))
        size = vectors.shape[2]
        place = torch.arange(1, words.shape[1] + 1) / known.sum(1, keepdim=True).clamp(min=1)
        unit = torch.arange(1, size + 1) / size
        weights = 2 * ((1 - place)[:, :, None] - unit * (1 - 2 * place)[:, :, None])
        return (vectors * weights * known[:, :, None]).sum(1)

    def forward(self, batch: Stories) -> Tensor:
        state = self.encode(batch.words[batch.questions], self.embeddings[0])
        texts = batch.words[batch.stories]
        for hop in range(self.hops):
            scores, outputs = [], []
            for place in range(texts.shape[1]):
                given, taken = (
                    self.encode(texts[:, place], self.embeddings[which]) + self.times[which](batch.times[:, place])
                    for which in (hop, hop + 1)
                )
                scores.append((state * given).sum(1).masked_fill(batch.lengths <= place, -torch.inf))
                outputs.append(taken)
            weights = torch.stack(scores, 1).softmax(1)
            state = state + sum(weights[:, [place]] * output for place, output in enumerate(outputs))
        return state @ self.embeddings[-1].weight[self.answers].T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    items = questions(options.batches * BATCH)
    words = sorted({word for item in items for word in " ".join((*item.condition.story, item.condition.text)).split()})
    model = QaModel(QaConfig(), StoryVocabulary.build(words, (item.references[0] for item in items)))
    plain = Plain(model)
    data = QuestionSet(items, model)
    rows = torch.arange(len(data)).view(-1, BATCH).numpy()
    first = data.batch(rows[0]).stories
    torch.testing.assert_close(plain(first), model(first).logits[0], rtol=1e-4, atol=1e-4)
    objective = Objective(model, linear_start=0.0, memory=0.1)
    optimizers = {name: torch.optim.AdamW(one.parameters(), fused=True) for name, one in (("condgen", model), ("plain", plain))}

    def train(name: str) -> float:
        started = cpu_seconds()
        for chosen in rows:
            batch = data.batch(chosen)
            loss = objective(batch)[0] if name == "condgen" else F.cross_entropy(plain(batch.stories), batch.answers)
            optimizers[name].zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_((model if name == "condgen" else plain).parameters(), CLIP)
            optimizers[name].step()
        return len(data) / (cpu_seconds() - started)

    @torch.inference_mode()
    def answer(name: str) -> float:
        started = cpu_seconds()
        for chosen in rows:
            stories = data.batch(chosen).stories
            _ = model(stories) if name == "condgen" else plain(stories)
        return len(data) / (cpu_seconds() - started)

    for what, action in (("training", train), ("answering", answer)):
        found = medians({name: lambda name=name, action=action: action(name) for name in ("condgen", "plain")}, options.rounds)
        ratio = found["condgen"] / found["plain"]
        print(
            f"{what}: condgen {found['condgen']:,.0f} questions per CPU second, plain {found['plain']:,.0f}, ratio {ratio:.1f}"
        )


if __name__ == "__main__":
    main()
