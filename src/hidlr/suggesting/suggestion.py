"""What `suggest_groups` returns: groups with their members and what was measured of them."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hidlr.reports.text import count, number, plural, printable, shorten

__all__ = ["GroupSuggestion", "SuggestedGroup"]

_WIDTH = 40  # of the two columns of names
_HEAD = ("group", "members", "parameters", "rate / mean", "influence")


@dataclass(frozen=True)
class SuggestedGroup:
    """Parameters that may share a rate.

    Attributes:
        name: says what is in it, e.g. "bias + norm" or "layer_0..2/attention".
        members: the fine groups that were merged, those without a measurement of their own included.
        unmeasured: those of the members whose rate could not be told, and that only joined.
        param_names: its parameters, as ``model.named_parameters()`` gives them.
        size: its trainable entries, d.
        rate: b / A, the rate at which one step of the group alone gains most (lr); None without a measurement.
        spread: standard error of log(rate), from the steps of the short run; None without a measurement.
        ppi: influence per parameter, b^2 / (A d) (loss per parameter); None without a measurement.
        options: what the optimizer had for these parameters, ``lr`` and ``weight_decay`` among them.
    """

    name: str
    members: tuple[str, ...]
    unmeasured: tuple[str, ...]
    param_names: tuple[str, ...]
    size: int
    rate: float | None
    spread: float | None
    ppi: float | None
    options: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class GroupSuggestion:
    """Groups for an optimizer; print it for a table.

    Attributes:
        groups: in the order of the model.
        measured: fine groups whose rate could be told.
        unmeasured: those whose rate could not, and that joined others.
        forwards: forward passes that it took, those with a backward pass included.
        parameters: the parameters of each group, by its name.
    """

    groups: tuple[SuggestedGroup, ...]
    measured: int
    unmeasured: int
    forwards: int
    parameters: Mapping[str, tuple[Tensor, ...]] = field(repr=False)

    @property
    def names(self) -> list[str]:
        """Names of the groups."""
        return [group.name for group in self.groups]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """A new list of what any torch optimizer takes: parameters, name, and the options that they had."""
        return [
            {
                "params": list(self.parameters[group.name]),
                "name": group.name,
                "param_names": list(group.param_names),
                **{key: _copy(value) for key, value in group.options.items()},
            }
            for group in self.groups
        ]

    @property
    def by(self) -> dict[str, list[str]]:
        """The partition as plain data, for `param_groups(model, by=...)` and for files: a resumed run needs the same.

        Options of the optimizer are not in it.
        """
        return {group.name: [_exactly(name) for name in group.param_names] for group in self.groups}

    @property
    def relative(self) -> dict[str, float]:
        """Each measured group's rate over the geometric mean of all."""
        rates = {group.name: group.rate for group in self.groups if group.rate is not None}
        mean = math.exp(sum(map(math.log, rates.values())) / len(rates)) if rates else math.nan
        return {name: rate / mean for name, rate in rates.items()}

    def __str__(self) -> str:
        relative = self.relative
        rows = [_HEAD]
        for group in self.groups:
            members = ", ".join(group.members)
            rows.append(
                (
                    shorten(printable(group.name), _WIDTH),
                    members if len(members) <= _WIDTH else plural(len(group.members), "fine group"),
                    count(group.size),
                    number(relative.get(group.name)),
                    number(group.ppi),
                )
            )
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
        lines = [
            "  ".join(
                cell.ljust(width) if column < 2 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        joined = f", {self.unmeasured} too noisy to tell joined them" if self.unmeasured else ""
        lines.append(
            f"{plural(self.measured, 'fine group')} measured with "
            f"{plural(self.forwards, 'forward pass', 'forward passes')}{joined}. Rate: of one step alone, "
            "over the geometric mean. Influence: b^2 / (A d), loss per parameter."
        )
        return "\n".join(lines)


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else copy.copy(value)


def _exactly(name: str) -> str:
    """A glob that fits this name alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
