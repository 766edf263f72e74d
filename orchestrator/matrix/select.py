# SPDX-License-Identifier: GPL-2.0-only
"""Choosing cells of a plan by glob."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from orchestrator.errors import UsageError, nearest
from orchestrator.matrix.plan import Plan


def matches(cell: str, glob: str) -> bool:
    """Return whether `glob` matches the cell id or what remains of it behind a slash.

    So `arm64/plain/*` matches `6.1/arm64/plain/pin_vs_munmap`; `*` also goes across slashes.
    """
    parts = cell.split("/")
    return any(fnmatchcase("/".join(parts[start:]), glob) for start in range(len(parts)))


def select(plan: Plan, globs: Sequence[str]) -> Plan:
    """Return the plan with the cells that any of `globs` matches, in the plan's order; all when there is no glob.

    Raises:
        UsageError: a glob matches no cell; the message lists what there is.
    """
    if not globs:
        return plan
    ids = [cell.id for cell in plan.cells]
    for glob in globs:
        if not any(matches(cell, glob) for cell in ids):
            listed = "\n  ".join(["cells of this plan:", *ids])
            what = f"no cell matches {glob!r}{_nearest_suffix(glob, ids)}"
            raise UsageError(what, where=str(plan.matrix), hint=listed)
    chosen = tuple(cell for cell in plan.cells if any(matches(cell.id, glob) for glob in globs))
    return replace(plan, cells=chosen)


def _nearest_suffix(glob: str, ids: Sequence[str]) -> str:
    """Return a suggestion among the ids' endings that have as many components as the glob."""
    depth = glob.count("/") + 1
    return nearest(glob, ["/".join(cell.split("/")[-depth:]) for cell in ids])
