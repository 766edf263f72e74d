# SPDX-License-Identifier: GPL-2.0-only
"""Reports as JSON says them, for other tools, and what has to be known of the log."""

from __future__ import annotations

from typing import Any

from orchestrator.splat.fingerprint import fingerprint
from orchestrator.splat.model import ASIDE, Form, Kcsan, Scan, Splat
from orchestrator.words import plural

# A remark is a warning in a driver's own words.
_SHOWN_AS = {Form.REMARK: Form.WARNING}


def as_dict(found: Scan) -> dict[str, Any]:
    """Return what `guprace triage --json` prints."""
    return {
        "reports": reports(found),
        "remarks": [report(splat) for splat in found.splats if splat.form in ASIDE],
        "omitted": found.omitted,
        "dropped": found.dropped,
        "lines": found.lines,
        "boots": found.boots,
        "version": found.version,
        "kernel": found.kernel,
    }


def notes(found: Scan) -> tuple[str, ...]:
    """Return what has to be known of the log itself, in words."""
    said = []
    if found.omitted:
        said.append(f"{found.omitted} more {plural(found.omitted, 'title')} left out")
    if found.dropped:
        said.append(f"{found.dropped} {plural(found.dropped, 'message')} dropped: what is not here may have been")
    if found.boots > 1:
        said.append(f"{found.boots} boots in one log")
    return tuple(said)


def reports(found: Scan) -> list[dict[str, Any]]:
    """Return the reports, in the order of the console."""
    return [report(splat) for splat in found.splats if splat.form not in ASIDE]


def report(splat: Splat) -> dict[str, Any]:
    """Return one report; `kind` is the fine one, `family` the one of verdicts and known issues."""
    return {
        "kind": _SHOWN_AS.get(splat.form, splat.form).value,
        "family": splat.kind.value,
        "title": splat.title,
        "alt_titles": list(splat.alt_titles),
        "what": splat.what,
        "frame": list(splat.functions) if len(splat.functions) > 1 else splat.frame,
        "start_line": splat.start_line,
        "end_line": splat.end_line,
        "count": splat.count,
        "corrupted": bool(splat.corrupted),
        "corrupted_because": splat.corrupted,
        "cpu": splat.cpu,
        "task": splat.task,
        "pid": splat.pid,
        "boot": splat.boot,
        "panicked": splat.panicked,
        "standing": splat.standing.value,
        "why": splat.why,
        "fingerprint": fingerprint(splat),
        "stacks": [list(stack) for stack in splat.stacks],
        "kcsan": kcsan(splat.kcsan) if splat.kcsan else None,
        "text": splat.text,
    }


def kcsan(fields: Kcsan) -> dict[str, Any]:
    """Return the fields of a KCSAN report."""
    return {
        "accesses": [
            {
                "kind": access.kind,
                "marked": access.marked,
                "reordered": access.reordered,
                "address": access.address,
                "size": access.size,
                "by": "interrupt" if access.task is None else "task",
                "task": access.task,
                "cpu": access.cpu,
                "stack": list(access.stack),
                "reordered_to": access.reordered_to,
            }
            for access in fields.accesses
        ],
        "assertion": fields.assertion,
        "unknown_origin": fields.unknown_origin,
        "value": {"old": fields.old, "new": fields.new} if fields.old else None,
        "bits": {"changed": fields.changed, "mask": fields.mask} if fields.changed else None,
        "complete": fields.complete,
    }
