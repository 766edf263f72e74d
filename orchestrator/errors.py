# SPDX-License-Identifier: GPL-2.0-only
"""What can go wrong, by whose fault it is: the user's, the host's or the kernel's.

A failed oracle or a lost guest is a verdict, not one of these.  Only the CLI turns an error into an
exit code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every verb but `bisect-step`; never a count, never a guest's code."""

    OK = 0
    FAILED = 1
    USAGE = 2
    HOST = 3
    BUILD = 4
    INTERRUPTED = 130


class GupraceError(Exception):
    """Say what went wrong, where, and what to do next; the base of the three branches."""

    exit_code = ExitCode.HOST

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  {self.hint}" if self.hint else text


class UsageError(GupraceError):
    """The user's fault: a bad matrix, an unknown name, an impossible request."""

    exit_code = ExitCode.USAGE


class HostError(GupraceError):
    """The host's fault: a missing package, a full disk, a tool that failed."""

    exit_code = ExitCode.HOST


class GuestUnfitError(HostError):
    """A guest that booted cannot be made ready, or does not answer as it must.

    Its kernel's fault or the host's, nobody knows: no result either way, so a bisection goes round this commit.
    """


class BuildError(GupraceError):
    """The kernel's fault: it does not patch, configure or build.

    `log` is what the build's log held, if it got that far: the file is the lane's, and its next build begins another.
    """

    exit_code = ExitCode.BUILD

    def __init__(self, what: str, *, where: str = "", hint: str = "", log: bytes = b"") -> None:
        super().__init__(what, where=where, hint=hint)
        self.log = log


class RunInterruptedError(GupraceError):
    """Ctrl-C or SIGTERM reached a stage; what was finished stays."""

    exit_code = ExitCode.INTERRUPTED


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name closest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
