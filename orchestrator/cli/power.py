# SPDX-License-Identifier: GPL-2.0-only
"""`guprace power`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import click

from orchestrator import records
from orchestrator.cli.common import (
    FiniteRange,
    Seed,
    log_to,
    noting,
    refuse_beside_resume,
    run_options,
    workplace,
)
from orchestrator.cli.tell import say, tell_error
from orchestrator.errors import ExitCode, HostError, UsageError, nearest
from orchestrator.kernel.build import KernelBuilder
from orchestrator.kernel.patches import touched
from orchestrator.matrix.load import load_plan
from orchestrator.matrix.mutants import Mutant, load_mutants
from orchestrator.matrix.plan import Cell, Plan, cell_id
from orchestrator.matrix.targets import Target, patch_targets, targets
from orchestrator.paths import Project
from orchestrator.report.live import watcher
from orchestrator.report.power import is_power_run, power_table, power_view
from orchestrator.report.terminal import Output
from orchestrator.report.text import near
from orchestrator.report.write import write_reports
from orchestrator.runner.cell import Workshop
from orchestrator.runner.lists import Lists, load_lists
from orchestrator.runner.power import Campaign, schedules
from orchestrator.runner.resume import take_up
from orchestrator.runner.run import Runner, claimed, new_run
from orchestrator.runner.rundir import RunDir, open_run
from orchestrator.verdict.codes import power_code

SUITE = "suite.yaml"


@click.command("power")
@click.argument("matrix", required=False, type=click.Path(path_type=Path))
@click.option("--kernel", "kernels", multiple=True, metavar="GLOB", help="Only these kernels of the matrix.")
@click.option("--arch", "arches", multiple=True, metavar="GLOB", help="Only these architectures.")
@click.option("--flavour", "flavours", multiple=True, metavar="GLOB",
              help="These flavours; default: for each mutant the first that shows it.")  # fmt: skip
@click.option("--mutant", "globs", multiple=True, metavar="GLOB", help="Only mutants whose id matches.")
@click.option("--patch", "patches", multiple=True, type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="A patch that breaks the kernel: would it be seen? Instead of the catalogue.")  # fmt: skip
@click.option("--scenario", "scenarios", multiple=True, metavar="GLOB", help="Only these scenarios of the matrix.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=5, show_default=True,
              help="Attempts at what is caught, each from a seed of its own.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1, 1000), default=3, show_default=True,
              help="Attempts with each scenario that a record names, before the others are tried.")  # fmt: skip
@click.option("--narrow", is_flag=True, help="Only the scenarios that a mutant's record names.")
@click.option(
    "--seconds", type=FiniteRange(0.1, 86400), help="An attempt without a hit ends then; default: the matrix's."
)
@click.option("--seed", type=Seed(), help="Seed of each first attempt, the next has the next; default: fresh ones.")
@run_options
def command(
    matrix: Path | None,
    kernels: tuple[str, ...],
    arches: tuple[str, ...],
    flavours: tuple[str, ...],
    globs: tuple[str, ...],
    patches: tuple[Path, ...],
    scenarios: tuple[str, ...],
    seeds: int,
    rounds: int,
    narrow: bool,
    seconds: float | None,
    seed: int | None,
    guests: int | None,
    runs: Path,
    resume: Path | None,
) -> int:
    """Break kernels on purpose, race them, and measure which are caught, by what, and how soon.

    Lanes and scenarios are those of MATRIX (default: configs/suite.yaml). Each mutant of configs/mutants/ is raced by
    the scenarios that its record names for the architecture, then by those of its principle, then by all others,
    until one catches it; that one races it again from as many seeds as asked for. A patch is raced by all, first by
    those that expose mutants of the same functions and files. What the unbroken kernel shows as well is no catch.

    Exit code: 0 all as the records say, 1 something else was caught or missed, 4 a kernel did not build, others as
    `guprace run`.

    \b
    Examples:
      guprace power --kernel 6.12 --arch arm64
      guprace power --kernel 6.12 --arch arm64 --mutant 'M0*' --seeds 10
      guprace power --kernel 6.12 --arch arm64 --patch my-fix-reverted.patch
      guprace power --resume runs/20261126-091500-power
    """
    with workplace() as (place, builder):
        lists = load_lists(Project())
        if resume is not None:
            run, campaign = _interrupted(resume)
        else:
            for patch in patches:
                # Before anything is built or raced: is it one at all?
                touched(patch, place.stop, dict(place.environ))
            plan = lanes(load_plan(matrix or Project().configs / SUITE, Project()), kernels, arches, scenarios)
            campaign = _campaign(plan, globs, patches, _flavours(plan, flavours), seeds, rounds, narrow)
            raced = tuple(target.raced(seconds, seed) for target in campaign.targets)
            campaign = replace(campaign, targets=raced)
            run = new_run(runs, replace(plan, name="power", cells=()), tuple(sys.argv), guests)
            records.save(run.campaign_file, campaign)
        with claimed(run, place.stop):
            return _race(run, campaign, lists, builder, guests, resumed=resume is not None)


def _race(
    run: RunDir, campaign: Campaign, lists: Lists, builder: KernelBuilder, guests: int | None, *, resumed: bool
) -> int:
    """Race what is not known yet, and show all of the run."""
    log_to(run.root / "guprace.log")
    plan, place, console = run.plan(), builder.place, Output()
    due = not resumed or take_up(run, schedules(campaign), builder, sys.argv, say)
    troubles: list[HostError] = []
    try:
        if due:
            with noting(troubles), watcher(console) as listener:
                shop = Workshop(place, Project(), lists, listener, repeater(plan.matrix, campaign))
                at_once = run.metadata().guests if guests is None else guests
                Runner(builder, shop).run(run, _sized(plan, campaign), at_once, schedules(campaign))
    finally:
        with noting(troubles):
            write_reports(run)
        seen = power_view(run)
        with noting(troubles):
            power_table(seen, console)
    for trouble in troubles:
        tell_error(trouble)
    code = power_code(seen.rows, place.stop.is_set)
    return int(code or (ExitCode.HOST if troubles else ExitCode.OK))


def _interrupted(resume: Path) -> tuple[RunDir, Campaign]:
    """Return the run to go on with.

    Raises:
        UsageError: it is no run of `guprace power`, or the command line asks for something else than it did.
        HostError: its record is damaged.
    """
    refuse_beside_resume()
    run = open_run(resume)
    if not is_power_run(run):
        again = shlex.join(["guprace", "run", "--resume", str(resume)])
        hint = f"it has no {run.campaign_file.name}; one of `guprace run` is gone on with by: {again}"
        raise UsageError("not a run of `guprace power`", where=str(resume), hint=hint)
    return RunDir(run.root.absolute()), run.campaign(Campaign)


def lanes(plan: Plan, kernels: Sequence[str], arches: Sequence[str], scenarios: Sequence[str]) -> Plan:
    """Return the plan with the unbroken kernels' cells that are asked for by name or glob, and no others.

    Raises:
        UsageError: a name is none of the plan's, or nothing is left.
    """
    cells = [cell for cell in plan.cells if not cell.kernel.mutant]
    _named("kernel", kernels, {cell.kernel.name for cell in cells}, plan)
    _named("architecture", arches, {str(cell.kernel.arch) for cell in cells}, plan)
    _named("scenario", scenarios, {cell.scenario for cell in cells}, plan)

    def wanted(cell: Cell) -> bool:
        asked = ((kernels, cell.kernel.name), (arches, cell.kernel.arch), (scenarios, cell.scenario))
        return all(not globs or any(fnmatchcase(name, glob) for glob in globs) for globs, name in asked)

    left = tuple(cell for cell in cells if wanted(cell))
    if not left:
        hint = "each name is in the plan, but not together: `guprace list` shows its cells"
        raise UsageError("nothing is left to race", where=near(plan.matrix), hint=hint)
    return replace(plan, cells=left)


def _flavours(plan: Plan, asked: Sequence[str]) -> tuple[str, ...]:
    """Return the plan's flavours that are asked for by name or glob. Raises UsageError for one that it lacks."""
    return _named("flavour", asked, {cell.kernel.flavour for cell in plan.cells}, plan)


def _named(what: str, asked: Sequence[str], known: set[str], plan: Plan) -> tuple[str, ...]:
    for glob in asked:
        if not any(fnmatchcase(name, glob) for name in known):
            hint = f"there is: {', '.join(sorted(known)) or 'none'}"
            raise UsageError(f"no {what} {glob!r} in {near(plan.matrix)}{nearest(glob, known)}", hint=hint)
    return tuple(sorted(name for name in known if any(fnmatchcase(name, glob) for glob in asked)))


def _campaign(
    plan: Plan,
    globs: Sequence[str],
    patches: Sequence[Path],
    flavours: Sequence[str],
    seeds: int,
    rounds: int,
    narrow: bool,
) -> Campaign:
    left_out: tuple[str, ...] = ()
    found: tuple[Target, ...]
    mutants = load_mutants(Project())
    if patches:
        found = tuple(target for patch in patches for target in patch_targets(plan, patch, mutants, flavours))
    else:
        found, left_out = targets(plan, _chosen(mutants, globs), flavours)
    if twice := _twice([target.id for target in found]):
        hint = "a patch is called by its file's name: rename one of them"
        raise UsageError(f"two patches would both be {twice}", hint=hint)
    if narrow:
        found = tuple(replace(target, others=()) for target in found)
    idle = [target for target in found if not (target.scenarios or target.others or target.upstream)]
    found = tuple(target for target in found if target not in idle)
    left_out += tuple(_idle(target, mutants) for target in idle)
    if not found:
        hint = "; ".join(left_out) or "the plan has none of the flavours that show it; see --flavour"
        raise UsageError("no broken kernel to race on these lanes", where=near(plan.matrix), hint=hint)
    return Campaign(found, seeds, rounds, left_out)


def _idle(target: Target, mutants: Sequence[Mutant]) -> str:
    named = next((m.scenarios_on(target.kernel.arch) for m in mutants if m.id == target.mutant), ())
    return f"{target.id}: nothing of this plan races it; its record names {', '.join(named) or 'no scenario'}"


def _twice(names: Sequence[str]) -> str:
    return next((name for name in names if names.count(name) > 1), "")


def _chosen(mutants: Sequence[Mutant], globs: Sequence[str]) -> tuple[Mutant, ...]:
    ids = [mutant.id for mutant in mutants]
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in ids):
            raise UsageError(f"no mutant matches {glob!r}{nearest(glob, ids)}", hint=f"there is: {', '.join(ids)}")
    return tuple(m for m in mutants if not globs or any(fnmatchcase(m.id, glob) for glob in globs))


def _sized(plan: Plan, campaign: Campaign) -> Plan:
    """Return the plan with the cells of all targets, so that guests are counted by the memory they will take."""
    raced = ((target, (*target.scenarios, *target.others, *target.upstream)) for target in campaign.targets)
    return replace(plan, cells=tuple(target.cell(name) for target, names in raced for name in names))


def repeater(matrix: Path, campaign: Campaign) -> Callable[[Cell, int], str]:
    """Return the function that gives the command which makes one attempt again, with the same seed."""
    patched = {target.mutant: target.kernel.patches[-1] for target in campaign.targets if not target.recorded}

    def repeat(cell: Cell, seed: int) -> str:
        kernel = cell.kernel
        if kernel.mutant is None:
            what = ["guprace", "run", near(matrix), "--only", cell_id(kernel, cell.scenario)]
            return shlex.join([*what, "--seconds", f"{cell.race.seconds:g}", "--seed", f"{seed:#x}"])
        which = ["--patch", str(patched[kernel.mutant])] if kernel.mutant in patched else ["--mutant", kernel.mutant]
        words = ["guprace", "power", near(matrix), "--kernel", kernel.name, "--arch", str(kernel.arch)]
        words += ["--flavour", kernel.flavour, *which, "--scenario", cell.scenario, "--seeds", "1", "--rounds", "1"]
        return shlex.join([*words, "--seconds", f"{cell.race.seconds:g}", "--seed", f"{seed:#x}"])

    return repeat
