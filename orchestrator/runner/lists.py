# SPDX-License-Identifier: GPL-2.0-only
"""The lists of configs/ by which cells are judged: read once, before anything is built or raced.

A mistake in one of them is then told in a second, and not by each cell after its race; and who edits one meanwhile
does not have half of a run judged by another.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.paths import Project
from orchestrator.splat.grammar import grammars
from orchestrator.splat.policy import load_known, load_path
from orchestrator.splat.standing import GupPath, KnownIssue
from orchestrator.verdict.counted import CountedFault, load_counted

GUP_PATH, KNOWN_ISSUES, COUNTED_FAULTS = "gup-path.yaml", "known-issues.yaml", "counted-faults.yaml"


@dataclass(frozen=True, slots=True)
class Lists:
    """Which functions are GUP-fast's own, which reports are known, which counters mean a fault of the kernel's."""

    path: GupPath
    known: tuple[KnownIssue, ...]
    counted: tuple[CountedFault, ...]


def load_lists(project: Project) -> Lists:
    """Read all of them. Raises UsageError: what is wrong in one, and where."""
    # The forms of reports come from modules that are imported when first asked for. That is now: a checkout that is
    # updated while a run is going would bring half of them in from another version, after the first race.
    grammars()
    configs = project.configs
    return Lists(
        load_path(configs / GUP_PATH), load_known(configs / KNOWN_ISSUES), load_counted(configs / COUNTED_FAULTS)
    )
