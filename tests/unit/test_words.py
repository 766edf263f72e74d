# SPDX-License-Identifier: GPL-2.0-only
"""One is one, and all else is several."""

from __future__ import annotations

from orchestrator.words import plural


def test_one_is_one_and_all_else_is_several() -> None:
    said = [f"{number} {plural(number, 'cell')}" for number in (0, 1, 2)]
    assert said == ["0 cells", "1 cell", "2 cells"]
    assert [plural(text, "trial") for text in ("1", "1 001")] == ["trial", "trials"]
    assert [plural(number, "check that needs", "checks that need") for number in (1, 2)] == [
        "check that needs",
        "checks that need",
    ]
