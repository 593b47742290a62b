"""`hidlr finetune` from the command line: a small model, three kinds of files, and what goes wrong."""

import json
import math

import pytest
import torch

import hidlr
from hidlr.cli import main
from hidlr.reports.load import load_run
from support.pretrained import reviews, save_tiny_bert, write_jsonl, write_tsv

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_bert(tmp_path_factory.mktemp("pretrained") / "model")


@pytest.fixture
def task(tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # This model starts on a plateau, where a start far too low finds no minimum to calibrate with.
    monkeypatch.setattr("hidlr.finetuning.run._START", 1e-3)
    write_tsv(tmp_path / "train.tsv", reviews(240, 0))
    write_tsv(tmp_path / "dev.tsv", reviews(60, 1))
    return ["finetune", "--model", str(model), "--train", "train.tsv", "--dev", "dev.tsv", "--quiet"]


def judged(folder, rows):
    """Accuracy of a saved model by hand."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        said = loaded(**tokenizer([text for text, _ in rows], padding=True, return_tensors="pt")).logits.argmax(1)
    return sum(loaded.config.id2label[int(n)] == label for n, (_, label) in zip(said, rows, strict=True)) / len(rows)


def test_full(task, tmp_path, capsys):
    assert main([*task, "--epochs", "4", "--out", "run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["steps"] == 60
    assert found["final"]["dev_accuracy"] > 0.9
    assert found["labels"] == ["neg", "pos"]
    assert len(found["rates"]) > 1
    assert all(rate not in (0.0, 1e-3) for rate in found["rates"].values())  # none was left where it started
    assert judged(tmp_path / "run" / "model", reviews(60, 1)) == pytest.approx(found["final"]["dev_accuracy"])


def test_the_folder_is_a_run_s(task, tmp_path, capsys):
    assert main([*task, "--steps", "25", "--out", "run"]) == 0
    data = load_run(tmp_path / "run")
    assert len(data.metrics) == 25
    assert sum(bool(metric.evals) for metric in data.metrics) == 5
    assert all(math.isfinite(metric.loss) for metric in data.metrics)
    assert data.metrics[-1].probe_seconds == pytest.approx(sum(record.seconds for record in data.records), rel=1e-3)
    assert data.metrics[-1].seconds > data.metrics[-1].probe_seconds > 0
    assert data.result.final.keys() == {"dev_accuracy", "dev_loss", "dev_f1", "dev_mcc"}
    assert data.influence == hidlr.Influence.load(tmp_path / "run" / "influence.json")
    assert not data.notices
    page = (tmp_path / "run" / "report.html").read_text()
    assert "dev_accuracy" in page
    assert str(tmp_path / "run" / "model")[-9:] in capsys.readouterr().out


def test_lora_saves_an_adapter(task, tmp_path, model):
    peft = pytest.importorskip("peft")
    assert main([*task, "--method", "lora", "--steps", "40", "--rank", "4", "--out", "run"]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["trained"] < result["parameters"] / 5
    assert {"lora_A", "lora_B", "head"} <= set(result["rates"])
    base = transformers.AutoModelForSequenceClassification.from_pretrained(model, num_labels=2)
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "run" / "model").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    rows = reviews(60, 1)
    with torch.no_grad():
        said = loaded(**tokenizer([text for text, _ in rows], padding=True, return_tensors="pt")).logits.argmax(1)
    right = sum(("neg", "pos")[int(n)] == label for n, (_, label) in zip(said, rows, strict=True)) / len(rows)
    assert right == pytest.approx(result["final"]["dev_accuracy"])


def test_adaptive_trains_within_the_budget(task, tmp_path):
    assert main([*task, "--method", "adaptive", "--budget", "10%", "--steps", "20", "--out", "run"]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert 0 < result["trained"] <= 0.1 * result["parameters"]
    assert (tmp_path / "run" / "recipe.json").is_file()
    assert 0 <= judged(tmp_path / "run" / "model", reviews(60, 1)) <= 1


def test_json_lines_and_pairs(task, tmp_path):
    write_jsonl(tmp_path / "a.jsonl", reviews(32, 0))
    write_jsonl(tmp_path / "b.jsonl", reviews(16, 1))
    options = ["--train", "a.jsonl", "--dev", "b.jsonl", "--steps", "2", "--batch-size", "4"]
    assert main([*task, *options, "--out", "one"]) == 0
    for name in ("train", "dev"):
        pairs = [(f"{text}\t{text}", label) for text, label in reviews(16, 2)]
        write_tsv(tmp_path / f"{name}.tsv", pairs, "a\tb\tgold")
    options = ["--text-column", "a", "b", "--label-column", "gold", "--steps", "2", "--out", "two"]
    assert main([*task, *options]) == 0


def test_the_same_seed_gives_the_same_model(task, tmp_path):
    for name in ("one", "two"):
        assert main([*task, "--steps", "6", "--seed", "3", "--out", name]) == 0
    first, second = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two"))
    assert first["final"] == second["final"]
    assert first["rates"] == second["rates"]


def test_progress_goes_to_stderr(task, capsys):
    task.remove("--quiet")
    assert main([*task, "--steps", "10", "--out", "run"]) == 0
    said = capsys.readouterr()
    assert "finetune 10/10" in said.err
    assert "dev accuracy" in said.err
    assert "group" in said.out
    assert "{'loss'" not in said.out  # the Trainer's own lines


def test_a_loss_that_is_not_finite_ends_the_run(task, tmp_path, capsys, monkeypatch):
    from hidlr.integrations import HiDLRTrainer

    def broken(self, *args, **kwargs):
        return original(self, *args, **kwargs) * (float("nan") if self.state.global_step >= 3 else 1.0)

    original = HiDLRTrainer.compute_loss
    monkeypatch.setattr(HiDLRTrainer, "compute_loss", broken)
    assert main([*task, "--steps", "20", "--out", "run"]) == 1
    assert "not finite at step 3" in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "result.json").read_text())["diverged_at"] == 3


# -- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train", "none.tsv"], "none.tsv cannot be read"),
        (["--text-column", "foo"], "no column 'foo': it has 'sentence', 'label'"),
        (["--model", "./nowhere"], "no model folder './nowhere'"),
        (["--model", "."], "model '.' cannot be loaded: it is a folder, but"),
        (["--method", "prefix"], "choose from full, lora, adaptive"),
        (["--budget", "0"], "above 0"),
        (["--budget", "many"], "'many' is no share"),
        (["--epochs", "0"], "must be above 0"),
        (["--steps", "0"], "steps 0: must be at least 1"),
        (["--steps", "5", "--epochs", "5"], "not allowed with"),
        (["--text-column", "a", "b", "c"], "3 text columns"),
    ],
)
def test_a_command_line_that_cannot_work(task, tmp_path, capsys, options, message):
    assert main([*task, *options]) == 2
    assert message in capsys.readouterr().err
    assert not any((tmp_path / "runs").glob("*"))


def test_a_label_that_was_never_seen(task, tmp_path, capsys):
    write_tsv(tmp_path / "dev.tsv", [("good day", "neutral")])
    assert main(task) == 2
    assert "labels that the training file lacks: 'neutral'" in capsys.readouterr().err


def test_a_folder_that_is_not_empty(task, tmp_path, capsys):
    assert main([*task, "--steps", "2", "--out", "."]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_help_has_examples(capsys):
    assert main(["finetune", "--help"]) == 0
    said = capsys.readouterr().out
    assert "examples:" in said
    assert "--budget" in said


def test_missing_packages_are_named(task, capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setitem(sys.modules, "transformers.utils.logging", None)
    assert main(task) == 1
    assert 'pip install "hidlr[hf]"' in capsys.readouterr().err
