# SPDX-License-Identifier: GPL-2.0-only
"""Oopses, as data: page faults, traps, BUG(), stack overflows, on x86, arm64, arm, riscv, s390 and ppc.

Formats: arch/*/mm/fault.c, arch/*/kernel/traps.c, lib/bug.c, kernel/panic.c.
"""

from __future__ import annotations

from orchestrator.splat.grammar import Blame, Grammar
from orchestrator.splat.model import Form

_OOPS = ("Oops", "Internal error", "KASAN", "invalid opcode", "general protection fault", "nable to handle", "[#")
_BUG = (*_OOPS, "BUG at")
_STACK = r"\+0x[0-9a-f]+/0x|Call [Tt]race|RIP:|CPU:|pc :|Modules linked|Backtrace|\[#\d"
_BAD = "bad-access"
_U = r"(?:BUG: |CPU \d+ )?[Uu]nable to handle "
# Whatever die_kernel_fault() is told (arch/*/mm/fault.c), such as `alignment fault`.
_ANY_FAULT = r"kernel [\w/() -]{3,80} at virtual address"


def _trap(form: Form, needle: str, header: str, title: str) -> Grammar:
    """A trap of x86: `divide error: 0000 [#1]`; since v6.11 with `Oops: ` before it."""
    return Grammar(
        form, needle, r"(?:Oops: )?" + header, title, Blame.PC, "fault", needs=_STACK, eats=_OOPS, alt=_BAD
    )


def _fault(form: Form, needle: str, header: str, title: str) -> Grammar:
    return Grammar(form, needle, header, title, Blame.PC, "fault", eats=_OOPS, alt=_BAD)


def _overflow(
    needle: str,
    header: str,
    title: str = "kernel stack overflow",
    blame: Blame = Blame.DEEP,
    needs: str = "",
    eats: tuple[str, ...] = (),
) -> Grammar:
    return Grammar(
        Form.STACK_OVERFLOW, needle, header, title, blame, needs=needs, eats=(*_OOPS, *eats), alt="stack-overflow"
    )


FORMS = (
    _fault(
        Form.NULL,
        "NULL pointer dereference",
        r"(?:BUG: (?:unable to handle )?|(?:CPU \d+ )?Unable to handle )(?:kernel )?NULL pointer dereference",
        "BUG: unable to handle kernel NULL pointer dereference",
    ),
    # ppc: `BUG: Kernel NULL pointer dereference on read at 0x00000000`
    _fault(
        Form.NULL,
        "NULL pointer dereference",
        r"BUG: Kernel NULL pointer dereference",
        "BUG: unable to handle kernel NULL pointer dereference",
    ),
    _fault(
        Form.PAGING,
        "nable to handle",
        _U + r"kernel access to user memory",
        "BUG: unable to handle kernel access to user memory",
    ),
    _fault(
        Form.PAGING,
        "nable to handle",
        _U + r"(?:(?:kernel )?(?:paging request|page fault|unknown paging|data access|instruction fetch|"
        r"pointer dereference|unaligned access|access (?:beyond|to)|read from|write to|execut\w+)|"
        rf"{_ANY_FAULT})",
        "BUG: unable to handle kernel paging request",
    ),
    Grammar(
        Form.PAGING,
        "nable to handle kernel",
        r"BUG: unable to handle kernel\s*(?:\[ *\d+\..*)?$",
        "BUG: unable to handle kernel",
        Blame.NOBODY,
        eats=_OOPS,
        cut="its header was cut",
    ),
    # before v4.12 KASAN's remark lacked its newline
    _trap(
        Form.GPF,
        "general protection fault",
        r"(?:kasan: GPF could be caused by NULL-ptr deref or user memory access)?general protection fault(?:,|:| )",
        "general protection fault",
    ),
    _fault(
        Form.DOUBLE_FAULT,
        "double fault",
        r"(?:(?:traps: )?PANIC: double fault|(?:Oops: )?double fault: )",
        "PANIC: double fault",
    ),
    _overflow(
        "stack guard page",
        r"BUG: (?:\S+ )?stack guard page was hit",
        "BUG: stack guard page was hit",
        eats=("stack overflow", "PANIC: double fault"),
    ),
    _overflow("nsufficient stack space", r"Insufficient stack space to handle exception", eats=("stack overflow",)),
    # ppc's die() has nothing before it
    _overflow("ernel stack overflow", r"(?:BUG: |Oops: )?[Kk]ernel stack overflow", needs=_STACK),
    # CONFIG_DEBUG_STACKOVERFLOW: an interrupt comes and finds little of the stack left. ppc, mips, openrisc ...
    _overflow("do_IRQ: stack overflow", r"do_IRQ: stack overflow: -?[0-9A-Fa-f]+\s*$", needs=_STACK),
    # ... x86 of 32 bits ...
    _overflow("low stack detected", r"low stack detected by irq handler\s*$", needs=_STACK),
    # ... xtensa and parisc, which show no stack
    _overflow("tack overflow in do_IRQ", r"Stack overflow in do_IRQ: -?\d+\s*$", blame=Blame.NOBODY),
    _overflow(
        "will most likely overflow",
        r"stackcheck: .{1,16} will most likely overflow (?:irq|kernel) stack \(",
        blame=Blame.NOBODY,
    ),
    # arch/x86/entry/entry_fred.c; the die() behind it says the same
    Grammar(
        Form.FAULT,
        "atal FRED event",
        r"(?:BUG|PANIC): (?P<what>invalid or fatal FRED event)",
        "{what}",
        Blame.PC,
        "fault",
        eats=_OOPS,
        alt=_BAD,
    ),
    _fault(Form.FAULT, "PANIC: early exception", r"PANIC: (?P<what>early exception) 0x[0-9a-f]+ ", "PANIC: {what}"),
    # the only words with a newline that x86's die() is told: the error code stands below them
    _fault(Form.FAULT, "Split lock detected", r"(?:Oops: )?Split lock detected\s*$", "Split lock detected"),
    _trap(Form.FAULT, "[#", r"divide error: ", "divide error"),
    # arm has no instruction that traps; its library tells, and goes on with 0
    Grammar(
        Form.FAULT,
        "Division by zero in kernel",
        r"Division by zero in kernel\.\s*$",
        "divide error",
        Blame.STACK,
        "fault",
        needs=_STACK + r"| from ",
        alt=_BAD,
    ),
    _trap(Form.FAULT, "[#", r"stack segment: ", "stack segment fault"),
    _trap(Form.FAULT, "[#", r"int3: ", "int3"),
    _trap(Form.FAULT, "[#", r"invalid opcode: ", "invalid opcode"),
    _trap(
        Form.FAULT,
        "[#",
        r"(?P<what>alignment check|control protection|bounds|overflow|segment not present|invalid TSS|"
        r"coprocessor segment overrun|simd exception|fpu exception|page fault|debug|machine check): ",
        "{what}",
    ),
    _fault(Form.FAULT, "Unhandled fault:", r"Unhandled (?:prefetch abort|fault): ", "Unhandled fault"),
    Grammar(
        Form.FAULT,
        "Alignment trap:",
        r"Alignment trap: ",
        "Alignment trap",
        Blame.PC,
        "fault",
        eats=(*_OOPS, "Unhandled fault:"),
        alt=_BAD,
    ),
    # kernel/cfi.c, since v6.1, before an oops or (CONFIG_CFI_PERMISSIVE) a warning
    Grammar(
        Form.FAULT,
        "CFI failure at",
        r"CFI failure at (?P<f>[A-Za-z_][\w.$]*)\+0x",
        "CFI failure",
        Blame.HEADER_FIRST,
        "fault",
        needs=_STACK,
        eats=(*_OOPS, "WARNING:"),
        alt=_BAD,
    ),
    # `Internal error: Oops - BUG: 0 [#1]` follows `kernel BUG at`, `Internal error: Oops: 5 [#1]` a page fault
    _fault(Form.FAULT, "Internal error:", r"Internal error: ", "Internal error"),
    Grammar(
        Form.LIST_CORRUPTION,
        "ernel BUG at",
        r"[Kk]ernel BUG at (?:\S*lib/list_debug\.c[:!]|__list_(?:add|del)\w*\+0x)",
        "BUG: corrupted list",
        Blame.PC,
        "list",
        eats=_BUG,
        alt=_BAD,
    ),
    Grammar(
        Form.KERNEL_BUG,
        "ernel BUG at",
        r"[Kk]ernel BUG at (?:\S*mm/usercopy\.c[:!]|usercopy_\w+\+0x)",
        "BUG: bad usercopy",
        Blame.PC,
        "usercopy",
        eats=_BUG,
    ),
    Grammar(
        Form.KERNEL_BUG,
        "ernel BUG at",
        r"[Kk]ernel BUG at (?:[^\n]*[:!]|[0-9a-f]{8,16} \[verbose)",
        "kernel BUG",
        Blame.PC,
        "bug",
        eats=_BUG,
    ),
    Grammar(
        Form.KERNEL_BUG,
        "ernel BUG at",
        r"[Kk]ernel BUG at (?P<f>[\w.$]+)\+0x",
        "kernel BUG",
        Blame.PC,
        "bug",
        eats=_BUG,
    ),
    # BUG() of an architecture without one of its own (include/asm-generic/bug.h), before it panics
    Grammar(
        Form.KERNEL_BUG,
        "BUG: failure at",
        r"BUG: failure at \S+:\d+/(?P<f>\w+)\(\)!",
        "kernel BUG",
        Blame.HEADER_FIRST,
        "bug",
    ),
    _fault(Form.FAULT, "[#", r"(?P<what>Kernel BUG|Oops - [\w ()-]+) \[#\d", "Internal error"),
    # ppc and s390: what came before the `Oops:` line was lost
    _fault(Form.PAGING, "Oops", r"Oops: (?:[Kk]ernel access of bad area|[0-9a-f]{4} )[^\n]*\[#\d", "Oops"),
    _fault(Form.FAULT, "[#", r"Oops: (?P<what>[A-Z][\w /()-]+), sig: \d+ \[#\d", "Oops: {what}"),
    # BUG() of mips and loongarch, whose trap says no place
    Grammar(
        Form.KERNEL_BUG,
        "ernel bug detected[#",
        r"Kernel bug detected\[#\d+\]:",
        "kernel BUG",
        Blame.PC,
        "bug",
        eats=_BUG,
    ),
    # whatever else die() is told: x86 `words: 0000 [#1]`, s390 `words: 0001 ilc:2 [#1]`; mips, loongarch `words[#1]:`
    _trap(Form.FAULT, "[#", r"(?P<what>[A-Za-z#][\w #/-]{2,60}): [0-9a-f]{4,16} (?:ilc:\d )?\[#\d+\]", "{what}"),
    # the words are a sentence now and then: `do_cpu invoked from kernel context![#1]:`
    _trap(Form.FAULT, "[#", r"(?P<what>[A-Za-z][\w /:!-]{2,80})\[#\d+\]:", "{what}"),
    Grammar(
        Form.PANIC_RUST,
        "rust_kernel: panicked at",
        r"rust_kernel: panicked at \S+:\d+:\d+:\s*$",
        "{next}",
        Blame.STACK,
        "rust",
        eats=_BUG,
    ),
    # the panic message before Rust 1.73
    Grammar(
        Form.PANIC_RUST,
        "rust_kernel: panicked at",
        r"rust_kernel: panicked at '(?P<what>[^\n]+)'(?:, \S+:\d+:\d+)?\s*$",
        "{what}",
        Blame.STACK,
        "rust",
        eats=_BUG,
    ),
)
