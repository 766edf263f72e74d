# SPDX-License-Identifier: GPL-2.0-only
"""What KCSAN printed is held against what it counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.splat.model import Phase, SplatKind
from orchestrator.splat.races import compare
from orchestrator.splat.scan import scan

CONSOLE = Path(__file__).parents[1] / "data" / "splat" / "x86_64-6.1-kcsan-pin_vs_munmap.log"
SPLATS = tuple(splat for splat in scan(CONSOLE).splats if splat.kind is SplatKind.KCSAN)
PRINTED = sum(splat.count for splat in SPLATS)


def test_more_races_counted_than_printed_is_how_kcsan_works() -> None:
    found = compare(SPLATS, {"data_races": PRINTED + 50, "setup_watchpoints": 1000})
    assert (found.printed, found.impossible) == ((PRINTED, 0), "")
    assert found.text.startswith(f"KCSAN counted {PRINTED + 50} races and printed {PRINTED}: a pair once in 3 s")


def test_fewer_counted_than_printed_cannot_be() -> None:
    found = compare(SPLATS, {"data_races": 0, "setup_watchpoints": 1000})
    assert found.impossible == f"the console shows {PRINTED} races, KCSAN counted 0"
    assert found.text.endswith("console and counters are not of one race")


def test_failed_assertions_are_counted_elsewhere() -> None:
    assert not compare(SPLATS, {"data_races": 0, "assert_failures": PRINTED}).impossible


def test_what_the_boot_printed_was_not_counted_during_the_race() -> None:
    boot = [replace(splat, phase=Phase.BOOT) for splat in SPLATS]
    found = compare(boot, {"setup_watchpoints": 7})
    assert found.text == "KCSAN counted no race and printed none (7 watchpoints)"


def test_who_set_up_no_watchpoint_did_not_look() -> None:
    assert "did not look" in compare((), {}).text
