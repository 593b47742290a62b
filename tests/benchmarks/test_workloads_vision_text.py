import hashlib
import io
from pathlib import Path

import benchmarks.data as data_module
import numpy as np
import pytest
import torch
from benchmarks.data import MissingDataError, cache_folder, data_folder, require
from benchmarks.workloads import cifar10
from benchmarks.workloads.classification import classification_scores
from benchmarks.workloads.colour_models import ColourVit, SmallResNet
from benchmarks.workloads.gpt import CharacterGpt
from torch import nn

import hidlr
from benchmarks import cifar10_file, workloads
from hidlr.errors import InputError
from hidlr.workloads import Workload
from hidlr.workloads.data import Split
from support import workloads as support

FILES = {
    "digits-vit": (),
    "shakespeare-gpt": ("text/tinyshakespeare.txt",),
    "cifar10-resnet": ("cifar10/cifar10_train_jpeg.npz",),
    "cifar10-vit": ("cifar10/cifar10_train_jpeg.npz",),
}
RATES = {"digits-vit": 1e-3, "shakespeare-gpt": 3e-3, "cifar10-resnet": 1e-2, "cifar10-vit": 1e-3}


def get(name: str) -> Workload:
    support.require_files(*FILES[name])
    return workloads.get(name)


@pytest.fixture(params=FILES)
def workload(request: pytest.FixtureRequest) -> Workload:
    return get(request.param)


@pytest.mark.usefixtures("isolated")
def test_model_and_batches_depend_on_seed_and_step_alone(workload: Workload) -> None:
    support.assert_model_depends_on_seed_alone(workload)
    support.assert_batches_depend_on_step_and_seed_alone(workload, tuple(range(150)))
    assert not torch.equal(workload.batch(0, 1)[0], workload.batch(1, 1)[0])


@pytest.mark.usefixtures("isolated")
def test_loss_metrics_and_mode(workload: Workload) -> None:
    support.assert_loss_metrics_and_mode(workload)


def test_a_fresh_model_is_at_chance_and_forty_steps_leave_it(workload: Workload) -> None:
    model = workload.build(0)
    classes = workload.loss(model, workload.batch(0, 0)).exp()
    assert 8 < classes < 110  # 10 classes, or 65 characters
    before = workload.evaluate(model)["val_loss"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATES[workload.name])
    for step in range(40):
        workload.loss(model, workload.batch(step, 0)).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert workload.evaluate(model)["val_loss"] < 0.95 * before


def test_groups_by_role_know_every_part(workload: Workload) -> None:
    names = {group["name"] for group in hidlr.param_groups(workload.build(0), by=workload.defaults.groups)}
    convolutional = workload.name == "cifar10-resnet"
    assert names == {"conv", "norm", "head"} if convolutional else {"embedding", "attention", "mlp", "norm"} < names


def test_images_are_mirrored_about_half_the_time() -> None:
    workload = get("cifar10-vit")
    images, labels = workload.batch(0, 0)
    kept = {image.numpy().tobytes() for image in workload._train.inputs}  # type: ignore[attr-defined]
    unchanged = [image.numpy().tobytes() in kept for image in images]
    assert 16 < sum(unchanged) < 48
    assert all(image.flip(2).contiguous().numpy().tobytes() in kept for image in images[~torch.tensor(unchanged)])
    assert labels.unique().numel() == 10


def test_targets_are_the_next_characters() -> None:
    workload = get("shakespeare-gpt")
    tokens, targets = workload.batch(5, 0)
    torch.testing.assert_close(tokens[:, 1:], targets[:, :-1])
    assert tokens.shape == (12, 64)


def test_gpt_looks_back_only() -> None:
    model = CharacterGpt(7, context=6, width=8, depth=2, heads=2).eval()
    tokens = torch.tensor([[1, 2, 3, 4, 5, 6]])
    changed = torch.tensor([[1, 2, 3, 0, 0, 0]])
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3:], after[:, 3:])


def test_vit_sees_patches_as_they_lie() -> None:
    model = ColourVit(image=4, patch=2, width=8, depth=1, heads=2)
    images = torch.randn(1, 3, 4, 4)
    moved = torch.cat([images[..., 2:], images[..., :2]], 3)
    assert not torch.allclose(model(images), model(moved), atol=1e-5)
    nn.init.zeros_(model.position_embed)
    torch.testing.assert_close(model(images), model(moved))


@pytest.mark.parametrize(("blocks", "convolutions"), [(2, 13), (3, 19)])
def test_resnet_has_its_depth(blocks: int, convolutions: int) -> None:
    model = SmallResNet(width=4, blocks=blocks)
    assert sum(isinstance(module, nn.Conv2d) for module in model.modules()) == convolutions
    assert model.stages(torch.randn(2, 4, 16, 16)).shape == (2, 16, 4, 4)


def test_scores_do_not_depend_on_the_chunks() -> None:
    model, data = nn.Linear(3, 4), Split(torch.randn(50, 3), torch.randint(4, (50,)))
    whole = classification_scores(model, data, "val")
    assert classification_scores(model, data, "val", chunk=7) == pytest.approx(whole)
    assert whole["val_loss"] == pytest.approx(nn.functional.cross_entropy(model(data.inputs), data.targets).item())


def test_names_are_all_known_and_an_unknown_one_is_answered() -> None:
    assert {suite: len(own) for suite, own in workloads.SUITES.items()} == {"main": 17, "outside": 11}
    with pytest.raises(InputError, match="did you mean 'digits-vit'"):
        workloads.get("digit-vit")


def test_without_a_folder_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HIDLR_DATA", raising=False)
    assert data_folder() is None
    with pytest.raises(MissingDataError, match="HIDLR_DATA"):
        require(None, "text/tinyshakespeare.txt")


def test_the_folder_is_the_argument_before_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HIDLR_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    assert data_folder("elsewhere") == Path("elsewhere")
    monkeypatch.setenv("HIDLR_CACHE", str(tmp_path / "cache"))
    assert cache_folder().is_dir()


@pytest.mark.parametrize("honest", [True, False])
def test_a_fetched_file_is_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, honest: bool) -> None:
    content = b"to be"
    source = data_module._Source("owner/name/commit/file.txt", hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(data_module._SOURCES, "a/file.txt", source)
    monkeypatch.setattr(
        data_module.urllib.request, "urlopen", lambda url, timeout: io.BytesIO(content if honest else b"not to be")
    )
    if honest:
        assert require(tmp_path, "a/file.txt").read_bytes() == content
    else:
        with pytest.raises(MissingDataError, match=r"owner/name/commit/file.txt failed .*SHA-256"):
            require(tmp_path, "a/file.txt")
    assert [path.name for path in (tmp_path / "a").iterdir()] == (["file.txt"] if honest else [])


def test_cifar10_is_packed_in_the_layout_that_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")

    class Rows:
        """What of a `datasets.Dataset` the packer uses."""

        labels = (1, 0, 1)
        features = {"label": type("ClassLabel", (), {"names": ("cat", "dog")})}  # noqa: RUF012

        def __getitem__(self, key: str | int) -> object:
            grey = np.full((32, 32, 3), 60 * int(key) if key != "label" else 0, dtype=np.uint8)
            return list(self.labels) if key == "label" else {"img": image.fromarray(grey)}

    library = type("datasets", (), {"load_dataset": staticmethod(lambda name, split: Rows())})
    monkeypatch.setattr(cifar10_file, "import_module", lambda name: library)
    cifar10_file.pack_cifar10("train", tmp_path / "packed.npz")
    monkeypatch.setenv("HIDLR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cifar10, "_TRAIN", 2)
    monkeypatch.setattr(cifar10, "_VALIDATION", 1)
    first, again = (cifar10._decoded(tmp_path / "packed.npz") for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    assert first[0].shape == (3, 16, 16, 3)
    # Rows 0, 1, 2 are 0, 60, 120 bright and of classes 1, 0, 1.
    found = sorted(zip(first[0].mean((1, 2, 3)).round(), first[1], strict=True))
    assert [label for _, label in found] == [1, 0, 1]
    np.testing.assert_allclose([bright for bright, _ in found], [0, 60, 120], atol=3)
