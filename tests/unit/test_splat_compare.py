# SPDX-License-Identifier: GPL-2.0-only
"""Chance, and two runs compared: exact tests against enumeration, what is new, gone, more or less often."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.matrix.plan import Arch
from orchestrator.report.diff import diff_json, raced
from orchestrator.splat.chance import at_least, fisher_exact, holm
from orchestrator.splat.compare import Change, Comparison, Difference, Raced, Rate, Unit, compare
from orchestrator.splat.model import Splat, SplatKind, Standing
from orchestrator.verdict.model import Outcome, Verdict
from tests.fakes.rundir import FakeRun, race_result, splat

TABLES = st.tuples(st.integers(0, 14), st.integers(0, 14)).flatmap(
    lambda totals: st.tuples(
        st.integers(0, totals[0]), st.just(totals[0]), st.integers(0, totals[1]), st.just(totals[1])
    )
)


def by_enumeration(seen_a: int, total_a: int, seen_b: int, total_b: int) -> Fraction:
    """Return Fisher's p-value in whole numbers: every table with these margins."""
    seen, total = seen_a + seen_b, total_a + total_b

    def likely(k: int) -> Fraction:
        return Fraction(math.comb(total_a, k) * math.comb(total_b, seen - k), math.comb(total, seen))

    tables = [likely(k) for k in range(max(0, seen - total_b), min(seen, total_a) + 1)]
    return sum((each for each in tables if each <= likely(seen_a)), Fraction(0))


@settings(deadline=None)
@given(TABLES)
def test_fisher_s_test_is_the_sum_over_all_tables(table: tuple[int, int, int, int]) -> None:
    assert fisher_exact(*table) == pytest.approx(float(by_enumeration(*table)), abs=1e-9)


@settings(deadline=None)
@given(TABLES)
def test_fisher_s_test_has_no_sides(table: tuple[int, int, int, int]) -> None:
    a, n, b, m = table
    assert fisher_exact(a, n, b, m) == pytest.approx(fisher_exact(b, m, a, n))
    assert fisher_exact(a, n, b, m) == pytest.approx(fisher_exact(n - a, n, m - b, m))


def test_fisher_s_test_of_textbook_tables() -> None:
    assert fisher_exact(3, 4, 1, 4) == pytest.approx(34 / 70), "the lady tasting tea, two-sided"
    assert fisher_exact(1, 12, 9, 12) == pytest.approx(0.002759456, rel=1e-6)
    assert fisher_exact(0, 10, 0, 0) == fisher_exact(0, 0, 0, 0) == fisher_exact(0, 5, 0, 9) == 1.0


def test_fisher_s_test_takes_the_trials_of_a_long_run() -> None:
    assert fisher_exact(10, 40_000_000, 10, 40_000_000) == pytest.approx(1.0)
    assert fisher_exact(0, 40_000_000, 30, 40_000_000) == pytest.approx(2**-29, rel=1e-3)


@pytest.mark.parametrize("table", [(5, 4, 0, 1), (-1, 4, 0, 1), (0, 1, 2, 1)])
def test_a_table_that_cannot_be_is_refused(table: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="of"):
        fisher_exact(*table)


@settings(deadline=None)
@given(st.integers(0, 20).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0, 1))
def test_the_tail_of_the_binomial_is_its_sum(seen: tuple[int, int], rate: float) -> None:
    k, n = seen
    exact = sum(math.comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(k, n + 1))
    assert at_least(k, n, rate) == pytest.approx(exact, abs=1e-9)


def test_holm_s_correction_of_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_s_correction_never_flatters_and_keeps_the_order(values: list[float]) -> None:
    corrected = holm(values)
    assert all(value <= fixed <= 1 for value, fixed in zip(values, corrected, strict=True))
    order = sorted(range(len(values)), key=lambda index: values[index])
    assert [corrected[i] for i in order] == sorted(corrected)


def report(name: str, count: int = 1) -> Splat:
    return Splat(SplatKind.WARNING, f"WARNING in {name}", 1, 2, "", (name,), ((name, "caller"),), count=count)


def pair(*names: str) -> Splat:
    stacks = tuple((name, f"{name}_caller") for name in names)
    return Splat(SplatKind.KCSAN, f"KCSAN: data-race in {' / '.join(names)}", 1, 2, "", names, stacks)


def cells(shown: int, total: int, *splats: Splat, group: str = "x86_64/kcsan") -> list[Raced]:
    return [Raced(f"{n}", group, splats if n < shown else (), trials=1000, seconds=10.0) for n in range(total)]


def changes(comparison: Comparison) -> dict[str, Change]:
    return {each.title: each.change for each in comparison.reports}


def test_reports_are_new_gone_or_changed_in_rate() -> None:
    before = cells(10, 10, report("a"), report("b")) + cells(1, 10, report("c"))
    after = cells(10, 10, report("a"), report("d")) + cells(10, 10, report("c"))
    assert changes(compare(before, after)) == {
        "WARNING in a": Change.SAME,
        "WARNING in b": Change.GONE,
        "WARNING in c": Change.MORE,
        "WARNING in d": Change.NEW,
    }
    first = compare(before, after).reports[0]
    assert (first.change, first.before, first.after) == (Change.NEW, Rate(0, 20), Rate(10, 20))
    assert first.significant
    assert first.p == pytest.approx(fisher_exact(0, 20, 10, 20))
    assert first.corrected == pytest.approx(4 * first.p), "one of the two smallest of four"


def test_one_sighting_more_is_no_other_rate() -> None:
    (only,) = compare(cells(3, 10, report("a")), cells(4, 10, report("a"))).reports
    assert (only.change, only.significant) == (Change.SAME, False)


def test_new_but_by_chance_is_new_and_says_so() -> None:
    (only,) = compare(cells(0, 2), cells(1, 2, report("a"))).reports
    assert (only.change, only.significant, only.p) == (Change.NEW, False, 1.0)


def test_only_groups_that_could_show_a_report_count() -> None:
    before = cells(4, 4, report("a")) + cells(0, 100, group="arm64/plain")
    (only,) = compare(before, cells(4, 4, report("a"))).reports
    assert (only.before, only.after, only.change) == (Rate(4, 4), Rate(4, 4), Change.SAME)


def test_what_a_run_did_not_race_is_neither_new_nor_gone() -> None:
    (only,) = compare(cells(4, 4, report("a")), cells(0, 9, group="arm64/plain")).reports
    assert (only.change, only.p) == (Change.NOT_RACED, 1.0)


def test_a_group_that_only_one_run_has_does_not_enter_the_rate() -> None:
    before = cells(2, 4, report("a")) + cells(4, 4, report("a"), group="arm64/kcsan")
    (only,) = compare(before, cells(2, 4, report("a"))).reports
    assert (only.before, only.after) == (Rate(2, 4), Rate(2, 4))


def test_pairs_are_compared_whatever_their_order_and_stacks() -> None:
    before, after = cells(5, 5, pair("x", "y")), cells(5, 5, pair("y", "x"))
    found = compare(before, after)
    assert [(each.key, each.change) for each in found.pairs] == [("x / y", Change.SAME)]
    assert len(found.reports) == 1
    assert compare(cells(1, 1, report("a")), []).pairs == ()


def test_rates_per_trial_and_per_second_count_reports() -> None:
    before, after = cells(1, 2, report("a", count=3)), cells(2, 2, report("a", count=40))
    (trials,) = compare(before, after, Unit.TRIALS).reports
    assert (trials.before, trials.after, trials.change) == (Rate(3, 2000), Rate(80, 2000), Change.MORE)
    (seconds,) = compare(before, after, Unit.SECONDS).reports
    assert (seconds.before, seconds.after) == (Rate(3, 20), Rate(20, 20)), "no more than every second"


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.lists(st.sampled_from("uvw"), max_size=3)), max_size=8),
    st.lists(st.tuples(st.sampled_from("ab"), st.lists(st.sampled_from("uvw"), max_size=3)), max_size=8),
)
def test_a_comparison_turned_round_says_the_opposite(
    left: list[tuple[str, list[str]]], right: list[tuple[str, list[str]]]
) -> None:
    runs = [[Raced("c", group, tuple(map(report, names))) for group, names in run] for run in (left, right)]
    turned = {Change.NEW: Change.GONE, Change.GONE: Change.NEW, Change.MORE: Change.LESS, Change.LESS: Change.MORE}
    forth, back = (compare(*run) for run in (runs, runs[::-1]))

    def facts(each: Difference) -> tuple[str, Change, Rate, Rate]:
        return each.key, each.change, each.before, each.after

    opposite = [(key, turned.get(change, change), new, old) for key, change, old, new in map(facts, back.reports)]
    assert sorted(map(facts, forth.reports)) == sorted(opposite)


def test_two_run_directories_are_compared(tmp_path: Path) -> None:
    runs = []
    for name, titles in (("a", ["KCSAN: data-race in a / b"]), ("b", ["KCSAN: data-race in a / c"])):
        fake = FakeRun(tmp_path / name)
        ended = Verdict(Outcome.PASS, "", 82_000)
        found = tuple(splat(Standing.BACKGROUND, title) for title in titles)
        fake.add(ended, arch=Arch.X86_64, flavour="kcsan", race=race_result(), splats=found)
        fake.add(None, arch=Arch.X86_64, flavour="kcsan", scenario="pin_vs_fork")
        runs.append(fake.done())
    cells_of = [raced(run) for run in runs]
    assert [(each.group, each.trials, each.seconds) for each in cells_of[0]] == [("x86_64/kcsan", 82_000, 10.2)]
    data = json.loads(diff_json(compare(*cells_of)))
    assert data["unit"] == "cells"
    assert {each["kind"] for each in data["reports"]} == {"KCSAN"}
    assert data["pairs"][0]["before"] == {"seen": 1, "total": 1}
