"""Shakespeare's plays by the character (1.1 million; Karpathy's tinyshakespeare) and a small GPT."""

from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.data import require
from benchmarks.workloads.gpt import CharacterGpt
from hidlr.workloads.base import Batch, Defaults, Workload, device_of, evaluating

__all__ = ["ShakespeareGpt"]

# The last tenth is held out, as in the usual use of this text; windows of it are drawn once, for all seeds.
_TRAIN_SHARE = 0.9
_HELD_OUT_WINDOWS = 320


class ShakespeareGpt(Workload):
    """Which character comes next: cross-entropy (nats per character).

    The first 90% of the text train, in windows at random places; 320 evenly spaced windows of the rest (20,480
    characters) validate.
    """

    name = "shakespeare-gpt"
    description = "characters of Shakespeare, a GPT of 3 layers and 162,000 parameters"
    metric_name = "val_loss"
    test_name = "val_loss"
    higher_is_better = False
    defaults = Defaults(optimizer="adamw", steps=400, groups="role", weight_decay=0.01)
    optimizers: tuple[str, ...] = ("adamw", "momentum", "lion", "muon")
    batch_size = 12
    context = 64

    def __init__(self, data: Path | None = None) -> None:
        self._train, self._validation, self._vocabulary = _text(require(data, "text/tinyshakespeare.txt"))

    def build(self, seed: int) -> nn.Module:
        """A GPT of width 64, 3 blocks, 4 heads; its head is not tied to the embedding."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return CharacterGpt(self._vocabulary, context=self.context, width=64, depth=3, heads=4)

    def batch(self, step: int, seed: int) -> Batch:
        """Windows of 65 characters at random places: the first 64, and each one's successor."""
        # A prime far above any number of steps keeps the streams of different seeds apart.
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        starts = torch.randint(len(self._train) - self.context, (self.batch_size,), generator=generator)
        return _windows(self._train, starts, self.context)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy (nats per character)."""
        tokens, targets = batch
        return functional.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Loss and accuracy of the next character on the held-out windows."""
        starts = torch.linspace(0, len(self._validation) - self.context - 1, _HELD_OUT_WINDOWS).long()
        tokens, targets = _windows(self._validation, starts, self.context)
        device = device_of(model)
        loss, right = 0.0, 0
        with evaluating(model), torch.no_grad():
            for some, following in zip(torch.split(tokens, 32), torch.split(targets.to(device), 32), strict=True):
                scores = model(some.to(device)).flatten(0, 1)
                loss += functional.cross_entropy(scores, following.flatten(), reduction="sum").item()
                right += int((scores.argmax(1) == following.flatten()).sum())
        return {"val_loss": loss / targets.numel(), "val_accuracy": right / targets.numel()}


def _windows(text: Tensor, starts: Tensor, context: int) -> Batch:
    windows = text[starts[:, None] + torch.arange(context + 1)]
    return windows[:, :-1], windows[:, 1:]


@cache
def _text(path: Path) -> tuple[Tensor, Tensor, int]:
    text = path.read_text(encoding="utf-8")
    index = {character: place for place, character in enumerate(sorted(set(text)))}
    tokens = torch.tensor([index[character] for character in text])
    cut = int(_TRAIN_SHARE * len(tokens))
    return tokens[:cut], tokens[cut:], len(index)
