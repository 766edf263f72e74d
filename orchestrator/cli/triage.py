# SPDX-License-Identifier: GPL-2.0-only
"""`guprace triage`: a console's reports, as a table or as JSON."""

from __future__ import annotations

from typing import IO

import click

from orchestrator.errors import ExitCode


@click.command(name="triage")
@click.argument("log", type=click.File("rb"), default="-")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for other tools.")
def command(log: IO[bytes], as_json: bool) -> int:
    """Cut the kernel's reports out of a console LOG (`-`: stdin), and say of what kind they are and whom to blame.

    \b
    Examples:
      guprace triage console.log
      dmesg | guprace triage --json | jq '.reports[].title'

    Exit code 0 whether there are reports or not: what they mean for a kernel is for `guprace run` to judge.
    """
    from orchestrator.splat.present import as_dict, as_table
    from orchestrator.splat.scan import scan

    found = scan(log)
    if as_json:
        import json

        click.echo(json.dumps(as_dict(found), indent=1))
    else:
        click.echo(as_table(found), nl=False)
    return int(ExitCode.OK)
