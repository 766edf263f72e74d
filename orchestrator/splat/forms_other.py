# SPDX-License-Identifier: GPL-2.0-only
"""WARN() and those who use it, panics, remarks, and what is called BUG: without more; as data.

Formats: kernel/panic.c, lib/bug.c, lib/refcount.c, lib/debugobjects.c, lib/kobject.c, fs/dcache.c, fs/super.c,
net/core/dev.c, mm/oom_kill.c. v6.19 says `WARNING: [condition] file:line at function, CPU#n: comm/pid`.
"""

from __future__ import annotations

from orchestrator.splat.grammar import Blame, Grammar
from orchestrator.splat.model import Form

_STACK = r"\+0x[0-9a-f]+/0x|Call [Tt]race|RIP:|CPU:|pc :|Modules linked|Backtrace"
_EATS = ("WARNING:", "[#")
# What CHECK_DATA_CORRUPTION() (include/linux/bug.h) says behind its text: WARN() or BUG().
_CORRUPTION = ("WARNING:", "ernel BUG at", "[#", "Internal error")
_NOTHING = "corrupted"
_AT = r"WARNING: (?:(?:CPU: \d+ PID: \d+ )?at |\[.{1,200}\] )?"
_F = r"(?::\d+)?,?(?: at)? (?P<f>[A-Za-z_][\w.$]*)"


def _warn(
    form: Form, place: str, title: str, skip: str, blame: Blame = Blame.HEADER_FIRST, functions: str = ""
) -> Grammar:
    """A WARN() at `place`, a pattern over `file:line function`.

    A kernel without CONFIG_DEBUG_BUGVERBOSE says the function only: `functions` are the patterns of those at `place`.
    """
    where = rf"(?:{place}|(?:{functions})(?:\.\w+)*\+0x)" if functions else place
    return Grammar(form, "WARNING:", _AT + where, title, blame, skip, needs=_STACK, eats=_EATS)


def _cut(form: Form, word: str) -> Grammar:
    title = f"{word} {_NOTHING}"
    return Grammar(form, word, rf"{word}\s*$", title, Blame.NOBODY, last=True, cut="its header was cut")


def _trouble(needle: str, header: str) -> Grammar:
    return Grammar(Form.TROUBLE, needle, header, "{what}", Blame.NOBODY)


FORMS = (
    _warn(
        Form.ODEBUG,
        r"\S*lib/debugobjects\.c[:, ]",
        "WARNING: ODEBUG bug",
        "odebug",
        Blame.STACK,
        "debug_print_object",
    ),
    _warn(
        Form.REFCOUNT,
        r"\S*lib/refcount\.c[:, ]",
        "WARNING: refcount bug",
        "refcount",
        Blame.STACK,
        r"refcount_\w+",
    ),
    _warn(Form.REFCOUNT, r"\S*refcount\.h[:, ]", "WARNING: refcount bug", "refcount", Blame.STACK),
    _warn(Form.WARNING, r"\S*lib/kobject\.c[:, ]", "WARNING: kobject bug", "kobject", Blame.STACK, r"kobject_\w+"),
    _warn(Form.WARNING, r"\S*mm/usercopy\.c[:, ]", "WARNING: bad usercopy", "usercopy", Blame.STACK, r"usercopy_\w+"),
    _warn(
        Form.WARNING,
        r"\S*fs/proc/generic\.c[:, ]",
        "WARNING: proc registration bug",
        "proc",
        Blame.STACK,
        "proc_register|remove_proc_entry",
    ),
    _warn(
        Form.LOCKDEP,
        r"\S*kernel/locking/lockdep\.c[:, ]",
        "WARNING: locking bug",
        "lock",
        Blame.STACK,
        r"(?:__)?lock_(?:acquire|release|acquired|contended|downgrade|set_class|is_held\w*|pin_lock|unpin_lock)"
        r"|check_flags|hlock_class|look_up_lock_class|register_lock_class|mark_lock\w*|lockdep_\w+",
    ),
    _warn(
        Form.WARNING,
        r"\S*mm/\S+\.c:\d+ (?:at )?_*(?:kv?[mz]?alloc|kv?calloc|krealloc)",
        "WARNING: kmalloc bug",
        "kmalloc",
        Blame.STACK,
        r"_*(?:kv?[mz]?alloc|kv?calloc|krealloc)\w*",
    ),
    _warn(
        Form.WARNING,
        r"\S*mm/vmalloc\.c:\d+ (?:at )?__vmalloc_node_range",
        "WARNING: zero-size vmalloc",
        "kmalloc",
        Blame.STACK,
        r"__vmalloc_node_range\w*",
    ),
    _warn(Form.WARNING, r"\S+:\d+ (?:at )?usb_submit_urb", "WARNING in {f}/usb_submit_urb", "urb", Blame.STACK),
    # CONFIG_DEBUG_STACKOVERFLOW of 64-bit x86, up to v5.7: `do_IRQ(): %s has overflown the kernel stack`
    _warn(
        Form.WARNING,
        r"\S*arch/x86/kernel/irq_64\.c:\d+ (?:at )?(?:handle_irq|stack_overflow_check|do_IRQ)\b",
        "WARNING: kernel stack overflow",
        "warn",
        Blame.DEEP,
    ),
    _warn(Form.WARNING, rf"\S+?{_F}\+0x", "WARNING", "warn"),
    _warn(Form.WARNING, r"\S+:\d+(?: at)? \S+", "WARNING", "warn"),
    _warn(Form.WARNING, r"\S+:\d+", "WARNING", "warn"),
    Grammar(
        Form.WARNING,
        "WARNING:",
        r"WARNING: (?:CPU: \d+ PID: \d+ )?at (?:(?P<f>[A-Za-z_][\w.$]*)\+0x)?",
        "WARNING",
        Blame.HEADER_FIRST,
        "warn",
        needs=_STACK,
        eats=_EATS,
    ),
    Grammar(
        Form.WARNING,
        "WARNING:",
        r"WARNING: kernel stack regs at [0-9a-f]+ in .* has bad '(?P<what>\w+)' value",
        "WARNING: kernel stack regs has bad '{what}' value",
        Blame.NOBODY,
    ),
    Grammar(
        Form.WARNING,
        "WARNING:",
        r"WARNING: kernel stack frame pointer at [0-9a-f]+ in .* has bad value",
        "WARNING: kernel stack frame pointer has bad value",
        Blame.NOBODY,
    ),
    Grammar(
        Form.WARNING,
        "WARNING:",
        r"WARNING: kernel stack (?:regs|frame pointer) at .* has bad .*value",
        "WARNING: kernel stack regs has bad value",
        Blame.NOBODY,
        eats=("WARNING: kernel stack",),
    ),
    Grammar(
        Form.STACK_OVERFLOW,
        "Kernel panic - not syncing",
        r"Kernel panic - not syncing: corrupted stack end detected",
        "kernel panic: corrupted stack end",
        Blame.STALL,
        alt="stack-overflow",
    ),
    Grammar(
        Form.STACK_OVERFLOW,
        "Kernel panic - not syncing",
        r"Kernel panic - not syncing: corrupted shadow stack detected",
        "kernel panic: corrupted shadow stack",
        Blame.STALL,
        alt="stack-overflow",
    ),
    Grammar(
        Form.STACK_OVERFLOW,
        "Kernel panic - not syncing",
        r"Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: "
        r"(?:\S*?(?P<f>[A-Za-z_][\w.$]*)\+0x)?",
        "kernel panic: stack is corrupted",
        Blame.HEADER_FIRST,
        "fault",
        bare=True,
    ),
    Grammar(
        Form.PANIC,
        "Kernel panic - not syncing",
        r"Kernel panic - not syncing: ?(?P<what>.*)$",
        "kernel panic: {what}",
        Blame.NOBODY,
    ),
    Grammar(
        Form.OTHER,
        "unregister_netdevice:",
        r"unregister_netdevice: waiting for \S+ to become free",
        "unregister_netdevice: waiting for DEV to become free",
        Blame.NOBODY,
    ),
    Grammar(
        Form.OTHER,
        "VFS: Busy inodes",
        r"VFS: Busy inodes after unmount",
        "VFS: Busy inodes after unmount (use-after-free)",
        Blame.NOBODY,
        eats=_CORRUPTION,
    ),
    Grammar(
        Form.OTHER,
        "VFS: Close:",
        r"VFS: Close: file count is (?:0|zero)",
        "VFS: Close: file count is zero (use-after-free)",
        Blame.NOBODY,
        eats=_CORRUPTION,
    ),
    Grammar(
        Form.BUG,
        "BUG: Dentry",
        r"BUG: Dentry .* still in use \(-?\d+\) \[unmount of (?P<what>[^\]]+)\]",
        "BUG: Dentry still in use [unmount of {what}]",
        Blame.NOBODY,
        eats=("WARNING:",),
    ),
    Grammar(
        Form.BUG,
        "BUG: page_table_check",
        r"BUG: page_table_check",
        "BUG: page_table_check",
        Blame.STACK,
        needs=_STACK,
    ),
    Grammar(Form.BUG, "BUG:", r"BUG: (?P<what>[A-Za-z_].{0,100}?)\s*$", "BUG: {what}", Blame.NOBODY, needs=_STACK),
    Grammar(Form.BUG, "BUG:", r"\[ BUG: (?P<what>[A-Za-z_].{0,100}?) \]\s*$", "BUG: {what}", Blame.NOBODY),
    # SLUB's tracks of an object: when they come without a header, it was lost
    Grammar(
        Form.INFO,
        "INFO:",
        r"INFO: (?P<what>(?:(?:Allocated|Freed) in \w+\+0x|(?:Slab|Object) 0x[0-9a-f]{8,16} ).*)$",
        "INFO: {what}",
        Blame.NOBODY,
        cut="its header was lost",
    ),
    # the console's last words: what follows would tell another thing
    _cut(Form.BUG, "BUG:"),
    _cut(Form.WARNING, "WARNING:"),
    _cut(Form.INFO, "INFO:"),
    # What the kernel does where memory is short: nobody's bug
    Grammar(
        Form.OOM,
        "ut of memory: Kill",
        r"(?:Memory cgroup o|O)ut of memory: Kill(?:ed)? process \d+ \((?P<what>.{1,40}?)\)",
        "out of memory: killed {what}",
        Blame.NOBODY,
    ),
    # The state of a page without a report around it: migration failed, a page was poisoned
    Grammar(
        Form.PAGE_DUMP,
        "mapcount:",
        r"page:(?:[0-9a-f]+)? ?(?:ref)?count:-?\d+ mapcount:",
        "page dumped because: {reason}",
        Blame.NOBODY,
    ),
    # What the kernel complains of, with a stack, and does not call a bug
    _trouble("GFP", r".{1,16}: (?P<what>page allocation (?:failure|stall)|vmalloc error)\b.*GFP"),
    _trouble("nobody cared", r"(?P<what>irq \d+: nobody cared) \("),
    _trouble("unchecked MSR access", r"(?P<what>unchecked MSR access error): "),
    _trouble("non-responsive CSD lock", r"(?:smp: )?csd: \w+ (?P<what>non-responsive CSD lock)"),
    # A driver's own words: shown, but no report of a bug in the kernel (standing.py: background)
    Grammar(
        Form.REMARK,
        "WARNING:",
        r"[a-z][\w-]* \d[\w.:-]*: WARNING: (?P<what>[A-Za-z](?!.*deprecated)\w+ .{8,120}?)\s*$",
        "WARNING: {what}",
        Blame.NOBODY,
    ),
    Grammar(
        Form.REMARK,
        "WARNING:",
        r"WARNING: (?P<what>(?!workqueue cpumask: )[a-z](?!.*deprecated)[\w']+ .{8,120}?)\s*$",
        "WARNING: {what}",
        Blame.NOBODY,
        stamped=True,
    ),
    # Go's runtime (src/runtime/panic.go) shows who ran or waited when it died: who drove the guest is gone
    Grammar(
        Form.USERSPACE,
        "goroutine ",
        r"goroutine \d+ (?:[a-z]+=\S+ ){0,3}\[[a-z][\w ,()-]{2,60}\]:",
        "go runtime error",
        Blame.NOBODY,
    ),
    Grammar(
        Form.USERSPACE,
        "SYZFA",
        r"(?:\S+ \S+ )?(?P<what>SYZFA(?:TA|I)L: .*)$",
        "{what}",
        Blame.NOBODY,
    ),
    Grammar(
        Form.USERSPACE,
        "trusty: ",
        r"trusty: panic \(.*?\): ASSERT FAILED at \(.*?\): ?(?P<what>.*)$",
        "trusty: ASSERT FAILED: {what}",
        Blame.NOBODY,
    ),
    Grammar(
        Form.USERSPACE, "trusty: ", r"trusty: panic \(.*?\): ?(?P<what>.*)$", "trusty: panic: {what}", Blame.NOBODY
    ),
)
