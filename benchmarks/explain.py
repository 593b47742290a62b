"""Draw the pictures of docs/how_it_works.md: measured losses along one step of the digits transformer.

python -m benchmarks.explain      # some seconds; writes docs/images/parabolas.png and docs/images/plane.png
"""

import argparse
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

import hidlr
from hidlr.workloads import get

IMAGES = Path(__file__).parent.parent / "docs" / "images"
SEED, STEPS, RATE = 0, 60, 1e-3
_SIDE = 17  # points along each axis of the plane


def trained() -> tuple[nn.Module, list[dict], torch.optim.Optimizer, partial]:
    """The model after a few dozen usual steps, and the loss of the batch that comes next."""
    workload = get("digits")
    model = workload.build(SEED)
    embedding = [name for name, role in hidlr.groups.role_of(model).items() if role == "embedding"]
    groups = hidlr.param_groups(model, by=lambda name, parameter: "embedding" if name in embedding else "rest")
    optimizer = torch.optim.AdamW(groups, lr=RATE)
    for step in range(STEPS):
        optimizer.zero_grad()
        workload.loss(model, workload.batch(step, SEED)).backward()
        optimizer.step()
    return model, groups, optimizer, partial(workload.loss, model, workload.batch(STEPS, SEED))


def parabolas() -> "plt.Figure":
    """Fig. 1 of the paper: each role's measured losses and its parabola."""
    model, _, _, loss = trained()
    optimizer = torch.optim.AdamW(hidlr.param_groups(model, by="role"), lr=RATE)
    return hidlr.find_rates(model, optimizer, loss).plot()


@torch.no_grad()
def measured(
    model: nn.Module, groups: list[dict], start: list[list[Tensor]], end: list[list[Tensor]], loss, xi
) -> float:
    """The loss with each group at its xi between the two ends of the step (1 is the end)."""
    for group, here, there, share in zip(groups, start, end, xi, strict=True):
        for parameter, a, b in zip(group["params"], here, there, strict=True):
            parameter.copy_(torch.lerp(a, b, share))
    return loss().item()


def plane() -> "plt.Figure":
    """The loss over the lengths of two groups' moves, the model of it, and where four rules go."""
    model, groups, optimizer, loss = trained()
    start = [[p.detach().clone() for p in group["params"]] for group in groups]
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()
    end = [[p.detach().clone() for p in group["params"]] for group in groups]
    model.eval()
    at = partial(measured, model, groups, start, end, loss)
    base, h = at((0.0, 0.0)), 1.0
    slope = [(at((-h, 0.0)) - at((h, 0.0))) / (2 * h), (at((0.0, -h)) - at((0.0, h))) / (2 * h)]
    bend = [at((h, 0.0)) + at((-h, 0.0)) - 2 * base, at((0.0, h)) + at((0.0, -h)) - 2 * base]
    both = (at((h, h)) - at((h, 0.0)) - at((0.0, h)) + base) / h**2
    matrix = torch.tensor([[bend[0], both], [both, bend[1]]], dtype=torch.float64) / h**2
    b = torch.tensor(slope, dtype=torch.float64)
    full = torch.linalg.solve(matrix, b)
    diagonal = b / matrix.diagonal()
    uniform = b.sum() / matrix.sum() * torch.ones(2, dtype=torch.float64)
    reach = 1.25 * torch.stack([full, diagonal, uniform, torch.ones(2)]).amax(0).clamp(min=2)
    low = torch.minimum(-0.25 * reach, torch.minimum(1.2 * full, torch.zeros(2)))
    xs = torch.linspace(float(low[0]), float(reach[0]), _SIDE).tolist()
    ys = torch.linspace(float(low[1]), float(reach[1]), _SIDE).tolist()
    real = [[at((x, y)) - base for x in xs] for y in ys]
    fit = [[-float(b @ (v := torch.tensor([x, y]).double())) + float(v @ matrix @ v) / 2 for x in xs] for y in ys]
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained", sharey=True)
    levels = torch.linspace(min(map(min, real)), sorted(v for row in real for v in row)[len(xs) * len(ys) * 3 // 4], 16)
    for axes, values, title in zip(panels, (real, fit), ("measured loss", "its quadratic model"), strict=True):
        drawn = axes.contour(xs, ys, values, levels=levels.tolist(), cmap="viridis", linewidths=0.9)
        for point, marker, label in (
            (torch.zeros(2), "ko", "before the step"),
            (torch.ones(2), "ks", "the optimizer's step"),
            (uniform, "C0^", "one rate for all (GeN)"),
            (diagonal, "C1D", r"$b_k / A_{kk}$ for each group"),
            (full, "C3*", r"$A^{-1} b$"),
        ):
            axes.plot(*map(float, point), marker, ms=9, label=label)
        axes.set(title=title, xlabel=r"$\xi$ of the embedding")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(r"$\xi$ of the rest")
    figure.colorbar(drawn, ax=panels, label="change of the loss (nats)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    return figure


def main() -> None:
    """Draw both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=IMAGES)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    for name, draw in (("parabolas", parabolas), ("plane", plane)):
        figure = draw()
        figure.savefig(out / f"{name}.png", dpi=100)
        plt.close(figure)
        print(out / f"{name}.png")


if __name__ == "__main__":
    main()
