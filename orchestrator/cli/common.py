# SPDX-License-Identifier: GPL-2.0-only
"""What several verbs need: options, the workplace, completion of cell ids."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from orchestrator.cli.tell import in_words
from orchestrator.errors import GupraceError, HostError, UsageError
from orchestrator.kernel.build import KernelBuilder
from orchestrator.kernel.source import Workplace
from orchestrator.matrix.load import load_plan
from orchestrator.matrix.plan import Cell, Plan
from orchestrator.matrix.select import select
from orchestrator.paths import Project, cache_root
from orchestrator.proc import Stop, stop_on_signals
from orchestrator.records import disk_error
from orchestrator.report.text import harmless

F = TypeVar("F", bound=Callable[..., Any])


def default_matrix() -> Path:
    """Return the matrix that is meant when none is named."""
    return Project().configs / "quick.yaml"


def complete_cells(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a cell id from the matrix on the command line, or the default one."""
    del param
    try:
        plan = load_plan(ctx.params.get("matrix") or default_matrix(), Project())
    except GupraceError:
        # Completion has nowhere to say what is wrong; the verb will.
        return []
    return [CompletionItem(cell.id) for cell in plan.cells if incomplete in cell.id]


def complete_tails(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a cell without its kernel, ARCH/FLAVOUR/SCENARIO, as `bisect-step` takes it."""
    tails = [item.value.split("/", 1)[1] for item in complete_cells(ctx, param, "")]
    return [CompletionItem(tail) for tail in dict.fromkeys(tails) if incomplete in tail]


def matrix_argument(function: F) -> F:
    """Add the optional MATRIX argument."""
    kind = click.Path(path_type=Path)
    return click.argument("matrix", required=False, type=kind)(function)


def only_option(function: F) -> F:
    """Add --only GLOB (repeatable)."""
    text = "Only cells whose id, or its end, matches. May be given several times."
    option = click.option("--only", multiple=True, metavar="GLOB", shell_complete=complete_cells, help=text)
    return option(function)


class FiniteRange(click.FloatRange):
    """A number of a range; `nan`, which is in none and beyond none, is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or fail as click does."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number to reckon with", param, ctx)
        return number


def race_options(function: F) -> F:
    """Add --seconds and --seed."""
    seconds = click.option("--seconds", type=FiniteRange(0.1, 86400), help="Seconds of racing in each cell.")
    seed = click.option("--seed", type=Seed(), help="Seed of the races, decimal or 0x...; default: a fresh one.")
    return seconds(seed(function))


def run_options(function: F) -> F:
    """Add what every verb that makes a run has: -j, --runs and --resume RUN."""
    kind = click.Path(path_type=Path, file_okay=False)
    many = "Guests at once; default: as host cores allow."
    guests = click.option("-j", "guests", type=click.IntRange(1, 1024), help=many)
    made = "Where run directories are made."
    runs = click.option("--runs", type=kind, default=Path("runs"), show_default=True, help=made)
    kept = "Go on with an interrupted run; every other option is then as it was (but for -j, if given)."
    resume = click.option("--resume", type=kind, metavar="RUN", help=kept)
    return guests(runs(resume(function)))


def refuse_beside_resume() -> None:
    """Raise UsageError if the command line has anything but -j beside --resume: the run says what was asked for."""
    context = click.get_current_context()
    said = [
        name
        for name in context.params
        if name not in ("resume", "guests") and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if said:
        words = ", ".join(each.opts[0] for each in context.command.params if each.name in said)
        what = f"--resume goes on with a run as it was asked for: no {words} beside it"
        raise UsageError(what, hint="leave that out, or begin another run")


class Seed(click.ParamType[int]):
    """An unsigned 64-bit number, decimal or hexadecimal."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number, or fail as click does."""
        try:
            number = int(str(value), 0)
        except ValueError:
            self.fail(f"{value!r} is no number", param, ctx)
        if not 0 <= number < 2**64:
            self.fail(f"{value} does not fit 64 bits", param, ctx)
        return number


def plan_of(matrix: Path | None, only: tuple[str, ...]) -> Plan:
    """Load and filter a plan. Raises UsageError."""
    plan = load_plan(matrix or default_matrix(), Project())
    return select(plan, only) if only else plan


def with_race(plan: Plan, seconds: float | None, seed: int | None) -> Plan:
    """Return the plan with seconds and seed from the command line, where given."""

    def changed(cell: Cell) -> Cell:
        race = replace(
            cell.race,
            seconds=cell.race.seconds if seconds is None else seconds,
            seed=cell.race.seed if seed is None else seed,
        )
        return replace(cell, race=race)

    return replace(plan, cells=tuple(changed(cell) for cell in plan.cells), seconds=seconds)


def build_jobs() -> int:
    """Return the number of compilers to run at once."""
    return os.cpu_count() or 1


@contextlib.contextmanager
def workplace(cache: Path | None = None) -> Iterator[tuple[Workplace, KernelBuilder]]:
    """Give cache, builder and a stop that Ctrl-C and SIGTERM set."""
    stop = Stop()
    place = Workplace(cache or cache_root(os.environ), dict(os.environ), stop)
    with stop_on_signals(stop):
        yield place, KernelBuilder(place, Project(), build_jobs())


@contextlib.contextmanager
def noting(troubles: list[HostError]) -> Iterator[None]:
    """Note what the host, or a full standard output, fails at inside, and go on: what was found decides first."""
    try:
        yield
    except HostError as error:
        troubles.append(error)
    except OSError as error:
        troubles.append(in_words(error))


class _Stderr(logging.Handler):
    """Shows warnings to whoever watches, by the stderr of the moment: a live display puts its own there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record, without the traceback that its file has."""
        # Not click.echo, which goes past a live display's stderr and into its lines.
        with contextlib.suppress(OSError):
            sys.stderr.write(f"guprace: {record.levelname.lower()}: {harmless(record.getMessage())}\n")


class _Book(logging.FileHandler):
    """The lab book. What a full disk takes of it is told once, and the run goes on: verdicts say so themselves."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="replace")
        self._told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Tell whoever watches, without Python's traceback for each line."""
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._told:
            self._told = True
            with contextlib.suppress(OSError):
                sys.stderr.write(f"guprace: warning: {disk_error(error, Path(self.baseFilename))}\n")


def log_to(path: Path) -> None:
    """Write the lab book: INFO and worse to the file, warnings also to stderr.

    Raises:
        HostError: the file cannot be written.
    """
    root = logging.getLogger("guprace")
    root.setLevel(logging.INFO)
    try:
        book = _Book(path)
    except OSError as error:
        raise disk_error(error, path) from error
    book.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.addHandler(book)
    root.addHandler(_Stderr(logging.WARNING))
