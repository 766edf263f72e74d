# SPDX-License-Identifier: GPL-2.0-only
"""A fast first look at a block of lines: which may begin a report? Nearly none do, so this decides the speed.

Every header of every form holds one of these literals (tests/unit/test_splat_forms.py looks). Each costs a search, a
short one more than a long one: whatever die() prints is found by its `[#`. The ones in capitals are looked for in
what is left when all but capitals and a few signs are deleted, a tenth of the text.
"""

from __future__ import annotations

CAPITALS = (
    "BUG",
    "WARNING:",
    "INFO:",
    "UBSAN:",
    "NULL",
    "LOCKUP",
    "[#",
    "PANIC:",
    "SYZFA",
    "GFP",
    "MSR",
    "CSD",
    "VFS:",
)
WORDS = (
    "nable to handle",
    "general protection fault",
    "Kernel panic - not syncing",
    "Internal error:",
    "Split lock detected",
    "unreferenced object",
    "nsufficient stack space",
    "tack overflow",
    "low stack detected",
    "most likely overflow",
    "Unhandled fault:",
    "Unhandled prefetch abort",
    "Alignment trap:",
    "rust_kernel: panicked",
    "unregister_netdevice:",
    "trusty: panic",
    "ut of memory: Kill",
    "mapcount:",
    "suspected memory leak",
    "pagealloc:",
    "pgtable-generic.c:",
    "scheduling from the idle thread",
    "CFI failure at",
    "Division by zero in kernel",
    "nobody cared",
    "goroutine ",
    "messages dropped",
    "Linux version ",
    "Booting the kernel",
)
MARK = "guprace: mark "

_DELETED = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ[]#:"))


def hits(block: str, marks: bool) -> frozenset[int]:
    """Return the numbers, from 0, of the lines in `block` that hold one of the literals."""
    capitals = block.encode("utf-8", "replace").translate(None, _DELETED).decode()
    found = [word for word in CAPITALS if word in capitals]
    found += [word for word in WORDS if word in block]
    if marks and MARK in block:
        found.append(MARK)
    return _lines(block, found) if found else frozenset()


def _lines(block: str, words: list[str]) -> frozenset[int]:
    places = []
    for word in words:
        at = block.find(word)
        while at >= 0:
            places.append(at)
            end = block.find("\n", at)
            at = block.find(word, end) if end >= 0 else -1
    numbers, line, before = set(), 0, 0
    for at in sorted(places):
        line += block.count("\n", before, at)
        before = at
        numbers.add(line)
    return frozenset(numbers)
