# SPDX-License-Identifier: GPL-2.0-only
"""Reads a console as it comes and remembers what tells why a guest was lost. Pure, bounded memory, hostile input."""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.guest.model import LostReason

# A line longer than this is judged by its beginning; a splat's first line is far shorter.
LINE_BYTES = 4096
TAIL_BYTES = 32768
LAST_LINES = 40

_PREFIX = rb"(?:\[[ 0-9.]+\](?:\[[ TC0-9]+\])? )?"
# Literal first (fast in a flood), then the line's whole shape: a program that merely quotes one has its own prefix.
_PANIC = (b"Kernel panic - not syncing", re.compile(_PREFIX + rb"Kernel panic - not syncing.*"))
_BANNER = (b"Linux version ", re.compile(_PREFIX + rb"Linux version \d.*"))
_CANNOT = (b"guprace-init: cannot ", re.compile(_PREFIX + rb"guprace-init: cannot .*"))
_REPORTS = (
    (LostReason.SOFT_LOCKUP, b"BUG: soft lockup", re.compile(_PREFIX + rb"watchdog: BUG: soft lockup.*")),
    (LostReason.RCU_STALL, b"rcu: INFO: rcu_", re.compile(_PREFIX + rb"rcu: INFO: rcu_\w+ .*detected.*")),
    (LostReason.HUNG_TASK, b"blocked for more than", re.compile(_PREFIX + rb"INFO: task .* blocked for more than.*")),
)
_LITERALS = (_PANIC[0], _BANNER[0], _CANNOT[0], *(literal for _, literal, _ in _REPORTS))
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Report:
    """A kernel report that may explain why a guest does not answer."""

    reason: LostReason
    line: str


class ConsoleScanner:
    """State of one console: feed it bytes in any pieces."""

    def __init__(self) -> None:
        self.panic: str | None = None
        self.boots = 0
        self.init_failure: str | None = None
        self.report: Report | None = None
        self.total = 0
        self._partial = b""
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the console."""
        self.total += len(data)
        self._tail = (self._tail + data)[-TAIL_BYTES:] if len(data) < TAIL_BYTES else data[-TAIL_BYTES:]
        text = self._partial + data
        whole, newline, rest = text.rpartition(b"\n")
        self._partial = rest[:LINE_BYTES]
        if newline and any(literal in whole for literal in _LITERALS):
            for line in whole.split(b"\n"):
                self._line(line[:LINE_BYTES])

    def finish(self) -> None:
        """Take what came last without a newline as a line: the console is closed."""
        self._line(self._partial)
        self._partial = b""

    def last_lines(self, count: int = LAST_LINES) -> tuple[str, ...]:
        """Return the console's last lines that say anything, cleaned of control characters."""
        lines = (clean(line) for line in self._tail.split(b"\n"))
        return tuple([line for line in lines if line][-count:])

    def _line(self, line: bytes) -> None:
        if _PANIC[1].match(line):
            self.panic = self.panic or clean(line)
        elif _BANNER[1].match(line):
            self.boots += 1
        elif _CANNOT[1].match(line):
            self.init_failure = self.init_failure or clean(line)
        for reason, literal, shape in _REPORTS:
            if literal in line and shape.match(line):
                self.report = Report(reason, clean(line))


def clean(line: bytes) -> str:
    """Return a console line as text without escape sequences and control characters; bad UTF-8 is replaced."""
    text = _ESCAPE.sub("", line.decode(errors="replace"))
    return _CONTROL.sub("", text.replace("\t", " ")).rstrip()
