"""The controller: beside an untouched optimizer, in the slot of ``scheduler.step()``."""

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from hidlr.compatibility import check_dense, check_groups, check_optimizer, momentum_of, unwrapped, writes_gradients
from hidlr.displacement import Displacement, Trail
from hidlr.engines import Calibrated, Decision, Engine, Estimator, LookBack, Paper, RandomEstimator, StepView
from hidlr.errors import HidlrWarning, InputError, StateError
from hidlr.freezing import Freezer, restored
from hidlr.history import GroupRecord, History, StepRecord
from hidlr.influence import Influence, members_of
from hidlr.probe import Closure, Probe
from hidlr.reduction import Group, Ranks
from hidlr.reports import Summary, summary
from hidlr.schedules import Composed, Horizon, own_rates, read_rate, write_rate
from hidlr.selection import Budget, Selection
from hidlr.state import TunerState, loaded_trail, saved_trail

__all__ = ["HiDLR"]

_COARSE = 1e-4  # rounding of a loss, relative: float16 and bfloat16 lie above


class HiDLR:
    """Sets the rate of every parameter group from the loss's curvature along the optimizer's own steps.

    Call `step` after ``optimizer.step()``. On due steps it measures the loss at a few points along the
    step just taken, chooses rates, and places the parameters where the step would have led at those
    rates; on all others it only moves the schedule on. The base optimizer steps exactly once.

    Args:
        optimizer: any torch optimizer whose step is linear in ``lr``; its rates are only a start.
        total_steps: number of optimizer steps of the run. None: the end is unknown, rates are constant.
        schedule: factor on the tuned rates: "linear" (to 0), "cosine", "constant", or a callable of
            progress in [0, 1].
        scheduler: a torch LR scheduler to compose with instead; go on stepping it yourself.
        overhead: share of the training's compute that probing may add.
        every: fixes the period of probes instead (optimizer steps).
        engine: the rule; None is `engines.Calibrated`.
        history: where records go; None keeps them in memory.
        process_group: the ranks that decide together, each with its part of the batch; None is all of them once
            torch.distributed is initialised, False this process alone.
        freeze: `Budget(0.01, after=50)` freezes all but the groups that matter most at the first probe after so many
            steps by which every group was measured.

    Raises:
        InputTypeError: not an optimizer, or one that cannot be tuned (`UnsupportedOptimizerError`).
        InputError: a value out of its range, groups that share a parameter, a negative rate.

    Attributes:
        history: one `StepRecord` per probe.

    Example:
        >>> model = torch.nn.Linear(3, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        >>> tuner = HiDLR(optimizer, total_steps=20)
        >>> x, y = torch.randn(64, 3), torch.ones(64, 1)
        >>> for _ in range(20):
        ...     loss = ((model(x) - y) ** 2).mean()
        ...     loss.backward()
        ...     optimizer.step()
        ...     record = tuner.step(lambda: ((model(x) - y) ** 2).mean())
        ...     optimizer.zero_grad()
        >>> bool(loss < 0.1)
        True
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        total_steps: int | None = None,
        schedule: str | Callable[[float], float] = "linear",
        scheduler: Any = None,
        overhead: float = 0.1,
        every: int | None = None,
        engine: Engine | None = None,
        history: History | None = None,
        process_group: Group = None,
        freeze: Budget | None = None,
    ) -> None:
        self._ranks = Ranks(process_group)
        self._optimizer = check_optimizer(optimizer)
        self._names = check_groups(self._optimizer)
        own_rates(self._optimizer.param_groups)
        self._ranks.check(p for group in self._optimizer.param_groups for p in group["params"])
        horizon = Horizon(schedule, total_steps)
        self._schedule: Horizon | Composed = horizon if scheduler is None else Composed(scheduler, self._optimizer)
        self._engine = engine or Calibrated(self._names, overhead=overhead, total_steps=total_steps, every=every)
        self.history = History() if history is None else history
        self._freezer = None if freeze is None else Freezer(freeze, self._names)
        self._tuned = [read_rate(group) for group in self._optimizer.param_groups]
        self._written = list(self._tuned)
        self._taken = 0  # base steps so far
        self._counts = True  # whether the step under way is one of training
        self._seen = 0  # of them, those that `step` has dealt with
        self._displacement: Displacement | None = None
        self._positions: list[list[int]] = []  # of the displacement's parameters in their groups
        self._trail: Trail | None = None  # where probed steps began, on average, if the engine looks back
        self._back: tuple[Trail, float] | None = None  # the same for the step under way, and the slope of the way
        self._slopes: list[float] = []
        self._step_rates: list[float] = []
        self._step_factor = self._step_ahead = 1.0
        self._modules: WeakSet[nn.Module] = WeakSet()
        self._differentiates = False  # whether the step under way runs a closure with a backward pass
        self._writes_gradients = False  # whether base steps write to the gradients, so that copies must be kept
        self._compared = False  # whether the ranks' parameters were compared
        self._repeated = False  # whether the base point was measured twice already
        self._disagreement = 0.0
        self._bad_in_a_row = 0
        self._warned: set[str] = set()
        self._hooks = [
            self._optimizer.register_step_pre_hook(self._before_step),
            self._optimizer.register_step_post_hook(self._after_step),
        ]
        if isinstance(self._schedule, Horizon):
            self._write_horizon(0)  # a callable schedule need not start at 1

    @classmethod
    def paper(
        cls,
        optimizer: Optimizer,
        *,
        every: int | None = None,
        total_steps: int | None = None,
        schedule: str | Callable[[float], float] = "linear",
        scheduler: Any = None,
        estimator: Estimator | None = None,
        min_r2: float = 0.99,
        clip: float = 2.0,
        smoothing: float = 0.9,
        seed: int = 0,
        history: History | None = None,
        process_group: Group = None,
    ) -> "HiDLR":
        """Algorithm 1 of arXiv 2501.06954 as published; with one group, GeN (arXiv 2407.02772).

        Args:
            optimizer: as for the class.
            every: Phi (optimizer steps); None is 10 K.
            total_steps: as for the class.
            schedule: the horizon factor that multiplies the result.
            scheduler: as for the class.
            estimator: what to measure; None is the paper's 4K random points, `engines.FullEstimator`
                the full K x K solve (2.4).
            min_r2: fits that explain less of the losses are refused.
            clip: largest factor between a target and the current rate.
            smoothing: weight of the old rate in the new.
            seed: of the random points.
            history: as for the class.
            process_group: as for the class.
        """
        optimizer = check_optimizer(optimizer)
        engine = Paper(
            len(optimizer.param_groups),
            every=every,
            estimator=estimator or RandomEstimator(seed=seed),
            min_r2=min_r2,
            clip=clip,
            smoothing=smoothing,
        )
        return cls(
            optimizer,
            total_steps=total_steps,
            schedule=schedule,
            scheduler=scheduler,
            engine=engine,
            history=history,
            process_group=process_group,
        )

    # -- what users read ------------------------------------------------------------------------

    @property
    def due(self) -> bool:
        """Whether the next optimizer step will be measured."""
        return self._engine.due(self._taken)

    @property
    def rates(self) -> dict[str, float]:
        """The rate of each group that the next optimizer step will use (units of ``lr``), by name."""
        return {name: read_rate(group) for name, group in zip(self._names, self._groups(), strict=True)}

    def influence(self) -> Influence:
        """Influence of each group, from the probes so far."""
        return replace(Influence.from_records(self.history), members=members_of(self._groups()))

    @property
    def selection(self) -> Selection | None:
        """What ``freeze=`` has chosen; None before, or without it."""
        return None if self._freezer is None else self._freezer.selection

    def summary(self) -> Summary:
        """A table of groups: size, rate, slope, curvature, per-parameter influence; print it.

        Rates are the tuned ones, before the schedule's factor: at the end of a decay all others are near 0.
        """
        tuned = dict(zip(self._names, self._peaks(), strict=True))
        return summary(self.history, rates=tuned, sizes=dict(zip(self._names, self._sizes(), strict=True)))

    # -- the algorithm --------------------------------------------------------------------------

    def step(self, closure: Closure | Sequence[Closure], *, clipped: float = 1.0) -> StepRecord | None:
        """Measure the step just taken if it is due, choose rates, place it there, record.

        Args:
            closure: computes the loss of the step's own batch, as it was before ``backward()``, forward
                only; a list with one per micro-batch under gradient accumulation, whose losses add up.
            clipped: what clipping by norm multiplied the gradients with, ``min(1, max_norm / norm)``; the slopes
                are of the loss, not of the clipped gradients. Left out, the first step tells whether they can be
                trusted.

        Returns:
            The record of the probe; None if the step was not due, or no step was taken at all.

        Raises:
            ClosureError: the closure runs a backward pass.
            InputTypeError: it returns no tensor.
            InputError: it returns more than one number, or ``clipped`` is not in (0, 1].
            Exception: whatever the closure raises; all is then as the base step left it. If it raises on one
                rank of several, the others raise a ClosureError.
        """
        if not 0 < clipped <= 1:
            raise InputError(
                f"clipped={clipped}: give what the gradients were multiplied with, min(1, max_norm / norm)"
            )
        if self._taken == self._seen:
            return None  # no step happened: GradScaler skipped it, or accumulation is not complete
        step = self._taken - 1
        self._seen = self._taken
        displacement, self._displacement = self._displacement, None
        record = None
        if displacement is not None:
            record = self._probe(step, displacement, closure, clipped)
            self._back = None
        if isinstance(self._schedule, Horizon):
            self._write_horizon(self._taken)
        if record is not None:
            if self._freezer is not None:
                frozen = self._freezer.watch(self._taken, record, self._optimizer, self._modules)
                record = replace(record, frozen=frozen)
            self._keep(record)
        return record

    def _probe(
        self, step: int, displacement: Displacement, closure: Closure | Sequence[Closure], clipped: float
    ) -> StepRecord:
        started = time.perf_counter()
        self._settle(step, clipped)
        parameters = [parameter for group in self._groups() for parameter in _trainable(group)]
        with Probe(displacement, closure, parameters, self._modules, self._ranks) as probe:
            base = self._measure_base(probe)
            view = self._view(step, base, probe)
            if math.isfinite(base) or view.back is not None:
                decision = self._engine.decide(view, probe.measure)
            else:
                decision = Decision(view.rates, "refused", note=f"the loss is {base}")
            ratios = _ratios(decision.rates, view.rates)
            if decision.returns and self._back is not None:
                self._trail = self._back[0]
                displacement.place_back(self._trail, 0.0)
            else:
                self._trail = self._followed(displacement, step) if math.isfinite(base) else None
                displacement.place(ratios)
        if decision.forgets:
            self._start_anew(displacement.parameters)
            self._warn(
                "explosion",
                "the loss exploded: parameters are back at their average over the last steps, the optimizer begins "
                "anew, and rates are halved (phase 'guard' in the history). Training goes on.",
            )
        self._engine.spend(step, len(probe.points) + probe.looks_back)
        self._apply(ratios)
        self._watch(base)
        return _record(view, decision, ratios, probe, time.perf_counter() - started)

    def _start_anew(self, groups: Sequence[Sequence[Tensor]]) -> None:
        """Forget what an explosion left in the optimizer's averages and in BatchNorm's."""
        for parameter in (parameter for group in groups for parameter in group):
            unwrapped(self._optimizer).state.pop(parameter, None)
        for module in {own for root in self._modules for own in root.modules()}:
            reset = getattr(module, "reset_running_stats", None)
            if callable(reset) and not all(bool(own.isfinite().all()) for own in module.buffers(recurse=False)):
                reset()

    def _followed(self, displacement: Displacement, step: int) -> Trail | None:
        weight = self._engine.looks_back
        if not weight:
            return None
        start = displacement.trail(self._positions, step)
        return start if self._back is None else self._back[0].follow(start, weight)

    def _settle(self, step: int, clipped: float) -> None:
        """Slopes are of the loss, unclipped, and sums over ranks, which must all be at the same step."""
        same = {
            "the number of steps taken": float(step),
            "the parameters that moved": float(self._back is not None),
            "clipped= (give the norm over all ranks)": clipped,
        }
        same |= {f"the rate of group {name!r}": rate for name, rate in zip(self._names, self._step_rates, strict=True)}
        if not self._compared:
            parameters = [parameter for own in self._parameters() for parameter in own]
            same |= self._ranks.compare(dict(zip(self._names, self._sizes(), strict=True)), parameters)
            self._compared = True
        trail, back = (None, math.nan) if self._back is None else self._back
        *self._slopes, back = (slope / clipped for slope in self._ranks.settle([*self._slopes, back], same))
        self._back = None if trail is None else (trail, back)

    def _measure_base(self, probe: Probe) -> float:
        start = (0.0,) * len(self._names)
        (base,) = probe.measure([start])
        if probe.rounding > _COARSE:
            self._warn(
                "coarse loss",
                f"the closure's loss is {probe.dtype}, too coarse to show what a step changes: compute it in float32, "
                "e.g. loss_fn(model(x).float(), y); the model may stay as it is.",
            )
        if not self._repeated and math.isfinite(base):
            (again,) = probe.measure([start])
            if not math.isfinite(again):
                return again
            self._repeated = True
            self._disagreement = abs(again - base)
            if self._disagreement > 100 * probe.noise(base):
                self._warn(
                    "random closure",
                    f"the closure is not repeatable: {base:.6g}, then {again:.6g} for the same parameters. hidlr sets "
                    "back torch's, numpy's and Python's random states, so look for dropout or sampling with a "
                    "generator of its own, a closure that draws a new batch (use the step's own), or state that "
                    "the forward pass changes.",
                )
        return base

    def _view(self, step: int, base: float, probe: Probe) -> StepView:
        factor = self._step_factor
        rates = torch.tensor(self._step_rates, dtype=torch.float64)
        memories = [momentum_of(group) for group in self._groups()]
        return StepView(
            step=step,
            names=tuple(self._names),
            rates=rates,
            tuned=torch.tensor(self._peaks(), dtype=torch.float64) if factor > 0 else rates,
            slopes=torch.tensor(self._slopes, dtype=torch.float64),
            sizes=tuple(self._sizes()),
            factor=factor,
            ahead=self._step_ahead,
            base=base,
            noise=max(probe.noise(base), self._disagreement),
            momentum=max(share for share, _ in memories),
            build_up=max(growth for _, growth in memories),
            back=None if self._back is None else LookBack(self._back[1], partial(probe.measure_back, self._back[0])),
        )

    def _apply(self, ratios: list[float]) -> None:
        for index, (group, ratio) in enumerate(zip(self._groups(), ratios, strict=True)):
            if ratio != 1.0:
                self._tuned[index] *= ratio
                self._schedule.scale(index, group, ratio)

    def _write_horizon(self, step: int) -> None:
        factor = self._schedule.factor(step)
        for index, group in enumerate(self._groups()):
            write_rate(group, self._tuned[index] * factor)
            self._written[index] = read_rate(group)

    # -- around the base step -------------------------------------------------------------------

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._displacement = None
        self._counts = not self._muted()
        if not self._counts:
            return
        self._adopt_foreign_rates()
        if not self._engine.due(self._taken):
            return
        # args begins with the optimizer itself; a closure is what else may come (Accelerate passes None).
        differentiates = (args[1] if len(args) > 1 else kwargs.get("closure")) is not None
        self._positions = [_positions(group, differentiates) for group in self._groups()]
        groups = [
            [group["params"][position] for position in own]
            for group, own in zip(self._groups(), self._positions, strict=True)
        ]
        self._step_rates = [read_rate(group) for group in self._groups()]
        # Now, while the rates are the step's: a scheduler may be stepped before `step`.
        self._step_factor = self._schedule.factor(self._taken)
        self._step_ahead = self._schedule.ahead(self._taken)
        for parameters in groups:
            check_dense(parameters)
        trail, self._trail, self._back = self._trail, None, None
        if trail is not None and trail.fits(self._positions, groups):
            # Now, while the gradients are those of the step's start; a fused step undoes GradScaler's factor itself.
            scale = getattr(optimizer, "grad_scale", None)
            slope = math.nan if differentiates else trail.slope(groups, self._ranks)
            self._back = trail, slope if scale is None else slope / float(scale)
        self._differentiates = differentiates
        # A closure writes the gradients itself: those of before are no use, and that they changed says nothing.
        self._displacement = Displacement(groups, keep_gradients=self._writes_gradients and not differentiates)

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        found_inf = getattr(optimizer, "found_inf", None)
        if found_inf is not None and bool(found_inf):
            # GradScaler calls fused optimizers even then; the kernel skips the step by itself.
            self._displacement = None
            return
        if not self._counts:
            return
        if isinstance(self._schedule, Horizon):
            self._schedule.taken(self._taken)
        self._taken += 1
        if self._displacement is not None:
            # Now, while the gradients are there: users may clear them before `step`.
            self._slopes = self._displacement.slopes(self._ranks)
            watched = not (self._writes_gradients or self._differentiates)
            if watched and writes_gradients(optimizer) and self._displacement.gradients_written:
                # Slopes with what is left of them would be wrong, even in sign.
                self._writes_gradients = True
                self._slopes = [math.nan] * len(self._slopes)

    def _muted(self) -> bool:
        """Whether other code set every rate to 0: torch.distributed.checkpoint does, and steps, to make state."""
        rates = [read_rate(group) for group in self._groups()]
        return isinstance(self._schedule, Horizon) and not any(rates) and any(self._written)

    def _adopt_foreign_rates(self) -> None:
        """Someone else wrote a rate since we did: take it as the start of what follows, and say so."""
        if isinstance(self._schedule, Composed):
            return
        factor = self._schedule.factor(self._taken)
        for index, group in enumerate(self._groups()):
            rate = read_rate(group)
            if rate != self._written[index]:
                self._tuned[index] = rate / factor if factor > 0 else rate
                self._written[index] = rate
                if self._taken > 0:
                    self._warn(
                        "foreign rate",
                        f"group {self._names[index]!r}: lr was changed to {rate:.3g} by other code. If a torch "
                        "scheduler does it, pass it as HiDLR(..., scheduler=scheduler).",
                    )

    def _groups(self) -> list[dict[str, Any]]:
        # Read anew each time: Accelerate and FSDP2 replace groups and parameters.
        groups = self._optimizer.param_groups
        if len(groups) != len(self._names):
            raise InputError(
                f"the optimizer has {len(groups)} groups, HiDLR was built with {len(self._names)}: add groups "
                "(add_param_group) before building HiDLR"
            )
        return groups

    def _parameters(self) -> list[list[Tensor]]:
        return [list(group["params"]) for group in self._groups()]

    def _peaks(self) -> list[float]:
        """The tuned rates, before the schedule's factor."""
        if isinstance(self._schedule, Composed):
            return [self._schedule.peak(group) for group in self._groups()]
        return list(self._tuned)

    def _sizes(self) -> list[int]:
        return [sum(p.numel() for p in _trainable(group)) for group in self._groups()]

    # -- words of warning -----------------------------------------------------------------------

    def _watch(self, base: float) -> None:
        self._bad_in_a_row = 0 if math.isfinite(base) else self._bad_in_a_row + 1
        if self._bad_in_a_row == 3:
            warnings.warn(
                f"the loss was {base} at three probes in a row: the rates are kept, but the run may have diverged "
                "before hidlr could act. Look at the data, the loss and the starting rate.",
                HidlrWarning,
                stacklevel=4,
            )

    def _warn(self, kind: str, message: str, level: int = 5) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, HidlrWarning, stacklevel=level)

    def _keep(self, record: StepRecord) -> None:
        try:
            self.history.append(record)
        except OSError as error:
            self._warn("history", f"records cannot be written ({error}); training goes on, they stay in memory", 4)

    # -- state ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers keyed by group name, to continue bit for bit; the history is not in it.

        Safe under ``torch.load(weights_only=True)``. While the engine looks back (the default one does in
        the first part of a run) it also holds the parameters as they were at the last probe.
        """
        return TunerState(
            taken=self._taken,
            tuned=dict(zip(self._names, self._tuned, strict=True)),
            written=dict(zip(self._names, self._written, strict=True)),
            repeated=self._repeated,
            disagreement=self._disagreement,
            bad_in_a_row=self._bad_in_a_row,
            engine={"kind": type(self._engine).__name__, "state": self._engine.state_dict()},
            writes_gradients=self._writes_gradients,
            trail=None if self._trail is None else saved_trail(self._trail, self._names, self._parameters()),
            freeze=None if self._freezer is None else self._freezer.state_dict(self._optimizer),
        ).to_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`; load the optimizer's (and scheduler's) state as well.

        Raises:
            StateError: the state is damaged, of other groups or of another engine; nothing is changed.
        """
        saved = TunerState.from_dict(state, self._names, type(self._engine).__name__)
        trail = None if saved.trail is None else loaded_trail(saved.trail, self._names, self._parameters())
        before = self._engine.state_dict()
        freezer = restored(self._freezer, saved.freeze)
        try:
            self._engine.load_state_dict(saved.engine)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._engine.load_state_dict(before)
            raise StateError(f"the engine's state is damaged ({error!r}): load an earlier checkpoint") from error
        self._tuned = [saved.tuned[name] for name in self._names]
        self._written = [saved.written[name] for name in self._names]
        self._taken, self._repeated = saved.taken, saved.repeated
        self._writes_gradients = saved.writes_gradients
        self._disagreement, self._bad_in_a_row = saved.disagreement, saved.bad_in_a_row
        self._seen = self._taken
        self._displacement = self._back = None
        self._trail = trail
        if freezer is not None:
            freezer.enforce(self._optimizer, instead_of=self._freezer)
        self._freezer = freezer
        if isinstance(self._schedule, Horizon):
            self._write_horizon(self._taken)

    def detach(self) -> None:
        """Remove the hooks: the optimizer is as it was before, at its present rates."""
        for hook in self._hooks:
            hook.remove()


def _trainable(group: Mapping[str, Any]) -> list[Tensor]:
    return [parameter for parameter in group["params"] if parameter.requires_grad]


def _positions(group: Mapping[str, Any], all_of_them: bool) -> list[int]:
    """Where in its group each parameter stands that a step moves; one listed twice is moved once."""
    first: dict[int, int] = {}
    for position, parameter in enumerate(group["params"]):
        if parameter.requires_grad and (all_of_them or parameter.grad is not None):
            first.setdefault(id(parameter), position)
    return list(first.values())


def _ratios(after: Tensor, before: Tensor) -> list[float]:
    """xi at which to place each group; groups at rate 0 and refused numbers stay."""
    changed = (before > 0) & after.isfinite() & (after > 0) & ((after - before).abs() > 1e-6 * before)
    ratios = torch.where(changed, after / before, 1.0)
    result: list[float] = ratios.tolist()
    return result


def _record(view: StepView, decision: Decision, ratios: list[float], probe: Probe, seconds: float) -> StepRecord:
    before: list[float] = view.rates.tolist()
    after = [rate * ratio for rate, ratio in zip(before, ratios, strict=True)]
    groups = [
        GroupRecord.of(name, view.sizes[k], before[k], after[k], decision.findings.get(k))
        for k, name in enumerate(view.names)
    ]
    return StepRecord(
        step=view.step,
        phase=decision.phase,
        groups=tuple(groups),
        points=tuple(probe.points),
        losses=tuple(probe.losses),
        forwards=probe.forwards,
        seconds=seconds,
        factor=view.factor,
        note=decision.note,
    )
