"""An experiment's results: plain JSON data, the last line of each config."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.run import Result, RunConfig
from hidlr.training.jsonlines import read_lines

__all__ = ["TUNING", "Runs", "load"]

TUNING = 0
"""The seed that chooses between rates; it is never reported."""


@dataclass(frozen=True)
class Runs:
    """Results of one experiment.

    Attributes:
        results: one for each config.
        tier: name of the folder that they come from.
    """

    results: tuple[Result, ...]
    tier: str = "quick"

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def of(self, **fields: object) -> list[Result]:
        """Those whose config has these values, reported seeds alone, by seed.

        Args:
            **fields: of `RunConfig`.
        """
        found = [
            result
            for result in self.results
            if result["config"]["seed"] != TUNING and all(result["config"][k] == v for k, v in fields.items())
        ]
        return sorted(found, key=lambda result: result["config"]["seed"])

    def seen(self, configs: Iterable[RunConfig]) -> list[Result]:
        """The results of configs, those that there are, in their order."""
        known = {RunConfig.from_dict(result["config"]).identity: result for result in self.results}
        return [known[config.identity] for config in configs if config.identity in known]


def load(folder: Path) -> Runs:
    """Every result in a folder's `*.jsonl`; of several of one config the last counts.

    Raises:
        StateError: a line in the middle of a file is damaged.
    """
    found: dict[str, Result] = {}
    for path in sorted(folder.glob("*.jsonl")):
        whole = path.read_bytes().rfind(b"\n") + 1  # a last line may have been cut short
        for result in read_lines(path, whole, json.loads, "remove that line and run the experiment again"):
            found[RunConfig.from_dict(result["config"]).identity] = result
    return Runs(tuple(found.values()), folder.parent.name)
