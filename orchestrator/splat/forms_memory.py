# SPDX-License-Identifier: GPL-2.0-only
"""Reports of memory errors, as data: the sanitizers', page states, the slab's, leaks.

Formats: mm/kasan/report*.c, kernel/kcsan/report.c, mm/kmsan/report.c, mm/kfence/report.c, lib/ubsan.c,
mm/page_alloc.c, mm/page_poison.c, mm/memory.c, mm/slub.c, mm/kmemleak.c, kernel/fork.c, mm/pgtable-generic.c.
"""

from __future__ import annotations

from orchestrator.splat.grammar import Blame, Grammar
from orchestrator.splat.model import Form

KCSAN_NEEDS = r"(?:read|write|accesses|writes)[\w (),-]* to 0x[0-9a-f]+ of \d+ bytes by "
_KASAN_NEEDS = r"(?:Read|Write|Free|Double free) |by task|Call [Tt]race|\w+\+0x|[Aa]ddress|Asynchronous"
_KFENCE_NEEDS = r"\((?:in|0x)|kfence-#|\w+\+0x|access at|Corrupted|Invalid"
_F = r"(?P<f>[\w.$]+)"
_BAD = "bad-access"


def _ubsan_trap(header: str) -> Grammar:
    return Grammar(Form.UBSAN, "UBSAN:", header, "UBSAN: {what}", Blame.PC, "fault", eats=("Oops", "[#"))


FORMS = (
    Grammar(
        Form.KCSAN,
        "BUG: KCSAN:",
        r"BUG: KCSAN: (?P<what>data-race|assert: race|racing \w+) in (?P<pair>\S(?:.*\S)?)\s*$",
        "KCSAN: {what}",
        Blame.HEADER,
        bars=True,
        needs=KCSAN_NEEDS,
        bare=True,  # the header names both; whether their stacks are there is what `kcsan.complete` says
    ),
    Grammar(
        Form.KASAN,
        "BUG: KASAN:",
        r"BUG: KASAN: (?:double-free or )?(?P<what>invalid-free) in " + _F,
        "KASAN: {what}",
        Blame.STACK_FIRST,
        "free",
        bars=True,
        needs=_KASAN_NEEDS,
    ),
    Grammar(
        Form.KASAN,
        "BUG: KASAN:",
        r"BUG: KASAN: (?P<what>double-free) in " + _F,
        "KASAN: {what}",
        Blame.STACK_FIRST,
        "free",
        bars=True,
        needs=_KASAN_NEEDS,
    ),
    Grammar(
        Form.KASAN,
        "BUG: KASAN:",
        rf"BUG: KASAN: (?P<what>[\w-]+(?: or [\w-]+)?) in (?P<rest>{_F}.*)",
        "KASAN: {what}{access}",
        Blame.STACK_FIRST,
        "access",
        bars=True,
        needs=_KASAN_NEEDS,
        alt=_BAD,
    ),
    Grammar(
        Form.KASAN,
        "BUG: KASAN:",
        r"BUG: KASAN: (?P<what>null-ptr-deref|user-memory-access|wild-memory-access) on address",
        "KASAN: {what}{access}",
        Blame.STACK,
        "access",
        bars=True,
        needs=_KASAN_NEEDS,
        alt=_BAD,
    ),
    Grammar(
        Form.KASAN,
        "BUG: KASAN:",
        r"BUG: KASAN: (?P<what>[\w-]+)",
        "KASAN: {what}{access}",
        Blame.STACK,
        "access",
        bars=True,
        needs=_KASAN_NEEDS,
    ),
    # v4.0 to v4.2
    Grammar(
        Form.KASAN,
        "BUG: KASan:",
        rf"BUG: KASan: (?P<what>[a-z][a-z -]+?) (?:in (?P<rest>{_F}.*)|on address)",
        "KASAN: {what}{access}",
        Blame.STACK_FIRST,
        "access",
        bars=True,
        needs=_KASAN_NEEDS,
        alt=_BAD,
    ),
    Grammar(
        Form.KMSAN,
        "BUG: KMSAN:",
        rf"BUG: KMSAN: (?P<what>[\w-]+) in {_F}",
        "KMSAN: {what}",
        Blame.BELOW,
        "kmsan",
        bars=True,
        needs=r"\w+\+0x|Uninit|Call [Tt]race|Local variable|CPU: ",
        alt=_BAD,
    ),
    Grammar(
        Form.KFENCE,
        "BUG: KFENCE:",
        rf"BUG: KFENCE: (?P<what>[\w -]+?) in {_F}",
        "KFENCE: {what}",
        Blame.BELOW,
        "kfence",
        bars=True,
        needs=_KFENCE_NEEDS,
        alt=_BAD,
    ),
    Grammar(
        Form.UBSAN,
        "UBSAN:",
        r"UBSAN: (?P<what>[Uu]ndefined behaviour) in \S+:\d+",
        "UBSAN: undefined-behaviour",
        Blame.STACK,
        bars=True,
    ),
    Grammar(Form.UBSAN, "UBSAN:", r"UBSAN: (?P<what>[\w-]+) in \S+:\d+", "UBSAN: {what}", Blame.STACK, bars=True),
    # CONFIG_UBSAN_TRAP: report_ubsan_failure() before x86's `invalid opcode`, in arm64's `Internal error`
    _ubsan_trap(rf"UBSAN: (?P<what>[a-z][\w /-]+?) at {_F}\+0x"),
    _ubsan_trap(r"Internal error: UBSAN: (?P<what>[a-z][\w /-]+?): [0-9a-f]+ \[#"),
    Grammar(
        Form.BAD_PAGE,
        "BUG: Bad page",
        r"BUG: Bad page (?P<what>state) in process",
        "BUG: Bad page {what}",
        Blame.OWNER,
        "page",
        eats=("BUG: Bad page",),
    ),
    Grammar(
        Form.BAD_PAGE,
        "BUG: Bad page",
        r"BUG: Bad page (?P<what>map|cache) in process",
        "BUG: Bad page {what}",
        Blame.NOBODY,
        eats=("BUG: Bad page",),
    ),
    Grammar(
        Form.BAD_PAGE,
        "BUG: Bad page",
        r"BUG: Bad page (?P<what>state|map): \d+ messages suppressed",
        "BUG: Bad page {what}",
        Blame.NOBODY,
    ),
    Grammar(
        Form.BAD_PAGE,
        "BUG: Bad rss-counter",
        r"BUG: Bad rss-counter state",
        "BUG: Bad rss-counter state",
        Blame.NOBODY,
    ),
    Grammar(
        Form.BAD_PAGE,
        "BUG: non-zero",
        r"BUG: non-zero (?P<what>nr_\w+|\w+) on freeing mm(?P<rest>(?<=bytes on freeing mm): -?\d+)?",
        "BUG: non-zero {what} on freeing mm{rest}",
        Blame.NOBODY,
    ),
    Grammar(
        Form.BAD_PAGE,
        "pagealloc: ",
        r"pagealloc: (?P<what>single bit error|memory corruption)",
        "pagealloc: {what}",
        Blame.STACK,
        "page",
        needs=r"Call [Tt]race|page dumped because|\+0x",
        eats=("mapcount:",),
    ),
    # pmd_clear_bad() and its like: a page table held what cannot be
    Grammar(
        Form.BAD_PAGE,
        "pgtable-generic.c:",
        r"\S*pgtable-generic\.c:\d+: (?P<what>bad p(?:te|md|ud|4d|gd)) \(?[0-9a-f]{4,16}\b",
        "{what}",
        Blame.NOBODY,
    ),
    # slab_bug(); where a WARN() follows (7.2, not yet 6.12), it shows the stack
    Grammar(
        Form.BUG,
        "BUG ",
        r"BUG (?P<cache>\S.{0,80}?) \((?:Not t|T)ainted[^)]*\): (?P<what>(?!kasan: bad access)[A-Za-z].{3,100}?)\s*$",
        "BUG: {what}",
        Blame.NOBODY,
        eats=("_slab_err+", "object_err+", "kmem_cache_destroy+"),
        more=True,
    ),
    Grammar(
        Form.LEAK,
        "memory leak",
        r"BUG: memory leak",
        "memory leak",
        Blame.STACK,
        "allocator",
        needs=r"unreferenced object|backtrace",
        eats=("unreferenced object", "suspected memory leak"),
    ),
    Grammar(
        Form.LEAK,
        "unreferenced object",
        r"(?:kmemleak: )?unreferenced object 0x[0-9a-f]+ \(size \d+\)",
        "memory leak",
        Blame.STACK,
        "allocator",
        needs=r"backtrace",
    ),
    # the scan only counts them: the leaks themselves stand in a file
    Grammar(
        Form.LEAK,
        "suspected memory leak",
        r"kmemleak: \d+ new suspected memory leaks",
        "memory leak: see /sys/kernel/debug/kmemleak",
        Blame.NOBODY,
    ),
)
