# SPDX-License-Identifier: GPL-2.0-only
"""What is read from the guest around a race: counters before and after, marks on the console, configuration."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from orchestrator.errors import HostError
from orchestrator.guest.model import CommandResult
from orchestrator.kernel.fragments import read_config
from orchestrator.proc import Deadline, Stop

READ_SECONDS = 30.0
MARK_SECONDS = 15.0
MAX_CONFIG_BYTES = 4 << 20
# KCSAN prints a report's stacks at KERN_WARNING: a console that shows this level shows all of it.
MARK_LEVEL = 4

_COUNTER = re.compile(r"^([\w -]+?):?\s+(-?\d+)$")


class Shell(Protocol):
    """The part of a guest that collecting needs."""

    console_log: Path

    def run(self, command: str, seconds: float, on_line: Callable[[str], None] | None = None) -> CommandResult:
        """Run a shell command in the guest. Raises GuestLostError."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The guest's counters at one moment."""

    taint: int
    vmstat: Mapping[str, int]
    kcsan: Mapping[str, int] | None


def snapshot(guest: Shell) -> Snapshot:
    """Read taint, /proc/vmstat (after a stat_refresh: per-CPU counts lag) and KCSAN's counters.

    Raises:
        HostError: the guest has no readable /proc.
        GuestLostError: it stopped answering.
    """
    guest.run("cat /proc/sys/vm/stat_refresh >/dev/null 2>&1", seconds=READ_SECONDS)
    taint = _read(guest, "/proc/sys/kernel/tainted")
    vmstat = counters(_read(guest, "/proc/vmstat") or "")
    if taint is None or not taint.strip().isdigit() or not vmstat:
        raise HostError("the guest's /proc cannot be read: no taint or no vmstat")
    kcsan = _read(guest, "/sys/kernel/debug/kcsan")
    return Snapshot(int(taint), vmstat, counters(kcsan) if kcsan is not None else None)


def _read(guest: Shell, path: str) -> str | None:
    result = guest.run(f"cat {path}", seconds=READ_SECONDS)
    return result.stdout if result.status == 0 else None


def counters(text: str) -> dict[str, int]:
    """Read `name value` and `name: value` lines; anything else is left out."""
    return {m.group(1).strip(): int(m.group(2)) for line in text.splitlines() if (m := _COUNTER.match(line.strip()))}


def deltas(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return what changed, by name."""
    changed = {name: value - before.get(name, 0) for name, value in after.items()}
    return {name: value for name, value in changed.items() if value}


@dataclass(frozen=True, slots=True)
class Mark:
    """A line on the console that this run wrote; the random `token` keeps the guest from imitating it."""

    which: str
    token: str

    @property
    def text(self) -> str:
        """The line, as splat/scan.py looks for it."""
        return f"guprace: mark {self.which} {self.token}"


def rearm_warnings(guest: Shell) -> None:
    """Have WARN_ON_ONCE() and its like warn again: what the boot has used up, the race could not show.

    A kernel without debugfs/clear_warn_once (lib/bug.c, kernel/panic.c) goes on as it is: it said what it had to say.
    """
    guest.run("echo 1 > /sys/kernel/debug/clear_warn_once", seconds=READ_SECONDS)


def write_mark(guest: Shell, which: str, stop: Stop) -> tuple[Mark, str]:
    """Write a mark (`begin` or `end`) to the kernel log and wait until the console shows it.

    Returns the mark, and why the console is blind: empty when the mark came through.
    """
    mark = Mark(which, secrets.token_hex(16))
    done = guest.run(f"echo '<{MARK_LEVEL}>{mark.text}' > /dev/kmsg", seconds=READ_SECONDS)
    if done.status != 0:
        return mark, f"/dev/kmsg cannot be written: {done.stderr.strip()[:200]}"
    deadline = Deadline.after(MARK_SECONDS)
    needle = mark.text.encode()
    while not tail_has(guest.console_log, needle):
        if deadline.expired:
            return mark, f"a message of level {MARK_LEVEL} did not reach it within {MARK_SECONDS:.0f} s"
        stop.wait(0.05)
    return mark, ""


def tail_has(path: Path, needle: bytes, tail: int = 1 << 20) -> bool:
    """Say whether the last `tail` bytes of a file contain `needle`."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - tail))
            return needle in stream.read()
    except OSError:
        return False


def config_differences(guest: Shell, built: Path) -> tuple[str, ...]:
    """Compare /proc/config.gz with the .config that was built: one text for each option that differs.

    A kernel without /proc/config.gz, or one that is not gzip, is one difference.
    """
    done = guest.run("base64 /proc/config.gz", seconds=READ_SECONDS)
    if done.status != 0:
        return ("/proc/config.gz cannot be read",)
    try:
        packed = base64.b64decode(done.stdout)
        text = zlib.decompressobj(wbits=31).decompress(packed, MAX_CONFIG_BYTES).decode(errors="replace")
    except (binascii.Error, zlib.error) as error:
        return (f"/proc/config.gz is no gzip file: {error}",)
    booted, wanted = read_config(text), read_config(built.read_text())
    names = sorted(booted.keys() | wanted.keys())
    return tuple(
        f"CONFIG_{name}: built {wanted.get(name, 'n')}, booted {booted.get(name, 'n')}"
        for name in names
        if booted.get(name) != wanted.get(name)
    )
