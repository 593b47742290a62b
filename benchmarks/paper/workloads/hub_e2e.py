"""The paper's own: GPT-2 from the hub (or a folder) on E2E, in full or by LoRA."""

import os
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.data import require
from benchmarks.paper.workloads.e2e_text import bleu, read_pairs
from benchmarks.paper.workloads.hub import model_of, on_device, placed, tokenizer_of
from benchmarks.workloads.minilm_tasks import _peft
from hidlr.workloads.base import Batch, Defaults, Workload, device_of, evaluating

__all__ = ["HubE2e"]

_SCORED = 200  # lists of facts


class HubE2e(Workload):
    """Cross-entropy of the text's tokens given the facts; BLEU of what is written greedily.

    Args:
        method: "lora" or "full".
        data: the data folder.
        model: name on the hub, or folder (default: the environment's HIDLR_E2E_MODEL, else openai-community/gpt2).
    """

    name = "real-e2e"
    description = "E2E with GPT-2"
    metric_name = "val_loss"
    test_name = "test_loss"
    higher_is_better = False
    defaults = Defaults(optimizer="adamw", steps=4000, groups="role", weight_decay=0.01)
    batch_size = 8

    def __init__(self, method: str, data: Path | None = None, *, model: str | Path = "") -> None:
        self._method = method
        self._model = str(model or os.environ.get("HIDLR_E2E_MODEL", "openai-community/gpt2"))
        self._train, self._validation, self._test = (
            read_pairs(require(data, f"e2e/{part}.txt")) for part in ("train", "valid", "test")
        )

    def build(self, seed: int) -> nn.Module:
        """GPT-2, with fresh adapters where they are asked for."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model: nn.Module = model_of("AutoModelForCausalLM", self._model)
            if self._method == "full":
                return on_device(model)
            peft = _peft()
            # GPT-2 keeps its weights transposed.
            config = peft.LoraConfig(r=4, lora_alpha=32, target_modules=["c_attn"], fan_in_fan_out=True)
            adapted: nn.Module = peft.inject_adapter_in_model(config, model)
            for name, parameter in adapted.named_parameters():
                parameter.requires_grad_("lora_" in name)
            return on_device(adapted)

    def batch(self, step: int, seed: int) -> Batch:
        """Ids and targets, -100 where nothing is asked."""
        draw = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rows = torch.randint(len(self._train), (self.batch_size,), generator=draw).tolist()
        return self._encoded([self._train[row] for row in rows])

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean over the texts' tokens (nats)."""
        ids, targets = placed(batch, model)
        scores = model(input_ids=ids).logits[:, :-1]
        return functional.cross_entropy(scores.flatten(0, 1), targets[:, 1:].flatten(), ignore_index=-100)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Losses on 400 rows of either split, and BLEU on 200 lists of facts."""
        with evaluating(model), torch.no_grad():
            found = {}
            for part, rows in (("val", self._validation), ("test", self._test)):
                losses = []
                for at in range(0, min(400, len(rows)), self.batch_size):
                    batch = self._encoded(rows[at : at + self.batch_size])
                    losses.append(self.loss(model, batch).item())
                found[f"{part}_loss"] = sum(losses) / len(losses)
            references: dict[str, list[str]] = {}
            for facts, text in self._test:
                references.setdefault(facts, []).append(text)
            asked = list(references)[:_SCORED]
            found["test_bleu"] = bleu([self._written(model, facts) for facts in asked], [references[f] for f in asked])
        return found

    def _written(self, model: nn.Module, facts: str) -> str:
        tokenizer = _tokenizer(self._model)
        ids = torch.tensor([tokenizer(f"{facts} ||").input_ids], device=device_of(model))
        generate: Any = model.generate
        made = generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=60, do_sample=False,
            pad_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
        text: str = tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
        return text.strip()

    def _encoded(self, pairs: list[tuple[str, str]]) -> Batch:
        tokenizer = _tokenizer(self._model)
        rows = []
        for facts, text in pairs:
            asked = tokenizer(f"{facts} ||").input_ids
            answer = [*tokenizer(f" {text}").input_ids, tokenizer.eos_token_id]
            rows.append(([*asked, *answer], [*([-100] * len(asked)), *answer]))
        longest = max(len(ids) for ids, _ in rows)
        ids = torch.full((len(rows), longest), tokenizer.eos_token_id)
        targets = torch.full((len(rows), longest), -100)
        for line, (own, wanted) in enumerate(rows):
            ids[line, : len(own)] = torch.tensor(own)
            targets[line, : len(wanted)] = torch.tensor(wanted)
        return ids, targets


@cache
def _tokenizer(source: str) -> Any:
    return tokenizer_of(source)
