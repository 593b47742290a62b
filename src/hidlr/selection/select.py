"""From influence to a selection: by budget, by threshold or by number."""

from collections.abc import Sequence

from hidlr.errors import InputError, InputTypeError
from hidlr.influence import Influence
from hidlr.selection.budget import entries, matched, spelled
from hidlr.selection.choice import GroupChoice
from hidlr.selection.choose import greedy, knapsack
from hidlr.selection.selection import Selection

__all__ = ["select"]


def select(
    influence: Influence,
    *,
    budget: float | None = None,
    threshold: float | None = None,
    top: int | None = None,
    rank: str = "ppi",
    always: Sequence[str] = (),
    never: Sequence[str] = (),
) -> Selection:
    """Choose the groups worth training (Xu et al., arXiv 2501.06954, section 5.1).

    Give exactly one of budget, threshold and top. Groups without a usable measurement are frozen unless
    `always` names them.

    Args:
        influence: what was measured.
        budget: share of the measured parameters in (0, 1], or their number (an int above 1).
        threshold: psi; groups whose per-parameter influence is above psi times that of the model as a whole.
        top: number of groups.
        rank: "ppi" takes groups by influence per parameter, the highest first, as long as they fit;
            "total" those which together lower the loss most (under a budget, a knapsack).
        always: groups to train whatever their influence, by name or glob; they count in the budget.
        never: groups to freeze whatever their influence, by name or glob.

    Returns:
        What is kept and what is frozen.

    Raises:
        InputError: nothing was measured, every measurement was refused, a value out of its range, an unknown group
            in `always` or `never`, or nothing fits.
        InputTypeError: something other than an `Influence`.

    Example:
        >>> from hidlr.influence import InfluenceMeter
        >>> meter = InfluenceMeter()
        >>> meter.observe("norm", 10, slope=1.0, curvature=1.0)
        >>> meter.observe("mlp", 990, slope=2.0, curvature=1.0)
        >>> select(Influence.of(meter), budget=0.01).kept
        ('norm',)
    """
    _check(influence, budget, threshold, top, rank)
    sizes = influence.sizes
    forced = matched(always, sizes, "always")
    barred = matched(never, sizes, "never")
    if forced & barred:
        raise InputError(f"{sorted(forced & barred)} in both always and never: leave it in one of them")
    open_names = [name for name in sizes if name in influence.ppi and name not in forced | barred]
    value = influence.ppi if rank == "ppi" else influence.total
    spent = sum(sizes[name] for name in forced)
    if budget is not None:
        room = entries(budget, sum(sizes.values())) - spent
        if room < 0:
            raise InputError(f"always={list(always)} alone are {spent:,} parameters, more than {spelled(budget)}")
        fill = greedy if rank == "ppi" else knapsack
        chosen = {open_names[k] for k in fill([value[n] for n in open_names], [sizes[n] for n in open_names], room)}
        rule = f"{spelled(budget)}, by {_RANKS[rank]}"
    elif threshold is not None:
        least = threshold * influence.mean_ppi
        chosen = {name for name in open_names if influence.ppi[name] > least}
        rule = f"influence per parameter above {threshold:g} times the model's"
    else:
        assert top is not None
        room = top - len(forced)
        if room < 0:
            raise InputError(f"always={list(always)} alone are {len(forced)} groups, more than top={top}")
        chosen = set(sorted(open_names, key=lambda name: -value[name])[:room])
        rule = f"the {top} highest groups by {_RANKS[rank]}"
    if not chosen | forced:
        raise InputError(_nothing(influence, open_names))
    extras = [f"{word} {list(names)}" for word, names in (("always", always), ("never", never)) if names]
    groups = tuple(
        GroupChoice(
            name=name,
            kept=name in chosen | forced,
            size=sizes[name],
            ppi=influence.ppi.get(name),
            total=influence.total.get(name),
            parameters=influence.members.get(name, ()),
        )
        for name in sizes
    )
    return Selection(groups, rule="; ".join([rule, *extras]), places=dict(influence.places))


def _check(influence: Influence, budget: float | None, threshold: float | None, top: int | None, rank: str) -> None:
    if not isinstance(influence, Influence):
        raise InputTypeError(f"select takes an Influence, e.g. tuner.influence(), not {type(influence).__name__}")
    if not influence.sizes:
        raise InputError("the influence is empty: nothing was measured yet; train some steps, or measure_influence")
    if not influence.ppi:
        refused = sum(influence.refused.values())
        raise InputError(
            f"no group has a usable measurement ({refused} refused, {sum(influence.nonconvex.values())} of them not "
            "convex): measure more steps, or larger batches"
        )
    if sum(given is not None for given in (budget, threshold, top)) != 1:
        raise InputError("give exactly one of budget=, threshold= and top=")
    if rank not in _RANKS:
        raise InputError(f'rank={rank!r}: "ppi" (influence per parameter) or "total"')
    if threshold is not None and not 0 <= threshold < float("inf"):
        raise InputError(f"threshold={threshold}: psi is at least 0 and finite")
    if threshold is not None and rank != "ppi":
        raise InputError("a threshold is one of influence per parameter: leave rank out")
    if top is not None and (isinstance(top, bool) or not isinstance(top, int) or top < 1):
        raise InputError(f"top={top!r}: keep at least one group")


def _nothing(influence: Influence, names: list[str]) -> str:
    if not names:
        return "no group is left to choose from: shorten never="
    smallest = min(names, key=lambda name: influence.sizes[name])
    return (
        f"no group fits: the smallest, {smallest!r}, has {influence.sizes[smallest]:,} parameters; raise the budget, "
        'lower the threshold, or measure finer groups (by="role_layer" or "tensor")'
    )


_RANKS = {"ppi": "influence per parameter", "total": "total influence"}
