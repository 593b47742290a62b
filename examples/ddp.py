"""Data parallel training of digits: every rank measures its part of the batch, all choose the same rates.

torchrun --standalone --nproc-per-node 2 examples/ddp.py            # pip install "hidlr[workloads]"
"""

import argparse

import torch
import torch.distributed as dist
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import hidlr


def main() -> None:
    """Train; rank 0 prints the table of groups and the accuracy on held-out digits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    epochs = parser.parse_args().epochs

    dist.init_process_group("gloo")
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels))
    train, test = torch.utils.data.random_split(data, [1400, len(data) - 1400])
    sampler = DistributedSampler(train)
    loader = DataLoader(train, batch_size=64 // dist.get_world_size(), sampler=sampler)

    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.LayerNorm(128), nn.Linear(128, 10))
    groups = hidlr.param_groups(model, by="role")  # of the model itself, before it is wrapped
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(groups, lr=1e-6)
    history = hidlr.History("ddp-history.jsonl") if dist.get_rank() == 0 else None  # all ranks have the same records
    tuner = hidlr.HiDLR(optimizer, total_steps=epochs * len(loader), history=history)

    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for inputs, targets in loader:
            loss = F.cross_entropy(parallel(inputs), targets)
            loss.backward()
            optimizer.step()
            # On every rank: each is asked for the loss of its own part.
            tuner.step(lambda inputs=inputs, targets=targets: F.cross_entropy(parallel(inputs), targets))
            optimizer.zero_grad()

    if dist.get_rank() == 0:
        print(tuner.summary())
        x, y = test[:]
        with torch.no_grad():
            accuracy = (model(x).argmax(1) == y).float().mean().item()
        print(f"accuracy {accuracy:.3f}")
    dist.barrier()  # nobody leaves while another still talks
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
