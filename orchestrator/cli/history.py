# SPDX-License-Identifier: GPL-2.0-only
"""`guprace history`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.common import noting, only_option
from orchestrator.cli.tell import say, tell_error
from orchestrator.errors import ExitCode, HostError


@click.command("history")
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@only_option
@click.option("--all", "every", is_flag=True, help="Older kernels of a lane, too, not only the one raced last.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for other tools.")
def command(runs: tuple[Path, ...], only: tuple[str, ...], every: bool, as_json: bool) -> int:
    """Sum up many RUNS (or directories of runs; default: ./runs): what they say of the same kernels together.

    Trials and seconds of all clean races add up, so nights of them bound more than the longest; of a scenario that
    failed now and then it says how often, where, and how to repeat it. What its controls in the same runs showed says
    how likely a fault that shows as often would have escaped all of them. Kernels are the same where source, patches,
    configuration and toolchain are. Reads run directories and nothing else.

    Exit code: 0; 1 if a race of a kernel shown FAILed or MISSED a control; 2 no such run or cell; 3 some are damaged.

    \b
    Examples:
      guprace history
      guprace history runs /mnt/ci/guprace --only '6.12/arm64/*'
      guprace history --json | jq '.kernels[].scenarios[] | select(.outcomes.FAIL)'
    """
    import json

    from orchestrator.paths import Project
    from orchestrator.report.history import find_runs, history, history_data, show_history
    from orchestrator.report.terminal import Output

    found = history(find_runs(runs or (Path("runs"),)), only, Project())
    shown = found if every else found.newest
    if as_json:
        say(json.dumps(history_data(shown), indent=1))
    else:
        with noting(troubles := list[HostError]()):
            show_history(shown, Output(), len(found.kernels) - len(shown.kernels))
        for trouble in troubles:
            tell_error(trouble)
    if shown.failed:
        return int(ExitCode.FAILED)
    return int(ExitCode.HOST if shown.damaged else ExitCode.OK)
