"""The plot of the study of estimators."""

from pathlib import Path

from benchmarks.estimators import RESULT
from benchmarks.estimators_figures import COSTS, TARGETS, biases, errors, read

__all__ = ["PICTURE", "draw"]

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "estimators.png"


def draw(path: Path = RESULT, out: Path = PICTURE) -> None:
    """Errors over cost, one mark per estimator and probe size (xi 0.1, 1, 10: small to large), and the bias."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found, groups = errors(path), len(read(path)[0]["groups"])
    figure, (*panels, right) = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
    for index, (name, cost) in enumerate(COSTS.items()):
        for xi, area in ((0.0, 60), (0.1, 18), (1.0, 60), (10.0, 160)):
            key = (name, "float64" if xi == 0 else "float32", xi)
            if key not in found:
                continue
            for axes, side in zip(panels, ("own", "sample"), strict=True):
                error = max(found[key].median(side), 1e-3)
                marker = "s" if name in TARGETS else "o"
                label = name if xi in (0.0, 1.0) else None
                axes.scatter(
                    cost(groups),
                    error,
                    s=area,
                    marker=marker,
                    color="k" if index == 10 else f"C{index}",
                    alpha=0.7,
                    label=label,
                )
    titles = ("error against the step's own batch", "error against the training data")
    for axes, title in zip(panels, titles, strict=True):
        axes.set(xscale="log", yscale="log", xlabel="cost (forward passes)", title=title)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("median relative error of the curvature")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    top = 50.0  # those that climb on the data are drawn here
    for item in biases(path):
        for shift, value, color in ((-0.1, item.slope, "C3"), (0.1, item.curvature, "C0")):
            right.scatter(item.rank + shift, min(value, top), s=24, color=color, alpha=0.6)
    right.axhline(1, color="0.5", lw=0.8)
    right.set(yscale="log", xlabel="batch size", title="own batch / training data")
    right.set_xticks(range(3), ["smallest", "middle", "largest"])
    right.spines[["top", "right"]].set_visible(False)
    right.text(0.97, 0.97, "slope", color="C3", ha="right", va="top", transform=right.transAxes)
    right.text(0.97, 0.9, "curvature", color="C0", ha="right", va="top", transform=right.transAxes)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=100)
    plt.close(figure)
