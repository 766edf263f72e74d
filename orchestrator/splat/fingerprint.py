# SPDX-License-Identifier: GPL-2.0-only
"""Same or new: a name for a report that a rebuild of the kernel does not change.

The fingerprint of a report is the SHA-256, cut to 16 hexadecimal digits, of its kind and its normalised frames:

* Offsets, sizes, addresses and modules do not enter; nor what compilers add to a name (`.isra.0`, `.constprop.0`,
  `.part.1`, `.cold`, `.llvm.123`): C has no dot in names. The entry of a system call is called the same everywhere.
* Frames that only report, wait, lock or help (splat/skip.py) are left out, and of the others the inner DEPTH count:
  who called from far away is not what the report is about.
* Of a KCSAN report both accesses count, in either order: which CPU came second is chance.
* A report without frames (a bare panic, a bad page) is named by its title, its numbers left out.

What it does not survive: another decision of the compiler which function to inline into which, or a renamed function.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable

from orchestrator.splat.model import Splat, SplatKind
from orchestrator.splat.skip import innocent

DEPTH = 3
DIGITS = 16
# Raised when the recipe changes, so that fingerprints of two recipes are never taken for one another.
RECIPE = 1

_BEHIND = re.compile(r"\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?")
_SYSCALL = re.compile(r"__(?:x64|ia32|arm64|s390x?|riscv|se|do)_(?:compat_)?sys_")
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-f]{8,16}\b|\d+")


def normal(function: str) -> str:
    """Return the function that a frame names: without offset, module, and what a compiler added."""
    name = _BEHIND.sub("", function)
    if "::" in name:  # Rust's
        return name
    name = name.partition(" ")[0].partition(".")[0]
    return _SYSCALL.sub("sys_", name)


def pair_of(splat: Splat) -> tuple[str, ...]:
    """Return the functions of a KCSAN report, normalised and sorted; none for another kind."""
    if splat.kind is not SplatKind.KCSAN:
        return ()
    return tuple(sorted(normal(function) for function in splat.functions))


def fingerprint(splat: Splat) -> str:
    """Return the fingerprint: 16 hexadecimal digits."""
    frames = _sides(splat)
    told = frames if any(frames) else [[_NUMBER.sub("N", splat.title)]]
    text = json.dumps([RECIPE, splat.kind.value, told])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def _sides(splat: Splat) -> list[list[str]]:
    if splat.kind is not SplatKind.KCSAN:
        # the first stack is the fault's; those behind it (allocated by, freed by) say how the kernel got there
        stack = splat.stacks[0] if splat.stacks else ()
        return [_inner([*splat.functions, *stack])]
    sides = [_inner(stack) for stack in splat.stacks] or [[normal(function)] for function in splat.functions]
    return sorted(sides)


def _inner(functions: Iterable[str]) -> list[str]:
    """Return the inner DEPTH functions, each once, of those that can be to blame; of all when none can."""
    names = list(dict.fromkeys(normal(function) for function in functions))
    guilty = [name for name in names if name and not innocent(name)]
    return (guilty or names)[:DEPTH]
