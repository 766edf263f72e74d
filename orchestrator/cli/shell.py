# SPDX-License-Identifier: GPL-2.0-only
"""`guprace shell`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from orchestrator.cli.common import complete_cells, plan_of, workplace
from orchestrator.errors import ExitCode, UsageError
from orchestrator.guest.boot import boot
from orchestrator.matrix.plan import Cell
from orchestrator.paths import Project
from orchestrator.race.session import GUEST_DIR
from orchestrator.runner.cell import CellRun, Workshop
from orchestrator.runner.events import Event, State
from orchestrator.runner.rundir import RunDir


@click.command("shell")
@click.argument("cell", shell_complete=complete_cells)
@click.option(
    "--matrix", type=click.Path(path_type=Path), help="The matrix the cell is in; default: configs/quick.yaml."
)
def command(cell: str, matrix: Path | None) -> int:
    """Boot the guest of CELL with its kernel, scenario and probe module in place, and open a shell in it.

    The guest ends with the shell. Exit code: that of guprace, never the shell's.

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
        shop = Workshop(place, Project(), _tell, lambda cell, _seed: f"guprace shell {cell.id}")
        work = CellRun(cell, RunDir(Path(temporary)), shop)
        prepared = work.prepare(lambda report: builder.build(cell.kernel, report))
        click.echo(f"guprace: booting {cell.id} ({prepared.spec.accel.accel}: {prepared.spec.accel.why})", err=True)
        with boot(prepared.spec, stop=place.stop) as guest:
            prepared.deploy(guest)
            click.echo(
                f"guprace: {GUEST_DIR}/{prepared.binary.name} is in place; leave with exit or Ctrl-D", err=True
            )
            guest.shell()
    return int(ExitCode.OK)


def _tell(event: Event) -> None:
    if event.state in (State.STARTED, State.WAITING):
        click.echo(f"guprace: {event.stage} {event.text}", err=True)
