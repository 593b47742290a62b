"""How well a classifier does, from its scores; binary or not."""

import numpy as np

__all__ = ["classification_metrics"]


def classification_metrics(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy, macro F1 and Matthews correlation, as scikit-learn defines them.

    Args:
        scores: [examples, labels], any increasing function of the probabilities.
        labels: [examples].

    Example:
        >>> found = classification_metrics(np.array([[2.0, 1.0], [0.0, 3.0], [5.0, 1.0]]), np.array([0, 1, 1]))
        >>> {name: round(value, 3) for name, value in found.items()}
        {'accuracy': 0.667, 'f1': 0.667, 'mcc': 0.5}
    """
    count = scores.shape[1]
    confusion = np.zeros((count, count))
    np.add.at(confusion, (labels, scores.argmax(1)), 1)
    hits, true, said, total = confusion.diagonal(), confusion.sum(1), confusion.sum(0), confusion.sum()
    either = (true + said)[(true + said) > 0]
    f1 = 2 * hits[(true + said) > 0] / either
    # Gorodkin's R_K, of which the binary correlation is the case K = 2.
    spread = np.sqrt(total**2 - (said**2).sum()) * np.sqrt(total**2 - (true**2).sum())
    mcc = (hits.sum() * total - (true * said).sum()) / spread if spread > 0 else 0.0
    return {"accuracy": float(hits.sum() / total), "f1": float(f1.mean()), "mcc": float(mcc)}
