# SPDX-License-Identifier: GPL-2.0-only
"""Two run directories compared by the kernel reports in them: `guprace triage --diff RUN_A RUN_B`.

comparison = compare(raced(open_run(run_a)), raced(open_run(run_b)), unit)
show_diff(comparison, console)                      # report/triage.py
click.echo(diff_json(comparison), nl=False)         # with --json
"""

from __future__ import annotations

from orchestrator import records
from orchestrator.runner.rundir import CellResult, RunDir
from orchestrator.splat.compare import Comparison, Difference, Raced


def raced(run: RunDir) -> tuple[Raced, ...]:
    """Return the cells of a run that showed a report, or in which a race was watched and none came.

    Raises:
        HostError: plan or a cell's record cannot be read.
    """
    return tuple(_raced(result) for result in run.results() if result.splats or _clean(result))


def _clean(result: CellResult) -> bool:
    """Say whether a cell without a report counts as one: it got as far as a console (splats.json), and raced."""
    watched = result.verdict is not None and result.verdict.watched
    return watched and (result.directory / "splats.json").is_file()


def _raced(result: CellResult) -> Raced:
    kernel = result.record.cell.kernel
    verdict, evidence = result.verdict, result.evidence
    return Raced(
        cell=result.record.cell.id,
        group=f"{kernel.arch}/{kernel.flavour}",
        splats=result.splats,
        trials=verdict.trials if verdict else 0,
        seconds=evidence.race_seconds if evidence else result.record.cell.race.seconds,
    )


def diff_json(comparison: Comparison) -> bytes:
    """Return the comparison as JSON: `{unit, reports: [{key, kind, title, change, before, ...}], pairs}`."""
    return records.dumps(
        {
            "unit": comparison.unit.value,
            "reports": [_data(each) for each in comparison.reports],
            "pairs": [_data(each) for each in comparison.pairs],
        }
    )


def _data(each: Difference) -> dict[str, object]:
    return {
        "key": each.key,
        "kind": each.kind.value,
        "title": each.title,
        "change": each.change.value,
        "before": {"seen": each.before.seen, "total": each.before.total},
        "after": {"seen": each.after.seen, "total": each.after.total},
        "p": each.p,
        "corrected": each.corrected,
        "significant": each.significant,
    }
