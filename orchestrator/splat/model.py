# SPDX-License-Identifier: GPL-2.0-only
"""What the splat room gives: kernel reports cut out of a console, whole."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SplatKind(StrEnum):
    """Kinds of kernel report; the value is what tables and JSON show."""

    KASAN = "KASAN"
    KCSAN = "KCSAN"
    KMSAN = "KMSAN"
    KFENCE = "KFENCE"
    UBSAN = "UBSAN"
    BUG = "BUG"
    BAD_PAGE = "BAD_PAGE"
    WARNING = "WARNING"
    OOPS = "OOPS"
    LOCKDEP = "LOCKDEP"
    ATOMIC_SLEEP = "ATOMIC_SLEEP"
    SOFT_LOCKUP = "SOFT_LOCKUP"
    WORKQUEUE_LOCKUP = "WORKQUEUE_LOCKUP"
    RCU_STALL = "RCU_STALL"
    HUNG_TASK = "HUNG_TASK"
    LEAK = "LEAK"
    INFO = "INFO"
    REBOOT = "REBOOT"
    PANIC = "PANIC"


class Standing(StrEnum):
    """What a report means for a verdict.

    `new` fails a clean cell and catches a control; `known` is in configs/known-issues.yaml; `background` is a data
    race outside the code under test (configs/gup-path.yaml). Known and background ones are counted and shown, and
    fail nothing.
    """

    NEW = "new"
    KNOWN = "known"
    BACKGROUND = "background"


class Phase(StrEnum):
    """When a report began: before the run's first mark, between the marks, or after the last."""

    BOOT = "boot"
    RACE = "race"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Splat:
    """One report: lines `start_line` to `end_line` (from 1, both inclusive) of the console, cleaned text.

    `functions` are those to blame: the pair of a KCSAN report, else one or none. `stacks` are the call stacks that
    the report shows, innermost function first; for KCSAN one per access, with `accesses` beside them (`read`, `write
    (marked)` ...). `whole` is False when the report was cut short; `count` is how often the same title came (the text
    is the first one's). `standing` is decided by splat/standing.py; `why` says it.
    """

    kind: SplatKind
    title: str
    start_line: int
    end_line: int
    text: str
    functions: tuple[str, ...] = ()
    stacks: tuple[tuple[str, ...], ...] = ()
    accesses: tuple[str, ...] = ()
    whole: bool = True
    count: int = 1
    phase: Phase = Phase.RACE
    standing: Standing = Standing.NEW
    why: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a whole console gave: at most so many reports, one per title; `omitted` counts the titles beyond.

    `dropped` counts printk messages that the console says it lost (with marks: since the first one); `lines` the
    lines read; `boots` the kernels that announced themselves (2: the guest rebooted); `marks` those of the run's own
    marks that were seen.
    """

    splats: tuple[Splat, ...]
    omitted: int = 0
    dropped: int = 0
    lines: int = 0
    boots: int = 0
    marks: tuple[str, ...] = ()
