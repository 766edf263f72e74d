# SPDX-License-Identifier: GPL-2.0-only
"""What the splat room gives: kernel reports cut out of a console, whole."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SplatKind(StrEnum):
    """Families of kernel reports, as verdicts and known issues tell them apart."""

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


class Form(StrEnum):
    """Fine kinds, as `guprace triage` shows them; each belongs to one family."""

    KASAN = "kasan"
    KCSAN = "kcsan"
    KMSAN = "kmsan"
    KFENCE = "kfence"
    UBSAN = "ubsan"
    NULL = "nullptr"
    PAGING = "paging"
    GPF = "gpf"
    DOUBLE_FAULT = "double-fault"
    STACK_OVERFLOW = "stack-overflow"
    FAULT = "fault"
    KERNEL_BUG = "kernel-bug"
    LIST_CORRUPTION = "list-corruption"
    BUG = "bug"
    BAD_PAGE = "bad-page"
    WARNING = "warning"
    REFCOUNT = "refcount"
    ODEBUG = "odebug"
    LOCKDEP = "lockdep"
    RCU_USAGE = "rcu-usage"
    SPINLOCK = "spinlock"
    ATOMIC_SLEEP = "atomic-sleep"
    PREEMPT = "preempt"
    SOFT_LOCKUP = "soft-lockup"
    WORKQUEUE_LOCKUP = "workqueue-lockup"
    RCU_STALL = "rcu-stall"
    HUNG_TASK = "hung-task"
    LEAK = "leak"
    PANIC = "panic"
    PANIC_RUST = "rust-panic"
    REBOOT = "reboot"
    INFO = "info"
    REMARK = "remark"
    OOM = "oom"
    PAGE_DUMP = "page-dump"
    TROUBLE = "trouble"
    OTHER = "other"
    USERSPACE = "userspace"

    @property
    def kind(self) -> SplatKind:
        """Return the family."""
        return _FAMILY[self]


_FAMILY = {
    Form.KASAN: SplatKind.KASAN,
    Form.KCSAN: SplatKind.KCSAN,
    Form.KMSAN: SplatKind.KMSAN,
    Form.KFENCE: SplatKind.KFENCE,
    Form.UBSAN: SplatKind.UBSAN,
    Form.NULL: SplatKind.OOPS,
    Form.PAGING: SplatKind.OOPS,
    Form.GPF: SplatKind.OOPS,
    Form.DOUBLE_FAULT: SplatKind.OOPS,
    Form.STACK_OVERFLOW: SplatKind.OOPS,
    Form.FAULT: SplatKind.OOPS,
    Form.KERNEL_BUG: SplatKind.BUG,
    Form.LIST_CORRUPTION: SplatKind.BUG,
    Form.BUG: SplatKind.BUG,
    Form.BAD_PAGE: SplatKind.BAD_PAGE,
    Form.WARNING: SplatKind.WARNING,
    Form.REFCOUNT: SplatKind.WARNING,
    Form.ODEBUG: SplatKind.WARNING,
    Form.LOCKDEP: SplatKind.LOCKDEP,
    Form.RCU_USAGE: SplatKind.LOCKDEP,
    Form.SPINLOCK: SplatKind.LOCKDEP,
    Form.ATOMIC_SLEEP: SplatKind.ATOMIC_SLEEP,
    Form.PREEMPT: SplatKind.ATOMIC_SLEEP,
    Form.SOFT_LOCKUP: SplatKind.SOFT_LOCKUP,
    Form.WORKQUEUE_LOCKUP: SplatKind.WORKQUEUE_LOCKUP,
    Form.RCU_STALL: SplatKind.RCU_STALL,
    Form.HUNG_TASK: SplatKind.HUNG_TASK,
    Form.LEAK: SplatKind.LEAK,
    Form.PANIC: SplatKind.PANIC,
    Form.PANIC_RUST: SplatKind.PANIC,
    Form.REBOOT: SplatKind.REBOOT,
    Form.INFO: SplatKind.BUG,
    Form.REMARK: SplatKind.INFO,
    Form.OOM: SplatKind.INFO,
    Form.PAGE_DUMP: SplatKind.INFO,
    Form.TROUBLE: SplatKind.INFO,
    Form.OTHER: SplatKind.BUG,
    Form.USERSPACE: SplatKind.INFO,
}
# Worth knowing for who reads the console, and no report of a bug: remarks. A panic never follows from one of them.
ASIDE = frozenset({Form.OOM, Form.PAGE_DUMP, Form.TROUBLE})


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
class KcsanAccess:
    """One access of a KCSAN report.

    `kind` is `read`, `write`, `read-write`, `assert no writes` or `assert no accesses`; `size` in bytes; `task` is
    the pid, None for an interrupt. `reordered_to` is where a reordered access was delayed to (weak memory).
    """

    kind: str
    marked: bool
    reordered: bool
    address: str
    size: int
    task: int | None
    cpu: int
    stack: tuple[str, ...] = ()
    reordered_to: str | None = None

    @property
    def words(self) -> str:
        """Return what the report called it: `read`, `write (marked, reordered)` ..."""
        said = [word for word, so in (("marked", self.marked), ("reordered", self.reordered)) if so]
        return f"{self.kind} ({', '.join(said)})" if said else self.kind


@dataclass(frozen=True, slots=True)
class Kcsan:
    """A KCSAN report by its fields.

    `unknown_origin`: the other access was only seen by its change of the value. `complete`: both accesses (the one,
    for an unknown origin) with their stacks, and the lower bar, were there.
    """

    accesses: tuple[KcsanAccess, ...]
    assertion: bool = False
    unknown_origin: bool = False
    old: str | None = None
    new: str | None = None
    changed: str | None = None
    mask: str | None = None
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Splat:
    """One report: lines `start_line` to `end_line` (from 1, both inclusive) of the console, cleaned text.

    `functions` are those to blame: the pair of a KCSAN report, else one or none. `stacks` are the call stacks that
    the report shows, innermost function first; for KCSAN one per access, with `accesses` beside them (`read`, `write
    (marked)` ...). `whole` is False when the report was cut short or disturbed, `corrupted` says how; `count` is how
    often the same title came (the text is the first one's). `panicked`: the kernel panicked because of it.
    `standing` is decided by splat/standing.py; `why` says it. `since`: how many seconds after the run's first mark it
    began, by the kernel's clock; None before it, or where lines bear no time.
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
    form: Form = Form.OTHER
    what: str = ""
    alt_titles: tuple[str, ...] = ()
    corrupted: str = ""
    cpu: int | None = None
    task: str = ""
    pid: int | None = None
    boot: int = 1
    panicked: bool = False
    kcsan: Kcsan | None = None
    since: float | None = None

    @property
    def frame(self) -> str:
        """Return the function to blame, for a KCSAN pair `a / b`; empty when there is none."""
        return " / ".join(self.functions)


@dataclass(frozen=True, slots=True)
class Scan:
    """What a whole console gave: at most so many reports, one per title and phase; `omitted` counts those beyond.

    Who calls may tell reports of one title apart. `dropped` counts printk messages that the console says it lost
    (with marks: since the first one); `lines` the lines read; `boots` the kernels that announced themselves (2: the
    guest rebooted); `version` that of the last of them, as its banner says it, or empty; `marks` those of the run's
    own marks that were seen; `kernel` whether any line, or report, is as kernels write them.
    """

    splats: tuple[Splat, ...]
    omitted: int = 0
    dropped: int = 0
    lines: int = 0
    boots: int = 0
    version: str = ""
    marks: tuple[str, ...] = ()
    kernel: bool = False
