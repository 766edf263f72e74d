# SPDX-License-Identifier: GPL-2.0-only
"""Stack frames in a report's text, and whom among them to blame."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from orchestrator.splat.grammar import ACCESS, Blame, Grammar
from orchestrator.splat.skip import innocent

MAX_FRAMES = 64

_ADDRESS = r"(?:\[?<[0-9a-fx]+>\]?\s*)"
FRAME = re.compile(
    rf"\s*(?:#\d+\s+)?{_ADDRESS}?\s*(?P<unsure>\? )?\(?(?P<f>[A-Za-z_][\w.$]*)\+0x[0-9a-f]+/0x[0-9a-f]+\)?(?:\s|$)"
)
_INLINE = re.compile(r"\s*(?P<f>[A-Za-z_][\w.$]*) \S+:\d+ \[inline\]")
_CLONE = re.compile(r"\.(?:isra|constprop|cold)(?:\.\d+)*")
_PC = re.compile(
    rf"(?:[RE]?IP: (?:[0-9a-f]{{4}}:)?(?:\s*{_ADDRESS}){{0,2}}|pc : |PC is at |epc : |NIP \[\w+\] |Krnl PSW.*\()"
    r"\s*(?P<f>[A-Za-z_][\w.$]*)\+0x"
)
_WARN_AT = re.compile(r"WARNING: (?:CPU: \d+ PID: \d+ )?at \S+ (?P<f>[A-Za-z_][\w.$]*)")


def functions(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the functions of the frames in `lines`, in their order, without those the unwinder was unsure of."""
    found = []
    for line in lines:
        frame = FRAME.match(line) or _INLINE.match(line)
        if frame and not frame.groupdict().get("unsure"):
            found.append(frame["f"])
            if len(found) == MAX_FRAMES:
                break
    return tuple(found)


def accesses(lines: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return each access of a KCSAN report: what it was (`read (marked)`) and its stack, innermost function first."""
    starts = [(number, found["what"]) for number, line in enumerate(lines) if (found := ACCESS.match(line.strip()))]
    ends = [number for number, _ in starts[1:]] + [len(lines)]
    return tuple(
        (what, functions(_until_blank(lines[start + 1 : end])))
        for (start, what), end in zip(starts, ends, strict=False)
    )


def _until_blank(lines: Sequence[str]) -> Sequence[str]:
    for number, line in enumerate(lines):
        if not line.strip():
            return lines[:number]
    return lines


def blamed(grammar: Grammar, header: re.Match[str], lines: Sequence[str]) -> str:
    """Return the function to blame for a report, or an empty string."""
    if grammar.blame is Blame.NOBODY:
        return ""
    named = header.groupdict().get("f") or ""
    if grammar.blame is Blame.HEADER or (named and not innocent(named)):
        return named
    candidates: list[str] = []
    if at := next((found["f"] for line in lines[:8] if (found := _WARN_AT.match(line))), ""):
        candidates.append(at)
    if grammar.blame is Blame.PC:
        candidates += [found["f"] for line in lines if (found := _PC.match(line.strip()))]
    candidates += functions(lines)
    guilty = next((name for name in candidates if not innocent(name)), named)
    return _CLONE.sub("", guilty)
