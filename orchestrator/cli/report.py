# SPDX-License-Identifier: GPL-2.0-only
"""`guprace report`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.common import noting
from orchestrator.cli.tell import tell_error
from orchestrator.errors import ExitCode, HostError, UsageError
from orchestrator.paths import Project
from orchestrator.report.known import show_known
from orchestrator.report.power import is_power_run, power_table, power_view
from orchestrator.report.terminal import Output, show
from orchestrator.report.view import view
from orchestrator.report.write import write_reports
from orchestrator.runner.rundir import RunDir, newest_in, open_run
from orchestrator.verdict.codes import exit_code, power_code


@click.command("report")
@click.argument("run", required=False, type=click.Path(path_type=Path))
def command(run: Path | None) -> int:
    """Write junit.xml, report.ktap and index.html of RUN again (default: the newest in ./runs), and show it.

    Needs no guest and no kernel, on any machine: reads the run directory, and beside it this checkout's list of known
    issues, to say whether that is still true. Exit code: what `guprace run` gives for these verdicts.

    \b
    Examples:
      guprace report
      guprace report runs/20261123-040000-quick
    """
    found = open_run(run or newest(Path("runs")))
    try:
        write_reports(found)
    finally:
        code = _show(found)
    return int(code)


def _show(run: RunDir) -> ExitCode:
    """Print what there is of a run, and return its exit code."""
    console, troubles = Output(), list[HostError]()
    if is_power_run(run):
        seen = power_view(run)
        with noting(troubles):
            power_table(seen, console)
        code = power_code(seen.rows, bool(seen.metadata.interrupted))
        damaged = bool(seen.damaged)
    else:
        shown, damaged = view(run), False
        with noting(troubles):
            show(shown, console)
            show_known(run, Project(), console)
        code = exit_code([cell.verdict for cell in shown.cells], bool(shown.interrupted))
    for trouble in troubles:
        tell_error(trouble)
    return code or (ExitCode.HOST if damaged or troubles else ExitCode.OK)


def newest(runs: Path) -> Path:
    """Return the newest run below `runs`. Raises UsageError if there is none."""
    found = newest_in(runs)
    if found is None:
        hint = "name one, or make one: guprace run configs/quick.yaml"
        raise UsageError("no run here", where=str(runs), hint=hint)
    return found
