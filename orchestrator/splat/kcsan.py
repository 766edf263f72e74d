# SPDX-License-Identifier: GPL-2.0-only
"""A KCSAN report by its fields, as kernel/kcsan/report.c prints them (v5.8 to v7)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestrator.splat.frames import functions
from orchestrator.splat.model import Kcsan, KcsanAccess

_ACCESS = re.compile(
    r"\s*(?P<unknown>race at unknown origin, with )?"
    r"(?P<kind>(?:assert no )?(?:read-write|write|read|writes|accesses))(?: \((?P<how>[\w, ]+)\))?"
    r" to (?P<address>0x[0-9a-f]+) of (?P<size>\d+) bytes by (?:task (?P<task>\d+)|interrupt) on cpu (?P<cpu>\d+):"
)
_REORDERED_TO = re.compile(r"\s*\+-> reordered to: (?P<f>[\w.$]+)")
_VALUE = re.compile(r"\s*value changed: (0x[0-9a-f]+) -> (0x[0-9a-f]+)")
_BITS = re.compile(r"\s*bits changed: (0x[0-9a-f]+) with mask (0x[0-9a-f]+)")
_REPORTED = re.compile(r"\s*Reported by Kernel Concurrency Sanitizer on:")


def fields(title: str, lines: Sequence[str], closed: bool) -> Kcsan:
    """Return the fields of a report's `lines`; `closed`: its lower bar was seen. What is not there is left out."""
    starts = [
        (number, found) for number, line in enumerate(lines) if " to 0x" in line and (found := _ACCESS.match(line))
    ]
    ends = [number for number, _ in starts[1:]] + [len(lines)]
    made = tuple(
        _access(found, _paragraph(lines[start + 1 : end])) for (start, found), end in zip(starts, ends, strict=False)
    )
    unknown = any(found["unknown"] for _, found in starts)
    value = next((found for line in lines if "changed: " in line and (found := _VALUE.match(line))), None)
    bits = next((found for line in lines if "changed: " in line and (found := _BITS.match(line))), None)
    reported = any(_REPORTED.match(line) for line in lines)
    shown = all(access.stack for access in made)
    return Kcsan(
        accesses=made,
        assertion=title.startswith("KCSAN: assert"),
        unknown_origin=unknown,
        old=value[1] if value else None,
        new=value[2] if value else None,
        changed=bits[1] if bits else None,
        mask=bits[2] if bits else None,
        complete=closed and reported and shown and len(made) == (1 if unknown else 2),
    )


def _access(found: re.Match[str], below: Sequence[str]) -> KcsanAccess:
    how = (found["how"] or "").split(", ")
    delayed = next((to["f"] for line in below if "+->" in line and (to := _REORDERED_TO.match(line))), None)
    upto = next((number for number, line in enumerate(below) if line.strip() == "|"), len(below))
    return KcsanAccess(
        kind=found["kind"],
        marked="marked" in how,
        reordered="reordered" in how,
        address=found["address"],
        size=int(found["size"]),
        task=int(found["task"]) if found["task"] else None,
        cpu=int(found["cpu"]),
        stack=functions(below[:upto]),
        reordered_to=delayed,
    )


def _paragraph(lines: Sequence[str]) -> Sequence[str]:
    for number, line in enumerate(lines):
        if not line.strip():
            return lines[:number]
    return lines
