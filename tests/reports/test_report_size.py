import json
import random
from pathlib import Path

import pytest
from test_report_page import check, svgs

from hidlr.reports import write_report
from support.report_runs import metric_lines

GROUPS, RECORDS = 100, 10_000


@pytest.mark.slow
def test_a_long_run_of_many_groups_stays_small(tmp_path: Path) -> None:
    noise = random.Random(0)
    names = [f"blocks.{index // 4}.{('attention', 'mlp', 'norm', 'bias')[index % 4]}" for index in range(GROUPS)]
    group = '{{"name":"{}","size":1000,"rate_before":0.001,"rate_after":{:.4g},{}}}'
    accepted = '"slope":{:.4g},"curvature":{:.4g},"accepted":true'
    refused = '"reason":"R2 {:.3f} below 0.99"'
    with (tmp_path / "history.jsonl").open("w") as file:
        for index in range(RECORDS):
            spread = noise.random()
            parts = (
                group.format(
                    name,
                    (1 + spread) * 10 ** (-k / 40),
                    accepted.format(1 + spread, 9 - k / 20) if k % 9 else refused.format(spread),
                )
                for k, name in enumerate(names)
            )
            file.write(
                f'{{"step":{10 * index},"phase":"track","groups":[{",".join(parts)}],"points":[],"losses":[],'
                f'"forwards":3,"seconds":0.1,"factor":1.0,"note":""}}\n'
            )
    with (tmp_path / "metrics.jsonl").open("w") as file:
        file.writelines(json.dumps(line) + "\n" for line in metric_lines(10 * RECORDS, 1000))
    report = write_report(tmp_path)
    assert report.stat().st_size < 5_000_000
    page = report.read_text()
    check(page)
    assert svgs(page)
    assert "Thinned for drawing" in page
    assert "92 other groups" in page
