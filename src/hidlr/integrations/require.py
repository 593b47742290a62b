"""Optional packages, with an error that says how to get them."""

import re
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from hidlr.errors import MissingExtraError

__all__ = ["require"]


def require(package: str, extra: str, at_least: str = "") -> ModuleType:
    """Import a package that hidlr does not install by itself.

    Args:
        package: the module to import; its distribution has the same name up to a dot.
        extra: the extra of hidlr that brings it.
        at_least: the oldest version that serves.

    Raises:
        MissingExtraError: it is absent, or older; the message names both versions and the pip line.
    """
    distribution = package.partition(".")[0]
    wanted = f"{distribution} >= {at_least}" if at_least else distribution
    try:
        found = import_module(package)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] != distribution:
            raise  # the package is there, and lacks something itself
        raise MissingExtraError(wanted, extra) from error
    try:
        installed = version(distribution)
    except PackageNotFoundError:  # put beside the program without being installed
        return found
    if at_least and _numbers(installed) < _numbers(at_least):
        raise MissingExtraError(f"{wanted} ({installed} is installed)", extra)
    return found


def _numbers(text: str) -> tuple[int, ...]:
    """The release in a version: 5.24.0rc1 is (5, 24, 0)."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, match[0].split("."))) if match else ()
