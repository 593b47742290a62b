import json
from pathlib import Path

import pytest
import torch

import hidlr
from hidlr.cli import main
from hidlr.influence import Influence, InfluenceMeter

transformers = pytest.importorskip("transformers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "fine", "poor"]
TEXTS = "sentence\tlabel\n" + "".join(f"{word} {word}\t{label}\n" for word, label in
                                      [("good", 1), ("bad", 0), ("fine", 1), ("poor", 0)] * 6)  # fmt: skip


def save_model(folder: Path, layers: int = 2) -> Path:
    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=16,
        vocab_size=len(WORDS), max_position_embeddings=16, num_labels=2,
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture
def model(here: Path) -> Path:
    return save_model(here / "model")


@pytest.fixture
def data(here: Path) -> Path:
    path = here / "texts.tsv"
    path.write_text(TEXTS)
    return path


@pytest.fixture
def found(here: Path) -> Path:
    """An influence file of three groups."""
    meter = InfluenceMeter()
    for name, size, total in (("norm", 4, 2.0), ("mlp", 100, 3.0), ("head", 10, 1.0)):
        meter.observe(name, size, slope=(2 * total) ** 0.5, curvature=1.0)
    Influence.of(meter).save(here / "influence.json")
    return here / "influence.json"


def test_from_a_model_to_a_checked_recipe(
    model: Path, data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["influence", "--model", "model", "--data", "texts.tsv", "--steps", "3", "--rate", "1e-2"]) == 0
    assert "layer_1/norm" in capsys.readouterr().out
    assert (here / "influence.png").stat().st_size > 1000
    influence = Influence.load(here / "influence.json")
    assert set(influence.sizes) >= {"layer_0/attention", "head/head"}
    assert main(["select", "influence.json", "--top", "2", "--always", "head/head", "-o", "recipe.json"]) == 0
    assert "Trains 2 of" in capsys.readouterr().out
    assert main(["apply", "recipe.json", "--model", "model", "--check"]) == 0
    assert capsys.readouterr().out.startswith("fits: trains")
    assert main(["apply", "recipe.json", "--model", "model"]) == 0
    assert "classifier.weight" in capsys.readouterr().out.splitlines()


def test_measuring_leaves_the_folder_alone(model: Path, data: Path) -> None:
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    assert main(["influence", "--model", "model", "--data", "texts.tsv", "--steps", "2", "--json"]) == 0
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def test_a_recipe_for_a_deeper_model(model: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = transformers.BertForSequenceClassification.from_pretrained(model)
    groups = hidlr.param_groups(small, "role_layer")
    meter = InfluenceMeter()
    for group in groups:
        high = group["name"] in ("layer_1/norm", "head/head")
        meter.observe(group["name"], sum(map(torch.numel, group["params"])), slope=9.0 if high else 0.1, curvature=1.0)
    hidlr.select(Influence.of(meter).located(small, groups), top=2).save(here / "recipe.json")
    save_model(here / "large", layers=4)
    assert main(["apply", "recipe.json", "--model", "large", "--check"]) == 1
    assert "selection.transfer" in capsys.readouterr().err
    assert main(["apply", "recipe.json", "--model", "large", "--transfer", "-o", "large.json", "--json"]) == 0
    names = json.loads(capsys.readouterr().out)["names"]
    assert {name.split(".")[3] for name in names if "LayerNorm" in name} == {"2", "3"}
    assert main(["apply", "large.json", "--model", "large", "--check"]) == 0


def test_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "ellipse", "--steps", "5", "--out", "run", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["influence", "run", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["picture"] == str(Path("run") / "influence.png")
    assert set(answer["influence"]["run"]["sizes"]) == {"x", "y"}
    assert main(["select", "run", "--top", "1"]) == 0
    assert "Trains 1 of 2 groups" in capsys.readouterr().out


def test_two_runs_share_a_picture(found: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = here / "other.json"
    other.write_bytes(found.read_bytes())
    assert main(["influence", "influence.json", "other.json", "--out", "both.svg"]) == 0
    out = capsys.readouterr().out
    assert "influence.json" in out
    assert "other.json" in out
    assert "other.json" in (here / "both.svg").read_text()


def test_a_recipe_as_json(found: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["select", "influence.json", "--budget", "4%", "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert [group["name"] for group in groups if group["train"]] == ["norm"]


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["influence"], 2, "--model DIR"),
        (["influence", "influence.json", "--model", "m"], 2, "--model DIR"),
        (["influence", "--model", "m"], 2, "--data"),
        (["influence", "nowhere"], 1, "nowhere"),
        (["influence", "."], 0, ""),
        (["influence", "influence.json", "influence.json", "--save", "x"], 0, ""),
        (["influence", "influence.json", "--out", "a.xyz"], 1, "a.xyz"),
        (["influence", "influence.json", "--out", "influence.json/a.png"], 1, "a.png cannot be written"),
        (["influence", "--model", "nowhere", "--data", "nothing.tsv"], 1, "nothing.tsv"),
        (["influence", "--model", "nowhere", "--data", "texts.tsv"], 1, "nowhere"),
        (["influence", "--model", "m", "--data", "texts.tsv", "--text", "words"], 2, "--text"),
        (["influence", "--model", "m", "--data", "texts.tsv", "--label", "sentence", "--batch", "0"], 2, "--batch"),
        (["select", "influence.json"], 2, "--budget"),
        (["select", "influence.json", "--budget", "2", "--top", "1"], 2, "not allowed"),
        (["select", "influence.json", "--budget", "0"], 2, "budget '0'"),
        (["select", "influence.json", "--budget", "150%"], 2, "budget '150%'"),
        (["select", "influence.json", "--top", "1", "--always", "nrom"], 2, "did you mean 'norm'"),
        (["select", "nowhere", "--top", "1"], 1, "nowhere"),
        (["select", "texts.tsv", "--top", "1"], 1, "texts.tsv"),
        (["select", "influence.json", "--top", "1", "-o", "no/r.json"], 1, "no/r.json"),
        (["apply", "influence.json", "--model", "m"], 1, "schema"),
        (["apply", "nowhere.json", "--model", "m"], 1, "nowhere.json"),
        (["apply", "influence.json"], 2, "--model"),
    ],
)
def test_what_cannot_work(
    found: Path, data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, complaint: str
) -> None:
    assert main(arguments) == code
    assert complaint in capsys.readouterr().err
