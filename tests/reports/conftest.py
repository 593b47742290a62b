"""Run folders to report on."""

from pathlib import Path

import pytest
from report_runs import Writer, write_folder

from hidlr.history import StepRecord


@pytest.fixture
def write_run(tmp_path: Path) -> Writer:
    """`write_folder`, in a fresh folder."""

    def write(records: list[StepRecord], **files: object) -> Path:
        return write_folder(tmp_path / "run", records, **files)

    return write
