"""Freezing in the midst of training: measure for a while, keep what matters most, go on."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import Optimizer

from hidlr.errors import HidlrWarning, InputError, InputTypeError, StateError
from hidlr.history import StepRecord
from hidlr.influence import Influence, InfluenceMeter, members_of
from hidlr.selection import Budget, Selection, select
from hidlr.selection.applying import forget
from hidlr.selection.budget import matched

__all__ = ["Freezer", "restored"]


class Freezer:
    """Watches a tuner's records, and freezes groups of its optimizer once.

    It keeps running means of its own, so that a resumed run decides as the uninterrupted one.

    Args:
        budget: how much to keep, and when to choose.
        names: the optimizer's groups.

    Raises:
        InputTypeError: something that is no `Budget`.
        InputError: `always` or `never` name no group.

    Attributes:
        selection: what was chosen; None before.
    """

    def __init__(self, budget: Budget, names: Sequence[str]) -> None:
        if not isinstance(budget, Budget):
            raise InputTypeError(f"freeze takes a hidlr.Budget, e.g. hidlr.Budget(0.01, after=50), not {budget!r}")
        self._budget = budget
        self._names = tuple(names)
        self._meter = InfluenceMeter()
        self._frozen: tuple[str, ...] | None = None
        self._warned = False
        self.selection: Selection | None = None
        matched(budget.always, names, "always")
        matched(budget.never, names, "never")

    def watch(
        self, taken: int, record: StepRecord, optimizer: Optimizer, modules: Iterable[nn.Module]
    ) -> tuple[str, ...]:
        """Take in a record; when enough was measured, freeze.

        Args:
            taken: optimizer steps so far.
            record: of the probe just made.
            optimizer: whose groups are frozen.
            modules: what the closures reach, to see if it is wrapped in DDP.

        Returns:
            Names of the groups frozen just now.

        Raises:
            InputError: the model is wrapped in DDP, which cannot freeze.
        """
        if self._frozen is not None:
            return ()
        self._meter.add(record)
        influence = replace(Influence.of(self._meter), members=members_of(optimizer.param_groups))
        moving = [group.name for group in record.groups if group.size and group.rate_before > 0]
        if taken < self._budget.after or any(not influence.measured[name] + influence.refused[name] for name in moving):
            return ()
        _check_wrapping(modules)
        try:
            self.selection = select(
                influence, budget=self._budget.size, rank=self._budget.rank,
                always=self._budget.always, never=self._budget.never,
            )  # fmt: skip
        except InputError as error:
            if not self._warned:
                self._warned = True
                warnings.warn(f"nothing was frozen after step {taken}, as {error}", HidlrWarning, stacklevel=4)
            return ()
        self._frozen = self.selection.frozen
        self.enforce(optimizer, instead_of=None)
        return self._frozen

    def state_dict(self, optimizer: Optimizer) -> dict[str, Any]:
        """What was measured, and what is frozen now: thawed groups stay thawed."""
        frozen = None
        if self._frozen is not None:
            by_name = {group["name"]: group["params"] for group in optimizer.param_groups}
            frozen = [name for name in self._frozen if not any(p.requires_grad for p in by_name[name])]
        return {
            "meter": self._meter.state_dict(),
            "frozen": frozen,
            "selection": None if self.selection is None else self.selection.to_dict(),
        }

    def enforce(self, optimizer: Optimizer, instead_of: "Freezer | None") -> None:
        """Freeze what this one has frozen, and thaw what another had besides (a checkpoint loaded over a later run)."""
        own, others = set(self._frozen or ()), set((instead_of and instead_of._frozen) or ())
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if group["name"] in own:
                    forget(parameter, optimizer)
                elif group["name"] in others:
                    parameter.requires_grad_(True)

    def _load(self, state: Mapping[str, Any]) -> "Freezer":
        self._meter.load_state_dict(state["meter"])
        self._frozen = None if state["frozen"] is None else tuple(map(str, state["frozen"]))
        self.selection = None if state["selection"] is None else Selection.from_dict(state["selection"])
        return self


def restored(freezer: Freezer | None, state: Mapping[str, Any] | None) -> Freezer | None:
    """A freezer of the same budget that continues from a state; the one given is left as it is.

    Raises:
        StateError: the state is damaged, or of a tuner that froze where this one does not, or the other way round.
    """
    if (freezer is None) != (state is None):
        raise StateError(f"the state was saved {'without' if state is None else 'with'} freeze=: build HiDLR likewise")
    if freezer is None or state is None:
        return None
    try:
        return Freezer(freezer._budget, freezer._names)._load(state)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StateError(f"what freeze= saved is damaged ({error!r}): load an earlier checkpoint") from error


def _check_wrapping(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        if isinstance(module, DistributedDataParallel):
            raise InputError(
                "freeze= under DistributedDataParallel: it has planned its communication for all parameters. Measure "
                "first (hidlr.measure_influence on the bare model), selection.apply(model), then wrap it"
            )
