"""What was found, as sentences: pure functions of numbers."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from hidlr.reports.text import count, duration, number, percent, plural, printable

__all__ = [
    "cost_sentence",
    "influence_sentence",
    "loss_sentence",
    "phases_sentence",
    "place_sentence",
    "rates_sentence",
    "refused_sentence",
]


def rates_sentence(rates: Mapping[str, float]) -> str:
    """How far the groups' rates lie apart.

    Example:
        >>> rates_sentence({"embedding": 4.1e-3, "attention": 3.4e-4, "mlp": 1e-3})
        'The rates span a factor of 12: embedding highest (4.1e-3), attention lowest (3.4e-4).'
    """
    usable = {name: rate for name, rate in rates.items() if math.isfinite(rate) and rate > 0}
    if not usable:
        return "No group has a rate above 0." if rates else ""
    rest = len(rates) - len(usable)
    after = f" {plural(rest, 'group')} without a finite rate above 0 not counted." if rest else ""
    high, low = max(usable, key=usable.__getitem__), min(usable, key=usable.__getitem__)
    if len(usable) == 1:
        return f"The rate of {printable(high)} is {number(usable[high])}.{after}"
    factor = usable[high] / usable[low]
    if factor < 1.05:
        return f"All {count(len(usable))} groups have nearly the same rate, {number(usable[high])}.{after}"
    return (
        f"The rates span a factor of {_factor(factor)}: {printable(high)} highest "
        f"({number(usable[high])}), {printable(low)} lowest ({number(usable[low])}).{after}"
    )


def cost_sentence(share: float | None, forwards: int, seconds: float) -> str:
    """What probing cost.

    Args:
        share: of the run's wall-clock; None where not known.
        forwards: forward passes.
        seconds: wall-clock of the probes.

    Example:
        >>> cost_sentence(0.082, 64, 3.0)
        "Probing took 8.2% of the run's time (64 forward passes)."
    """
    passes = plural(forwards, "forward pass", "forward passes")
    if share is None or not math.isfinite(share):
        return f"Probing took {passes} and {duration(seconds)}."
    return f"Probing took {percent(share)} of the run's time ({passes})."


def refused_sentence(measured: int, reasons: Mapping[str, int]) -> str:
    """How many measurements could not be used, and why.

    Args:
        measured: accepted measurements.
        reasons: refused measurements by reason.

    Example:
        >>> refused_sentence(87, {"below the noise": 2, "not convex": 1})
        '3 of 90 measurements were refused, most often: below the noise.'
    """
    refused = sum(reasons.values())
    if not measured + refused:
        return "No group was measured."
    if not refused:
        return f"None of {plural(measured, 'measurement')} was refused."
    verb = "was" if refused == 1 else "were"
    (top, _), *others = Counter(reasons).most_common(2)
    often = ", most often" if others else ""
    total = plural(measured + refused, "measurement")
    return f"{count(refused)} of {total} {verb} refused{often}: {printable(top)}."


def influence_sentence(ppi: Mapping[str, float]) -> str:
    """Which parameters matter most.

    Example:
        >>> influence_sentence({"norm": 2e-3, "embedding": 1e-6})
        'Per parameter, norm matters most: 2,000 times as much as embedding, which matters least.'
    """
    usable = {name: value for name, value in ppi.items() if math.isfinite(value) and value > 0}
    if len(usable) < 2:
        return ""
    high, low = max(usable, key=usable.__getitem__), min(usable, key=usable.__getitem__)
    factor = usable[high] / usable[low]
    if factor < 1.05:
        return f"Per parameter, all {count(len(usable))} groups matter nearly alike."
    return (
        f"Per parameter, {printable(high)} matters most: {_factor(factor)} times as much "
        f"as {printable(low)}, which matters least."
    )


def loss_sentence(first: float, last: float, unfinite: int) -> str:
    """Where the training loss began and ended.

    Example:
        >>> loss_sentence(2.3026, 0.1234, 0)
        'The training loss went from 2.303 to 0.1234.'
    """
    after = f" {plural(unfinite, 'loss was', 'losses were')} not finite." if unfinite else ""
    if not (math.isfinite(first) and math.isfinite(last)):
        return after.strip()
    return f"The training loss went from {first:.4g} to {last:.4g}.{after}"


def phases_sentence(phases: Sequence[tuple[int, str]]) -> str:
    """When the engine did what; "" if it changed too often to tell.

    Args:
        phases: step and phase of each record, ascending.

    Example:
        >>> phases_sentence([(0, "calibrate"), (1, "warm-up"), (29, "warm-up"), (30, "track")])
        'Phases: calibrate (step 0), warm-up (1 to 29), track (from 30).'
    """
    spans: list[tuple[str, int, int]] = []
    for step, phase in phases:
        if spans and spans[-1][0] == phase:
            spans[-1] = (phase, spans[-1][1], step)
        else:
            spans.append((phase, step, step))
    if not 2 <= len(spans) <= 5:
        return ""
    parts = []
    for index, (phase, start, end) in enumerate(spans):
        when = f"from {count(start)}" if index == len(spans) - 1 else count(start)
        if index < len(spans) - 1 and end > start:
            when += f" to {count(end)}"
        parts.append(f"{printable(phase) or 'unnamed'} ({'step ' if index == 0 else ''}{when})")
    return f"Phases: {', '.join(parts)}."


def place_sentence(name: str, metric: str, values: Mapping[str, float], *, higher: bool) -> str:
    """Where one row stands among the rows of a comparison.

    Example:
        >>> place_sentence("hidlr", "accuracy", {"hidlr": 0.95, "AdamW": 0.94, "SGD": 0.9}, higher=True)
        'hidlr has the best accuracy of 3: 0.95, then AdamW (0.94).'
        >>> place_sentence("hidlr", "loss", {"hidlr": 0.2, "AdamW": 0.1}, higher=False)
        'hidlr is number 2 of 2 by loss: 0.2; AdamW is best (0.1).'
    """
    usable = {row: value for row, value in values.items() if math.isfinite(value)}
    if name not in usable or len(usable) < 2:
        return ""
    order = sorted(usable, key=usable.__getitem__, reverse=higher)
    own, metric = f"{usable[name]:.4g}", printable(metric)
    best, second = order[:2]
    if usable[best] == usable[name]:
        rival = second if best == name else best
        if usable[rival] == usable[name]:
            return f"{printable(name)} shares the best {metric} of {len(order)}, {own}, with {printable(rival)}."
        return (
            f"{printable(name)} has the best {metric} of {len(order)}: {own}, "
            f"then {printable(rival)} ({usable[rival]:.4g})."
        )
    return (
        f"{printable(name)} is number {order.index(name) + 1} of {len(order)} by {metric}: {own}; "
        f"{printable(best)} is best ({usable[best]:.4g})."
    )


def _factor(value: float) -> str:
    if value < 10:
        return f"{value:.1f}".removesuffix(".0")
    if value < 1e6:
        return count(int(round(value, 1 - math.floor(math.log10(value)))))
    return number(value)
