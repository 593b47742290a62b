"""The paper's own: GLUE's tasks and RoBERTa-base from the hub (or folders), adapted in the ways of `glue`."""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.paper.workloads.hub import model_of, on_device, placed, rows_of, tokenizer_of
from benchmarks.workloads.minilm_tasks import _peft, matthews
from hidlr.workloads.base import Batch, Defaults, Workload, evaluating

__all__ = ["TASKS", "HubGlue"]

TASKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sst2": ("sentence",),
        "mrpc": ("sentence1", "sentence2"),
        "qnli": ("question", "sentence"),
        "cola": ("sentence",),
        "rte": ("sentence1", "sentence2"),
    }
)
"""The paper's tasks, and the columns with their texts."""

_LONGEST = 128
_PROMPT = 20


class HubGlue(Workload):
    """Cross-entropy of a sequence classifier; accuracy and Matthews correlation on the published validation split.

    The last tenth of the training rows chooses between rates.

    Args:
        task: one of `TASKS`.
        method: "lora", "lora_fa", "bitfit", "prompt" or "full".
        data: unused: the hub's own cache is.
        model: name on the hub, or folder (default: the environment's HIDLR_GLUE_MODEL, else FacebookAI/roberta-base).
        corpus: the same of the data (default: HIDLR_GLUE_DATA, else nyu-mll/glue).
    """

    name = "real-glue"
    description = "GLUE with a model of the hub"
    metric_name = "val_accuracy"
    test_name = "test_accuracy"
    higher_is_better = True
    defaults = Defaults(optimizer="adamw", steps=3000, groups="role", weight_decay=0.01)
    batch_size = 32

    def __init__(
        self, task: str, method: str, data: Path | None = None, *, model: str | Path = "", corpus: str | Path = ""
    ) -> None:
        del data
        self._method = method
        self._model = model or os.environ.get("HIDLR_GLUE_MODEL", "FacebookAI/roberta-base")
        source = corpus or os.environ.get("HIDLR_GLUE_DATA", "nyu-mll/glue")
        columns = TASKS.get(task, ("sentence",))
        rows, self._test = rows_of(source, task, "train"), rows_of(source, task, "validation")
        cut = len(rows) - len(rows) // 10
        self._train, self._validation = rows[:cut], rows[cut:]
        self._columns = columns
        self._classes = 1 + max(int(row["label"]) for row in rows)

    def build(self, seed: int) -> nn.Module:
        """The pretrained model with a fresh head, of which the method's parameters are trainable."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = model_of("AutoModelForSequenceClassification", self._model, num_labels=self._classes)
            return on_device(_adapted(model, self._method))

    def batch(self, step: int, seed: int) -> Batch:
        """Ids, mask and labels of 32 rows; epochs reshuffle."""
        size = min(self.batch_size, len(self._train))
        epoch, index = divmod(step, len(self._train) // size)
        order = torch.randperm(len(self._train), generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
        return self._encoded([self._train[row] for row in order[index * size : (index + 1) * size].tolist()])

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy (nats)."""
        ids, mask, labels = placed(batch, model)
        return functional.cross_entropy(model(input_ids=ids, attention_mask=mask).logits, labels)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Loss, accuracy and Matthews correlation of both splits."""
        with evaluating(model), torch.no_grad():
            return {**self._scores(model, "val", self._validation), **self._scores(model, "test", self._test)}

    def _scores(self, model: nn.Module, prefix: str, rows: list[dict[str, Any]]) -> dict[str, float]:
        scores, labels = [], []
        for at in range(0, len(rows), 64):
            ids, mask, expected = placed(self._encoded(rows[at : at + 64]), model)
            scores.append(model(input_ids=ids, attention_mask=mask).logits.cpu())
            labels.append(expected.cpu())
        found, right = torch.cat(scores), torch.cat(labels)
        said = found.argmax(1)
        return {
            f"{prefix}_loss": functional.cross_entropy(found, right).item(),
            f"{prefix}_accuracy": (said == right).double().mean().item(),
            f"{prefix}_mcc": matthews(said, right),
        }

    def _encoded(self, rows: list[dict[str, Any]]) -> Batch:
        texts = [[str(row[column]) for row in rows] for column in self._columns]
        options = {"padding": True, "truncation": True, "max_length": _LONGEST, "return_tensors": "pt"}
        encoded = _tokenizer(str(self._model))(*texts, **options)
        return encoded["input_ids"], encoded["attention_mask"], torch.tensor([int(row["label"]) for row in rows])


def _adapted(model: Any, method: str) -> nn.Module:
    adapted: nn.Module = model
    if method == "full":
        return adapted
    peft = _peft()
    if method == "prompt":
        config = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=_PROMPT)
        return peft.get_peft_model(model, config)  # type: ignore[no-any-return]
    if method in ("lora", "lora_fa"):
        config = peft.LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"])
        adapted = peft.inject_adapter_in_model(config, model)
    for name, parameter in adapted.named_parameters():
        trained = {"lora": "lora_" in name, "lora_fa": "lora_B" in name, "bitfit": name.endswith("bias")}[method]
        parameter.requires_grad_(trained or name.startswith(("classifier", "score")))
    return adapted


@cache
def _tokenizer(source: str) -> Any:
    return tokenizer_of(source)
