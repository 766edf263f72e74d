# SPDX-License-Identifier: GPL-2.0-only
"""What the splat room gives: kernel reports cut out of a console, whole."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SplatKind(StrEnum):
    """Kinds of kernel report; the value is what tables and JSON show."""

    KASAN = "KASAN"
    KCSAN = "KCSAN"
    KFENCE = "KFENCE"
    UBSAN = "UBSAN"
    BUG = "BUG"
    BAD_PAGE = "BAD_PAGE"
    WARNING = "WARNING"
    OOPS = "OOPS"
    LOCKDEP = "LOCKDEP"
    ATOMIC_SLEEP = "ATOMIC_SLEEP"
    SOFT_LOCKUP = "SOFT_LOCKUP"
    RCU_STALL = "RCU_STALL"
    HUNG_TASK = "HUNG_TASK"
    PANIC = "PANIC"


@dataclass(frozen=True, slots=True)
class Splat:
    """One report: lines `start_line` to `end_line` (from 1, both inclusive) of the console, cleaned text."""

    kind: SplatKind
    title: str
    start_line: int
    end_line: int
    text: str
