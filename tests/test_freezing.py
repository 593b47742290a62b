"""HiDLR(..., freeze=): it measures, freezes, goes on, and resumes bit for bit."""

import io
import json

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import hidlr
from hidlr.history import GroupRecord, History, StepRecord
from support.traces import assert_equal


class Run:
    """A small network in fine groups, trained on batches that depend on the step alone."""

    def __init__(self, budget, *, by="tensor", engine=None, total=40, history=None):
        torch.manual_seed(0)
        self.model = nn.Sequential(
            nn.Linear(4, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 8), nn.Tanh(),
            nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2),
        ).double()  # fmt: skip
        self.optimizer = torch.optim.AdamW(hidlr.param_groups(self.model, by), lr=1e-3)
        self.tuner = hidlr.HiDLR(
            self.optimizer, total_steps=total, freeze=budget, engine=engine, overhead=1.0, history=history
        )

    def steps(self, first, last):
        records = []
        for step in range(first, last):
            generator = torch.Generator().manual_seed(step)
            x, y = torch.randn(32, 4, generator=generator).double(), torch.randint(2, (32,), generator=generator)
            loss_of = lambda x=x, y=y: nn.functional.cross_entropy(self.model(x), y)  # noqa: E731
            loss_of().backward()
            self.optimizer.step()
            records.append(self.tuner.step(loss_of))
            self.optimizer.zero_grad()
        return [record for record in records if record is not None]

    def trainable(self):
        return [name for name, p in self.model.named_parameters() if p.requires_grad]

    def checkpoint(self):
        file = io.BytesIO()
        state = {"model": self.model, "optimizer": self.optimizer, "tuner": self.tuner}
        torch.save({name: thing.state_dict() for name, thing in state.items()}, file)
        file.seek(0)
        return torch.load(file, weights_only=True)

    def load(self, state):
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.tuner.load_state_dict(state["tuner"])


FIXED = hidlr.engines.Fixed(every=1)


def test_it_freezes_once_and_says_so():
    run = Run(hidlr.Budget(0.2, after=5), engine=FIXED)
    records = run.steps(0, 10)
    (at,) = [record for record in records if record.frozen]
    assert at.step == 4
    expected = hidlr.select(hidlr.Influence.from_records(records[:5]), budget=0.2)
    assert at.frozen == run.tuner.selection.frozen == expected.frozen
    assert run.trainable() == list(expected.kept)
    assert expected.share <= 0.2
    assert set(run.optimizer.state) == {p for p in run.model.parameters() if p.requires_grad}


def test_training_goes_on_with_what_is_kept():
    run = Run(hidlr.Budget(0.2, after=5), engine=FIXED)
    run.steps(0, 5)
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    records = run.steps(5, 10)
    changed = [name for name, p in run.model.named_parameters() if not torch.equal(p, before[name])]
    assert changed == run.trainable()
    measured = {group.name for group in records[-1].groups if group.accepted or group.reason}
    assert measured <= set(run.trainable())


def test_the_default_engine_waits_until_every_group_was_measured():
    run = Run(hidlr.Budget(0.2, after=2), total=60)
    records = run.steps(0, 40)
    (at,) = [index for index, record in enumerate(records) if record.frozen]
    looked_at = lambda some: {  # noqa: E731
        group.name for record in some for group in record.groups if group.accepted or group.reason
    }
    assert len(looked_at(records[: at + 1])) == 10 > len(looked_at(records[:at]))
    assert torch.isfinite(next(run.model.parameters())).all()
    assert run.tuner.influence().sizes["0.weight"] == 64  # though frozen


@pytest.mark.parametrize("engine", [FIXED, None])
@pytest.mark.parametrize("stop", [2, 5, 12])
def test_resuming_is_bit_for_bit(stop, engine):
    whole = Run(hidlr.Budget(0.2, after=5), engine=engine)
    whole.steps(0, 20)
    first = Run(hidlr.Budget(0.2, after=5), engine=engine)
    first.steps(0, stop)
    state = first.checkpoint()
    second = Run(hidlr.Budget(0.2, after=5), engine=engine)
    second.load(state)
    second.steps(stop, 20)
    assert second.trainable() == whole.trainable()
    assert len(whole.trainable()) < 10
    assert_equal(second.model.state_dict(), whole.model.state_dict())
    assert_equal(second.tuner.state_dict(), whole.tuner.state_dict())
    assert second.tuner.selection == whole.tuner.selection


def test_an_earlier_checkpoint_thaws_again():
    run = Run(hidlr.Budget(0.2, after=5), engine=FIXED)
    run.steps(0, 3)
    state = run.checkpoint()
    run.steps(3, 8)
    assert len(run.trainable()) < 10
    run.load(state)
    assert len(run.trainable()) == 10
    assert run.tuner.selection is None
    run.steps(3, 8)
    assert len(run.trainable()) < 10


def test_thawed_groups_stay_thawed():
    run = Run(hidlr.Budget(0.2, after=5), engine=FIXED)
    run.steps(0, 6)
    run.tuner.selection.undo(run.model)
    run.steps(6, 8)
    assert len(run.trainable()) == 10
    again = Run(hidlr.Budget(0.2, after=5), engine=FIXED)
    again.load(run.checkpoint())
    assert len(again.trainable()) == 10


def test_constraints():
    run = Run(hidlr.Budget(0.9, after=3, always=("7.*",), never=("1.*",), rank="total"), engine=FIXED)
    run.steps(0, 5)
    assert {"7.weight", "7.bias"} <= set(run.trainable())
    assert not {"1.weight", "1.bias"} & set(run.trainable())


def test_the_record_is_read_back(tmp_path):
    history = History(tmp_path / "history.jsonl")
    run = Run(hidlr.Budget(0.2, after=5), engine=FIXED, history=history)
    try:
        run.steps(0, 7)
    finally:
        history.close()
    assert list(History.load(tmp_path / "history.jsonl")) == list(history)
    old = StepRecord(0, "", (GroupRecord("a", 1, 1.0, 1.0),)).to_json()
    data = json.loads(old)
    del data["frozen"]  # as earlier versions wrote it
    assert StepRecord.from_json(json.dumps(data)).frozen == ()


def test_where_nothing_can_be_chosen_training_goes_on():
    run = Run(hidlr.Budget(1e-9, after=2), engine=FIXED)
    with pytest.warns(hidlr.HidlrWarning, match="nothing was frozen after step 2, as no group fits"):
        run.steps(0, 5)
    assert len(run.trainable()) == 10


@pytest.mark.parametrize(
    ("make", "error", "named"),
    [
        (lambda: Run(0.01), hidlr.InputTypeError, "Budget"),
        (lambda: Run(hidlr.Budget(0.1, after=5, always=("heads",))), hidlr.InputError, "heads"),
        (lambda: hidlr.Budget(0, after=5), hidlr.InputError, "budget=0"),
        (lambda: hidlr.Budget(2.0, after=5), hidlr.InputError, r"budget=2\.0"),
        (lambda: hidlr.Budget(0.1, after=0), hidlr.InputError, "after=0"),
        (lambda: hidlr.Budget(0.1, after=2.5), hidlr.InputError, r"after=2\.5"),
        (lambda: hidlr.Budget(0.1, after=5, rank="x"), hidlr.InputError, "rank"),
    ],
)
def test_bad_input(make, error, named):
    with pytest.raises(error, match=named):
        make()


def test_states_that_do_not_fit():
    plain, frozen = Run(None, engine=FIXED), Run(hidlr.Budget(0.2, after=2), engine=FIXED)
    frozen.steps(0, 4)
    with pytest.raises(hidlr.StateError, match="with freeze="):
        plain.tuner.load_state_dict(frozen.tuner.state_dict())
    with pytest.raises(hidlr.StateError, match="without freeze="):
        frozen.tuner.load_state_dict(plain.tuner.state_dict())
    state = frozen.tuner.state_dict()
    with pytest.raises(hidlr.StateError, match="damaged"):
        frozen.tuner.load_state_dict({**state, "freeze": {"meter": 3}})
    assert len(frozen.trainable()) < 10


def test_ddp_is_refused():
    run = Run(hidlr.Budget(0.2, after=2), engine=FIXED)
    wrapped = DistributedDataParallel.__new__(DistributedDataParallel)  # without a process group
    nn.Module.__init__(wrapped)
    wrapped.module = run.model
    loss_of = lambda: wrapped.module(torch.ones(3, 4).double()).square().mean()  # noqa: E731
    for _ in range(2):
        loss_of().backward()
        run.optimizer.step()
        if run.tuner._taken == 2:
            with pytest.raises(hidlr.InputError, match="DistributedDataParallel"):
                run.tuner.step(loss_of)
        else:
            run.tuner.step(loss_of)
    assert len(run.trainable()) == 10
