"""The `hidlr` command."""

from hidlr.cli.main import main

__all__ = ["main"]
