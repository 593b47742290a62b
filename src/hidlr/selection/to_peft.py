"""What PEFT can express of a selection: configs of its own, nothing written again."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hidlr.errors import InputError, MissingExtraError, StateError

if TYPE_CHECKING:
    from hidlr.selection.selection import Selection

__all__ = ["PeftExport", "exported"]

_MATRICES = ("attention", "mlp", "conv", "embedding")
_MOST = 4  # times the mean rank


@dataclass(frozen=True)
class PeftExport:
    """A PEFT config that stands for a selection.

    Attributes:
        config: for ``peft.get_peft_model(model, config)``.
        cannot: what of the selection PEFT does otherwise or not at all, in sentences.
    """

    config: Any
    cannot: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Kept:
    """Trained parameters by what PEFT does with them: names of modules, with each one's influence."""

    matrices: dict[str, float]
    norms: tuple[str, ...]
    heads: tuple[str, ...]
    biases: frozenset[str]


def exported(selection: "Selection", r: int, task_type: str | None) -> PeftExport:
    """Norms alone: `LNTuningConfig`; matrices: `LoraConfig`, norms and head saved beside it.

    Raises:
        MissingExtraError: peft is not installed.
        InputError: PEFT has no method for what is kept, or r is below 1.
        StateError: roles of parameters are not known.
    """
    if isinstance(r, bool) or not isinstance(r, int) or r < 1:
        raise InputError(f"r={r!r}: the mean rank is at least 1")
    try:
        peft: Any = import_module("peft")
    except ImportError as error:
        raise MissingExtraError("peft", "peft") from error
    kept, cannot = _sorted(selection)
    options: dict[str, Any] = {"task_type": task_type} if task_type else {}
    if kept.matrices:
        saved: list[str] | None = [*kept.heads, *kept.norms] or None
        config = peft.LoraConfig(
            **_targets(selection, kept), **_ranks(kept.matrices, r), **options,
            bias=_bias(selection, kept, cannot), modules_to_save=saved,
        )  # fmt: skip
        cannot.insert(0, "Chosen matrices get LoRA adapters beside them; the matrices themselves stay frozen.")
        if any(name.rpartition(".")[2].lower().find("embed") >= 0 for name in kept.matrices):
            cannot.append("Embeddings get LoRA adapters as well.")
        return PeftExport(config, tuple(cannot))
    if kept.norms:
        if kept.biases:
            cannot.append(f"{len(kept.biases)} biases stay frozen: LNTuning trains normalizations alone.")
        saved = list(kept.heads) or None
        config = peft.LNTuningConfig(target_modules=list(kept.norms), modules_to_save=saved, **options)
        return PeftExport(config, tuple(cannot))
    raise InputError(
        "PEFT has no method for what is kept "
        f"({len(kept.biases)} biases, {len(kept.heads)} heads): it needs a matrix or a normalization; use "
        "selection.apply(model), which trains the parameters themselves"
    )


def _sorted(selection: "Selection") -> tuple[_Kept, list[str]]:
    matrices: dict[str, float] = {}
    norms, heads, biases, others = [], [], [], []
    for group in selection.groups:
        for name in group.parameters if group.kept else ():
            module, _, attribute = name.rpartition(".")
            match selection.role_of(group, name):
                case "":
                    raise StateError(f"the role of {name!r} is not known: select from influence.located(model, groups)")
                case "head":
                    heads.append(module)
                case "norm":
                    norms.append(module)
                case "bias":
                    biases.append(name)
                case role if role in _MATRICES and attribute == "weight" and module:
                    matrices[module] = group.ppi or 0.0
                case _:
                    others.append(name)
    cannot = []
    if others:
        shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        cannot.append(f"{len(others)} parameters stay frozen, which no config names ({shown}).")
    return _Kept(matrices, _unique(norms), _unique(heads), frozenset(biases)), cannot


def _targets(selection: "Selection", kept: _Kept) -> dict[str, Any]:
    """Short names and layer numbers where they say exactly the same as the full names."""
    every = {
        name.rpartition(".")[0] for group in selection.groups for name in group.parameters if name.endswith(".weight")
    }
    parts = [re.fullmatch(r"(?:.*\.)?([^.]*)\.(\d+)\.(.+)", module) for module in kept.matrices]
    found = [part.groups() for part in parts if part is not None]
    patterns = {part[0] for part in found}
    if len(found) == len(parts) and len(patterns) == 1:
        (pattern,) = patterns
        layers = sorted({int(part[1]) for part in found})
        suffixes = sorted({part[2] for part in found})
        number = re.compile(rf".*\.{re.escape(pattern)}\.(\d+)\.")
        meant = {
            module
            for module in every
            if any(module.endswith(f".{suffix}") for suffix in suffixes)
            and (at := number.match(f".{module}")) is not None
            and int(at[1]) in layers
        }
        if meant == set(kept.matrices):
            return {"target_modules": suffixes, "layers_to_transform": layers, "layers_pattern": pattern}
    return {"target_modules": sorted(kept.matrices)}


def _ranks(matrices: dict[str, float], r: int) -> dict[str, Any]:
    """Ranks in proportion to the root of influence per parameter, r on average; alpha keeps the scale of 2."""
    roots = {module: max(ppi, 0.0) ** 0.5 for module, ppi in matrices.items()}
    mean = sum(roots.values()) / len(roots)
    if not mean or len({round(root / mean, 9) for root in roots.values()}) == 1:
        return {"r": r, "lora_alpha": 2 * r}
    ranks = {module: min(max(1, round(r * root / mean)), _MOST * r) for module, root in roots.items()}
    # PEFT reads the keys as regular expressions that end the module's name.
    named = {re.escape(module): rank for module, rank in ranks.items() if rank != r}
    return {
        "r": r,
        "lora_alpha": 2 * r,
        "rank_pattern": named,
        "alpha_pattern": {module: 2 * rank for module, rank in named.items()},
    }


def _bias(selection: "Selection", kept: _Kept, cannot: list[str]) -> str:
    every = {
        name
        for group in selection.groups
        for name in group.parameters
        if name.rpartition(".")[2] == "bias" and selection.role_of(group, name) == "bias"
    }
    beside = {f"{module}.bias" for module in kept.matrices} & every
    if not kept.biases:
        return "none"
    if kept.biases == beside:
        return "lora_only"
    if kept.biases >= every:
        cannot.append('bias="all" trains the biases of normalizations too.')
        return "all"
    if kept.biases & beside == beside and beside:
        cannot.append(f"{len(kept.biases - beside)} biases stay frozen: PEFT trains all, or those beside adapters.")
        return "lora_only"
    cannot.append(f"{len(kept.biases)} biases stay frozen: PEFT trains all of them, or those beside adapters.")
    return "none"


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
