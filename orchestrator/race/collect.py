# SPDX-License-Identifier: GPL-2.0-only
"""What a guest is asked around a race, by one exec before it and one behind: counters, marks, configuration."""

from __future__ import annotations

import base64
import contextlib
import re
import secrets
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import GuestUnfitError
from orchestrator.kernel.fragments import read_config
from orchestrator.proc import Deadline, Stop
from orchestrator.race.steps import Said, Shell, Step, perform

MARK_SECONDS = 15.0
POLL_SECONDS = 0.02
MAX_CONFIG_BYTES = 4 << 20
CHUNK_BYTES = 1 << 20
# KCSAN prints a report's stacks at KERN_WARNING: a console that shows this level shows all of it.
MARK_LEVEL = 4

# A counter's line is short; of longer ones a pattern could make a long business.
COUNTER_CHARACTERS = 200
_COUNTER = re.compile(r"([\w -]+?):?\s+(-?[0-9]{1,20})")
_TAINT = re.compile(r"[0-9]{1,20}")
_COUNTERS = (
    # Per-CPU counts lag until then (mm/vmstat.c: vmstat_refresh).
    Step("refresh", "echo 1 >/proc/sys/vm/stat_refresh"),
    Step("tainted", "cat /proc/sys/kernel/tainted"),
    Step("vmstat", "cat /proc/vmstat"),
    Step("kcsan", "cat /sys/kernel/debug/kcsan"),
)
_UNAME = Step("uname", "uname -a")
_CONFIG = Step("config", "base64 /proc/config.gz")
# WARN_ON_ONCE() and its like warn again: what the boot has used up, the race could not show. A kernel without
# debugfs/clear_warn_once (lib/bug.c, kernel/panic.c) goes on as it is: it said what it had to say.
_REARM = Step("rearm", "echo 1 >/sys/kernel/debug/clear_warn_once")
_DMESG = Step("dmesg", "dmesg")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The guest's counters at one moment."""

    taint: int
    vmstat: Mapping[str, int]
    kcsan: Mapping[str, int] | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A line on the console that this run wrote; the random `token` keeps the guest from imitating it."""

    which: str
    token: str

    @property
    def text(self) -> str:
        """The line, as splat/scan.py looks for it."""
        return f"guprace: mark {self.which} {self.token}"

    @property
    def step(self) -> Step:
        """What writes it into the kernel's log."""
        return Step("mark", f"echo '<{MARK_LEVEL}>{self.text}' >/dev/kmsg")


@dataclass(frozen=True, slots=True)
class Before:
    """The guest before the race: `config_lost` is how its configuration differs from the one that was built.

    `blind` says why the console does not show what it should, empty if it showed the mark.
    """

    uname: str
    config_lost: tuple[str, ...]
    counters: Snapshot
    mark: Mark
    blind: str


@dataclass(frozen=True, slots=True)
class After:
    """The guest after the race; `blind` as in Before, `dmesg` the kernel's log."""

    mark: Mark
    blind: str
    counters: Snapshot
    dmesg: str


def before(guest: Shell, first: Sequence[Step], built: Path | None, stop: Stop) -> Before:
    """Do the steps that come `first`, read the guest, write the mark that the race begins behind.

    `built` is the .config that the kernel was built with, if it is known.

    Raises:
        GuestUnfitError: a step of `first` failed, the guest has no readable /proc, or did not answer all.
        GuestLostError: it stopped answering.
    """
    mark = _mark("begin")
    console = _OnConsole(guest, mark)
    config = (_CONFIG,) if built else ()
    # Warnings last: armed again behind the mark, what they show then is the race's.
    said = perform(guest, (*first, _UNAME, *config, *_COUNTERS, mark.step, _REARM))
    return Before(
        said["uname"].text.strip()[:500],
        _config_differences(said["config"], built) if built else (),
        _snapshot(said),
        mark,
        console.blindness(said["mark"], stop),
    )


def after(guest: Shell, stop: Stop) -> After:
    """Write the mark that the race ends with, and read the guest. Raises as `before`."""
    mark = _mark("end")
    console = _OnConsole(guest, mark)
    # Counters behind the mark: what the console shows before it has been counted.
    said = perform(guest, (mark.step, *_COUNTERS, _DMESG))
    return After(mark, console.blindness(said["mark"], stop), _snapshot(said), said["dmesg"].text)


def _snapshot(said: Mapping[str, Said]) -> Snapshot:
    """Read taint, /proc/vmstat and KCSAN's counters. Raises GuestUnfitError if there is no readable /proc."""
    taint, vmstat, kcsan = said["tainted"], counters(said["vmstat"].text), said["kcsan"]
    if not _TAINT.fullmatch(taint.text.strip()) or said["vmstat"].status != 0 or not vmstat:
        raise GuestUnfitError("the guest's /proc cannot be read: no taint or no vmstat")
    return Snapshot(int(taint.text), vmstat, counters(kcsan.text) if kcsan.status == 0 else None)


def counters(text: str) -> dict[str, int]:
    """Read `name value` and `name: value` lines; anything else is left out."""
    lines = (line.strip() for line in text.splitlines() if len(line) <= COUNTER_CHARACTERS)
    return {m[1].strip(): int(m[2]) for line in lines if (m := _COUNTER.fullmatch(line))}


def deltas(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return what changed, by name."""
    changed = {name: value - before.get(name, 0) for name, value in after.items()}
    return {name: value for name, value in changed.items() if value}


def _mark(which: str) -> Mark:
    return Mark(which, secrets.token_hex(16))


class _OnConsole:
    """Looks for a mark in what the console shows from now on: what was there before can be long."""

    def __init__(self, guest: Shell, mark: Mark) -> None:
        self._path = guest.console_log
        self._needle = mark.text.encode()
        self._at = self._path.stat().st_size if self._path.exists() else 0
        self._kept = b""

    def blindness(self, written: Said, stop: Stop) -> str:
        """Wait for the mark that was `written`, and say why the console is blind: empty when it came through."""
        if written.status != 0:
            return f"/dev/kmsg cannot be written: {written.text.strip()[:200]}"
        deadline = Deadline.after(MARK_SECONDS)
        while not self._shown():
            if deadline.expired:
                return f"a message of level {MARK_LEVEL} did not reach it within {MARK_SECONDS:.0f} s"
            stop.wait(POLL_SECONDS)
        return ""

    def _shown(self) -> bool:
        with contextlib.suppress(OSError), self._path.open("rb") as stream:
            stream.seek(self._at)
            while data := stream.read(CHUNK_BYTES):
                self._at += len(data)
                if self._needle in (seen := self._kept + data):
                    return True
                self._kept = seen[-len(self._needle) :]
        return False


def _config_differences(said: Said, built: Path) -> tuple[str, ...]:
    """Compare /proc/config.gz with the .config that was built: one text for each option that differs.

    A kernel without /proc/config.gz, or one that is not gzip, is one difference.
    """
    if said.status != 0:
        return ("/proc/config.gz cannot be read",)
    try:
        packed = base64.b64decode(said.text)
        text = zlib.decompressobj(wbits=31).decompress(packed, MAX_CONFIG_BYTES).decode(errors="replace")
    except (ValueError, zlib.error) as error:
        return (f"/proc/config.gz is no gzip file: {error}",)
    booted, wanted = read_config(text), read_config(built.read_text())
    names = sorted(booted.keys() | wanted.keys())
    return tuple(
        f"CONFIG_{name}: built {wanted.get(name, 'n')}, booted {booted.get(name, 'n')}"
        for name in names
        if booted.get(name) != wanted.get(name)
    )
