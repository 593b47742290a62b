"""Where one base step began and ended; puts the parameters anywhere along it, group by group."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hidlr.errors import InputError
from hidlr.reduction import ALONE, Ranks
from hidlr.shards import gradient, local

__all__ = ["Displacement", "Trail"]


class Displacement:
    """The move of every group in one base step, w' - w, in units of that step.

    A point is one number xi per group: the group's parameters at ``w + xi (w' - w)``, so that 0 is
    where the step began and 1 where it ended. Both ends are kept as copies and set back by copying:
    adding and subtracting would drift. Weight decay, momentum and clipping are inside the move as
    they are in the real step, and nothing is divided by a rate that may be 0.

    Construct it before the base step, call `slopes` after it while the gradients still stand, and
    `finish` before the first `place`. Holds one copy of the parameters, two after `finish`; of sharded
    parameters, of this rank's part.

    Args:
        groups: the parameters of each group; those the step will not move may be left out.
        keep_gradients: also keep a copy of the gradients, for a step that writes to them.
    """

    def __init__(self, groups: Sequence[Sequence[Tensor]], *, keep_gradients: bool = False) -> None:
        # torch only warns of a parameter listed twice; it must not be moved twice.
        self._parameters = [list(dict.fromkeys(group)) for group in groups]
        self._start = [_copies(group) for group in self._parameters]
        self._end: list[list[Tensor]] | None = None
        self._at = [1.0] * len(self._parameters)
        self._gradients: dict[Tensor, Tensor] = {}
        self._versions: dict[Tensor, int] = {}
        for parameter in (parameter for group in self._parameters for parameter in group):
            grad = gradient(parameter)
            if grad is not None:
                self._versions[parameter] = grad._version
                if keep_gradients:
                    self._gradients[parameter] = grad.detach().clone()

    @property
    def parameters(self) -> list[list[Tensor]]:
        """The parameters of each group, each once."""
        return self._parameters

    @property
    def gradients_written(self) -> bool:
        """Whether a gradient was written to, or replaced, since this was constructed."""
        return any(
            (grad := gradient(parameter)) is None or grad._version != version
            for parameter, version in self._versions.items()
        )

    @torch.no_grad()
    def slopes(self, ranks: Ranks = ALONE) -> list[float]:
        """Slope of each group, b_k = -G_k . (w' - w)_k (loss per unit xi); positive is descent.

        Products are summed in float64. Entries without a gradient count as 0; a group whose
        parameters did not move at all gets nan.

        Args:
            ranks: among whom the slope is shared; this is then one rank's share of it.
        """
        sums: list[Tensor] = []
        for parameters, starts in zip(self._parameters, self._start, strict=True):
            total = torch.zeros((), dtype=torch.float64)
            moved = torch.zeros((), dtype=torch.bool)
            for parameter, start in zip(parameters, starts, strict=True):
                move = local(parameter) - start
                moved = moved.to(move.device) | move.any()
                grad = self._gradients.get(parameter, gradient(parameter))
                if grad is not None:
                    product = (grad * move).sum(dtype=torch.float64)
                    total = total.to(move.device) - product * ranks.share(parameter)
            sums.append(torch.where(moved, total.to(moved.device), torch.nan))
        # One transfer for all groups: reading each on its own would wait for the device K times.
        device = sums[0].device if sums else None
        slopes: list[float] = torch.stack([value.to(device) for value in sums]).tolist() if sums else []
        return slopes

    @torch.no_grad()
    def squares(self) -> list[float]:
        """Squared length of each group's move, of this rank's part of it."""
        sums: list[Tensor] = []
        for parameters, starts in zip(self._parameters, self._start, strict=True):
            total = torch.zeros((), dtype=torch.float64)
            for parameter, start in zip(parameters, starts, strict=True):
                # In 16 bits squares of usual moves are 0.
                length = torch.linalg.vector_norm(local(parameter) - start, dtype=torch.float64)
                total = total.to(length.device) + length.square()
            sums.append(total)
        # One transfer for all groups, as for slopes.
        device = sums[0].device if sums else None
        squares: list[float] = torch.stack([value.to(device) for value in sums]).tolist() if sums else []
        return squares

    def place_end(self) -> None:
        """Put every group where the step ended."""
        self.place([1.0] * len(self._parameters))

    def trail(self, positions: Sequence[Sequence[int]], step: int) -> "Trail":
        """The start of this step, to look back at from a later one; shares the copy that is held here.

        Args:
            positions: where in its group each parameter stands.
            step: index of this step.
        """
        return Trail(step, [list(own) for own in positions], self._start)

    @torch.no_grad()
    def place_back(self, trail: "Trail", xi: float) -> None:
        """Put all parameters between the start of an earlier step (xi = 0) and the start of this one (xi = 1)."""
        for index, parameters in enumerate(self._parameters):
            self._at[index] = math.nan  # at none of this step's own points
            if parameters:
                here = _locals(parameters)
                torch._foreach_copy_(here, trail.start[index])
                if xi != 0.0:
                    torch._foreach_lerp_(here, self._start[index], xi)

    @torch.no_grad()
    def finish(self) -> None:
        """Take the parameters as they stand as the end of the step."""
        self._end = [_copies(group) for group in self._parameters]
        self._at = [1.0] * len(self._parameters)

    @torch.no_grad()
    def place(self, point: Sequence[float]) -> None:
        """Put each group at its xi; 0 and 1 are exact copies of the step's two ends.

        Args:
            point: xi of each group (units of the base step).

        Raises:
            InputError: the point has not one entry per group, or `finish` was not called.
        """
        if self._end is None:
            raise InputError("place() before finish(): the end of the step is not known yet")
        if len(point) != len(self._parameters):
            raise InputError(f"a point needs {len(self._parameters)} entries, one per group; got {len(point)}")
        for index, xi in enumerate(point):
            if xi == self._at[index] or not self._parameters[index]:
                continue
            source = self._end if xi == 1.0 else self._start
            here = _locals(self._parameters[index])
            torch._foreach_copy_(here, source[index])
            if xi not in (0.0, 1.0):
                torch._foreach_lerp_(here, self._end[index], xi)
            self._at[index] = xi


class Trail:
    """Where earlier steps began, on average: one copy of the parameters, kept from one probe to the next.

    The batch of a later step has no part in the moves since, so what it says of them is no promise
    that only their own batches keep.

    Args:
        step: index of the latest of those steps.
        positions: where in its group each parameter stands; parameters themselves may be replaced meanwhile.
        start: their values then, by group, an average of them after `follow`; of sharded parameters, this
            rank's part.
    """

    def __init__(self, step: int, positions: list[list[int]], start: list[list[Tensor]]) -> None:
        self.step = step
        self.positions = positions
        self.start = start

    def fits(self, positions: Sequence[Sequence[int]], parameters: Sequence[Sequence[Tensor]]) -> bool:
        """Whether the present step moves the same parameters."""
        return [list(own) for own in positions] == self.positions and all(
            local(parameter).shape == start.shape and parameter.device == start.device
            for own, starts in zip(parameters, self.start, strict=True)
            for parameter, start in zip(own, starts, strict=True)
        )

    @torch.no_grad()
    def follow(self, step: "Trail", weight: float) -> "Trail":
        """Take in the start of a later step with this weight, in (0, 1]; returns the trail to keep."""
        if weight >= 1:
            return step
        # In 16 bits most of what a small weight adds would be rounded away.
        self.start = [[_widened(start) for start in own] for own in self.start]
        for own, others in zip(self.start, step.start, strict=True):
            if own:
                torch._foreach_lerp_(own, [_widened(start) for start in others], weight)
        self.step = step.step
        return self

    @torch.no_grad()
    def slope(self, parameters: Sequence[Sequence[Tensor]], ranks: Ranks = ALONE) -> float:
        """Slope of the whole move since then at its end, -G . (w - then) (loss), with the gradient in hand.

        Args:
            parameters: as they are now.
            ranks: among whom the slope is shared; this is then one rank's share of it.
        """
        sums = [
            (grad * (local(parameter) - start)).sum(dtype=torch.float64) * ranks.share(parameter)
            for own, starts in zip(parameters, self.start, strict=True)
            for parameter, start in zip(own, starts, strict=True)
            if (grad := gradient(parameter)) is not None
        ]
        return -float(torch.stack([value.to(sums[0].device) for value in sums]).sum()) if sums else math.nan


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _copies(tensors: list[Tensor]) -> list[Tensor]:
    return [local(tensor).detach().clone() for tensor in tensors]


def _locals(tensors: list[Tensor]) -> list[Tensor]:
    return [local(tensor) for tensor in tensors]
