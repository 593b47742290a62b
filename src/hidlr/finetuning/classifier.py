"""A pretrained model with a fresh head, and which of its parameters are to be trained."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hidlr.errors import InputError
from hidlr.finetuning.config import FinetuneConfig
from hidlr.integrations.require import require
from hidlr.measuring import measure_influence
from hidlr.selection import select

__all__ = ["choose_parameters", "load"]

_MEASURED_STEPS = 24
_USUAL_RATE = 5e-5  # of the short run that measures influence


def load(config: FinetuneConfig, labels: Sequence[str]) -> tuple[nn.Module, Any]:
    """The model with a head for the labels, and its tokenizer.

    Raises:
        InputError: there is no such model, or it cannot classify sequences.
        MissingExtraError: transformers is absent.
    """
    transformers = require("transformers", "hf", "4.57")
    local = Path(config.model).exists()
    if not local and (config.model.startswith((".", "/", "~")) or config.model.count("/") > 1):
        raise InputError(f"there is no model folder {config.model!r}")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(config.model, local_files_only=local)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            config.model,
            local_files_only=local,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={name: index for index, name in enumerate(labels)},
            ignore_mismatched_sizes=True,  # a head for other labels is replaced
            torch_dtype=torch.float32,
        )
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        where = "it is a folder, but" if local else "there is no such folder, and the hub says:"
        raise InputError(f"model {config.model!r} cannot be loaded: {where} {reason}") from error
    if tokenizer.pad_token is None:  # GPT-2 and its kin
        if tokenizer.eos_token is None:
            raise InputError(f"the tokenizer of {config.model!r} has neither a padding nor an end token to pad with")
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def choose_parameters(
    config: FinetuneConfig, model: nn.Module, batches: Callable[[], list[dict[str, Tensor]]], out: Path
) -> nn.Module:
    """Freeze, or wrap in adapters, by the method; recipe.json says what "adaptive" chose.

    Raises:
        InputError: LoRA does not know where to go in this model.
        HidlrError: the method is not there.
        MissingExtraError: peft is absent.
    """
    if config.method == "lora":
        return _with_lora(config, model)
    if config.method == "adaptive":
        _select(config, model, batches(), out)
    return model


def _with_lora(config: FinetuneConfig, model: nn.Module) -> nn.Module:
    peft = require("peft", "peft", "0.14")
    options = {"task_type": peft.TaskType.SEQ_CLS, "r": config.rank, "lora_alpha": 2 * config.rank}
    try:
        try:
            wrapped: nn.Module = peft.get_peft_model(model, peft.LoraConfig(**options))
        except ValueError:  # no targets are known for this architecture
            wrapped = peft.get_peft_model(model, peft.LoraConfig(**options, target_modules="all-linear"))
    except ValueError as error:
        raise InputError(f"LoRA cannot be put into {config.model!r}: {error}") from error
    return wrapped


def _select(config: FinetuneConfig, model: nn.Module, batches: list[dict[str, Tensor]], out: Path) -> None:
    model.train()

    def closure(batch: dict[str, Tensor]) -> Callable[[], Tensor]:
        def loss() -> Tensor:
            result: Tensor = model(**batch).loss
            return result

        return loss

    closures = [closure(batch) for batch in batches]
    optimizer = torch.optim.AdamW(model.parameters(), lr=_USUAL_RATE)
    influence = measure_influence(model, closures, optimizer=optimizer, steps=_MEASURED_STEPS, by="role_layer")
    # The head is new, so it is trained whatever was measured.
    heads = [name for name in influence.sizes if name.partition("/")[0] == "head"]
    selection = select(influence, budget=config.budget, always=heads)
    selection.save(out / "recipe.json")
    selection.apply(model)
