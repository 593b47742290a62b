"""A figure on the disk, or a word about why there is none."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hidlr.errors import HidlrError, InputError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

__all__ = ["save_figure"]


def save_figure(draw: "Callable[[], Figure]", path: Path, console: "Console", what: str = "picture") -> Path | None:
    """Draw and write; a missing extra, or nothing to draw, is a warning.

    Returns:
        Where it is; None if it could not be drawn.

    Raises:
        HidlrError: matplotlib does not know the format, or the file cannot be written.
    """
    try:
        figure = draw()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except (MissingExtraError, InputError) as error:
        console.print(f"warning: no {what}: {error}", soft_wrap=True)
        return None
    except ValueError as error:  # a format that matplotlib does not know
        raise HidlrError(f"{path} cannot be drawn: {error}") from error
    except OSError as error:
        raise HidlrError(f"{path} cannot be written ({error.strerror}): name a file elsewhere with --out.") from error
    return path
