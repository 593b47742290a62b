"""Losses at a plan's points: no gradient, the same random state each time, everything set back."""

import math
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self
from weakref import WeakSet

import torch
from torch import Tensor, nn

from hidlr.displacement import Displacement, Trail
from hidlr.errors import ClosureError, InputError, InputTypeError
from hidlr.plans import Point
from hidlr.probe.surroundings import Surroundings
from hidlr.reduction import ALONE, Ranks

__all__ = ["Closure", "Probe"]

Closure = Callable[[], Tensor]
"""Computes the loss of the step's own batch, forward only."""


class Probe:
    """Measures losses along a displacement, as a context manager; on leaving, no trace but the placement.

    Each point starts from the same random state, buffers and modes, so that dropout draws the same
    masks. On an exception inside, the parameters are put back where the base step left them.

    Args:
        displacement: a finished displacement.
        closures: one, or one per accumulated micro-batch; their losses are added.
        parameters: the tuned parameters, whose gradients are put aside meanwhile.
        known: modules seen at earlier probes.
        ranks: who measures together: losses are means over them. Where the closure of one raises, the others
            must not wait for it: it goes on to the end of the round, and all of them raise.

    Attributes:
        points: every point measured so far.
        losses: their losses, float64.
        forwards: closures run.
        looks_back: points measured on the way from an earlier step.
        rounding: the relative rounding error of one loss, from the dtype the closures return.
        dtype: the name of that dtype.
    """

    def __init__(
        self,
        displacement: Displacement,
        closures: Closure | Sequence[Closure],
        parameters: Iterable[Tensor],
        known: "WeakSet[nn.Module] | None" = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self._displacement = displacement
        self._ranks = ranks
        self._failure: Exception | None = None
        self._closures = as_closures(closures)
        self._parameters = list(parameters)
        self._known: WeakSet[nn.Module] = WeakSet() if known is None else known
        self._surroundings: Surroundings | None = None
        self.points: list[Point] = []
        self.losses: list[float] = []
        self.forwards = 0
        self.looks_back = 0
        self.rounding = 0.0
        self.dtype = ""

    def __enter__(self) -> Self:
        self._displacement.finish()
        self._surroundings = Surroundings(self._parameters, self._closures, self._known)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._displacement.place_end()
        if self._surroundings is not None:
            self._surroundings.close()
        torch.clear_autocast_cache()

    def measure(self, points: Sequence[Point]) -> list[float]:
        """The loss at each point, float64, in order; several closures are added.

        Raises:
            ClosureError: the closure ran a backward pass, or that of another rank raised.
            InputTypeError: it returned something other than a tensor.
            InputError: it returned a tensor of more than one entry.
        """
        surroundings = self._open()
        sums: list[Tensor] = []
        for point in points:
            self.points.append(point)
            self._displacement.place(point)
            sums.append(self._total(surroundings))
        losses = self._shared(sums)
        self.losses += losses
        return losses

    def measure_back(self, trail: Trail, xi: float) -> float:
        """The loss, float64, between an earlier step's start (xi = 0) and this step's (xi = 1).

        Such points lie on no axis of this step: they are counted in `looks_back`, not among the points.

        Raises:
            ClosureError, InputTypeError, InputError: as `measure`.
        """
        surroundings = self._open()
        self.looks_back += 1
        self._displacement.place_back(trail, xi)
        return self._shared([self._total(surroundings)])[0]

    def _shared(self, sums: list[Tensor]) -> list[float]:
        losses: list[float] = torch.stack(sums).tolist() if sums else []
        failure, self._failure = self._failure, None
        return self._ranks.mean(losses, failure) if losses else losses

    def _open(self) -> Surroundings:
        if self._surroundings is None:
            raise InputError("measure() outside the probe's with-block")
        return self._surroundings

    def _total(self, surroundings: Surroundings) -> Tensor:
        # Inside autocast, the low-precision copies of the weights would be those of another point.
        torch.clear_autocast_cache()
        total = torch.zeros((), dtype=torch.float64)
        for closure in self._closures:
            try:
                loss = self._loss(closure)
            except Exception as error:
                if self._ranks.size == 1:
                    raise
                # The others are in their forward passes, which may wait for this rank's (FSDP, buffers of DDP).
                self._failure = self._failure or error
                continue
            total = total + loss.to(total.device)
        surroundings.set_back()
        return total

    def _loss(self, closure: Closure) -> Tensor:
        assert self._surroundings is not None
        try:
            with torch.no_grad():
                loss = closure()
        except RuntimeError as error:
            if "does not require grad" not in str(error):
                raise
            raise ClosureError(_BACKWARD) from error
        self.forwards += 1
        if self._surroundings.grads_appeared():
            raise ClosureError(_BACKWARD)
        if not isinstance(loss, Tensor):
            raise InputTypeError(
                f"the closure returned {type(loss).__name__} {loss!r}: return the loss tensor itself, as in "
                "`lambda: loss_fn(model(x), y)`, without .item()"
            )
        if loss.numel() != 1:
            raise InputError(
                f"the closure returned a tensor of shape {tuple(loss.shape)}: return a scalar, e.g. loss.mean()"
            )
        if loss.dtype.is_floating_point and torch.finfo(loss.dtype).eps > self.rounding:
            self.rounding, self.dtype = torch.finfo(loss.dtype).eps, str(loss.dtype).removeprefix("torch.")
        # One zero-dimensional float64 number; a device that has no float64 is read through the CPU.
        loss = loss.detach().reshape(())
        return loss.to(torch.float64) if loss.device.type != "mps" else loss.cpu().to(torch.float64)

    def noise(self, loss: float) -> float:
        """The rounding error of one measured loss (loss)."""
        return self.rounding * abs(loss) if math.isfinite(loss) else math.inf


_BACKWARD = (
    "the closure needs gradients (it calls backward or autograd.grad): tuner.step wants a forward-only closure, "
    "`lambda: loss_fn(model(x), y)`; keep loss.backward() in the training loop, and wrap a loss that "
    "differentiates with respect to its inputs in torch.enable_grad()"
)


def as_closures(closures: Closure | Sequence[Closure]) -> list[Closure]:
    """One closure or several as a list.

    Raises:
        InputTypeError: something that cannot be called, such as the loss itself.
        InputError: an empty list.
    """
    items = [closures] if callable(closures) else list(closures) if isinstance(closures, Sequence) else None
    if items is None or not all(callable(item) for item in items):
        raise InputTypeError(
            f"tuner.step takes a callable that computes the loss (or a list of them), not "
            f"{type(closures).__name__}: pass `lambda: loss_fn(model(x), y)`"
        )
    if not items:
        raise InputError("tuner.step got an empty list of closures: pass one per micro-batch of the step")
    return items
