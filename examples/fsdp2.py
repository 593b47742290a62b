"""Sharded training of digits (FSDP2), stopped early and continued from a sharded checkpoint.

torchrun --standalone --nproc-per-node 2 examples/fsdp2.py            # pip install "hidlr[workloads]"
"""

import argparse
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard

import hidlr
from hidlr.sharded import load_sharded

Parts = tuple[nn.Module, torch.optim.Optimizer, hidlr.HiDLR]


def build(steps: int) -> Parts:
    """A sharded model, its optimizer and tuner."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.LayerNorm(128), nn.Linear(128, 10))
    for layer in (model[0], model[3]):
        fully_shard(layer)
    fully_shard(model)
    optimizer = torch.optim.AdamW(hidlr.param_groups(model, by="role"), lr=1e-6)  # after sharding
    return model, optimizer, hidlr.HiDLR(optimizer, total_steps=steps)


def run(parts: Parts, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Train on this rank's part of each batch."""
    model, optimizer, tuner = parts
    for x, y in batches:
        inputs = x.chunk(dist.get_world_size())[dist.get_rank()]
        targets = y.chunk(dist.get_world_size())[dist.get_rank()]
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        tuner.step(lambda inputs=inputs, targets=targets: F.cross_entropy(model(inputs), targets))
        optimizer.zero_grad()


def main() -> None:
    """Train a quarter, save, build anew, load, train the rest; print the accuracy on held-out digits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=160)
    steps = parser.parse_args().steps

    dist.init_process_group("gloo")
    generator = torch.Generator().manual_seed(1)
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
    chosen = [torch.randint(1400, (64,), generator=generator) for _ in range(steps)]
    batches = [(x[rows], y[rows]) for rows in chosen]
    folder = [tempfile.mkdtemp() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(folder)
    checkpoint = Path(str(folder[0])) / "checkpoint"

    parts = build(steps)
    run(parts, batches[: steps // 4])
    model_state, optimizer_state = get_state_dict(parts[0], parts[1])
    state = {"model": model_state, "optimizer": optimizer_state, "tuner": parts[2].state_dict()}
    dcp.save(state, checkpoint_id=checkpoint)

    parts = build(steps)
    model, optimizer, tuner = parts
    model_state, optimizer_state = get_state_dict(model, optimizer)
    dcp.load({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=checkpoint)
    set_state_dict(model, optimizer, model_state_dict=model_state, optim_state_dict=optimizer_state)
    load_sharded(tuner, optimizer, checkpoint)
    run(parts, batches[steps // 4 :])

    with torch.no_grad():
        accuracy = (model(x[1400:]).argmax(1) == y[1400:]).float().mean().item()
    if dist.get_rank() == 0:
        print(tuner.summary())
        print(f"accuracy {accuracy:.3f}")
    dist.barrier()  # nobody leaves while another still talks
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
