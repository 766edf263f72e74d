# SPDX-License-Identifier: GPL-2.0-only
"""`guprace bisect-step`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.common import FiniteRange, Seed, complete_tails, log_to, workplace
from orchestrator.cli.tell import in_words, say, tell_defect, tell_error, tell_usage
from orchestrator.errors import GupraceError, HostError, RunInterruptedError, UsageError
from orchestrator.kernel.gitsource import checked_out
from orchestrator.matrix.load import plan_for_tree
from orchestrator.matrix.plan import Accel, Cell, GuestSettings, Plan, RaceSettings, TreeSource
from orchestrator.paths import Project, cache_root
from orchestrator.report.view import view
from orchestrator.report.write import write_reports
from orchestrator.runner.cell import Workshop
from orchestrator.runner.events import Event, State
from orchestrator.runner.lists import load_lists
from orchestrator.runner.run import Runner, claimed, new_run
from orchestrator.runner.rundir import RunDir
from orchestrator.verdict.codes import BisectCode, bisect_code
from orchestrator.verdict.model import Verdict


class _Step(click.Command):
    """A command that ends a wrong command line as `git bisect run` must see it: by 2 it would call a commit bad."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the command line; one that is wrong stops the bisection."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            tell_usage(error)
            raise click.exceptions.Exit(int(BisectCode.USAGE)) from error


@click.command("bisect-step", cls=_Step)
@click.option("--tree", type=click.Path(path_type=Path), default=Path(), show_default=True,
              help="The kernel tree that git bisect checked out.")  # fmt: skip
@click.option("--cell", required=True, shell_complete=complete_tails, help="ARCH/FLAVOUR/SCENARIO")
@click.option("--seconds", type=FiniteRange(0.1, 86400), default=20.0, show_default=True, help="Of racing.")
@click.option("--seed", type=Seed(), help="Seed of the race; default: a fresh one.")
@click.option("--accel", type=click.Choice([str(a) for a in Accel]), default="auto", show_default=True)
@click.option("--runs", type=click.Path(path_type=Path, file_okay=False),
              help="Where run directories are made; default: in the cache (the tree stays clean).")  # fmt: skip
def command(tree: Path, cell: str, seconds: float, seed: int | None, accel: str, runs: Path | None) -> int:
    """Build the checked-out tree, race one cell, and answer git bisect.

    0 good · 1 bad (an oracle hit or a new kernel report, in the race) · 125 does not build, does not boot, cannot be
    made ready (the probe module does not load), or inconclusive (a report from before the race, a stall that a busy
    host can cause, too) · 129 usage · 130 interrupted · 131 host trouble; the last three stop the bisection.

    \b
    Example:
      git bisect start v6.2 v6.1
      git bisect run guprace bisect-step --tree . --cell arm64/plain/pin_vs_munmap
    """
    try:
        settings = GuestSettings(accel=Accel(accel))
        plan = plan_for_tree(tree, cell, Project(), settings, RaceSettings(seconds, seed))
        return int(_step(plan, runs))
    except UsageError as error:
        tell_error(error)
        return int(BisectCode.USAGE)
    except RunInterruptedError as error:
        tell_error(error)
        return int(BisectCode.INTERRUPTED)
    except GupraceError as error:
        tell_error(error)
        return int(BisectCode.HOST)
    except OSError as error:
        tell_error(in_words(error))
        return int(BisectCode.HOST)
    except Exception as error:  # noqa: BLE001 (shown whole; Python's own exit code 1 would call the commit bad)
        tell_defect(error)
        return int(BisectCode.HOST)


def _step(plan: Plan, runs: Path | None) -> BisectCode:
    with workplace() as (place, builder):
        lists = load_lists(Project())
        run = new_run(runs or cache_root(place.environ) / "runs", plan, tuple(sys.argv))
        log_to(run.root / "guprace.log")
        tree = _tree(plan)
        commit = checked_out(tree.resolve(), place.environ, place.stop)
        shop = Workshop(place, Project(), lists, _tell, lambda cell, seed: _repeat(cell, seed, tree, commit))
        with claimed(run, place.stop):
            try:
                Runner(builder, shop).run(run, plan, 1)
            finally:
                write_reports(run)
        verdict = _verdict(run)
        code = bisect_code(verdict, place.stop.is_set)
        reason = verdict.reason if verdict else "no verdict"
        outcome = verdict.outcome if verdict else "LOST"
        where = f"{commit}\n  {run.root}" if commit else str(run.root)
        say(f"guprace: {code.name.lower()} ({int(code)}): {outcome}: {reason}\n  {where}")
        return code


def _verdict(run: RunDir) -> Verdict | None:
    cells = view(run).cells
    if len(cells) != 1:
        raise HostError(f"a bisect step is one cell, not {len(cells)}", where=str(run.root))
    return cells[0].verdict


def _tree(plan: Plan) -> Path:
    source = plan.cells[0].kernel.source
    return source.tree if isinstance(source, TreeSource) else plan.matrix


def _repeat(cell: Cell, seed: int, tree: Path, commit: str) -> str:
    """Return the command that makes this step again, of the commit that was checked out: git bisect goes on."""
    words = ["guprace", "bisect-step", "--tree", str(tree), "--cell", cell.id.split("/", 1)[1]]
    words += ["--seconds", f"{cell.race.seconds:g}", "--seed", f"{seed:#x}"]
    words += [] if cell.guest.accel is Accel.AUTO else ["--accel", str(cell.guest.accel)]
    first = f"{shlex.join(['git', '-C', str(tree), 'checkout', '--detach', commit])} && " if commit else ""
    return first + shlex.join(words)


def _tell(event: Event) -> None:
    if event.state in (State.STARTED, State.VERDICT, State.NOTE) and event.cell:
        say(f"guprace: {event.stage}: {event.text or 'started'}", err=True)
