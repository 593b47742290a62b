"""A run in progress: everything live that a step changes, and the step itself."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

import hidlr.groups
from hidlr.errors import InputError
from hidlr.history import StepRecord
from hidlr.training import optimizers
from hidlr.training.config import RunConfig
from hidlr.training.control import control_for
from hidlr.workloads import Batch, Workload, get

__all__ = ["Progress", "Session", "assemble", "seeded"]


@dataclass(frozen=True)
class Progress:
    """What one step did.

    Attributes:
        step: index of the step, from 0.
        steps: length of the run.
        loss: of the step's batch, before the step.
        rates: rate of each group for the next step, by name (lr).
        seconds: training time so far, probes included, evaluations and files not.
        probe_seconds: the probes' part of it.
        point: where `loss` was measured, for functions of two variables.
        record: what a probe found, if there was one.
        evaluation: metrics after the step, if it was time for them.
    """

    step: int
    steps: int
    loss: float
    rates: dict[str, float]
    seconds: float
    probe_seconds: float
    point: tuple[float, float] | None = None
    record: StepRecord | None = None
    evaluation: dict[str, float] = field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        """The step's entry in `metrics.jsonl`."""
        entry: dict[str, Any] = {
            "step": self.step,
            "loss": self.loss,
            "seconds": round(self.seconds, 6),
            "probe_seconds": round(self.probe_seconds, 6),
        }
        if self.point is not None:
            entry["point"] = list(self.point)
        if self.evaluation:
            entry["eval"] = self.evaluation
        return entry


class Session:
    """Model, optimizer and rate control of a resolved config, and how far they are.

    Attributes:
        config: the resolved settings.
        workload: what is trained.
        step: steps done.
        seconds: training time so far.
        cpu_seconds: the processor's part of it, over all threads.
        probe_seconds: the probes' part of it.
        diverged_at: the step whose loss was not finite, which ends a run; None while all is well.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.workload, self.model, self.optimizer = assemble(config)
        self._device = torch.device(config.device)
        self.control = control_for(config, self.optimizer)
        self.step = 0
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self.probe_seconds = 0.0
        self.diverged_at: int | None = None

    @property
    def finished(self) -> bool:
        """Whether no step is left to do."""
        return self.diverged_at is not None or self.step >= (self.config.steps or 0)

    def advance(self) -> Progress:
        """Do one step; a loss that is not finite ends the run, with the parameters as they were."""
        began, cpu_began = time.perf_counter(), time.process_time()
        step, record = self.step, None
        point = self.workload.point(self.model)
        batch: Batch = tuple(part.to(self._device) for part in self.workload.batch(step, self.config.seed))
        loss = self.workload.loss(self.model, batch)
        value = loss.item()
        if math.isfinite(value):
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            record = self.control.step(lambda: self.workload.loss(self.model, batch))
            self.optimizer.zero_grad()
        else:
            self.diverged_at = step
        self.step += 1
        self.seconds += time.perf_counter() - began
        self.cpu_seconds += time.process_time() - cpu_began
        self.probe_seconds += record.seconds if record is not None else 0.0
        due = self.finished or self.step % (self.config.eval_every or 1) == 0
        return Progress(
            step=step,
            steps=self.config.steps or 0,
            loss=value,
            rates=dict(self.control.rates),
            seconds=self.seconds,
            probe_seconds=self.probe_seconds,
            point=point,
            record=record,
            evaluation=self.workload.evaluate(self.model) if due else {},
        )

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on; loads under `torch.load(weights_only=True)`."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "probe_seconds": self.probe_seconds,
            "diverged_at": self.diverged_at,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "control": self.control.state_dict(),
            "rng": {"cpu": torch.get_rng_state(), "cuda": [*_cuda_states()]},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        # After the optimizer's: it may write the rates, which the optimizer's state holds too.
        self.control.load_state_dict(state["control"])
        self.step = int(state["step"])
        self.seconds = float(state["seconds"])
        self.cpu_seconds = float(state["cpu_seconds"])
        self.probe_seconds = float(state["probe_seconds"])
        self.diverged_at = state["diverged_at"]
        torch.set_rng_state(state["rng"]["cpu"])
        if state["rng"]["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["rng"]["cuda"])


def assemble(config: RunConfig) -> tuple[Workload, nn.Module, torch.optim.Optimizer]:
    """The workload, model and base optimizer of a resolved config, before any step.

    Raises:
        InputError: an unknown name, groups that do not fit the model, or an unusable device.
        MissingExtraError: a package is absent.
    """
    assert config.groups is not None
    assert config.optimizer is not None
    workload = get(config.workload)
    model = workload.build(config.seed).to(_device(config.device))
    optimizer = optimizers.build(
        config.optimizer,
        hidlr.groups.param_groups(model, workload.groupings.get(config.groups, config.groups)),
        lr=config.start_rate if config.rate == "auto" else config.rate,
        weight_decay=workload.defaults.weight_decay,
    )
    return workload, model, optimizer


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run with torch's random state set by a seed, and the caller's given back after."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used ({reason}); use 'cpu', or leave it out.") from error
    return device


def _cuda_states() -> list[torch.Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
