"""CoLA and SST-2 with MiniLM's upper three layers, trained in part: adapters, prompts, biases or everything.

The substitute for the paper's RoBERTa-base: a real pretrained transformer of six layers. The lower three are frozen
for every method, so that their output is computed once; DePT is left out.
"""

from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from benchmarks import minilm
from benchmarks.data import require
from benchmarks.workloads.minilm_tasks import _FROZEN, Parts, SentenceClassifier, SentenceTask, _cola, _peft, _sst2
from hidlr.workloads.base import Defaults, Workload

__all__ = ["KINDS", "METHODS", "GlueCola", "GlueSst2", "PromptedClassifier", "adapted", "glue"]

METHODS = ("lora", "lora_fa", "bitfit", "prompt", "full")
"""What is trained besides the head."""

_RANK, _ALPHA = 8, 16
_PROMPT = 8  # tokens


class PromptedClassifier(SentenceClassifier):
    """Soft prompts (Lester et al., arXiv 2104.08691) before the tokens of every sentence, at the encoder's input.

    Args:
        encoder: transformers' `BertEncoder`.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__(encoder)
        # As large as what they stand beside: normalised activations of MiniLM.
        self.prompt = nn.Parameter(0.5 * torch.randn(_PROMPT, minilm.WIDTH))

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Scores of both classes, (rows, 2), of activations (rows, tokens, width)."""
        prompts = self.prompt.expand(len(inputs), -1, -1)
        return super().forward(torch.cat([prompts, inputs], 1), lengths + _PROMPT)


def adapted(encoder: nn.Module, method: str) -> SentenceClassifier:
    """A classifier of which a method's parameters and the fresh head are trainable.

    Args:
        encoder: pretrained layers; changed.
        method: one of `METHODS`.
    """
    encoder.requires_grad_(method == "full")
    if method == "prompt":
        return PromptedClassifier(encoder)
    if method in ("lora", "lora_fa"):
        peft = _peft()
        config = peft.LoraConfig(r=_RANK, lora_alpha=_ALPHA, target_modules=["query", "value"])
        encoder = peft.inject_adapter_in_model(config, encoder)
    for name, parameter in encoder.named_parameters():
        if method == "lora_fa" and "lora_A" in name:
            parameter.requires_grad_(False)
        if method == "bitfit" and name.endswith("bias"):
            parameter.requires_grad_(True)
    return SentenceClassifier(encoder)


class GlueTask(SentenceTask):
    """A task and what is trained for it.

    Args:
        method: one of `METHODS`.
        tokens: the data.
    """

    name = "glue"
    description = "GLUE's short sentences, MiniLM's upper three layers"
    defaults = Defaults(optimizer="adamw", steps=160, groups="role", weight_decay=0.01)

    def __init__(self, method: str, tokens: Parts) -> None:
        self._method = method
        self._data = tokens.through(lambda ids: minilm.activations(ids, _FROZEN))

    def build(self, seed: int) -> nn.Module:
        """Pretrained layers 4 to 6 and a fresh head."""
        encoder = minilm.encoder().encoder
        encoder.layer = encoder.layer[_FROZEN:]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return adapted(encoder, self._method)


class GlueSst2(GlueTask):
    """Sentiment, by accuracy."""

    metric_name = "val_accuracy"
    test_name = "test_accuracy"

    def __init__(self, method: str, data: Path | None = None) -> None:
        super().__init__(method, _sst2(require(data, "glue/SST-2.train.tsv"), require(data, "glue/SST-2.dev.tsv")))


class GlueCola(GlueTask):
    """Acceptability, by the loss: of whether a sentence is well-formed MiniLM knows little, and short runs show it."""

    metric_name = "val_loss"
    test_name = "test_loss"
    higher_is_better = False

    def __init__(self, method: str, data: Path | None = None) -> None:
        super().__init__(method, _cola(require(data, "glue/CoLA.train.tsv"), require(data, "glue/CoLA.dev.tsv")))


KINDS = MappingProxyType({"cola": GlueCola, "sst2": GlueSst2})
"""Tasks by name."""


def glue(task: str, method: str, data: Path | None = None) -> Workload:
    """A task's workload.

    Args:
        task: "cola" or "sst2".
        method: one of `METHODS`.
        data: the data folder.
    """
    return KINDS[task](method, data)
