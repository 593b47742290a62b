"""Draw the docs' heat maps from the committed results.

python -m benchmarks.influence.pictures     # writes docs/images/influence.svg
"""

import json
from pathlib import Path

from benchmarks.influence.report import NAMES
from benchmarks.influence.tasks import FOLDER
from hidlr.influence import Influence
from hidlr.reports import heat_figure

IMAGE = Path(__file__).parent.parent.parent / "docs" / "images" / "influence.svg"


def main() -> None:
    """Of each model: the first seed, as late in training as was measured."""
    tasks = json.loads((FOLDER / "stability.json").read_text())["tasks"]
    found = {}
    for name, own in tasks.items():
        first = [key for key in own["measured"] if key.startswith("0, ")]
        if first:
            title = f"{NAMES[name]}, after {first[-1].removeprefix('0, ')}"
            found[title] = Influence.from_dict(own["measured"][first[-1]])
    heat_figure(found).savefig(IMAGE, metadata={"Date": None})


if __name__ == "__main__":
    main()
