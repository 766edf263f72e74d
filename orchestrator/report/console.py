# SPDX-License-Identifier: GPL-2.0-only
"""One console read to the end: its reports, what they mean, and where in the source they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from orchestrator.splat.model import Scan
from orchestrator.splat.packed import Readable, Unpacked
from orchestrator.splat.present import as_dict
from orchestrator.splat.races import Races
from orchestrator.splat.scan import scan
from orchestrator.splat.sources import Located, frame_data, locate
from orchestrator.splat.standing import GupPath, KnownIssue, Subject, by_standing, classify
from orchestrator.splat.symbols import Symbolizer

_ORIGINS = ("known", "unknown")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a console says: `found` with the standing of each report; `located` the same with symbols, or empty.

    `races` are its data races against the kernel's counters, where those are known; `cut` says that the log was
    compressed and is not whole.
    """

    found: Scan
    located: tuple[Located, ...] = ()
    races: Races | None = None
    cut: str = ""


def read_console(
    log: Readable,
    path: GupPath,
    known: tuple[KnownIssue, ...],
    today: date,
    subject: Subject | None = None,
    races: Races | None = None,
    name: str = "LOG",
) -> Reading:
    """Return the reports of `log`, compressed or not, placed by GUP's path and the known issues.

    A console does not tell flavour and architecture by itself: without a `subject`, entries that are for some only
    match nothing. The version it tells, where the `subject` does not. `name` is how a user would name it.

    Raises:
        UsageError: it is compressed in a way that is not read here.
    """
    console = Unpacked(log, name)
    found = scan(console, tell_apart=by_standing(path, known))
    who = subject or Subject("", "", "")
    splats = classify(found.splats, path, known, replace(who, version=who.version or found.version), today)
    return Reading(replace(found, splats=splats), races=races, cut=console.cut)


def with_symbols(reading: Reading, vmlinux: Path, modules: Mapping[str, Path]) -> Reading:
    """Return the same with file and line of each frame.

    Raises:
        UsageError: no such ELF file, no DWARF in it, or it is not that of the kernel that printed the reports.
    """
    with Symbolizer(vmlinux, modules) as symbols:
        return replace(reading, located=locate(reading.found.splats, symbols))


def reading_data(reading: Reading) -> dict[str, Any]:
    """Return what `guprace triage --json` prints: as `as_dict` does, with `source` and `frames` where symbols are.

    `cut` says why the log is not whole; `races` is there where the counters are known.
    """
    data = as_dict(reading.found) | {"cut": reading.cut}
    if races := reading.races:
        data["races"] = {
            "printed": dict(zip(_ORIGINS, races.printed, strict=True)),
            "counted": dict(zip(_ORIGINS, races.counted, strict=True)),
            "incomplete": races.incomplete,
            "watchpoints": races.checks,
            "possible": not races.impossible,
            "said": races.text,
        }
    # No two reports end on one line.
    by_line = {(each.splat.title, each.splat.end_line): each for each in reading.located}
    for report in (*data["reports"], *data["remarks"]):
        if located := by_line.get((report["title"], report["end_line"])):
            report["source"] = located.source
            report["frames"] = [frame_data(frame) for frame in located.frames]
    return data
