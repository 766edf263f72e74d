# SPDX-License-Identifier: GPL-2.0-only
"""The run as KTAP (Documentation/dev-tools/ktap.rst): one line per cell, for tools that read no XML."""

from __future__ import annotations

from orchestrator.report.text import harmless
from orchestrator.report.view import CellView, RunView
from orchestrator.verdict.model import Outcome


def ktap(run: RunView) -> bytes:
    """Return the run as KTAP (UTF-8)."""
    lines = ["KTAP version 1", f"# run {_line(run.plan_name)}"]
    if run.interrupted:
        lines.append(f"# interrupted by {_line(run.interrupted)}")
    lines.append(f"1..{len(run.cells)}")
    for number, cell in enumerate(run.cells, 1):
        lines += _case(number, cell)
    passed = sum(cell.good and cell.label != Outcome.SKIP for cell in run.cells)
    skipped = sum(cell.label == Outcome.SKIP for cell in run.cells)
    lines.append(f"# totals pass:{passed} fail:{len(run.cells) - passed - skipped} skip:{skipped}")
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _case(number: int, cell: CellView) -> list[str]:
    name = _line(cell.id).replace("#", "_").replace(" ", "_")
    diagnostics = [f"# {name}: {_line(cell.reason)}"] if cell.reason else []
    if cell.record.repeat and not cell.good:
        diagnostics.append(f"# {name}: repeat: {_line(cell.record.repeat)}")
    if cell.label == Outcome.SKIP:
        return [*diagnostics, f"ok {number} {name} # SKIP {_line(cell.reason)}"]
    return [*diagnostics, f"{'ok' if cell.good else 'not ok'} {number} {name} # {cell.label}"]


def _line(text: str) -> str:
    return " ".join(harmless(text).split())[:500]
