"""Groups from patterns on parameter names: the first match wins, and every pattern must have a use."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from hidlr.errors import InputError, InputTypeError

from .sites import Site
from .wording import listed

_REGEX = "re:"


@dataclass(frozen=True)
class _Pattern:
    """A pattern of one group.

    Attributes:
        group: the group's name.
        text: the pattern as the user wrote it.
        matches: tells whether a name fits.
    """

    group: str
    text: str
    matches: Callable[[str], bool]

    def fits(self, site: Site) -> bool:
        """Say whether a parameter fits, by its name in the model or its name without wrappers."""
        return self.matches(site.name) or self.matches(site.plain)

    def __str__(self) -> str:
        return f"pattern {self.text!r} of group {self.group!r}"


def groups_by_pattern(sites: Sequence[Site], by: Mapping[str, str | Sequence[str]]) -> list[str]:
    """Give the group of each trainable parameter, by the first pattern that fits its name.

    Args:
        sites: all parameters of a model, frozen ones too (for the messages).
        by: group name to glob, ``"re:..."`` regular expression, or several of them.

    Returns:
        One group name per trainable site, in the order of sites.

    Raises:
        InputTypeError: a group's name is no string, or its patterns are none.
        InputError: a pattern is invalid or matches nothing, a group is empty, a parameter fits no pattern.

    Example:
        >>> from torch import nn
        >>> from hidlr.groups.sites import sites_of
        >>> groups_by_pattern(sites_of(nn.Linear(2, 1)), {"w": "weight", "rest": "*"})
        ['w', 'rest']
    """
    patterns = [pattern for group, value in by.items() for pattern in _compile(group, value)]
    if not patterns:
        raise InputError('by is an empty dict: give it at least one group, e.g. {"rest": "*"}')
    trainable = [site for site in sites if site.parameter.requires_grad]
    for pattern in patterns:
        if not any(pattern.fits(site) for site in trainable):
            raise InputError(_useless(pattern, sites))
    winners = [next((p for p in patterns if p.fits(site)), None) for site in trainable]
    _reject_empty(patterns, winners, trainable)
    left = [site.name for site, winner in zip(trainable, winners, strict=True) if winner is None]
    if left:
        raise InputError(
            f"no pattern matches {listed(left, 'parameter')}: add a pattern for them, or a last group "
            'for all that is left: "rest": "*"'
        )
    return [winner.group for winner in winners if winner is not None]


def _compile(group: object, value: object) -> list[_Pattern]:
    if not isinstance(group, str):
        raise InputTypeError(f"a group's name must be a string, got {group!r} ({type(group).__name__})")
    if not group:
        raise InputError("a group's name is the empty string: give it a name that will be seen in reports")
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise InputTypeError(f"the patterns of group {group!r} must be a string or a list of strings, got {value!r}")
    if not texts:
        raise InputError(f"group {group!r} has no pattern: give it one, or leave the group out")
    return [_Pattern(group, text, _matcher(group, text)) for text in texts]


def _matcher(group: str, text: str) -> Callable[[str], bool]:
    if not text.removeprefix(_REGEX):
        raise InputError(f"pattern {text!r} of group {group!r} is empty: write a glob such as '*.bias'")
    if not text.startswith(_REGEX):
        return lambda name: fnmatchcase(name, text)
    try:
        regex = re.compile(text.removeprefix(_REGEX))
    except re.error as error:
        raise InputError(
            f"pattern {text!r} of group {group!r} is no valid regular expression: {error}; "
            're.search is used on what follows "re:", and without "re:" a pattern is a glob'
        ) from error
    return lambda name: regex.search(name) is not None


def _reject_empty(patterns: Sequence[_Pattern], winners: Sequence[_Pattern | None], trainable: Sequence[Site]) -> None:
    filled = {winner.group for winner in winners if winner is not None}
    for pattern in patterns:
        if pattern.group in filled:
            continue
        takers = dict.fromkeys(
            str(winner)
            for site, winner in zip(trainable, winners, strict=True)
            if winner is not None and pattern.fits(site)
        )
        raise InputError(
            f"group {pattern.group!r} is empty: all that {pattern} matches is taken before it by "
            f"{' and '.join(takers)}; the first match wins, so put {pattern.group!r} first, or leave it out"
        )


def _useless(pattern: _Pattern, sites: Sequence[Site]) -> str:
    """Say why a pattern matches no trainable parameter, and what to write instead."""
    frozen = [site.name for site in sites if pattern.fits(site)]
    if frozen:
        return (
            f"{pattern} matches only frozen parameters: {listed(frozen, 'parameter')}; "
            "call requires_grad_(True) on them first, or leave the pattern out"
        )
    for site in sites:
        tied = next((alias for alias in site.aliases if pattern.matches(alias)), None)
        if tied is not None:
            return (
                f"{pattern} matches only {tied!r}, which is tied to {site.name!r} and stands under "
                "that name: match that one instead"
            )
    names = [site.name for site in sites if site.parameter.requires_grad]
    return f"{pattern} matches no parameter{_suggestion(pattern, names)}; the model has {listed(names, 'parameter')}"


def _suggestion(pattern: _Pattern, names: Sequence[str]) -> str:
    text = pattern.text
    if text.startswith(_REGEX):
        return ""
    for wider in (f"{text}*", f"*{text}", f"*{text}*"):
        if any(fnmatchcase(name, wider) for name in names):
            return f" (a glob must fit the whole name; did you mean {wider!r}?)"
    if any(fnmatchcase(name.lower(), text.lower()) for name in names):
        return " (upper and lower case count)"
    parts = dict.fromkeys(part for name in names for part in (name, *name.split(".")))
    near = difflib.get_close_matches(text.strip("*."), list(parts), n=1)
    if not near:
        return ""
    whole = near[0] if near[0] in names else f"*{near[0]}*"
    return f" (did you mean {whole!r}?)"
