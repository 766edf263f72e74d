# SPDX-License-Identifier: GPL-2.0-only
"""What the stages of a cell left in its directory, whether they came to their end or not."""

from __future__ import annotations

from pathlib import Path

from orchestrator.matrix.plan import Cell
from orchestrator.race.ktap import read_ktap
from orchestrator.race.model import RaceResult
from orchestrator.race.session import SELFTEST_KTAP
from orchestrator.race.tap import read_upstream
from orchestrator.runner.rundir import CellResult

EVIDENCE_FILES = (
    *("console.log", "dmesg.log", SELFTEST_KTAP, "race.ktap"),
    *("evidence.json", "splats.json", "build.log", "qemu.log"),
)


def said_in(directory: Path, cell: Cell) -> RaceResult | None:
    """Return what the selftest has said in a cell's directory, to its end or not; None where it was not begun."""
    ktap = directory / "race.ktap"
    if not ktap.is_file():
        return None
    text, program = ktap.read_text(encoding="utf-8", errors="replace"), cell.program
    return read_upstream(text, program) if program else read_ktap(text)


def said_of(result: CellResult) -> RaceResult | None:
    """Return what the selftest said, be it that the guest was lost before the evidence around it was collected."""
    return result.evidence.race if result.evidence else said_in(result.directory, result.record.cell)


def evidence_in(directory: Path) -> tuple[str, ...]:
    """Return the names of the evidence in a cell's directory."""
    return tuple(name for name in EVIDENCE_FILES if (directory / name).is_file())
