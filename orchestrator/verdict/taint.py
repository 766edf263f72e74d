# SPDX-License-Identifier: GPL-2.0-only
"""What /proc/sys/kernel/tainted means (Documentation/admin-guide/tainted-kernels.rst)."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.splat.model import Splat, SplatKind

FLAGS = (
    ("P", "proprietary module"),
    ("F", "module was force loaded"),
    ("S", "kernel out of specification"),
    ("R", "module was force unloaded"),
    ("M", "machine check"),
    ("B", "bad page, or KASAN report"),
    ("U", "userspace asked for it"),
    ("D", "oops or BUG"),
    ("A", "ACPI table overridden"),
    ("W", "warning"),
    ("C", "staging driver"),
    ("I", "firmware workaround"),
    ("O", "out-of-tree module"),
    ("E", "unsigned module"),
    ("L", "soft lockup"),
    ("K", "live patch"),
    ("X", "distribution's own"),
    ("T", "structure layout randomised"),
    ("N", "in-kernel test"),
)
_BITS = {letter: bit for bit, (letter, _) in enumerate(FLAGS)}

# Our probe module is built outside the tree and not signed.
_OURS = (1 << _BITS["O"]) | (1 << _BITS["E"])

_CAUSED = {
    SplatKind.WARNING: "W",
    SplatKind.LOCKDEP: "W",
    SplatKind.ATOMIC_SLEEP: "W",
    SplatKind.BAD_PAGE: "B",
    SplatKind.BUG: "BDW",
    SplatKind.KASAN: "B",
    SplatKind.KFENCE: "B",
    SplatKind.KMSAN: "B",
    SplatKind.OOPS: "D",
    SplatKind.PANIC: "D",
    SplatKind.SOFT_LOCKUP: "L",
}


def unexplained(taint: int, splats: Iterable[Splat]) -> int:
    """Return the bits of `taint` that neither our own module nor any of `splats` accounts for."""
    explained = _OURS
    for splat in splats:
        for letter in _CAUSED.get(splat.kind, ""):
            explained |= 1 << _BITS[letter]
    return taint & ~explained


def decode(taint: int) -> str:
    """Return the bits in words, such as `W (warning), D (oops or BUG)`."""
    known = [f"{letter} ({words})" for bit, (letter, words) in enumerate(FLAGS) if taint >> bit & 1]
    rest = taint >> len(FLAGS) << len(FLAGS)
    return ", ".join([*known, f"unknown bits {rest:#x}"] if rest else known)
