# SPDX-License-Identifier: GPL-2.0-only
"""When was it found, where, and by what?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.race.ktap import read_ktap
from orchestrator.race.model import RaceResult
from orchestrator.verdict.finding import CONSOLE, Finding, finding, raced_seconds

HEAD = "KTAP version 1\n# scenario s\n1..3\n"
FIRST = "# subtest probe.a\n# counter probe.a.trials 70\n# counter probe.a.race_ms 2000\nok 1 probe.a\n"
HIT = (
    "# subtest vmsplice.b\n# hit vmsplice.b foreign_stamp expected 1, observed 2\n"
    "# counter vmsplice.b.first_hit_ms 250\n"
    "# counter vmsplice.b.trials 9\n# counter vmsplice.b.race_ms 300\nnot ok 2 vmsplice.b # foreign_stamp: 1 hit\n"
)


def said(text: str) -> RaceResult:
    return read_ktap(HEAD + text)


def test_a_hit_has_its_own_time_and_that_of_the_subtests_before_it() -> None:
    found = finding(said(FIRST + HIT), 9.0, None)
    assert found == Finding("foreign_stamp", "vmsplice.b", 2.25, 0.25, 9)
    assert found.vehicle == "vmsplice"


def test_a_report_is_noticed_by_the_taint_that_it_leaves() -> None:
    text = HIT.replace("# hit", "# hot").replace("first_hit_ms", "first_taint_ms").replace("not ok", "ok")
    assert finding(said(FIRST + text), 9.0, None) == Finding(CONSOLE, "vmsplice.b", 2.25, 0.25, 9)


def test_a_guest_that_dies_of_it_has_its_host_s_clock_and_the_subtest_that_was_running() -> None:
    found = finding(said(FIRST + "# subtest vmsplice.b\n"), 0.0, 3.5)
    assert found == Finding(CONSOLE, "vmsplice.b", 3.5, 1.5)


def test_a_hit_whose_guest_died_before_it_was_counted_keeps_its_oracle() -> None:
    cut = said(FIRST + HIT.partition("# counter")[0])
    assert finding(cut, 0.0, 3.0) == Finding("foreign_stamp", "vmsplice.b", 3.0, 1.0)


def test_a_report_without_taint_counts_with_the_whole_race() -> None:
    assert finding(said(FIRST), 7.5, None) == Finding(CONSOLE, "", 7.5, 7.5)


def test_a_report_without_taint_has_the_kernel_s_clock_where_that_is_known() -> None:
    assert finding(said(FIRST), 7.5, None, 3.25) == Finding(CONSOLE, "", 3.25, 3.25)
    assert finding(said(FIRST + HIT), 9.0, None, 0.1) == Finding("foreign_stamp", "vmsplice.b", 2.25, 0.25, 9)


@pytest.mark.parametrize(
    ("lost", "reported", "seconds"), [(None, None, 3.0), (2.5, None, 2.5), (2.5, 1.5, 1.5), (None, 0.0, 0.0)]
)
def test_a_report_has_its_time_even_if_nobody_knows_what_the_selftest_said(
    lost: float | None, reported: float | None, seconds: float
) -> None:
    assert finding(None, 3.0, lost, reported) == Finding(CONSOLE, "", seconds, seconds)


def test_a_finished_subtest_is_not_the_one_that_was_running() -> None:
    assert said(FIRST).begun == ""
    assert said(FIRST + "# subtest vmsplice.b\n").begun == "vmsplice.b"


def test_a_guest_lost_after_the_last_subtest_was_lost_by_any_of_them() -> None:
    assert finding(said(FIRST), 0.0, 2.5) == Finding(CONSOLE, "", 2.5, 2.5)


@pytest.mark.parametrize("name", ["", "probe/../a", "probe.a " * 40])
def test_a_hostile_subtest_line_is_a_problem(name: str) -> None:
    assert "malformed" in said(f"# subtest {name}\n").problem or not name


def test_raced_seconds_are_of_one_subtest_or_of_all() -> None:
    race = said(FIRST + HIT)
    assert (raced_seconds(race, "probe.a"), raced_seconds(race, ""), raced_seconds(None, "")) == (2.0, 2.3, 0.0)
    assert raced_seconds(replace(race, counters={}), "probe.a") == 0.0
