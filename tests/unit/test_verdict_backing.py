# SPDX-License-Identifier: GPL-2.0-only
"""What stands behind a PASS."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from orchestrator.race.model import Ending, RaceResult, SubtestResult
from orchestrator.verdict.backing import Attempt, backed, backing, seconds_needed
from orchestrator.verdict.finding import Finding
from orchestrator.verdict.model import Backing, Outcome, Verdict
from orchestrator.verdict.statistics import event_rate, least_rate, rounded_up

PASS = Verdict(Outcome.PASS, "0 hits in 400 trials", trials=400, bound=3 / 400)
MISSED = Verdict(Outcome.MISSED, "the broken kernel was not caught", trials=400)
M01 = Backing("M01", "P4", Outcome.CAUGHT, 1, 1, 0.4, "probe.a", 0.9, 0.0002)


def race(milliseconds: int) -> RaceResult:
    return RaceResult((SubtestResult("probe.a", Ending.PASS, ""),), (), {}, {"probe.a.race_ms": milliseconds}, {}, "")


def caught(seconds: float) -> Attempt:
    found = Finding("foreign_stamp", "probe.a", seconds + 1.0, seconds, 7)
    return Attempt(Verdict(Outcome.CAUGHT, "foreign_stamp", hits=1, found=found), None)


def test_the_rate_is_per_second_of_the_subtest_that_caught_it() -> None:
    control = backing("M01", "P4", [caught(0.5), caught(1.5), Attempt(MISSED, race(2000))], [race(10_000)])
    assert (control.outcome, control.runs, control.caught, control.seconds) == (Outcome.CAUGHT, 3, 2, 2.0)
    assert control.rate == pytest.approx(least_rate(2, 4.0))
    assert control.escape == pytest.approx(math.exp(-least_rate(2, 4.0) * 10.0))


def test_what_was_found_at_once_took_a_tick() -> None:
    assert backing("M01", "P4", [caught(0.0)], [race(1000)]).rate == pytest.approx(least_rate(1, 0.001))
    assert backing("M01", "P4", [caught(0.0)] * 5, [race(1000)]).rate == pytest.approx(least_rate(5, 0.005))


def test_what_a_lost_guest_raced_before_without_a_catch_counts() -> None:
    elsewhere = Verdict(Outcome.CAUGHT, "panic", found=Finding("console", "probe.b", 6.0, 1.0))
    control = backing("M01", "P4", [caught(1.0), caught(1.0), Attempt(elsewhere, race(5000))], [race(10_000)])
    assert control.rate == pytest.approx(least_rate(2, 7.0))


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [(0.00149, 1, 0.002), (0.0075, 2, 0.0075), (3 / 41_000, 2, 7.4e-05), (0.1, 1, 0.1), (0.0, 1, 1e-300)],
)
def test_a_bound_is_never_said_to_be_less_than_it_is(value: float, digits: int, said: float) -> None:
    assert rounded_up(value, digits) == said


def test_a_confidence_that_was_not_reached_is_said() -> None:
    short = "the 1e-05 that was asked for is NOT REACHED"
    assert backed(PASS, [M01], demanded=False, confidence=1e-5).reason.endswith(short)
    assert backed(PASS, [], demanded=True, confidence=1e-5).reason.endswith(short)
    assert "NOT REACHED" not in backed(PASS, [M01], demanded=False, confidence=1e-3).reason


def test_a_control_that_was_never_caught_has_no_rate() -> None:
    control = backing("M01", "P4", [Attempt(MISSED, race(2000))], [race(1000)])
    assert (control.outcome, control.rate, control.escape) == (Outcome.MISSED, None, None)
    assert seconds_needed(control, 1e-3) is None


def test_seconds_needed_bring_the_escape_to_what_was_asked_for() -> None:
    control = backing("M01", "P4", [caught(0.5)], [race(1000)])
    seconds = seconds_needed(control, 1e-3)
    assert seconds is not None
    again = backing("M01", "P4", [caught(0.5)], [race(math.ceil(seconds * 1000))])
    assert again.escape == pytest.approx(1e-3, rel=1e-2)


def test_a_pass_says_what_the_same_set_up_caught_and_what_would_have_escaped() -> None:
    m03 = replace(M01, mutant="M03", seconds=7.0, escape=0.02)
    verdict = backed(PASS, [M01, m03], demanded=True)
    assert verdict.outcome is Outcome.PASS
    assert verdict.reason == (
        "0 hits in 400 trials; the same set-up caught M01 (P4) and M03 (P4) after 0.4 s and 7 s; "
        "one that shows as often as M03 would have escaped with probability 0.02 at most (95 %)"
    )
    assert [control.mutant for control in verdict.controls] == ["M01", "M03"]


def test_a_missed_control_takes_the_pass_away() -> None:
    verdict = backed(PASS, [M01, replace(M01, mutant="M08", outcome=Outcome.MISSED, caught=0)], demanded=False)
    assert verdict.outcome is Outcome.BROKEN
    assert verdict.bound is None
    assert "missed M08" in verdict.reason


@pytest.mark.parametrize("outcome", [Outcome.BROKEN, Outcome.LOST, Outcome.VACUOUS])
def test_a_control_that_could_not_be_raced_is_told_and_takes_nothing_away(outcome: Outcome) -> None:
    verdict = backed(PASS, [replace(M01, outcome=outcome, seconds=None, escape=None)], demanded=True)
    assert verdict.outcome is Outcome.PASS
    assert f"control M01: {outcome}" in verdict.reason


def test_a_pass_without_a_control_says_so_only_where_one_was_asked_for() -> None:
    assert "no control" in backed(PASS, [], demanded=True).reason
    assert backed(PASS, [], demanded=False) == PASS
    once = backed(PASS, [], demanded=True)
    assert backed(once, [], demanded=True) == once


def test_a_prebuilt_kernel_has_no_control_for_another_reason() -> None:
    assert "a prebuilt kernel cannot be broken on purpose: no control" in backed(PASS, [], True, prebuilt=True).reason


def test_a_failure_needs_no_control() -> None:
    failed = Verdict(Outcome.FAIL, "foreign_stamp")
    assert backed(failed, [replace(M01, outcome=Outcome.MISSED)], demanded=True).reason == "foreign_stamp"


def test_rates_are_garwood_s() -> None:
    # Exact limits for 5 events: 1.623 and 11.668; for none, 0 and 3.689.
    assert event_rate(5, 1.0) == (pytest.approx(1.6235, abs=1e-3), pytest.approx(11.6683, abs=1e-3))
    assert event_rate(0, 2.0) == (0.0, pytest.approx(3.6889 / 2, abs=1e-3))
    assert least_rate(1, 1.0) == pytest.approx(-math.log(0.95))


@pytest.mark.parametrize(("events", "exposure"), [(-1, 1.0), (1, 0.0)])
def test_no_exposure_no_rate(events: int, exposure: float) -> None:
    with pytest.raises(ValueError, match="events in"):
        event_rate(events, exposure)
    with pytest.raises(ValueError, match="events in"):
        least_rate(events, exposure)
