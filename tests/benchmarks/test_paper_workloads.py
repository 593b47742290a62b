"""The experiments' own workloads."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from benchmarks.paper.finder import find
from benchmarks.paper.workloads import e2e_text, pretrained, shapes, transfer
from benchmarks.paper.workloads.glue import METHODS, PromptedClassifier, adapted
from benchmarks.paper.workloads.partitions import dealt
from benchmarks.workloads.colour_models import ColourVit
from benchmarks.workloads.nam import SHAPES
from torch import nn
from toys import Line

from benchmarks import minilm
from hidlr import param_groups
from hidlr.workloads.data import Split
from hidlr.workloads.vit import VisionTransformer
from support import workloads as support

# -- vision transformer -------------------------------------------------------------------------------


def test_relabelling_keeps_the_images_that_have_a_label() -> None:
    images = torch.arange(6.0)[:, None]
    data = Split(images, torch.tensor([0, 1, 4, 5, 9, 8]))
    parts = transfer.relabelled(data, data, transfer.PARTS["unseen"].label)
    assert parts.train.inputs[:, 0].tolist() == [1, 2, 3, 5]
    assert parts.train.targets.tolist() == [0, 1, 2, 4]
    assert transfer.relabelled(data, data, transfer.PARTS["animals"].label).test.targets.tolist() == [0, 0, 1, 1, 0, 0]


def test_pretraining_and_unseen_classes_are_apart() -> None:
    known, unseen = (
        {label for label in range(10) if transfer.PARTS[part].label(label) is not None} for part in ("known", "unseen")
    )
    assert known | unseen == set(range(10))
    assert not known & unseen


def test_norms_are_those_of_the_role() -> None:
    model = ColourVit(image=16, patch=4, width=8, depth=2, heads=2)
    by_name = {group["name"]: set(group["param_names"]) for group in param_groups(model, transfer.norms)}
    by_role = {group["name"]: set(group["param_names"]) for group in param_groups(model, "role")}
    assert by_name["norm"] == by_role["norm"]
    assert set(by_name) == {"norm", "rest"}


@pytest.mark.slow
def test_fine_tuning_starts_from_the_pretrained_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    support.require_files("cifar10/cifar10_train_jpeg.npz")
    monkeypatch.setattr(transfer, "_PRETRAINING", 2)
    monkeypatch.setenv("HIDLR_CACHE", str(tmp_path))
    one, other, fresh = find("vit-unseen").build(0), find("vit-digits").build(1), find("vit-scratch").build(0)
    torch.testing.assert_close(one.patch_embed.weight, other.patch_embed.weight, rtol=0, atol=0)
    assert not torch.equal(one.patch_embed.weight, fresh.patch_embed.weight)
    assert (len(one.head.bias), len(other.head.bias)) == (5, 10)
    assert len(list(tmp_path.glob("paper-vit-*.pt"))) == 1


def test_pretrained_weights_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIDLR_CACHE", str(tmp_path))
    taught: list[int] = []

    def teach(model: nn.Module) -> None:
        taught.append(1)
        pretrained.train(Line(), model, rate=0.1, steps=200, seed=0)

    first = pretrained.pretrained("line", "version 1", Line().build(0), teach)
    again = pretrained.pretrained("line", "version 1", Line().build(5), teach)
    assert taught == [1]
    assert first.weight.item() == again.weight.item() == pytest.approx(2.0, abs=0.1)
    pretrained.pretrained("line", "version 2", Line().build(5), teach)
    assert taught == [1, 1]


# -- partitions ---------------------------------------------------------------------------------------


def test_a_random_partition_has_as_many_tensors_in_its_groups() -> None:
    model = VisionTransformer(width=8, depth=2, heads=2)
    roles = param_groups(model, "role")
    deals = [param_groups(model, dealt(model, "role", seed)) for seed in (1, 1, 2)]
    sizes = [Counter(len(group["params"]) for group in groups) for groups in (roles, *deals)]
    assert all(own == sizes[0] for own in sizes)
    members = [{group["name"]: group["param_names"] for group in groups} for groups in deals]
    assert members[0] == members[1] != members[2]


# -- additive models ----------------------------------------------------------------------------------


class TrueShape(nn.Module):
    """A known function of a standardised feature, in the target's standard deviations."""

    def __init__(self, shape, mean: float, spread: float, scale: float) -> None:
        super().__init__()
        self.of = lambda x: shape(x.double() * spread + mean).float() / scale

    def forward(self, column: torch.Tensor) -> torch.Tensor:
        return self.of(column)


class Truth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        mean, spread, scale = shapes._standards()
        self.nets = nn.ModuleDict(
            {n: TrueShape(f, mean[i].item(), spread[i].item(), scale) for i, (n, f) in enumerate(SHAPES.items())}
        )
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        columns = torch.split(inputs, 1, 1)
        return torch.cat([net(own) for net, own in zip(self.nets.values(), columns, strict=True)], 1).sum(1) + self.bias


def test_the_true_functions_have_no_error_of_shape() -> None:
    workload, truth = find("shapes-synthetic"), Truth()
    # What is missing is the mean of the noisy targets: validation and test rows carry no noise.
    with torch.no_grad():
        rows = workload._data.validation
        truth.bias.copy_((rows.targets - truth(rows.inputs)).mean())
    found = workload.evaluate(truth)
    assert found["val_loss"] < 1e-9
    assert found["shape_error"] < 1e-10
    assert workload.evaluate(workload.build(0))["shape_error"] > 0.05
    assert found["shape.line.24"] == pytest.approx(0.98, abs=1e-4)


# -- GLUE ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_what_each_method_trains(method: str) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("peft")
    from transformers.models.bert.modeling_bert import BertEncoder

    config = transformers.BertConfig(
        hidden_size=minilm.WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8
    )
    model = adapted(BertEncoder(config).eval(), method)
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    head = {"classifier.weight", "classifier.bias"}
    assert head <= names
    body = names - head
    expected = {
        "lora": lambda name: "lora_A" in name or "lora_B" in name,
        "lora_fa": lambda name: "lora_B" in name,
        "bitfit": lambda name: name.endswith("bias"),
        "prompt": lambda name: name == "prompt",
        "full": lambda name: True,
    }[method]
    assert body
    assert all(map(expected, body))
    assert len(body) == {"lora": 8, "lora_fa": 4, "bitfit": 16, "prompt": 1, "full": 32}[method]
    scores = model(torch.randn(3, 4, minilm.WIDTH), torch.tensor([4, 2, 3]))
    assert scores.shape == (3, 2)


def test_behind_a_prompt_every_token_counts_and_no_padding() -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.models.bert.modeling_bert import BertEncoder

    config = transformers.BertConfig(
        hidden_size=minilm.WIDTH, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    model = PromptedClassifier(BertEncoder(config).eval()).eval()
    inputs = torch.randn(1, 3, minilm.WIDTH)
    padded = torch.cat([inputs, torch.randn(1, 2, minilm.WIDTH)], 1)
    lengths = torch.tensor([3])
    short, long = model(inputs, lengths), model(padded, lengths)
    torch.testing.assert_close(short, long)
    other = torch.cat([inputs[:, :2], torch.randn(1, 1, minilm.WIDTH)], 1)
    assert not torch.allclose(model(other, lengths), short)


# -- E2E ----------------------------------------------------------------------------------------------


class Counting(nn.Module):
    """After a word comes the next number; after 9 the end (3)."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        following = torch.where(words == 9, 3, words + 1)
        return nn.functional.one_hot(following, 12).float()


def test_writing_goes_on_to_the_end_of_each_text() -> None:
    assert e2e_text.decode(Counting(), [[5], [1, 8], [9]], most=3) == [[6, 7, 8], [9], []]


def test_facts_and_padding_do_not_count() -> None:
    numbers = {"name": 5, ":": 6, "Blue": 7, "is": 8, "nice": 9}
    pairs = e2e_text.numbered([("name : Blue", "Blue is nice"), ("name : Red", "Red is")], numbers)
    assert pairs.facts == ((1, 5, 6, 7, 2), (1, 5, 6, 4, 2))
    assert pairs.texts == ((7, 8, 9, 3), (4, 8, 3))
    words, following, counts = e2e_text.padded(pairs, [0, 1], facts=True)
    assert (following * counts.long()).tolist() == [[0, 0, 0, 0, 7, 8, 9, 3], [0, 0, 0, 0, 4, 8, 3, 0]]
    assert words[:, :5].tolist() == [list(own) for own in pairs.facts]
    _, following, counts = e2e_text.padded(pairs, [1], facts=False)
    assert (following * counts.long()).tolist() == [[4, 8, 3]]


def test_lines_are_split_at_the_bars(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("a : b | c : d||Some text . \n\nn : m||Other .\n")
    assert e2e_text.read_pairs(tmp_path / "x.txt") == [("a : b | c : d", "Some text ."), ("n : m", "Other .")]


def test_bleu_is_of_the_best_reference() -> None:
    pytest.importorskip("sacrebleu")
    text = "the blue spice is a nice pub"
    assert e2e_text.bleu([text, text], [["something else", text.upper()], [text]]) == pytest.approx(100)
    assert e2e_text.bleu([text], [["entirely other words here now"]]) < 5
