# SPDX-License-Identifier: GPL-2.0-only
"""Several commands in a guest by one SSH exec: each has its own output and status, and none is lost unnoticed.

An exec costs an emulated guest 0.1 to 0.4 s whatever it runs. Between the answers stand fences with a random
token, so that no output, whatever its bytes, is taken for the end of its own or for another's; their order is known.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from orchestrator.errors import GuestUnfitError
from orchestrator.guest.model import CommandResult, GuestLostError

STEPS_SECONDS = 60.0
SHOWN = 500
_STATUS = re.compile(r"[0-9]{1,3}")


class Shell(Protocol):
    """The part of a guest that runs commands."""

    console_log: Path

    def run(self, command: str, seconds: float, on_line: Callable[[str], None] | None = None) -> CommandResult:
        """Run a shell command in the guest. Raises GuestLostError."""


@dataclass(frozen=True, slots=True)
class Step:
    """A shell command, of one or more whole lines, that does not end its shell; `name` is a word, once in a sequence.

    `must` is what to say if it fails; empty where it may.
    """

    name: str
    command: str
    must: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What a step's command printed, stdout and stderr together, and its exit status. Hostile input."""

    status: int
    text: str


def perform(guest: Shell, steps: Sequence[Step]) -> Mapping[str, Said]:
    """Do all `steps`, in this order, and return what each said, by its name.

    Raises:
        GuestUnfitError: an answer is missing or cut short, named; or a step failed that must not, with its own words.
        GuestLostError: the guest stopped answering; names the step.
    """
    if not steps:
        return {}
    token = secrets.token_hex(16)
    place = _Place(steps, token)
    try:
        done = guest.run(script(steps, token), seconds=STEPS_SECONDS, on_line=place.line)
    except GuestLostError as lost:
        raise GuestLostError(lost.reason, f"{lost.detail}; it was at `{place.name}`", lost.last_lines) from lost
    said = read_said(done.stdout, steps, token)
    for step in steps:
        if step.must and said[step.name].status != 0:
            raise GuestUnfitError(f"{step.must}: {said[step.name].text.strip()[:SHOWN]}")
    return said


def script(steps: Sequence[Step], token: str) -> str:
    """Return the shell's lines: each command, and behind it a fence of its name and status."""
    lines = [f"exec 2>&1 # {' '.join(step.name for step in steps)}"]
    for step in steps:
        # The line feed in front: an output need not end with one.
        lines += [step.command, f"printf '\\n%s\\n' \"{_fence(token, step)} $?\""]
    return "\n".join(lines)


def read_said(text: str, steps: Sequence[Step], token: str) -> dict[str, Said]:
    """Take the answer to `script` apart.

    Raises:
        GuestUnfitError: it ends before all steps have answered; names the first that has not.
    """
    said = {}
    rest = text
    for step in steps:
        body, _, behind = rest.partition(f"\n{_fence(token, step)} ")
        status, end, rest = behind.partition("\n")
        if not end or not _STATUS.fullmatch(status):
            shown = body.strip()[-SHOWN:]
            what = f"the guest's answer ends before that of `{step.name}` is whole: {shown or 'nothing'}"
            raise GuestUnfitError(what)
        said[step.name] = Said(int(status), body)
    return said


def _fence(token: str, step: Step) -> str:
    return f"{token} {step.name}"


class _Place:
    """Which step the guest is at, by the fences that have come."""

    def __init__(self, steps: Sequence[Step], token: str) -> None:
        self._names = [step.name for step in steps]
        self._token = token
        self._passed = 0

    @property
    def name(self) -> str:
        return self._names[min(self._passed, len(self._names) - 1)]

    def line(self, text: str) -> None:
        self._passed += text.startswith(self._token)
