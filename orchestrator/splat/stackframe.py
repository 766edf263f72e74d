# SPDX-License-Identifier: GPL-2.0-only
"""Where a report points into the kernel's code: `func+0x12/0x34 [module]`, or a bare address."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_FRAMES = 512

_SYMBOLIC = re.compile(
    r"(?P<unsure>\? )?(?<![\w.$])(?P<f>[A-Za-z_][\w.$]*)\+0x(?P<offset>[0-9a-f]{1,16})/0x(?P<size>[0-9a-f]{1,16})"
    r"(?: \[(?P<module>[A-Za-z_][\w-]*)(?: [0-9a-f]+)?\])?"
)
# As printed without kallsyms, or by a kernel older than 4.12; a kernel address has its top bits set.
_RAW = re.compile(r"(?:\[<|[RE]?IP: (?:[0-9a-f]{4}:)?0x|pc : (?:0x)?|lr : (?:0x)?)(?P<address>[89a-f][0-9a-f]{15})\b")
# What is a program counter and no return address: it stands before the instruction that it names.
_EXACT = re.compile(r"(?:[RE]?IP: |\bpc : |PC is at |WARNING: |kernel BUG |\bepc : |NIP )")
_SLIDE = re.compile(r"Kernel Offset: (?:(?P<off>disabled)|0x(?P<slide>[0-9a-f]{1,16}) from 0x[0-9a-f]{1,16})")


@dataclass(frozen=True, slots=True)
class Frame:
    """One place in the code as the console printed it.

    `function` is empty and `address` set (as printed: with the KASLR offset in it) where only an address was shown;
    `offset` and `size` in bytes; `exact` is True for a program counter, False for a return address, which stands
    behind the call that people look for; `unsure` for a frame that the unwinder marked `?`.
    """

    function: str
    offset: int = 0
    size: int = 0
    module: str = ""
    address: int = 0
    exact: bool = False
    unsure: bool = False

    @property
    def text(self) -> str:
        """The frame as the kernel writes it."""
        if not self.function:
            return f"{self.address:#018x}"
        behind = f" [{self.module}]" if self.module else ""
        return f"{self.function}+{self.offset:#x}/{self.size:#x}{behind}"


def frames_in(text: str) -> tuple[Frame, ...]:
    """Return the frames in the text of a report, in its order, at most MAX_FRAMES."""
    found: list[Frame] = []
    for line in text.splitlines():
        found += _frames_of(line)
        if len(found) >= MAX_FRAMES:
            break
    return tuple(found[:MAX_FRAMES])


def _frames_of(line: str) -> Iterable[Frame]:
    exact = _EXACT.search(line) is not None
    symbolic = [
        Frame(
            function=match["f"],
            offset=int(match["offset"], 16),
            size=int(match["size"], 16),
            module=match["module"] or "",
            exact=exact,
            unsure=bool(match["unsure"]),
        )
        for match in _SYMBOLIC.finditer(line)
    ]
    if symbolic:
        return symbolic
    return [Frame("", address=int(match["address"], 16), exact=exact) for match in _RAW.finditer(line)]


def kernel_slide(text: str) -> int | None:
    """Return by how much KASLR moved the kernel, as its panic says it (`Kernel Offset: 0x...`); None: it does not."""
    found = list(_SLIDE.finditer(text))
    if not found:
        return None
    return 0 if found[-1]["off"] else int(found[-1]["slide"], 16)
