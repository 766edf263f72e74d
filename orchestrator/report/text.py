# SPDX-License-Identifier: GPL-2.0-only
"""Words and numbers that all reports share; hostile text made harmless."""

from __future__ import annotations

import os
import re
from pathlib import Path

from orchestrator.splat.lines import clean
from orchestrator.verdict.statistics import rounded_up

EXCERPT_BYTES = 64 * 1024

# What XML 1.0 forbids, and the C1 controls and non-characters that junit-xml 1.9 would cut out itself.
_NOT_XML = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufddf\ufffe\uffff]")
_PLANE_ENDS = re.compile(
    "[" + "".join(chr(plane << 16 | end) for plane in range(1, 17) for end in (0xFFFE, 0xFFFF)) + "]"
)


def harmless(text: str) -> str:
    """Return `text` without what XML 1.0 cannot carry: control characters, surrogates, non-characters."""
    return _PLANE_ENDS.sub("\ufffd", _NOT_XML.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n")))


def tail(path: Path, size: int = EXCERPT_BYTES) -> str:
    """Return the last `size` bytes of a file as clean text, from a line's beginning; empty if there is no file."""
    try:
        with path.open("rb") as stream:
            length = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, length - size))
            data = stream.read(size)
    except OSError:
        return ""
    if length > size:
        data = data.partition(b"\n")[2] or data
    return harmless(clean(data)).strip("\n")


def near(path: Path) -> str:
    """Return a path as the user would type it here, if it is not far away."""
    try:
        found = os.path.relpath(path)
    except (OSError, ValueError):
        return str(path)
    return str(path) if found.startswith("../..") else found


def shorten(text: str, size: int = EXCERPT_BYTES) -> str:
    """Return `text`, its middle left out if it takes more than `size` bytes as UTF-8."""
    data = text.encode("utf-8", "replace")
    if len(data) <= size:
        return text
    half = size // 2 - 40
    gap = f"\n[... {len(data) - 2 * half} bytes left out ...]\n"
    return data[:half].decode("utf-8", "ignore") + gap + data[-half:].decode("utf-8", "ignore")


def seconds(value: float) -> str:
    """Return a duration in words: `3.2 s`, `2 min 05 s`."""
    if value < 100:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def rate(value: float | None) -> str:
    """Return a bound such as `≤ 7.5e-03`, or a dash."""
    return "-" if value is None else f"≤ {rounded_up(value, 2):.1e}"


def count(value: int) -> str:
    """Return a number with thin groups of thousands, such as `12 345`."""
    return f"{value:,}".replace(",", " ")
