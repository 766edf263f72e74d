# SPDX-License-Identifier: GPL-2.0-only
"""The forms of kernel reports, as data: how each begins, what it is called, and where to look for whom to blame.

Titles follow syzbot's (github.com/google/syzkaller, pkg/report), because that is what people search for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.splat.model import SplatKind


class Blame(StrEnum):
    """Where the function to blame stands."""

    HEADER = "header"
    PC = "pc"
    STACK = "stack"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Grammar:
    """One form. `needle` is a literal that every header holds, for a fast first look.

    `title` may use the header's groups; ` in {f}` is added when there is somebody to blame. `bars` says that the
    report stands between two `=====` lines; `needs` is what some line of its body must match, lest a quoted header
    count; `eats` are needles of other headers that continue this report.
    """

    kind: SplatKind
    needle: str
    header: re.Pattern[str]
    title: str
    blame: Blame = Blame.STACK
    bars: bool = False
    needs: re.Pattern[str] | None = None
    eats: tuple[str, ...] = ()


ACCESS = re.compile(
    r"(?:race at unknown origin, with )?"
    r"(?P<what>(?:assert no )?(?:read-write|write|read|writes?|accesses)(?: \([^)]*\))?)"
    r" to 0x[0-9a-f]+ of \d+ bytes by (?:task \d+|interrupt) on cpu \d+:"
)
_KASAN_BODY = re.compile(r"(?:Read|Write|Free) (?:of size|of addr|at addr)|by task|Call [Tt]race|\w+\+0x|[Aa]ddress")
_KFENCE_BODY = re.compile(r"\((?:in|0x)|kfence-#|\w+\+0x|access at|Corrupted|Invalid")
_ANY_STACK = re.compile(r"\+0x[0-9a-f]+/0x|Call [Tt]race|RIP:|CPU:|pc :|Modules linked|Backtrace")
_LOCKDEP_BODY = re.compile(r"CPU: |lock|Not tainted|Tainted|\+0x")


def _of(
    kind: SplatKind,
    needle: str,
    header: str,
    title: str,
    blame: Blame = Blame.STACK,
    bars: bool = False,
    needs: re.Pattern[str] | None = None,
    eats: tuple[str, ...] = (),
) -> Grammar:
    return Grammar(kind, needle, re.compile(header), title, blame, bars, needs, eats)


_K = SplatKind
_OOPS_EATS = (
    "Oops",
    "Internal error",
    "KASAN",
    "invalid opcode",
    "general protection fault",
    "Unable to handle",
    "IP:",
)
_WARN_EATS = ("WARNING:", "kernel BUG at", "invalid opcode", "Oops", "Internal error")

GRAMMARS: tuple[Grammar, ...] = (
    _of(
        _K.KCSAN,
        "BUG: KCSAN:",
        r"BUG: KCSAN: (?P<what>data-race|assert: race) in (?P<pair>\S.*?)\s*$",
        "KCSAN: {what}",
        Blame.HEADER,
        bars=True,
        needs=ACCESS,
    ),
    _of(
        _K.KASAN,
        "BUG: KASAN:",
        r"BUG: KASAN: (?P<what>[\w-]+(?: or [\w-]+)?|[\w -]+?) (?:in|on) (?P<f>[\w.$]+)",
        "KASAN: {what}{access}",
        bars=True,
        needs=_KASAN_BODY,
    ),
    _of(
        _K.KASAN,
        "BUG: KASAN:",
        r"BUG: KASAN: (?P<what>[\w-]+)",
        "KASAN: {what}{access}",
        bars=True,
        needs=_KASAN_BODY,
    ),
    _of(_K.KMSAN, "BUG: KMSAN:", r"BUG: KMSAN: (?P<what>[\w-]+) in (?P<f>[\w.$]+)", "KMSAN: {what}", bars=True),
    _of(
        _K.KFENCE,
        "BUG: KFENCE:",
        r"BUG: KFENCE: (?P<what>[\w -]+?) in (?P<f>[\w.$]+)",
        "KFENCE: {what}",
        bars=True,
        needs=_KFENCE_BODY,
    ),
    _of(_K.UBSAN, "UBSAN:", r"UBSAN: (?P<what>\S+) in \S+:\d+", "UBSAN: {what}", bars=True),
    _of(
        _K.UBSAN,
        "UBSAN:",
        r"UBSAN: (?P<what>[Uu]ndefined behaviour) in \S+:\d+",
        "UBSAN: undefined-behaviour",
        bars=True,
    ),
    _of(
        _K.OOPS,
        "NULL pointer dereference",
        r"(?:BUG: (?:unable to handle )?|Unable to handle )(?:kernel )?NULL pointer dereference",
        "BUG: unable to handle kernel NULL pointer dereference",
        Blame.PC,
        eats=_OOPS_EATS,
    ),
    _of(
        _K.OOPS,
        "nable to handle kernel",
        r"(?:BUG: u|U)nable to handle kernel access to user memory",
        "BUG: unable to handle kernel access to user memory",
        Blame.PC,
        eats=_OOPS_EATS,
    ),
    _of(
        _K.OOPS,
        "nable to handle",
        r"(?:BUG: u|U)nable to handle (?:kernel )?(?:paging request|page fault|unknown paging)",
        "BUG: unable to handle kernel paging request",
        Blame.PC,
        eats=_OOPS_EATS,
    ),
    _of(
        _K.OOPS,
        "general protection fault",
        r"(?:Oops: )?general protection fault(?:,|:| )",
        "general protection fault",
        Blame.PC,
        needs=_ANY_STACK,
        eats=_OOPS_EATS,
    ),
    _of(_K.OOPS, "PANIC: double fault", r"PANIC: double fault", "PANIC: double fault", Blame.PC, eats=_OOPS_EATS),
    _of(
        _K.OOPS,
        "stack guard page",
        r"BUG: (?:TASK )?stack guard page was hit",
        "BUG: stack guard page was hit",
        Blame.PC,
    ),
    _of(
        _K.OOPS,
        "nsufficient stack space",
        r"Insufficient stack space",
        "kernel stack overflow",
        Blame.PC,
        eats=_OOPS_EATS,
    ),
    _of(_K.OOPS, "divide error:", r"(?:Oops: )?divide error: ", "divide error", Blame.PC),
    _of(_K.OOPS, "stack segment:", r"(?:Oops: )?stack segment: ", "stack segment fault", Blame.PC),
    _of(_K.OOPS, "int3:", r"(?:Oops: )?int3: ", "int3", Blame.PC),
    _of(_K.OOPS, "invalid opcode:", r"(?:Oops: )?invalid opcode: ", "invalid opcode", Blame.PC),
    _of(_K.OOPS, "Unhandled fault:", r"Unhandled fault: ", "Unhandled fault", Blame.PC, eats=_OOPS_EATS),
    _of(_K.OOPS, "Internal error:", r"Internal error: ", "Internal error", Blame.PC, eats=_OOPS_EATS),
    _of(
        _K.BUG,
        "corruption",
        r"(?:list_(?:add|del)|prev|next).{0,60}corruption[.,]",
        "BUG: corrupted list",
        needs=_ANY_STACK,
        eats=_WARN_EATS,
    ),
    _of(
        _K.BUG,
        "kernel BUG at",
        r"kernel BUG at \S+[:!]",
        "kernel BUG",
        Blame.PC,
        eats=("invalid opcode", *_OOPS_EATS),
    ),
    _of(
        _K.BAD_PAGE, "BUG: Bad page", r"BUG: Bad page (?P<what>state|map|cache)", "BUG: Bad page {what}", Blame.NOBODY
    ),
    _of(
        _K.BAD_PAGE, "BUG: Bad rss-counter", r"BUG: Bad rss-counter state", "BUG: Bad rss-counter state", Blame.NOBODY
    ),
    _of(
        _K.BAD_PAGE,
        "BUG: non-zero",
        r"BUG: non-zero (?P<what>\w+) on freeing mm",
        "BUG: non-zero {what}",
        Blame.NOBODY,
    ),
    _of(
        _K.SOFT_LOCKUP,
        "soft lockup",
        r"(?:watchdog: )?BUG: soft lockup - CPU#\d+ stuck",
        "BUG: soft lockup",
        Blame.PC,
    ),
    _of(
        _K.SOFT_LOCKUP,
        "atchdog detected hard LOCKUP",
        r"(?:NMI |watchdog: )?Watchdog detected hard LOCKUP",
        "BUG: hard lockup",
        Blame.PC,
    ),
    _of(_K.WORKQUEUE_LOCKUP, "workqueue lockup", r"BUG: workqueue lockup", "BUG: workqueue lockup", Blame.NOBODY),
    _of(
        _K.RCU_STALL,
        "detected",
        r"(?:rcu: )?INFO: rcu_\w+ (?:self-)?detected (?:expedited )?stall",
        "INFO: rcu detected stall",
        Blame.PC,
    ),
    _of(
        _K.HUNG_TASK,
        "blocked",
        r"INFO: task .{1,40} blocked (?:on a mutex |in I/O wait )?for more than",
        "INFO: task hung",
    ),
    _of(_K.HUNG_TASK, "can't die for", r"INFO: task .{1,40} can't die for more than", "INFO: task can't die"),
    _of(
        _K.LOCKDEP, "possible circular locking", r"WARNING: possible circular locking dependency", "possible deadlock"
    ),
    _of(
        _K.LOCKDEP, "possible circular locking", r"\[ INFO: possible circular locking dependency", "possible deadlock"
    ),
    _of(
        _K.LOCKDEP,
        "possible recursive locking",
        r"(?:WARNING|\[ INFO): possible recursive locking",
        "possible deadlock",
    ),
    _of(_K.LOCKDEP, "possible irq lock", r"(?:WARNING|\[ INFO): possible irq lock inversion", "possible deadlock"),
    _of(_K.LOCKDEP, "-safe ->", r"(?:WARNING|\[ INFO): \S+-safe -> \S+-unsafe lock order", "possible deadlock"),
    _of(
        _K.LOCKDEP,
        "inconsistent lock state",
        r"(?:WARNING|\[ INFO): inconsistent lock state",
        "inconsistent lock state",
    ),
    _of(
        _K.LOCKDEP,
        "suspicious RCU usage",
        r"(?:WARNING|\[ INFO): suspicious RCU usage",
        "WARNING: suspicious RCU usage",
    ),
    _of(_K.LOCKDEP, "bad unlock balance", r"(?:WARNING|\[ BUG): bad unlock balance", "WARNING: bad unlock balance"),
    _of(_K.LOCKDEP, "held lock freed", r"(?:WARNING|\[ BUG): held lock freed", "WARNING: held lock freed"),
    _of(
        _K.LOCKDEP,
        "lock held when",
        r"(?:WARNING|\[ BUG): lock held when",
        "WARNING: lock held when returning to user space",
    ),
    _of(
        _K.LOCKDEP,
        "still has locks held",
        r"(?:WARNING: |\[ BUG: )?.{0,40}still has locks held",
        "WARNING: still has locks held",
    ),
    _of(_K.LOCKDEP, "invalid wait context", r"\[ BUG: Invalid wait context", "WARNING: invalid wait context"),
    _of(
        _K.LOCKDEP,
        "non-static key",
        r"INFO: trying to register non-static key",
        "INFO: trying to register non-static key",
    ),
    _of(_K.LOCKDEP, "spinlock", r"BUG: (?P<what>spinlock [\w ]+?) on CPU", "BUG: {what}"),
    _of(_K.LOCKDEP, "BUG: MAX_", r"BUG: (?P<what>MAX_\w+ \w+ too \w+)", "BUG: {what}!", Blame.NOBODY),
    _of(
        _K.ATOMIC_SLEEP,
        "sleeping function called",
        r"BUG: sleeping function called from invalid context",
        "BUG: sleeping function called from invalid context",
    ),
    _of(_K.ATOMIC_SLEEP, "scheduling while atomic", r"BUG: scheduling while atomic", "BUG: scheduling while atomic"),
    _of(
        _K.ATOMIC_SLEEP,
        "in preemptible",
        r"BUG: using (?P<what>\w+)(?:\(\))? in preemptible",
        "BUG: using {what}() in preemptible code",
    ),
    _of(
        _K.WARNING,
        "refcount_t:",
        r"refcount_t: (?:underflow|addition|increment|decrement|saturated|hit)",
        "WARNING: refcount bug",
        needs=_ANY_STACK,
        eats=_WARN_EATS,
    ),
    _of(
        _K.WARNING,
        "ODEBUG:",
        r"ODEBUG: \w+ (?:active|destroyed|not available)",
        "WARNING: ODEBUG bug",
        eats=_WARN_EATS,
    ),
    _of(_K.WARNING, "WARNING:", r"WARNING: CPU: \d+ PID: \d+ at \S+", "WARNING", eats=("WARNING:",)),
    _of(_K.WARNING, "WARNING:", r"WARNING: at \S+[:.]", "WARNING", eats=("WARNING:",)),
    # as 7.x says it: the condition, the place, the CPU behind
    _of(_K.WARNING, "WARNING:", r"WARNING: (?:\[.{1,200}\] )?\S+:\d+ at (?:(?P<f>[A-Za-z_][\w.$]*)\+)?", "WARNING"),
    _of(
        _K.WARNING,
        "WARNING: kernel stack",
        r"WARNING: kernel stack (?P<what>regs|frame pointer)",
        "WARNING: kernel stack {what} has bad value",
        Blame.NOBODY,
    ),
    _of(
        _K.LEAK, "memory leak", r"BUG: memory leak", "memory leak", needs=re.compile(r"unreferenced object|backtrace")
    ),
    _of(
        _K.PANIC,
        "Kernel panic - not syncing",
        r"Kernel panic - not syncing: (?P<what>.*)$",
        "kernel panic: {what}",
        Blame.NOBODY,
    ),
    _of(_K.BUG, "page_table_check", r"BUG: page_table_check", "BUG: page_table_check", needs=_ANY_STACK),
    _of(_K.BUG, "BUG:", r"BUG: (?P<what>[A-Za-z_].{0,80}?)\s*$", "BUG: {what}", needs=_ANY_STACK),
)

NEEDLES = tuple(dict.fromkeys(grammar.needle for grammar in GRAMMARS))


def header_of(text: str) -> tuple[Grammar, re.Match[str]] | None:
    """Return the grammar whose header `text` (a message without prefixes) begins with, and the match."""
    for grammar in GRAMMARS:
        if grammar.needle in text:
            found = grammar.header.match(text)
            if found:
                return grammar, found
    return None
