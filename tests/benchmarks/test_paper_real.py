"""The paper's own configurations, with models of a few thousand weights and data made here."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.data import MissingDataError
from benchmarks.paper.workloads.celeba import CelebA, read_attributes
from benchmarks.paper.workloads.hub import model_of, rows_of
from benchmarks.paper.workloads.hub_e2e import HubE2e
from benchmarks.paper.workloads.hub_glue import HubGlue
from benchmarks.paper.workloads.hub_images import HubImages

from hidlr import param_groups
from hidlr.workloads.base import Workload
from support.pretrained import reviews

pytest.importorskip("transformers")
pytest.importorskip("peft")


def assert_learns(workload: Workload, rate: float, by: str) -> dict[str, float]:
    """Steps on one batch lower its loss, with groups as the experiment has them; then everything is evaluated."""
    model = workload.build(0)
    groups = param_groups(model, workload.groupings.get(by, by))
    optimizer = torch.optim.AdamW(groups, lr=rate)
    batch = workload.batch(0, 0)
    for one, other in zip(batch, workload.batch(0, 0), strict=True):
        torch.testing.assert_close(one, other)
    before = workload.loss(model, batch).item()
    for _ in range(6):
        optimizer.zero_grad()
        workload.loss(model, batch).backward()
        optimizer.step()
    assert workload.loss(model, batch).item() < before
    return workload.evaluate(model)


# -- GLUE ---------------------------------------------------------------------------------------------


@pytest.fixture
def roberta(tmp_path: Path) -> Path:
    import transformers

    seen = sorted({word for text, _ in reviews(200, 0) for word in text.split()})
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *seen]
    folder = tmp_path / "roberta"
    _word_level(words, folder)
    config = transformers.RobertaConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=len(words),
        max_position_embeddings=140, pad_token_id=1,
    )  # fmt: skip
    transformers.RobertaModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    for task, columns in (("sst2", ("sentence",)), ("rte", ("sentence1", "sentence2"))):
        folder = tmp_path / "glue" / task
        folder.mkdir(parents=True)
        for split, count in (("train", 60), ("validation", 20)):
            rows = [{**dict.fromkeys(columns, text), "label": int(label == "pos")} for text, label in reviews(count, 1)]
            (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "glue"


@pytest.mark.parametrize(
    ("task", "method", "by"),
    [("sst2", "lora", "lora"), ("rte", "full", "role"), ("sst2", "lora_fa", "role"), ("sst2", "bitfit", "role"),
     ("rte", "prompt", "all")],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's prompts, of transformers
def test_glue_by_every_method(roberta: Path, glue: Path, task: str, method: str, by: str) -> None:
    workload = HubGlue(task, method, model=roberta, corpus=glue)
    found = assert_learns(workload, 1e-2, by)
    assert set(found) == {f"{part}_{name}" for part in ("val", "test") for name in ("loss", "accuracy", "mcc")}
    names = {name for name, parameter in workload.build(0).named_parameters() if parameter.requires_grad}
    assert any("lora_A" in name for name in names) == (method == "lora")
    assert any("classifier" in name for name in names)


def test_the_last_tenth_of_the_training_rows_chooses(roberta: Path, glue: Path) -> None:
    workload = HubGlue("sst2", "full", model=roberta, corpus=glue)
    rows = rows_of(glue, "sst2", "train")
    assert (workload._train, workload._validation) == (rows[:54], rows[54:])
    assert len(workload._test) == 20


def test_what_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MissingDataError, match="fill the cache"):
        model_of("AutoModel", tmp_path / "absent")


# -- E2E ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["full", "lora"])
def test_e2e_with_gpt2(tmp_path: Path, method: str) -> None:
    import transformers

    pytest.importorskip("sacrebleu")
    lines = [f"name : {n} | Type : pub||{n} is a pub ." for n in ("Aroma", "Bruno", "Cocum")] * 4
    (tmp_path / "e2e").mkdir()
    for part in ("train", "valid", "test"):
        (tmp_path / "e2e" / f"{part}.txt").write_text("\n".join(lines) + "\n")
    words = ["<|endoftext|>", "<unk>", *sorted({word for line in lines for word in line.replace("||", " || ").split()})]
    folder = tmp_path / "gpt2"
    _word_level(words, folder, end="<|endoftext|>")
    config = transformers.GPT2Config(
        n_embd=16, n_layer=2, n_head=2, vocab_size=len(words), n_positions=96, bos_token_id=0, eos_token_id=0
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    workload = HubE2e(method, tmp_path, model=folder)
    found = assert_learns(workload, 1e-2, "lora" if method == "lora" else "role")
    assert set(found) == {"val_loss", "test_loss", "test_bleu"}
    ids, targets = workload.batch(0, 0)
    asked = (targets == -100).sum(1)
    for row, own in enumerate(asked.tolist()):
        assert own >= 8
        torch.testing.assert_close(ids[row, own:], targets[row, own:])


# -- images -------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*mismatched.*")
def test_images_of_a_folder_with_a_vit(tmp_path: Path) -> None:
    import transformers

    pillow = pytest.importorskip("PIL.Image")
    folder = tmp_path / "images" / "cifar100"
    folder.mkdir(parents=True)
    for split, count in (("train", 40), ("test", 6)):
        rows = []
        for number in range(count):
            file = folder / f"{split}{number}.png"
            pillow.new("RGB", (9, 7), (255 * (number % 2), 0, 128)).save(file)
            rows.append({"img": str(file), "fine_label": number % 2})
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=8, patch_size=4,
        num_labels=5,
    )  # fmt: skip
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    workload = HubImages("cifar100", model=tmp_path / "vit", corpus=tmp_path / "images")
    workload.batch_size = 8
    assert (len(workload._train), len(workload._validation), len(workload._test)) == (38, 2, 6)
    images, labels = workload.batch(0, 0)
    assert images.shape == (8, 3, 8, 8)
    torch.testing.assert_close(images[:, 0, 0, 0], 2.0 * labels - 1)  # red is the label
    found = assert_learns(workload, 1e-2, "role")
    assert set(found) == {"val_loss", "val_accuracy", "test_loss", "test_accuracy"}
    assert len(workload.build(0).classifier.bias) == 2


# -- CelebA -------------------------------------------------------------------------------------------


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    pillow = pytest.importorskip("PIL.Image")
    names = [f"Attribute_{index}" for index in range(40)]
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    draw = np.random.default_rng(0)
    rows, parts = [], []
    for number in range(1, 10):
        file = f"{number:06}.jpg"
        pixels = draw.integers(0, 255, (218, 178, 3), dtype=np.uint8)
        pillow.fromarray(pixels).save(folder / "img_align_celeba" / file)
        rows.append(f"{file} " + " ".join(draw.choice(["-1", " 1"], 40)))
        parts.append(f"{file} {(number - 1) // 3}")
    (folder / "list_attr_celeba.txt").write_text("\n".join(["9", " ".join(names), *rows]) + "\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return tmp_path


def test_the_published_lists_are_read(faces: Path) -> None:
    found = read_attributes(faces / "celeba")
    assert len(found.names) == 40
    assert found.files["val"] == ("000004.jpg", "000005.jpg", "000006.jpg")
    line = (faces / "celeba" / "list_attr_celeba.txt").read_text().splitlines()[2 + 3].split()
    assert found.labels["val"][0].tolist() == [float(value == "1") for value in line[1:]]


def test_celeba_has_a_group_for_each_attribute(faces: Path) -> None:
    import transformers

    config = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_channels=3
    )
    transformers.ResNetModel(config).save_pretrained(faces / "resnet")
    workload = CelebA(faces, model=faces / "resnet")
    workload.batch_size = 3
    groups = param_groups(workload.build(0), workload.groupings["task"])
    assert [group["name"] for group in groups] == ["trunk", *(f"Attribute_{index}" for index in range(40))]
    found = assert_learns(workload, 1e-2, "task")
    assert set(found) == {"val_loss", "val_accuracy", "test_loss", "test_accuracy"}


def test_celeba_that_is_absent_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"list_attr_celeba\.txt is absent"):
        CelebA(tmp_path)


def _word_level(words: list[str], folder: Path, end: str = "") -> None:
    """A tokenizer that splits at spaces."""
    import tokenizers
    import transformers

    inner = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>")
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    ends = {"bos_token": end or "<s>", "eos_token": end or "</s>", **({} if end else {"pad_token": "<pad>"})}
    special = {"unk_token": "<unk>", **ends}
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **special).save_pretrained(folder)
