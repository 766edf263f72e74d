# SPDX-License-Identifier: GPL-2.0-only
"""The `guprace` command: finds the verb, and turns errors into exit codes; bisect-step alone has codes of its own."""

from __future__ import annotations

import importlib
import io
import os
import select
import sys
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.tell import in_words, let_go_of_what_is_left, tell_defect, tell_error, tell_usage
from orchestrator.errors import ExitCode, GupraceError

# Verb to (module, help line).  Modules are imported when their verb is used: `guprace build` of a cached kernel
# must not pay for SSH, QMP and HTML.
VERBS = {
    "run": ("orchestrator.cli.run", "Run a matrix: build, boot, race, judge, report."),
    "power": ("orchestrator.cli.power", "Measure how soon broken kernels are caught; or whether a patch would be."),
    "build": ("orchestrator.cli.build", "Build the kernels of a matrix, or say why one is not in the cache."),
    "shell": ("orchestrator.cli.shell", "Open a shell in a guest of one cell, its scenario in place."),
    "list": ("orchestrator.cli.list", "List the cells of a matrix."),
    "doctor": ("orchestrator.cli.doctor", "Check what this host has and lacks."),
    "report": ("orchestrator.cli.report", "Write and show the reports of a run again."),
    "history": ("orchestrator.cli.history", "Sum up many runs: what they say of the same kernels together."),
    "triage": ("orchestrator.cli.triage", "Cut the kernel's reports out of a console."),
    "bisect-step": ("orchestrator.cli.bisect_step", "One step of `git bisect run`: 0 good, 1 bad, 125 skip."),
    "completion": ("orchestrator.cli.completion", "Print the shell completion script."),
}


# Verbs that do something, unless they are only asked: to have been cut short is no success of theirs.
_ACT = frozenset({"run", "power", "build", "shell", "bisect-step"})
_ASKED = frozenset({"-h", "--help", "--why", "--dry-run"})
# What git bisect would take for a bad commit, as verdict/codes.py: BisectCode says it.
_STOPS = {int(ExitCode.USAGE): 129, int(ExitCode.HOST): 131}


class VerbGroup(click.Group):
    """A click group that imports a verb's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order in which a user meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a verb, None for an unknown one."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(VERBS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, naming the nearest one for a misspelling."""
        from orchestrator.errors import nearest

        if args and args[0] not in VERBS and not args[0].startswith("-"):
            raise click.UsageError(f"no verb {args[0]!r}{nearest(args[0], VERBS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing any."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


@click.command(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="guprace", prog_name="guprace")
def cli() -> None:
    """Race the kernel's lockless page-table walk on real kernels, and measure what a clean run is worth.

    \b
    Example:
      guprace run configs/quick.yaml
      guprace run configs/quick.yaml --only 'arm64/plain/*'
    """


def main() -> None:
    """Run the command line and exit with one of `ExitCode`, or the code a verb returned."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding has no `≤`: a question mark there ends no run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if sys.stdin is None:
        # Closed by whoever began us (`<&-`): there is nothing to be read, which is not a defect.
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 (for as long as we live)
    try:
        returned: Any = cli.main(standalone_mode=False, prog_name="guprace")
    except click.exceptions.Abort:
        code = int(ExitCode.INTERRUPTED)
    except click.ClickException as error:
        tell_usage(error)
        code = int(ExitCode.USAGE)
    except GupraceError as error:
        tell_error(error)
        code = int(error.exit_code)
    except OSError as error:
        tell_error(in_words(error))
        code = int(ExitCode.HOST)
    except Exception as error:  # noqa: BLE001 (shown whole; Python's own exit code 1 would accuse a kernel)
        tell_defect(error)
        code = int(ExitCode.HOST)
    except SystemExit:
        # `guprace list | head`: click ends with 1, but that nobody reads on is no failure of a kernel.
        acts = not _ACT.isdisjoint(sys.argv[1:2]) and _ASKED.isdisjoint(sys.argv)
        code = int(ExitCode.HOST if acts or not _nobody_reads() else ExitCode.OK)
    else:
        code = int(returned) if isinstance(returned, int) else int(ExitCode.OK)
    if sys.argv[1:2] == ["bisect-step"]:
        # It has answered for itself, unless it could not even be imported (a checkout that is updated at night).
        code = _STOPS.get(code, code)
    let_go_of_what_is_left()
    sys.exit(code)


def _nobody_reads() -> bool:
    """Say whether stdout is a pipe whose reader is gone."""
    poll = select.poll()
    poll.register(1, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))
