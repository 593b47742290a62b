"""What wraps a model changes neither roles nor the names of groups."""

from collections.abc import Callable, Iterator
from pathlib import Path

import group_models as models
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from hidlr.groups import layer_of, param_groups, role_of


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def compiled(model: nn.Module) -> nn.Module:
    # Nothing runs here, and the eager backend spares the import of inductor.
    return torch.compile(model, backend="eager")


def blockwise(wrap: Callable[[nn.Module], nn.Module]) -> Callable[[nn.Module], nn.Module]:
    def wrapped(model: nn.Module) -> nn.Module:
        model.blocks = nn.ModuleList([wrap(block) for block in model.blocks])
        return model

    return wrapped


def assert_unchanged(wrap: Callable[[nn.Module], nn.Module]) -> None:
    plain, wrapped = models.Decoder(), wrap(models.Decoder())
    assert list(role_of(wrapped)) == [name for name, _ in wrapped.named_parameters()]
    assert list(role_of(wrapped).values()) == list(role_of(plain).values())
    assert list(layer_of(wrapped).values()) == list(layer_of(plain).values())
    for by in ("role", "layer", "tensor", "head"):
        assert [g["name"] for g in param_groups(wrapped, by)] == [g["name"] for g in param_groups(plain, by)]


@pytest.mark.parametrize(
    "wrap",
    [
        models.Wrapper,
        nn.DataParallel,
        compiled,
        blockwise(compiled),
        blockwise(checkpoint_wrapper),
        lambda model: models.Wrapper(compiled(models.Wrapper(model))),
        torch.optim.swa_utils.AveragedModel,
    ],
    ids=["module", "data-parallel", "compiled", "compiled-blocks", "checkpointed-blocks", "nested", "averaged"],
)
def test_wrapped(wrap: Callable[[nn.Module], nn.Module]) -> None:
    assert_unchanged(wrap)


@pytest.mark.usefixtures("process_group")
@pytest.mark.skipif(not dist.is_gloo_available(), reason="needs gloo")
class TestDistributed:
    def test_data_parallel(self) -> None:
        assert_unchanged(nn.parallel.DistributedDataParallel)
        assert_unchanged(lambda model: nn.parallel.DistributedDataParallel(compiled(model)))

    def test_fully_sharded(self) -> None:
        from torch.distributed.fsdp import fully_shard

        def shard(model: nn.Module) -> nn.Module:
            for block in model.blocks:
                fully_shard(block)
            fully_shard(model)
            return model

        assert_unchanged(shard)


def test_names_of_parameters_are_the_models_own() -> None:
    [group] = param_groups(models.Wrapper(nn.Linear(2, 1)), "all")
    assert group["param_names"] == ["module.weight", "module.bias"]


def test_weight_norm_keeps_the_role() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 8)), nn.ReLU(), nn.Linear(8, 2))
    roles = role_of(model)
    assert roles["0.parametrizations.weight.original0"] == "mlp"
    assert roles["0.parametrizations.weight.original1"] == "mlp"
