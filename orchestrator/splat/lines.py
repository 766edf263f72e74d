# SPDX-License-Identifier: GPL-2.0-only
"""Console bytes into clean lines, in bounded memory, however the bytes were cut into pieces.

Guests print what they like: carriage returns, NULs, ANSI sequences of firmware and coloured tools, invalid UTF-8,
200 MB without a newline. What comes out is printable text without line ends, at most MAX_LINE characters each.
"""

from __future__ import annotations

import re

MAX_LINE = 4096
MAX_RAW = 4 * MAX_LINE
CHUNK = 1 << 16

# ECMA-48 control sequences, operating system commands (ended by BEL or ST), and two-byte escapes.
_ANSI = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-Z\\-~])")
_C1 = re.compile("[\x7f-\x9f]")
_CONTROL = bytes(b for b in (*range(0x20), 0x7F) if b not in (0x09, 0x0A, 0x1B))


class LineReader:
    """Assembles lines from chunks of any size; remembers at most one capped line."""

    def __init__(self) -> None:
        self._rest = b""

    def block(self, chunk: bytes) -> str | None:
        """Return the lines that `chunk` completes, cleaned, as one text without the last newline; None: no line."""
        whole, newline, rest = chunk.rpartition(b"\n")
        if not newline:
            self._rest = (self._rest + chunk)[:MAX_RAW]
            return None
        block, self._rest = self._rest + whole, rest[:MAX_RAW]
        return clean(block)

    def end(self) -> str | None:
        """Return what is left: the last line, if it has no newline."""
        rest, self._rest = self._rest, b""
        return clean(rest) if rest else None


def clean(block: bytes) -> str:
    """Return `block` as text: escapes, NULs and other control characters gone, lines capped at MAX_LINE.

    Invalid UTF-8 becomes U+FFFD. The same line gives the same text in whatever block it comes.
    """
    if len(block) > MAX_RAW:
        lines = block.split(b"\n")
        if max(map(len, lines)) > MAX_RAW:
            block = b"\n".join(line[:MAX_RAW] for line in lines)
    block = block.translate(None, _CONTROL)
    if b"\x1b" in block:
        block = _ANSI.sub(b"", block).replace(b"\x1b", b"")
    text = block.decode("utf-8", "replace")
    if not text.isascii():
        text = _C1.sub("", text)
    if len(text) <= MAX_LINE:
        return text
    return "\n".join(line[:MAX_LINE] for line in text.split("\n"))
