# SPDX-License-Identifier: GPL-2.0-only
"""Lockdep's reports, broken atomic sections, lockups and stalls, as data.

Formats: kernel/locking/lockdep.c (since v4.13 `WARNING:`, before `[ INFO: ... ]`), kernel/locking/spinlock_debug.c,
kernel/sched/core.c, lib/smp_processor_id.c, kernel/watchdog*.c, kernel/rcu/tree_stall.h, kernel/hung_task.c.
"""

from __future__ import annotations

from orchestrator.splat.grammar import Blame, Grammar
from orchestrator.splat.model import Form

_W = r"(?:WARNING: |\[ INFO: )"
_NAMED = r"(?P<word>WARNING: |\[ BUG: |BUG: )"
_MORE = ("possible", "WARNING: at", "ODEBUG", "lockdep is turned off")
_STALL = (
    "WARNING:",
    "INFO: NMI handler",
    "stall",
    "Watchdog",
    "watchdog",
    "BUG: workqueue lockup",
    "kthread starved",
)


def _deadlock(needle: str, header: str, title: str = "possible deadlock") -> Grammar:
    return Grammar(Form.LOCKDEP, needle, header, title, Blame.LOCK, "lock", eats=_MORE)


def _named(needle: str, what: str, blame: Blame = Blame.BACKTRACE, bare: bool = False) -> Grammar:
    """`WARNING: bad unlock balance detected!` or, before v4.13, `[ BUG: bad unlock balance detected! ]`."""
    return Grammar(
        Form.LOCKDEP, needle, rf"{_NAMED}{what}", f"{{word}}{needle}", blame, "lock", eats=_MORE, bare=bare
    )


FORMS = (
    _deadlock("possible circular locking", _W + "possible circular locking dependency"),
    _deadlock("possible recursive locking", _W + "possible recursive locking"),
    _deadlock("possible irq lock inversion", _W + "possible irq lock inversion"),
    Grammar(
        Form.LOCKDEP,
        "-unsafe lock order",
        _W + r"\S+-safe -> \S+-unsafe lock order",
        "possible deadlock",
        Blame.SAFE,
        "lock",
        eats=_MORE,
    ),
    _deadlock("inconsistent lock state", _W + "inconsistent lock state", "inconsistent lock state"),
    Grammar(
        Form.RCU_USAGE,
        "suspicious RCU usage",
        r"(?P<word>WARNING: |\[ INFO: )suspicious RCU usage",
        "{word}suspicious RCU usage",
        Blame.BACKTRACE,
        "rcu",
        eats=_MORE,
    ),
    _named("bad unlock balance", "bad unlock balance", Blame.LOCK),
    _named("bad contention", "bad contention", Blame.LOCK),
    _named("held lock freed", "held lock freed", Blame.LOCK),
    _named("lock held when returning to user space", "lock held when returning to user space", Blame.LOCK, bare=True),
    Grammar(
        Form.LOCKDEP,
        "ested lock was not taken",
        _NAMED + "[Nn]ested lock was not taken",
        "{word}nested lock was not taken",
        Blame.BACKTRACE,
        "lock",
        eats=_MORE,
    ),
    _named("still has locks held", r".{1,40}still has locks held", Blame.LOCK),
    Grammar(
        Form.LOCKDEP,
        "nvalid wait context",
        r"(?:\[ BUG: |WARNING: )Invalid wait context",
        "WARNING: locking bug",
        Blame.BACKTRACE,
        "lock",
        eats=_MORE,
    ),
    Grammar(
        Form.LOCKDEP,
        "non-static key",
        r"INFO: trying to register non-static key",
        "INFO: trying to register non-static key",
        Blame.STACK,
        "lock",
        eats=_MORE,
    ),
    Grammar(
        Form.LOCKDEP,
        "chain_key collision",
        r"WARNING: chain_key collision",
        "WARNING: chain_key collision",
        Blame.NOBODY,
    ),
    Grammar(
        Form.SPINLOCK,
        " on CPU",
        r"BUG: (?P<what>(?:spinlock|rwlock) [\w -]+?) on CPU",
        "BUG: {what}",
        Blame.STACK,
        "lock",
        needs=r"lock: |\+0x|CPU: ",
    ),
    Grammar(
        Form.LOCKDEP,
        "invalid subclass",
        r"BUG: (?P<what>looking up invalid subclass): \d+",
        "BUG: {what}",
        Blame.STACK,
        "lock",
    ),
    # a WARN() follows
    Grammar(
        Form.LOCKDEP,
        "has not been registered",
        r"BUG: (?P<what>key \S+ has not been registered)!",
        "BUG: {what}!",
        Blame.NOBODY,
        eats=("WARNING:",),
    ),
    Grammar(Form.LOCKDEP, "BUG: MAX_", r"BUG: (?P<what>MAX_\w+ too \w+)", "BUG: {what}!", Blame.NOBODY),
    Grammar(
        Form.ATOMIC_SLEEP,
        "sleeping function called",
        r"BUG: sleeping function called from invalid context",
        "BUG: sleeping function called from invalid context",
        Blame.STACK,
        "sleep",
    ),
    Grammar(
        Form.ATOMIC_SLEEP,
        "scheduling while atomic",
        r"BUG: scheduling while atomic",
        "BUG: scheduling while atomic",
        Blame.STACK,
        "sleep",
    ),
    Grammar(
        Form.ATOMIC_SLEEP,
        "scheduling in a non-blocking section",
        r"BUG: scheduling in a non-blocking section",
        "BUG: scheduling in a non-blocking section",
        Blame.STACK,
        "sleep",
    ),
    Grammar(
        Form.ATOMIC_SLEEP,
        "scheduling from the idle thread",
        r"bad: (?P<what>scheduling from the idle thread)!",
        "bad: {what}",
        Blame.STACK,
        "sleep",
        needs=r"Call [Tt]race|\+0x|CPU: ",
    ),
    Grammar(
        Form.ATOMIC_SLEEP,
        "BUG: assuming ",
        r"BUG: (?P<what>assuming (?:atomic|non migratable) context) at",
        "BUG: {what}",
        Blame.STACK,
        "sleep",
    ),
    Grammar(
        Form.PREEMPT,
        "in preemptible",
        r"BUG: using (?P<what>\w+)(?:\(\))? in preemptible",
        "BUG: using {what}() in preemptible code",
        Blame.STACK,
        "preempt",
    ),
    Grammar(
        Form.SOFT_LOCKUP,
        "soft lockup",
        r"(?:NMI )?(?:watchdog: )?BUG: soft lockup - CPU#\d+ stuck",
        "BUG: soft lockup",
        Blame.STALL,
        eats=_STALL,
        alt="stall",
    ),
    Grammar(
        Form.SOFT_LOCKUP,
        "ard LOCKUP",
        r"(?:NMI |watchdog: |CPU\d+: )*(?:Watchdog|watchdog|CPU \d+|Watchdog CPU:\d+)? ?"
        r"(?:(?:self-)?detected )?[Hh]ard LOCKUP",
        "BUG: hard lockup",
        Blame.STALL,
        eats=_STALL,
        alt="stall",
    ),
    Grammar(
        Form.ATOMIC_SLEEP,
        "workqueue leaked ",
        r"BUG: (?P<what>workqueue leaked (?:lock or atomic|atomic, lock or RCU)): ",
        "BUG: {what}",
        Blame.LAST_FUNCTION,
    ),
    Grammar(
        Form.WORKQUEUE_LOCKUP,
        "workqueue lockup",
        r"BUG: workqueue lockup",
        "BUG: workqueue lockup",
        Blame.NOBODY,
        eats=("workqueue lockup",),
    ),
    Grammar(
        Form.RCU_STALL,
        "detected",
        r"(?:rcu: )?INFO: rcu_?\w* (?:self-)?detected (?:expedited )?stall",
        "INFO: rcu detected stall",
        Blame.INTERRUPTED,
        eats=_STALL,
        alt="stall",
    ),
    Grammar(
        Form.HUNG_TASK,
        " for more than",
        r"INFO: task .{1,80} blocked (?:on a \w+ |in I/O wait |[\w/]+ )?for more than",
        "INFO: task hung",
        Blame.SLEEPER,
        "wait",
        eats=("blocked for more than", "can't die for", "lockdep is turned off", "INFO: lockdep"),
        alt="hang",
    ),
    Grammar(
        Form.HUNG_TASK,
        "waiting for writeback",
        r"INFO: The task .{1,80} has been waiting for writeback completion for more than",
        "INFO: task waits for writeback",
        Blame.NOBODY,
    ),
    Grammar(
        Form.HUNG_TASK,
        "Kernel panic - not syncing",
        r"Kernel panic - not syncing: hung_task: blocked tasks",
        "kernel panic: hung_task: blocked tasks",
        Blame.NOBODY,
    ),
    Grammar(
        Form.HUNG_TASK,
        " for more than",
        r"INFO: task .{1,80} can't die for more than",
        "INFO: task can't die",
        Blame.SLEEPER,
        "wait",
        eats=("blocked for more than", "can't die for", "lockdep is turned off"),
        alt="hang",
    ),
)
