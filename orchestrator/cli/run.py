# SPDX-License-Identifier: GPL-2.0-only
"""`guprace run`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from orchestrator.cli.common import (
    FiniteRange,
    log_to,
    matrix_argument,
    noting,
    only_option,
    plan_of,
    race_options,
    refuse_beside_resume,
    run_options,
    with_race,
    workplace,
)
from orchestrator.cli.tell import say, tell_error
from orchestrator.errors import ExitCode, HostError, UsageError
from orchestrator.kernel.build import KernelBuilder
from orchestrator.matrix.mutants import load_mutants
from orchestrator.matrix.plan import Cell, Plan, PrebuiltSource, cell_id, stock_id
from orchestrator.matrix.targets import with_controls
from orchestrator.paths import Project
from orchestrator.report.known import show_known
from orchestrator.report.live import watcher
from orchestrator.report.power import is_power_run
from orchestrator.report.terminal import Output, show
from orchestrator.report.text import near
from orchestrator.report.view import view
from orchestrator.report.write import write_reports
from orchestrator.runner.backup import back_verdicts
from orchestrator.runner.cell import Workshop
from orchestrator.runner.lanes import lanes_of
from orchestrator.runner.lists import Lists, load_lists
from orchestrator.runner.resume import take_up
from orchestrator.runner.run import Runner, claimed, new_run, schedules_of
from orchestrator.runner.rundir import RunDir, open_run
from orchestrator.verdict.codes import exit_code


class _Which(click.Choice[str]):
    """One of a few words, behind an option that may stand without any: so it takes the next word for its own."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word, or fail as click does."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            self.fail(f"{error.message}\n  put the matrix first, or write --controls=one", param, ctx)


@click.command("run")
@matrix_argument
@only_option
@click.option("--dry-run", is_flag=True, help="Show the cells and which kernels are in the cache; build and race "
              "nothing. Asks apt for a package's version, and fetches its lists if there are none yet.")  # fmt: skip
@race_options
@click.option("--controls", type=_Which(["one", "all"]), is_flag=False, flag_value="one",
              help="Race broken kernels too: for each scenario one that it must catch, or all of those.")  # fmt: skip
@click.option("--until-confidence", "confidence", type=FiniteRange(0.0, 1.0, min_open=True, max_open=True),
              metavar="P", help="Race on until a fault that shows as often as the controls' would be missed with a "
              "probability below P (with --controls one where the matrix has none).")  # fmt: skip
@run_options
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
    resume: Path | None,
) -> int:
    """Build the kernels of MATRIX (default: configs/quick.yaml), race every cell, judge, and write the reports.

    --resume goes on with an interrupted run: its verdicts are kept, whatever they are, and the other cells are raced
    (with those that the host broke), provided that kernels and programs are still what they were.

    Exit code: 0 all as expected, 1 a kernel or test failure, 2 usage, 3 host, 4 a kernel did not build,
    130 interrupted.

    \b
    Examples:
      guprace run configs/quick.yaml
      guprace run --only 'arm64/plain/*' --seconds 60
      guprace run --dry-run
      guprace run configs/suite.yaml --only '6.12/arm64/plain/*' --controls
      guprace run --only '*/arm64/plain/pin_vs_munmap' --until-confidence 1e-3
      guprace run --resume runs/20261126-091500-suite
    """
    with workplace() as (place, builder):
        lists = load_lists(Project())
        if resume is not None:
            run = _interrupted(resume)
        else:
            plan = with_race(plan_of(matrix, only), seconds, seed)
            if controls or confidence:
                plan = replace(with_controls(plan, load_mutants(Project()), controls == "all"), confidence=confidence)
            if dry_run:
                return _dry_run(plan, builder)
            run = new_run(runs, plan, tuple(sys.argv), guests)
        with claimed(run, place.stop):
            return _race(run, lists, builder, guests, resumed=resume is not None)


def _interrupted(resume: Path) -> RunDir:
    """Return the run to go on with.

    Raises:
        UsageError: it is no run of `guprace run`, or the command line asks for something else than it did.
        HostError: its record is damaged.
    """
    refuse_beside_resume()
    run = open_run(resume)
    if is_power_run(run):
        hint = shlex.join(["guprace", "power", "--resume", str(resume)])
        raise UsageError("a run of `guprace power`, not of `guprace run`", where=str(resume), hint=hint)
    if "bisect-step" in run.metadata().command[1:2]:
        hint = "`guprace bisect-step`, or `git bisect run`, makes it again"
        raise UsageError("a step of a bisection, not a run of `guprace run`", where=str(resume), hint=hint)
    return RunDir(run.root.absolute())


def _race(run: RunDir, lists: Lists, builder: KernelBuilder, guests: int | None, *, resumed: bool) -> int:
    """Race what has no verdict, and show all of the run."""
    log_to(run.root / "guprace.log")
    plan, place, console = run.plan(), builder.place, Output()
    due = not resumed or take_up(run, schedules_of(plan), builder, sys.argv, say)
    troubles: list[HostError] = []
    try:
        with noting(troubles):
            if due:
                with watcher(console) as listener:
                    shop = Workshop(place, Project(), lists, listener, repeater(plan))
                    Runner(builder, shop).run(run, plan, run.metadata().guests if guests is None else guests)
            back_verdicts(run, Project())
    finally:
        with noting(troubles):
            write_reports(run)
        with noting(troubles):
            show(view(run), console)
    with noting(troubles):
        show_known(run, Project(), console)
    for trouble in troubles:
        tell_error(trouble)
    code = exit_code([result.verdict for result in run.results()], place.stop.is_set)
    return int(code or (ExitCode.HOST if troubles else ExitCode.OK))


def repeater(plan: Plan) -> Callable[[Cell, int], str]:
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
        again = ["guprace", "run", near(plan.matrix)]
        again += [word for each in only for word in ("--only", each)]
        again += ["--seed", f"{seed:#x}", *(["--controls=all"] if first in ours else [])]
        kept = plan.seconds if cell.attempt == 1 else cell.race.seconds
        return shlex.join(again if kept is None else [*again, "--seconds", f"{kept:g}"])

    return repeat


def _dry_run(plan: Plan, builder: KernelBuilder) -> int:
    for lane in lanes_of(plan.cells):
        cached, reasons = builder.why(lane.kernel)
        state = "kernel in the cache" if cached else f"kernel to be built ({'; '.join(reasons[:3])})"
        state = "prebuilt image" if isinstance(lane.kernel.source, PrebuiltSource) else state
        for cell in lane.cells:
            click.echo(f"{cell.id}  expect {cell.expect}  {cell.race.seconds:g} s  {state}")
    return int(ExitCode.OK)
