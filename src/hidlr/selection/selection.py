"""A selection: which groups are trained, why, and what that means for a model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn
from torch.optim.optimizer import Optimizer

from hidlr.groups import ROLES, Place
from hidlr.selection import applying, recipe
from hidlr.selection.choice import GroupChoice, Match
from hidlr.selection.to_peft import PeftExport, exported
from hidlr.selection.transfer import transferred
from hidlr.selection.wording import explanation

__all__ = ["Selection"]


@dataclass(frozen=True)
class Selection:
    """Which groups are trained and which are frozen.

    Attributes:
        groups: every group, in the order in which they were measured.
        rule: how the choice was made, in words.
        places: role, layer and depth of each parameter, as far as known.
        match: of a transferred selection, how parameters were found.
    """

    groups: tuple[GroupChoice, ...]
    rule: str = ""
    places: dict[str, Place] = field(default_factory=dict, repr=False)
    match: Match | None = field(default=None, repr=False)
    # What `apply` changed, by model: flags of requires_grad by name.
    _before: "WeakKeyDictionary[nn.Module, dict[str, bool]]" = field(
        default_factory=WeakKeyDictionary, repr=False, compare=False, init=False
    )

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the groups that are trained."""
        return tuple(group.name for group in self.groups if group.kept)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the groups that are frozen."""
        return tuple(group.name for group in self.groups if not group.kept)

    @property
    def parameters(self) -> int:
        """Entries that are trained."""
        return sum(group.size for group in self.groups if group.kept)

    @property
    def share(self) -> float:
        """Trained entries over all."""
        return self.parameters / max(sum(group.size for group in self.groups), 1)

    @property
    def share_of_influence(self) -> float:
        """Total influence of the trained groups over that of all, each measured on its own."""
        everything = sum(group.total or 0.0 for group in self.groups)
        return sum(group.total or 0.0 for group in self.groups if group.kept) / everything if everything else 0.0

    def role_of(self, group: GroupChoice, parameter: str) -> str:
        """A parameter's role; told from its group's name where the model was not at hand; "" if unknown."""
        if parameter in self.places:
            return self.places[parameter].role
        role = group.name.rpartition("/")[2]
        return role if role in ROLES else ""

    def explain(self) -> str:
        """What is kept, its share of parameters and of influence, and what known method it resembles.

        Example:
            >>> groups = GroupChoice("head", True, 2, 0.5, 0.5), GroupChoice("mlp", False, 8, 0.1, 0.4)
            >>> print(Selection(groups).explain())
            Trains 1 of 2 groups: 2 of 10 parameters (20%), which offer 56% of the influence measured.
            <BLANKLINE>
            group  train  parameters  influence      PPI
            head   yes             2        56%  5.0e-01
            mlp                    8        44%  1.0e-01
        """
        return explanation(self)

    # -- on a model -----------------------------------------------------------------------------

    def check(self, model: nn.Module) -> None:
        """Whether `apply` would work; nothing is changed.

        Args:
            model: the model that was measured, or one with the same parameters' names.

        Raises:
            StateError: the selection is of another architecture, or does not know its parameters.
            InputError: the model is wrapped in DDP or FSDP1 already, or a chosen layer is quantised.
        """
        applying.checked(self, model)

    def apply(self, model: nn.Module, optimizer: Optimizer | None = None) -> None:
        """Freeze all but what is kept: requires_grad off, gradients gone; all of it or, on an error, nothing.

        Kept parameters get requires_grad on. Backward then ends at the lowest trained layer. Apply before the
        model is wrapped in DDP or FSDP1. An optimizer keeps its groups, and skips what is frozen.

        Args:
            model: the model that was measured, or one with the same parameters' names.
            optimizer: its state of frozen parameters is dropped.

        Raises:
            StateError, InputError: as `check`.
            InputTypeError: something that is no optimizer.
        """
        self._before[model] = applying.apply(self, model, optimizer)

    def undo(self, model: nn.Module) -> None:
        """Set requires_grad back to what it was before `apply`.

        Where this selection was not applied in this process, everything that was measured is thawed: it was
        trainable then.

        Raises:
            StateError: the selection is of another architecture.
        """
        applying.undo(self, model, self._before.pop(model, None))

    def transfer(self, other: nn.Module, *, least: float = 0.5) -> "Selection":
        """The same choice for another model, such as a larger one of the same family.

        A parameter of the other model does as the one that stands for it: of the same name at the same depth, else
        of the same name at the nearest relative depth, else of the same role there. `match` of the result
        says which found what.

        Args:
            other: the other model.
            least: share of the other model's parameters, counted as tensors, that must find a match.

        Raises:
            StateError: fewer match, nothing that is trained has a like, or the selection does not know its parameters.
        """
        return Selection(rule=self.rule, **transferred(self, other, least))

    # -- elsewhere ------------------------------------------------------------------------------

    def to_peft(self, *, r: int = 8, task_type: str | None = None) -> PeftExport:
        """What PEFT can express of it: a config for `peft.get_peft_model`, and what it cannot.

        Args:
            r: mean rank of the LoRA adapters; groups with more influence get more.
            task_type: PEFT's, such as "SEQ_CLS"; makes PEFT save the head.

        Raises:
            MissingExtraError: peft is not installed.
            InputError: PEFT has no method for what is kept.
        """
        return exported(self, r, task_type)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return recipe.to_dict(self)

    @classmethod
    def from_dict(cls, data: Any) -> "Selection":
        """Inverse of `to_dict`.

        Raises:
            StateError: an entry is missing or has the wrong type.
        """
        return cls(**recipe.from_dict(data))

    def save(self, path: str | Path) -> None:
        """Write a recipe: JSON that people can read.

        Raises:
            OSError: it cannot be written.
        """
        recipe.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "Selection":
        """Read a recipe that `save` wrote, or that was edited by hand.

        Raises:
            StateError: it is no recipe; the message names the entry.
            OSError: it cannot be read.
        """
        return cls(**recipe.load(path))
