"""Tokens per CPU second of a training step of ``sat``, and what it is spent on: ``python benchmarks/train_step.py``.

The sizes are those of the recipe ``sat``: 32 photos with five captions each, features from the cache, the encoder frozen.
Photos are random features and captions random words, as long as Flickr8k's; time doesn't depend on what they say. Beside it
runs the step as tutorials write it: ``nn.LSTMCell``, two linear layers that attend, padded batches, a row of features for
each caption.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from common import cpu_seconds
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from condgen_caption.cnn import HEAD_CHANNELS, STAGES
from condgen_caption.model import CaptionModel, build
from condgen_caption.objective import CrossEntropy, TrainingBatch
from condgen_cli.data.text import WordVocabulary
from condgen_cli.training.batches import teacher_forcing

PHOTOS, CAPTIONS, WORDS = 32, 5, 2600
CUT = len(STAGES)
SMOOTHING = 0.1

GROUPS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "convolution", "conv2d", "linear"),
    "random numbers of dropout": ("bernoulli", "native_dropout"),
    "optimizer and clipping": ("_fused_adamw", "_foreach", "linalg_vector_norm"),
    "softmax, loss, layer norm": ("softmax", "nll_loss", "layer_norm"),
    "copies, gathers, sums": ("copy", "cat", "index", "fill", "zero", "sum", "clone", "embedding", "select_backward", "slice"),
    "element-wise": ("mul", "add", "tanh", "sigmoid", "div", "hardtanh", "rsub", "neg", "pow", "sub", "clamp"),
}
"""Operators by a part of their name; the first group that fits counts."""


class Tutorial(nn.Module):
    """Soft attention as a plain loop over padded steps."""

    def __init__(self, words: int, size: int, match_size: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(HEAD_CHANNELS, size), nn.LayerNorm(size), nn.Dropout(0.2))
        self.initial_hidden, self.initial_cell = nn.Linear(size, size), nn.Linear(size, size)
        self.match_value, self.match_state, self.weigh = (
            nn.Linear(size, match_size),
            nn.Linear(size, match_size),
            nn.Linear(match_size, 1),
        )
        self.gate = nn.Linear(size, 1)
        self.embedding = nn.Embedding(words, size)
        self.cell = nn.LSTMCell(2 * size, size)
        self.readout, self.output = nn.Linear(2 * size, size), nn.Linear(size, words)
        self.dropout = nn.Dropout(0.5)

    def forward(self, features: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """The loss per token for features (rows, positions, channels), inputs and targets (rows, steps), 0 being padding."""
        values = self.project(features)
        keys = self.match_value(values)
        hidden, cell = self.initial_hidden(values.mean(1)).tanh(), self.initial_cell(values.mean(1)).tanh()
        embedded = self.dropout(self.embedding(inputs))
        logits = []
        for step in range(inputs.shape[1]):
            scores = self.weigh((keys + self.match_state(hidden).unsqueeze(1)).tanh()).squeeze(2)
            context = (scores.softmax(1).unsqueeze(2) * values).sum(1) * self.gate(hidden).sigmoid()
            hidden, cell = self.cell(torch.cat([embedded[:, step], context], 1), (hidden, cell))
            read = self.readout(self.dropout(torch.cat([hidden, context], 1))) + embedded[:, step]
            logits.append(self.output(self.dropout(read.tanh())))
        return F.cross_entropy(
            torch.stack(logits, 1).flatten(0, 1), targets.flatten(), ignore_index=0, label_smoothing=SMOOTHING
        )


def make_model() -> CaptionModel:
    with TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "vocabulary.json"
        WordVocabulary(f"w{number}" for number in range(WORDS)).save(vocabulary)
        model = build({"match_size": 256}, {"vocabulary.json": vocabulary})
    model.encoder.requires_grad_(False)
    return model.train()


def make_batch(model: CaptionModel, generator: torch.Generator) -> TrainingBatch:
    """Captions of 3 to 24 words, eleven on average; those of a photo longest first, as training sorts them."""
    side = model.config.image_size // 32
    shape = (PHOTOS, side, side, model.encoder.head.in_channels)
    maps = torch.randn(shape, generator=generator).half().permute(0, 3, 1, 2)
    lengths = (11 + 3.7 * torch.randn(PHOTOS, CAPTIONS, generator=generator)).round().clamp(3, 24).long()
    rows = [length for photo in lengths.tolist() for length in sorted(photo, reverse=True)]
    captions = [torch.randint(4, WORDS, (length,), generator=generator).tolist() for length in rows]
    vocabulary = model.vocabulary
    inputs, targets, steps = teacher_forcing(captions, vocabulary.bos, vocabulary.eos, vocabulary.pad)
    return TrainingBatch(maps, inputs, targets, steps, torch.arange(PHOTOS))


def trainer(module: nn.Module, loss_of: Callable[[TrainingBatch], Tensor]) -> Callable[[TrainingBatch], None]:
    """A function that does one step of training."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)

    def step(batch: TrainingBatch) -> None:
        loss_of(batch).backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def breakdown(step: Callable[[TrainingBatch], None], batches: list[TrainingBatch]) -> list[tuple[str, float]]:
    """The shares of the operators' own time, by group."""
    with profile(activities=[ProfilerActivity.CPU]) as record:
        for batch in batches:
            step(batch)
    spent = defaultdict[str, float](float)
    for event in record.key_averages():
        name = event.key.removeprefix("aten::")
        group = next((group for group, parts in GROUPS.items() if any(part in name for part in parts)), "everything else")
        spent[group] += event.self_cpu_time_total
    total = sum(spent.values())
    return sorted(((group, time / total) for group, time in spent.items()), key=lambda part: -part[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model = make_model()
    objective = CrossEntropy(model, CUT, SMOOTHING, 0.005)
    tutorial = Tutorial(WORDS + 4, model.config.hidden_size, model.config.match_size)

    def tutorial_loss(batch: TrainingBatch) -> Tensor:
        with torch.no_grad():
            maps = model.encoder(batch.features.float(), CUT).flatten(2).transpose(1, 2)
        return tutorial(maps.repeat_interleave(CAPTIONS, 0), batch.inputs, batch.targets)

    steps = {"condgen": trainer(objective, lambda batch: objective(batch)[0])}
    if not options.no_peer:
        steps["tutorial loop"] = trainer(tutorial, tutorial_loss)
    generator = torch.Generator().manual_seed(1)
    batches = [make_batch(model, generator) for _ in range(options.steps)]
    spent = defaultdict[str, float](float)
    for step in steps.values():
        step(batches[0])  # memory and buffers of a first step
    for batch in batches:  # taking turns, so that a slow minute harms both alike
        for name, step in steps.items():
            start = cpu_seconds()
            step(batch)
            spent[name] += cpu_seconds() - start
    tokens = sum(int(batch.lengths.sum()) for batch in batches)
    print(f"{tokens // options.steps} tokens a step, {options.threads} thread(s)")
    for name, seconds in spent.items():
        print(f"{name:16} {tokens / seconds:7.0f} tokens per CPU second, {seconds / options.steps:.2f} CPU seconds a step")
    for group, share in breakdown(steps["condgen"], batches[:3]):
        print(f"  {group:28} {share:6.1%}")


if __name__ == "__main__":
    main()
