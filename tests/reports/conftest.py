"""Run folders to report on."""

from pathlib import Path

import pytest

from hidlr.history import StepRecord
from support.report_runs import Writer, write_folder


@pytest.fixture
def write_run(tmp_path: Path) -> Writer:
    """`write_folder`, in a fresh folder."""

    def write(records: list[StepRecord], **files: object) -> Path:
        return write_folder(tmp_path / "run", records, **files)

    return write
