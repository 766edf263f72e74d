# SPDX-License-Identifier: GPL-2.0-only
"""Reports with symbols: all their frames resolved in one pass, and where to look for the blame.

with Symbolizer(vmlinux, modules) as symbols:
    located = locate(found.splats, symbols)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.splat.dwarf import Location
from orchestrator.splat.fingerprint import normal
from orchestrator.splat.model import Splat
from orchestrator.splat.stackframe import frames_in, kernel_slide
from orchestrator.splat.symbols import Resolved, Symbolizer


@dataclass(frozen=True, slots=True)
class Located:
    """One report with its frames resolved, in the order of its text; `source` is where the blame lies, or empty."""

    splat: Splat
    frames: tuple[Resolved, ...]
    source: str = ""

    @property
    def problem(self) -> str:
        """Why nothing of it could be resolved; empty when something was."""
        if any(frame.source for frame in self.frames):
            return ""
        return next((frame.problem for frame in self.frames if frame.problem), "")


def locate(splats: Sequence[Splat], symbols: Symbolizer, slide: int | None = None) -> tuple[Located, ...]:
    """Return the reports with their frames resolved.

    `slide` is by how much KASLR moved the kernel; None: as a panic among the reports says it, else not at all.

    Raises:
        UsageError: the vmlinux is not that of the kernel that printed the reports.
    """
    if slide is None:
        slide = next((found for splat in splats if (found := kernel_slide(splat.text)) is not None), 0)
    frames = [frames_in(splat.text) for splat in splats]
    resolved = iter(symbols.resolve([frame for each in frames for frame in each], slide))
    per_splat = [tuple(next(resolved) for _ in each) for each in frames]
    return tuple(Located(s, found, _blamed(s, found)) for s, found in zip(splats, per_splat, strict=True))


def _blamed(splat: Splat, frames: Sequence[Resolved]) -> str:
    """Return the line in the function to blame (for a pair both), also where it was inlined into a frame."""
    places: list[str] = []
    names = [normal(function) for function in splat.functions]
    for wanted in dict.fromkeys(names):
        found = dict.fromkeys(place for frame in frames if (place := _line_in(frame, wanted)))
        # a race of a function with itself: two lines of it
        places += list(found)[: names.count(wanted)]
    if not places and not splat.functions:
        places = [frame.source for frame in frames if frame.source][:1]
    return " / ".join(dict.fromkeys(places))


def _line_in(resolved: Resolved, function: str) -> str:
    if normal(resolved.frame.function) == function:
        return resolved.source
    inside = (each for place in resolved.places for each in place.locations if normal(each.function) == function)
    return next((each.place for each in inside), "")


def frame_data(resolved: Resolved) -> dict[str, object]:
    """Return a resolved frame as plain data: `{frame, places: [[{function, file, line, inlined}]], problem}`."""
    return {
        "frame": resolved.frame.text,
        "places": [[_location_data(each) for each in place.locations] for place in resolved.places],
        "problem": resolved.problem,
    }


def _location_data(location: Location) -> dict[str, object]:
    return {
        "function": location.function,
        "file": location.file,
        "line": location.line,
        "inlined": location.inlined,
    }
