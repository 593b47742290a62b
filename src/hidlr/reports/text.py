"""Numbers and names as short text, the same in tables, plots and sentences."""

import math

__all__ = ["MISSING", "count", "duration", "number", "percent", "plural", "printable", "shorten", "tick"]

MISSING = "-"
"""Shown where nothing was measured. ASCII, so that a summary prints on any terminal."""


def number(value: float | None, digits: int = 2) -> str:
    """A number to a few significant digits, with an exponent only where it saves reading zeros.

    Example:
        >>> number(0.0041234), number(0.041234), number(412.34), number(-12345.0), number(None)
        ('4.1e-3', '0.041', '410', '-1.2e4', '-')
    """
    if value is None:
        return MISSING
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    power = int(exponent)
    if -2 <= power <= 2:
        return f"{float(f'{mantissa}e{power}'):.{max(0, digits - 1 - power)}f}"
    return f"{mantissa}e{power}"


def tick(value: float) -> str:
    """A round number on an axis, as short as it can be.

    Example:
        >>> tick(0.15000000000000002), tick(0.0005), tick(20000.0), tick(0.0)
        ('0.15', '5e-4', '2e4', '0')
    """
    text = f"{value:.6g}"
    if value == 0 or not math.isfinite(value) or 1e-2 <= abs(value) < 1e4:
        return text
    mantissa, _, exponent = f"{value:.5e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def count(value: int) -> str:
    """A whole number with thousands separators.

    Example:
        >>> count(1234567)
        '1,234,567'
    """
    return f"{value:,}"


def plural(value: int, noun: str, nouns: str | None = None) -> str:
    """A count with its noun.

    Example:
        >>> plural(1, "group"), plural(1200, "pass", "passes")
        ('1 group', '1,200 passes')
    """
    return f"{count(value)} {noun if value == 1 else nouns or noun + 's'}"


def duration(seconds: float) -> str:
    """A stretch of time in the unit that suits it.

    Example:
        >>> duration(2.524), duration(5000.0), duration(50000.0)
        ('2.52 s', '83 min', '13.9 h')
    """
    if not seconds >= 120:
        return f"{number(seconds, 3)} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def percent(share: float) -> str:
    """A share as a percentage, to two digits.

    Example:
        >>> percent(0.0821), percent(0.6), percent(0.0), percent(0.00002)
        ('8.2%', '60%', '0%', '<0.01%')
    """
    if not math.isfinite(share):
        return f"{share:g}"
    value = 100 * share
    if value == 0:
        return "0%"
    if abs(value) < 0.01:
        return "<0.01%"
    return f"{value:.2g}%" if abs(value) < 10 else f"{value:.0f}%"


def printable(name: object) -> str:
    r"""Text on one line, with control characters (and lone surrogates) written as escapes.

    Example:
        >>> printable("a\x1b[31mb\n")
        'a\\x1b[31mb\\n'
    """
    text = str(name)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shorten(name: str, width: int) -> str:
    """A name cut in the middle, where names of layers differ least.

    Example:
        >>> shorten("encoder.layers.11.attention.weight", 20)
        'encoder.l...n.weight'
    """
    name = printable(name)
    if len(name) <= width:
        return name
    kept = max(2, width - 3)
    return f"{name[: kept - kept // 2]}...{name[-(kept // 2) :]}"
