"""A run stopped anywhere and resumed is the run that was never stopped."""

import json
import pickle
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hidlr.errors import StateError
from hidlr.training import Interrupted, Progress, RunConfig, train
from hidlr.workloads.diabetes import Diabetes

CONFIGS = [
    RunConfig("digits", steps=12, checkpoint_every=5),
    RunConfig("digits", steps=6, rate=3e-3, warmup=0.3, optimizer="momentum", checkpoint_every=2),
    RunConfig("diabetes", steps=40, checkpoint_every=7, seed=5),
    RunConfig("diabetes", steps=30, engine="paper", groups="all"),
    RunConfig("ellipse", steps=60),
    RunConfig("rosenbrock", steps=30, optimizer="adam", schedule="cosine", checkpoint_every=1),
]

Read = Callable[[Path], dict[str, Any]]
StopAt = Callable[[int], Callable[[Progress], None]]


def run_in_parts(config: RunConfig, out: Path, stops: list[int], stop_at: StopAt) -> None:
    for number, stop in enumerate(sorted(stops)):
        with pytest.raises(Interrupted) as stopped:
            train(config, out, on_step=stop_at(stop), resume=number > 0)
        assert (stopped.value.step, stopped.value.path) == (stop, out)
    train(config, out, resume=True)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.workload}-{c.rate}-{c.engine}")
def test_resumed_run_is_the_same(config: RunConfig, tmp_path: Path, contents: Read, stop_at: StopAt) -> None:
    train(config, tmp_path / "whole")
    stops = torch.randperm(config.steps or 0)[:3].add(1).tolist()
    run_in_parts(config, tmp_path / "parts", stops, stop_at)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


@settings(max_examples=8)
@given(stops=st.sets(st.integers(1, 20), min_size=1, max_size=4))
def test_any_stops(stops: set[int], tmp_path_factory: pytest.TempPathFactory, contents: Read, stop_at: StopAt) -> None:
    tmp_path = tmp_path_factory.mktemp("stops")
    config = RunConfig("beale", steps=20, checkpoint_every=3)
    train(config, tmp_path / "whole")
    run_in_parts(config, tmp_path / "parts", list(stops), stop_at)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_killed_between_checkpoints(tmp_path: Path, contents: Read) -> None:
    """Whatever was written after the checkpoint is cut off, part of a line too."""
    config = RunConfig("diabetes", steps=20, checkpoint_every=6)
    train(config, tmp_path / "whole")

    class KilledError(Exception):
        pass

    def die(progress: Progress) -> None:
        if progress.step == 15:
            raise KilledError

    with pytest.raises(KilledError):
        train(config, tmp_path / "parts", on_step=die)
    with (tmp_path / "parts" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 16, "lo')
    train(config, tmp_path / "parts", resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_finished_run_resumes_to_its_result(tmp_path: Path) -> None:
    config = RunConfig("ellipse", steps=20)
    first = train(config, tmp_path / "run")
    stamp = (tmp_path / "run" / "result.json").stat().st_mtime_ns
    again = train(config, tmp_path / "run", resume=True)
    assert again.final == first.final
    assert again.influence == first.influence
    assert str(again.summary) == str(first.summary)
    assert (tmp_path / "run" / "result.json").stat().st_mtime_ns == stamp


def test_lost_result_is_written_again(tmp_path: Path) -> None:
    config = RunConfig("ellipse", steps=20)
    train(config, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    train(config, tmp_path / "run", resume=True)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["steps"] == 20


def test_other_settings_are_listed(tmp_path: Path) -> None:
    config = RunConfig("ellipse", steps=20)
    train(config, tmp_path / "run")
    with pytest.raises(StateError, match=r"steps: 30 here, 20 there; seed: 1 here, 0 there"):
        train(replace(config, steps=30, seed=1, eval_every=1), tmp_path / "run", resume=True)


def _overwrite(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _garbage(path: Path) -> None:
    path.write_bytes(b"\x80\xff not what was here" * 2000)


def _other_pickle(path: Path) -> None:
    if path.suffix == ".pt":
        torch.save({"something": "else"}, path)
    else:
        path.write_bytes(b"[1, 2]\n" * 2000)


@pytest.mark.parametrize("damage", [_overwrite, _cut, _empty, _garbage, _other_pickle, Path.unlink])
@pytest.mark.parametrize("name", ["checkpoint.pt", "metrics.jsonl", "history.jsonl", "run.json"])
def test_damage_is_named_and_nothing_is_changed(
    name: str, damage: Callable[[Path], None], tmp_path: Path, stop_at: StopAt
) -> None:
    config, run = RunConfig("ellipse", steps=40), tmp_path / "run"
    with pytest.raises(Interrupted):
        train(config, run, on_step=stop_at(30))
    damage(run / name)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with pytest.raises(StateError, match=name.replace(".", r"\.")) as error:
        train(config, run, resume=True)
    assert any(remedy in str(error.value) for remedy in ("new folder", "name the folder of a run"))
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_checkpoint_of_another_run(tmp_path: Path, stop_at: StopAt) -> None:
    config = RunConfig("ellipse", steps=40)
    for number, other in enumerate((config, RunConfig("diabetes", steps=40))):
        with pytest.raises(Interrupted):
            train(other, tmp_path / str(number), on_step=stop_at(30))
    shutil.copy(tmp_path / "1" / "checkpoint.pt", tmp_path / "0" / "checkpoint.pt")
    with pytest.raises(StateError, match=r"checkpoint\.pt|jsonl"):
        train(config, tmp_path / "0", resume=True)


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"there is no .*run\.json"):
        train(RunConfig("ellipse"), tmp_path / "nowhere", resume=True)
    assert not (tmp_path / "nowhere").exists()


class TestSignals:
    """Ctrl-C inside of a step, pressed by the loss."""

    @pytest.fixture(autouse=True)
    def press(self, monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
        """How often to press Ctrl-C at the how-manieth loss."""
        presses: dict[int, int] = {}
        seen = [0]
        real = Diabetes.loss

        def loss(self: Diabetes, model: torch.nn.Module, batch: Any) -> torch.Tensor:
            seen[0] += 1
            for _ in range(presses.get(seen[0], 0)):
                signal.raise_signal(signal.SIGINT)
            return real(self, model, batch)

        monkeypatch.setattr(Diabetes, "loss", loss)
        return presses

    @pytest.mark.parametrize(("times", "saved"), [(1, True), (2, False)])
    def test_first_one_waits_and_second_one_does_not(
        self, times: int, saved: bool, press: dict[int, int], tmp_path: Path, contents: Read
    ) -> None:
        config = RunConfig("diabetes", rate=1e-3, steps=20, checkpoint_every=4)
        train(config, tmp_path / "whole")
        press[28] = times  # step 7 of the second run
        with pytest.raises(Interrupted) as stopped:
            train(config, tmp_path / "parts")
        assert (stopped.value.path is not None) == saved
        assert stopped.value.step == 7 + saved
        train(config, tmp_path / "parts", resume=True)
        assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_after_the_last_step(self, press: dict[int, int], tmp_path: Path) -> None:
        press[5] = 1
        with pytest.raises(Interrupted, match="stopped after step 5 of 5"):
            train(RunConfig("diabetes", rate=1e-3, steps=5), tmp_path / "run")
        assert train(RunConfig("diabetes", rate=1e-3, steps=5), tmp_path / "run", resume=True).steps == 5

    def test_trains_in_a_thread(self) -> None:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(train, RunConfig("diabetes", steps=2)).result().steps == 2


def test_interruption_survives_a_process_boundary() -> None:
    stop = pickle.loads(pickle.dumps(Interrupted(3, 9, Path("run"))))
    assert (stop.step, stop.steps, stop.path) == (3, 9, Path("run"))
