"""Loggers: what a run's records become in each, read back from what the real writers wrote."""

import warnings

import pytest
import torch

import hidlr
from hidlr import GroupRecord, HidlrWarning, StepRecord
from hidlr.integrations import LoggingHistory
from hidlr.integrations.loggers import scalars
from support.models import mlp


def run(history, steps=6):
    """A few steps whose probes go to a history."""
    task = mlp()
    optimizer = torch.optim.AdamW(task.param_groups(1e-3))
    hidlr_run = hidlr.HiDLR(optimizer, total_steps=steps, every=2, history=history)
    for _ in range(steps):
        task.backward()
        optimizer.step()
        hidlr_run.step(task.closure)
    history.close()
    return list(history)


def expected(records):
    """Values by name and step, with the cost added up."""
    found, seconds, forwards = {}, 0.0, 0
    for record in records:
        seconds, forwards = seconds + record.seconds, forwards + record.forwards
        values = {**scalars(record), "hidlr/cost/seconds": seconds, "hidlr/cost/forwards": forwards}
        for name, value in values.items():
            found.setdefault(name, {})[record.step] = pytest.approx(value, rel=1e-6)
    assert {"hidlr/rate/first", "hidlr/rate/bias", "hidlr/loss"} <= set(found)
    assert any(name.startswith("hidlr/slope/") for name in found)
    assert any(name.startswith("hidlr/curvature/") for name in found)
    return found


class Kept:
    def __init__(self):
        self.found, self.closed = {}, False

    def log(self, values, step):
        for name, value in values.items():
            self.found.setdefault(name, {})[step] = value

    def close(self):
        self.closed = True


def test_any_object_with_two_methods_is_a_logger(tmp_path):
    logger = Kept()
    records = run(LoggingHistory(logger, tmp_path / "history.jsonl"))
    assert logger.found == expected(records)
    assert logger.closed
    assert len(hidlr.History.load(tmp_path / "history.jsonl")) == len(records)


def test_what_is_not_finite_is_left_out():
    group = GroupRecord("a", 1, 1e-3, 2e-3, slope=float("nan"))
    assert scalars(StepRecord(0, "x", (group,), losses=(float("inf"),))) == {"hidlr/rate/a": 2e-3, "hidlr/schedule": 1}


def test_a_logger_that_fails_is_reported_once_and_stops_nothing():
    class Down(Kept):
        def log(self, values, step):
            raise ConnectionError("no route to host")

    with pytest.warns(HidlrWarning, match="no route to host.*training goes on") as caught:
        records = run(LoggingHistory(Down()))
    assert len(records) > 2
    assert len(caught) == 1


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from hidlr.integrations import TensorBoardLogger

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of its protobuf
        records = run(LoggingHistory(TensorBoardLogger(tmp_path)))
        events = EventAccumulator(str(tmp_path))
        events.Reload()
    found = {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
    assert found == expected(records)


def test_a_tensorboard_writer_of_one_s_own_stays_open(tmp_path):
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    from hidlr.integrations import TensorBoardLogger

    writer = SummaryWriter(str(tmp_path))
    run(LoggingHistory(TensorBoardLogger(writer)))
    assert writer.file_writer is not None
    writer.add_scalar("mine", 1.0, 0)
    writer.close()


def wandb_records(data):
    """The records in a .wandb file: LevelDB's log format, after a header of seven bytes."""
    block, position, whole = 32768, 7, b""
    while position + 7 <= len(data):
        if block - position % block < 7:  # a block's last bytes hold no record
            position += block - position % block
            continue
        size, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        whole += data[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4):  # full, or the last of several
            yield whole
            whole = b""


@pytest.mark.filterwarnings("ignore")
def test_wandb_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    from hidlr.integrations import WandbLogger

    monkeypatch.setenv("WANDB_SILENT", "true")
    offline = wandb.init(project="hidlr-test", mode="offline", dir=str(tmp_path),
                         settings=wandb.Settings(console="off", x_disable_stats=True, x_disable_meta=True))  # fmt: skip
    records = run(LoggingHistory(WandbLogger(offline)))
    offline.finish()
    wandb.teardown()  # its other process has written all by then
    found = {}
    for data in wandb_records(next(tmp_path.rglob("*.wandb")).read_bytes()):
        entry = wandb_internal_pb2.Record()
        entry.ParseFromString(data)
        items = {item.key or "/".join(item.nested_key): item.value_json for item in entry.history.item}
        for name, value in items.items():
            if name.startswith("hidlr/") and name != "hidlr/step":
                found.setdefault(name, {})[int(items["hidlr/step"])] = float(value)
    assert found == expected(records)


@pytest.mark.filterwarnings("ignore")
def test_trackio_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    trackio = pytest.importorskip("trackio")
    from hidlr.integrations import TrackioLogger

    local = trackio.init(project="hidlr-test", name="one", embed=False)
    records = run(LoggingHistory(TrackioLogger(local)))
    trackio.finish()
    found = {}
    from trackio.sqlite_storage import SQLiteStorage

    for row in SQLiteStorage.get_logs("hidlr-test", "one"):
        for name, value in row.items():
            if name.startswith("hidlr/") and isinstance(value, int | float):
                found.setdefault(name, {})[row["step"]] = value
    assert found == expected(records)


@pytest.mark.filterwarnings("ignore")
def test_mlflow_in_a_local_file(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow = pytest.importorskip("mlflow")
    from hidlr.integrations import MLflowLogger

    mlflow.set_tracking_uri(tmp_path.as_uri())
    mlflow.set_experiment("hidlr-test")
    with mlflow.start_run() as active:
        records = run(LoggingHistory(MLflowLogger()))
    client = mlflow.MlflowClient()
    names = client.get_run(active.info.run_id).data.metrics
    found = {n: {m.step: m.value for m in client.get_metric_history(active.info.run_id, n)} for n in names}
    assert found == expected(records)


def test_names_that_mlflow_refuses(monkeypatch):
    pytest.importorskip("mlflow")
    from hidlr.integrations import MLflowLogger

    logger, seen = MLflowLogger("id"), []
    monkeypatch.setattr(logger._mlflow, "log_metrics", lambda values, step, run_id: seen.append((values, step, run_id)))
    logger.log({"hidlr/rate/head:weight_decay=0.0": 1.0}, 3)
    assert seen == [({"hidlr/rate/head_weight_decay_0.0": 1.0}, 3, "id")]
