# SPDX-License-Identifier: GPL-2.0-only
"""What a verb says, and that nobody may hear it: what was found decides an exit code, not who listens."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from pathlib import Path
from types import FrameType

import click

from orchestrator.errors import GupraceError, HostError
from orchestrator.records import disk_error
from orchestrator.report.text import harmless


def say(text: str, *, err: bool = False) -> None:
    """Tell whoever watches one line; a guest's words among it cannot act on the terminal.

    Where it cannot be written (no reader, a full disk, a terminal that has hung up) nothing more goes there, and the
    verb goes on.
    """
    try:
        click.echo(harmless(text), err=err)
    except OSError as error:
        let_go(2 if err else 1)
        if not err and error.errno != errno.EPIPE:
            say(f"guprace: warning: standard output: {error.strerror or error}; not all was shown", err=True)


def let_go(fd: int) -> None:
    """Have what is still to come on `fd` go nowhere: it would be tried again, and told by Python, at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, fd)
    os.close(nowhere)


def let_go_of_what_is_left() -> None:
    """Write what is buffered, or drop it: Python would end with a code of its own."""
    for stream, fd in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            # None where it was closed before we began.
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            let_go(fd)


def tell_error(error: GupraceError) -> None:
    """Show what went wrong, where, and what to do next."""
    say(f"guprace: {error}", err=True)


def tell_usage(error: click.ClickException) -> None:
    """Show what is wrong with a command line."""
    with contextlib.suppress(OSError):
        error.show()


def tell_defect(error: Exception) -> None:
    """Show an exception that nobody foresaw, whole: somebody has to find it."""
    say("".join(traceback.format_exception(error)).rstrip(), err=True)
    say(f"guprace: internal error: {error!r}\n  a defect of guprace, not of a kernel: report it", err=True)


def in_words(error: OSError) -> HostError:
    """Say what no room has put into its own words: a full disk, a file that may not be read."""
    if error.filename is None and any(_shows(frame) for frame, _ in traceback.walk_tb(error.__traceback__)):
        let_go(1)
        return HostError(f"{error.strerror or error}", where="standard output", hint="not all was shown")
    return disk_error(error, Path(error.filename or Path.cwd()))


def _shows(frame: FrameType) -> bool:
    """Whether a frame is of who writes to the terminal: click.echo, or rich."""
    package = str(frame.f_globals.get("__name__")).partition(".")[0]
    return package == "rich" or (package == "click" and frame.f_code.co_name == "echo")
