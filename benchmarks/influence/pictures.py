"""Draw the docs' heat maps from the committed results.

python -m benchmarks.influence.pictures     # writes docs/images/influence.png
"""

import json
from pathlib import Path

from benchmarks.influence.tasks import FOLDER
from hidlr.influence import Influence
from hidlr.reports import heat_figure

IMAGE = Path(__file__).parent.parent.parent / "docs" / "images" / "influence.png"


def main() -> None:
    tasks = json.loads((FOLDER / "alone.json").read_text())["tasks"]
    found = {}
    for name, own in tasks.items():
        rows = {group: row for group, row in own["rows"].items() if row["ppi"] is not None}
        found[name] = Influence(
            ppi={group: row["ppi"] for group, row in rows.items()},
            total={group: row["ppi"] * row["size"] / 2 for group, row in rows.items()},
            sizes={group: row["size"] for group, row in own["rows"].items()},
            measured={}, refused={},
        )  # fmt: skip
    heat_figure(found).savefig(IMAGE, dpi=110)


if __name__ == "__main__":
    main()
