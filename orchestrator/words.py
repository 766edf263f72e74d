# SPDX-License-Identifier: GPL-2.0-only
"""Grammar for what every room says of numbers."""

from __future__ import annotations


def plural(number: float | str, one: str, several: str = "") -> str:
    """Return the word that goes with `number`, which may be the text that is shown: `one`, or `several` (`one`s)."""
    return one if number in (1, "1") else several or f"{one}s"
