# SPDX-License-Identifier: GPL-2.0-only
"""`guprace list`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.common import matrix_argument, only_option, plan_of
from orchestrator.errors import ExitCode


@click.command("list")
@matrix_argument
@only_option
def command(matrix: Path | None, only: tuple[str, ...]) -> int:
    """List the cells of MATRIX (default: configs/quick.yaml), one id a line; controls say so.

    \b
    Examples:
      guprace list
      guprace list configs/quick.yaml --only 'arm64/*'
    """
    for cell in plan_of(matrix, only).cells:
        mutant = f"  (control: {cell.kernel.mutant} must be caught)" if cell.kernel.mutant else ""
        click.echo(f"{cell.id}{mutant}")
    return int(ExitCode.OK)
