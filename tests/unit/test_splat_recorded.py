# SPDX-License-Identifier: GPL-2.0-only
"""What our own guests said, on purpose (tests/guest/record_consoles.py), and what was judged right by eye.

To judge anew: `python -m tests.unit.test_splat_recorded` writes the expected JSON beside every log; read the diff.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from orchestrator.paths import Project
from orchestrator.report.console import read_console, reading_data
from orchestrator.splat.policy import load_path

REAL = Path(__file__).parents[1] / "data" / "splat" / "real"
LOGS = sorted(REAL.glob("*.log"))


def said(log: Path) -> dict[str, Any]:
    """What `guprace triage --json` says where no issue is known, without the texts: those stand in the log."""
    path = load_path(Project().configs / "gup-path.yaml")
    with log.open("rb") as stream:
        data = reading_data(read_console(stream, path, (), date(2026, 1, 1)))
    for report in (*data["reports"], *data["remarks"]):
        del report["text"]
    return data


@pytest.mark.parametrize("log", LOGS, ids=[log.stem for log in LOGS])
def test_a_recorded_console_is_read_as_judged(log: Path) -> None:
    assert said(log) == json.loads(log.with_suffix(".json").read_text())


if __name__ == "__main__":
    for each in LOGS:
        each.with_suffix(".json").write_text(json.dumps(said(each), indent=1) + "\n")
