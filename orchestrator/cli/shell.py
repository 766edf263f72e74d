# SPDX-License-Identifier: GPL-2.0-only
"""`guprace shell`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from orchestrator.cli.common import complete_cells, plan_of, workplace
from orchestrator.cli.tell import say
from orchestrator.errors import ExitCode, UsageError
from orchestrator.guest.boot import boot
from orchestrator.guest.model import GuestLostError, LostReason
from orchestrator.matrix.plan import Cell
from orchestrator.paths import Project
from orchestrator.race.session import GUEST_DIR
from orchestrator.race.steps import perform
from orchestrator.runner.cell import CellRun, Workshop
from orchestrator.runner.events import Event, State
from orchestrator.runner.lists import load_lists
from orchestrator.runner.rundir import RunDir

_LAST_LINES = 10


@click.command("shell")
@click.argument("cell", shell_complete=complete_cells)
@click.option(
    "--matrix", type=click.Path(path_type=Path), help="The matrix the cell is in; default: configs/quick.yaml."
)
def command(cell: str, matrix: Path | None) -> int:
    """Boot the guest of CELL with its kernel, scenario and probe module in place, and open a shell in it.

    What you type while it boots waits for the prompt. The guest ends with the shell. Exit code: that of guprace,
    never the shell's; 1 if the kernel took the guest along, and then its console is kept.

    \b
    Example:
      guprace shell 6.1/arm64/plain/pin_vs_munmap
    """
    found = plan_of(matrix, (cell,)).cells
    if len(found) != 1:
        raise UsageError(f"{len(found)} cells match {cell!r}: {', '.join(c.id for c in found)}", hint="name one")
    return _shell(found[0])


def _shell(cell: Cell) -> int:
    with workplace() as (place, builder), tempfile.TemporaryDirectory(prefix="guprace-shell-") as temporary:
        shop = Workshop(
            place, Project(), load_lists(Project()), _tell, lambda cell, _seed: f"guprace shell {cell.id}"
        )
        work = CellRun(cell, RunDir(Path(temporary)), shop)
        prepared = work.prepare(lambda report: builder.build(cell.kernel, report))
        say(f"guprace: booting {cell.id} ({prepared.spec.accel.accel}: {prepared.spec.accel.why})", err=True)
        try:
            with boot(prepared.spec, stop=place.stop) as guest:
                perform(guest, prepared.steps)
                where = f"{GUEST_DIR}/{prepared.binary.name}"
                say(f"guprace: {where} is in place; leave with exit or Ctrl-D", err=True)
                guest.shell()
        except GuestLostError as lost:
            return int(_lost(lost, work.directory / "console.log"))
    return int(ExitCode.OK)


def _lost(lost: GuestLostError, console: Path) -> ExitCode:
    """Show how the guest was lost, and keep its console: the directory that it is in goes with the shell."""
    handle, kept = tempfile.mkstemp(prefix="guprace-console-", suffix=".log")
    with os.fdopen(handle, "wb") as stream:
        stream.write(console.read_bytes() if console.is_file() else b"")
    for line in (*lost.last_lines[-_LAST_LINES:], f"guprace: the guest is lost: {lost}"):
        say(line, err=True)
    say(f"  its console is kept: guprace triage {kept}", err=True)
    return ExitCode.HOST if lost.reason is LostReason.QEMU_DIED else ExitCode.FAILED


def _tell(event: Event) -> None:
    if event.state in (State.STARTED, State.WAITING, State.NOTE):
        say(f"guprace: {event.stage} {event.text}", err=True)
