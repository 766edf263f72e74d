# SPDX-License-Identifier: GPL-2.0-only
"""`guprace run`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from orchestrator.cli.common import (
    log_to,
    matrix_argument,
    only_option,
    plan_of,
    race_options,
    show_path,
    with_race,
    workplace,
)
from orchestrator.errors import ExitCode
from orchestrator.kernel.build import KernelBuilder
from orchestrator.matrix.mutants import load_mutants
from orchestrator.matrix.plan import Cell, Plan, cell_id, stock_id
from orchestrator.matrix.targets import with_controls
from orchestrator.paths import Project
from orchestrator.report.known import show_known
from orchestrator.report.live import watcher
from orchestrator.report.terminal import show
from orchestrator.report.view import view
from orchestrator.report.write import write_reports
from orchestrator.runner.backup import back_verdicts
from orchestrator.runner.cell import Workshop
from orchestrator.runner.lanes import lanes_of
from orchestrator.runner.run import Runner, new_run
from orchestrator.verdict.codes import exit_code


@click.command("run")
@matrix_argument
@only_option
@click.option("--dry-run", is_flag=True, help="Show the cells and which kernels are in the cache; do nothing.")
@click.option("-j", "guests", type=click.IntRange(1, 1024), help="Guests at once; default: as host cores allow.")
@race_options
@click.option("--controls", type=click.Choice(["one", "all"]), is_flag=False, flag_value="one",
              help="Race broken kernels too: for each scenario one that it must catch, or all of those.")  # fmt: skip
@click.option("--until-confidence", "confidence", type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
              metavar="P", help="Race on until a fault that shows as often as the controls' would be missed with a "
              "probability below P (with --controls one where the matrix has none).")  # fmt: skip
@click.option("--runs", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"), show_default=True,
              help="Where run directories are made.")  # fmt: skip
def command(
    matrix: Path | None,
    only: tuple[str, ...],
    dry_run: bool,
    guests: int | None,
    seconds: float | None,
    seed: int | None,
    controls: str | None,
    confidence: float | None,
    runs: Path,
) -> int:
    """Build the kernels of MATRIX (default: configs/quick.yaml), race every cell, judge, and write the reports.

    Exit code: 0 all as expected, 1 a kernel or test failure, 2 usage, 3 host, 4 a kernel did not build,
    130 interrupted.

    \b
    Examples:
      guprace run configs/quick.yaml
      guprace run --only 'arm64/plain/*' --seconds 60
      guprace run --dry-run
      guprace run configs/suite.yaml --only '6.12/arm64/plain/*' --controls
      guprace run --only '*/arm64/plain/pin_vs_munmap' --until-confidence 1e-3
    """
    plan = with_race(plan_of(matrix, only), seconds, seed)
    if controls or confidence:
        plan = replace(with_controls(plan, load_mutants(Project()), controls == "all"), confidence=confidence)
    with workplace() as (place, builder):
        if dry_run:
            return _dry_run(plan, builder)
        run = new_run(runs, plan, tuple(sys.argv))
        log_to(run.root / "guprace.log")
        console = Console()
        try:
            with watcher(console) as listener:
                shop = Workshop(place, Project(), listener, repeater(plan, seconds))
                Runner(builder, shop).run(run, plan, guests)
            back_verdicts(run, Project())
        finally:
            write_reports(run)
            show(view(run), console)
        show_known(run, Project(), console)
        verdicts = [result.verdict for result in run.results()]
        return int(exit_code(verdicts, place.stop.is_set))


def repeater(plan: Plan, seconds: float | None) -> Callable[[Cell, int], str]:
    """Return the function that gives the command which runs one cell again, with the same seed.

    A control that the matrix does not have comes with its stock cell and --controls.
    """
    ours = {cell.id for cell in plan.cells if plan.controlled and cell.race.first_hit}

    def repeat(cell: Cell, seed: int) -> str:
        first = cell_id(cell.kernel, cell.scenario)
        only = [stock_id(cell) if first in ours else first]
        if cell.program and cell.kernel.mutant and first not in ours:
            # Its failed tests count only beside those of the stock kernel in the same run.
            only.append(stock_id(cell))
        again = ["guprace", "run", show_path(plan.matrix)]
        again += [word for each in only for word in ("--only", each)]
        again += ["--seed", f"{seed:#x}", *(["--controls=all"] if first in ours else [])]
        kept = seconds if cell.attempt == 1 else cell.race.seconds
        return shlex.join(again if kept is None else [*again, "--seconds", f"{kept:g}"])

    return repeat


def _dry_run(plan: Plan, builder: KernelBuilder) -> int:
    for lane in lanes_of(plan.cells):
        cached, reasons = builder.why(lane.kernel)
        state = "in the cache" if cached else f"to be built ({'; '.join(reasons[:3])})"
        for cell in lane.cells:
            click.echo(f"{cell.id}  expect {cell.expect}  {cell.race.seconds:g} s  kernel {state}")
    return int(ExitCode.OK)
