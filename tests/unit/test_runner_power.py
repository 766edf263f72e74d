# SPDX-License-Identifier: GPL-2.0-only
"""Which race comes next, and what all of them together say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.guest.model import LostReason
from orchestrator.matrix.mutants import MutantExpectation
from orchestrator.matrix.plan import Arch, Cell, DebSource, GuestSettings, KernelSpec, RaceSettings
from orchestrator.matrix.targets import Target
from orchestrator.race.model import Ending, SubtestResult
from orchestrator.runner.power import Campaign, PowerSchedule, rows
from orchestrator.runner.rundir import CellRecord, CellResult
from orchestrator.runner.sequential import UntilConfident
from orchestrator.verdict.codes import power_code
from orchestrator.verdict.finding import Finding
from orchestrator.verdict.model import Fault, Outcome, Verdict
from orchestrator.verdict.power import Status, scores
from orchestrator.verdict.statistics import clopper_pearson
from tests.fakes.rundir import evidence, race_result

KERNEL = KernelSpec(
    "6.1",
    DebSource("linux-source-6.1"),
    Arch.ARM64,
    "plain",
    (Path("M01-6.1.patch"),),
    (),
    mutant="M01",
    series="6.1",
)
TARGET = Target(
    mutant="M01",
    principle="P4",
    title="no re-read",
    expect=MutantExpectation.CAUGHT,
    kernel=KERNEL,
    guest=GuestSettings(),
    race=RaceSettings(20.0, 5),
    scenarios=("a", "b"),
    others=("c",),
    stock_seconds=20.0,
)
CAUGHT = Verdict(Outcome.CAUGHT, "hit", 9, 1, fault=Fault.KERNEL, found=Finding("stamp", "probe.x", 0.5, 0.5, 9))
MISSED = Verdict(Outcome.MISSED, "not caught", 400)
PASS = Verdict(Outcome.PASS, "0 hits", 400)
BROKEN = Verdict(Outcome.BROKEN, "mm/gup.c does not build", fault=Fault.BUILD)


class Field:
    """Races cells as a table says and remembers in which order."""

    def __init__(self, outcomes: dict[str, list[Verdict]]) -> None:
        self.outcomes = outcomes
        self.done: dict[str, CellResult] = {}
        self.order: list[str] = []

    def race(self, schedule: PowerSchedule | UntilConfident, limit: int = 60) -> list[str]:
        while (cell := schedule.next(self.done)) is not None:
            assert cell.id not in self.done
            limit -= 1
            assert limit, f"no end: {self.order}"
            self.order.append(cell.id.replace("/arm64/plain", ""))
            self.done[cell.id] = self._result(cell)
        return self.order

    def _result(self, cell: Cell) -> CellResult:
        verdict = PASS
        if cell.kernel.mutant:
            told = self.outcomes[cell.scenario]
            verdict = told[min(cell.attempt, len(told)) - 1]
        elif cell.scenario in self.outcomes.get("stock fails", ()):  # type: ignore[comparison-overlap]
            verdict = Verdict(Outcome.FAIL, "hit")
        elif cell.scenario in self.outcomes.get("stock is vacuous", ()):  # type: ignore[comparison-overlap]
            verdict = Verdict(Outcome.VACUOUS, "the race did not happen")
        race = race_result()
        race = replace(race, counters=race.counters | {"probe.munmap.race_ms": int(cell.race.seconds * 1000)})
        return CellResult(CellRecord(cell, ""), Path(cell.id), verdict, evidence(race), ())


def power(field: Field, target: Target = TARGET, seeds: int = 3, rounds: int = 2) -> list[str]:
    return field.race(PowerSchedule((target,), seeds, rounds))


def test_the_stock_kernel_goes_first_and_a_catch_is_repeated() -> None:
    assert power(Field({"a": [CAUGHT]})) == ["6.1/a", "6.1+M01/a", "6.1+M01/a.2", "6.1+M01/a.3"]


def test_every_attempt_has_a_seed_of_its_own_and_ends_with_the_first_hit() -> None:
    field = Field({"a": [CAUGHT]})
    power(field)
    cells = [result.record.cell for result in field.done.values()]
    assert [cell.race.seed for cell in cells] == [5, 5, 6, 7]
    assert [cell.race.first_hit for cell in cells] == [False, True, True, True]


def test_named_scenarios_are_tried_again_before_the_others_are() -> None:
    field = Field({"a": [MISSED], "b": [MISSED, CAUGHT], "c": [CAUGHT]})
    assert power(field) == [
        *("6.1/a", "6.1+M01/a", "6.1/b", "6.1+M01/b", "6.1+M01/a.2", "6.1+M01/b.2"),
        "6.1+M01/b.3",
    ]
    (row,) = rows(Campaign((TARGET,), 3, 2), field.done)
    assert (row.status, row.scenario, row.caught, row.runs) == (Status.CAUGHT, "b", 2, 3)


def test_what_nothing_catches_is_silent_and_a_record_that_says_otherwise_fails() -> None:
    field = Field({"a": [MISSED], "b": [MISSED], "c": [MISSED]})
    assert power(field)[-2:] == ["6.1/c", "6.1+M01/c"]
    (row,) = rows(Campaign((TARGET,), 3, 2), field.done)
    assert (row.status, row.agrees, power_code([row])) == (Status.SILENT, False, 1)
    assert [(each.scenario, each.runs) for each in row.tried] == [("a", 2), ("b", 2), ("c", 1)]
    (score, whole) = scores([row])
    assert (score.principle, score.due, score.caught, whole.principle) == ("P4", 1, 0, "all")


@pytest.mark.parametrize(("elsewhere", "trials"), [("vmsplice.munmap", 41_000), ("", 0)])
def test_trials_of_a_subtest_that_caught_nothing_count_unless_nobody_can_tell(elsewhere: str, trials: int) -> None:
    here = replace(CAUGHT, found=Finding("stamp", "probe.munmap", 0.5, 0.5, 100))
    there = replace(CAUGHT, found=Finding("stamp", elsewhere, 0.5, 0.5))
    field = Field({"a": [here, there, here]})
    power(field)
    (row,) = rows(Campaign((TARGET,), 3, 2), field.done)
    assert (row.subtest, row.per_trial) == ("probe.munmap", clopper_pearson(2, 200 + trials))


def test_an_equivalent_one_that_is_caught_fails_as_well() -> None:
    target = replace(TARGET, expect=MutantExpectation.EQUIVALENT, others=())
    field = Field({"a": [MISSED, CAUGHT], "b": [MISSED]})
    power(field, target)
    (row,) = rows(Campaign((target,), 3, 2), field.done)
    assert (row.status, row.agrees) == (Status.CAUGHT, False)
    assert scores([row]) == ()


def test_a_kernel_that_does_not_build_is_neither_caught_nor_silent() -> None:
    field = Field({"a": [BROKEN], "b": [BROKEN]})
    assert power(field) == ["6.1/a", "6.1+M01/a"]
    (row,) = rows(Campaign((TARGET,), 3, 2), field.done)
    assert (row.status, row.agrees, power_code([row])) == (Status.NOT_BUILT, None, 4)


LOST = Verdict(Outcome.LOST, "boot timeout: no shell after 120 s", lost=LostReason.BOOT_TIMEOUT, fault=Fault.KERNEL)


def test_a_kernel_that_does_not_boot_is_not_tried_again() -> None:
    field = Field({"a": [LOST], "b": [MISSED]})
    assert power(field) == ["6.1/a", "6.1+M01/a"]
    (row,) = rows(Campaign((TARGET,), 3, 2), field.done)
    assert (row.status, row.agrees, power_code([row])) == (Status.NOT_BOOTED, None, 3)


def test_a_kernel_that_was_raced_does_boot_whatever_a_busy_host_makes_of_one_boot() -> None:
    field = Field({"a": [CAUGHT, LOST, CAUGHT, CAUGHT]})
    assert power(field)[-1] == "6.1+M01/a.4"
    (row,) = rows(Campaign((TARGET,), 3, 2), field.done)
    assert (row.caught, row.runs, row.broken) == (3, 3, 1)
    field = Field({"a": [MISSED], "b": [MISSED, LOST], "c": [LOST]})
    assert power(field)[-1] == "6.1+M01/c"
    (row,) = rows(Campaign((TARGET,), 3, 2), field.done)
    assert row.status is Status.SILENT


def test_a_guest_that_hangs_is_no_catch_but_told() -> None:
    hung = replace(LOST, reason="silent: had not ended after 71 s", lost=LostReason.SILENT, race_seconds=10.0)
    field = Field({"a": [MISSED], "b": [hung], "c": [MISSED]})
    power(field)
    (row,) = rows(Campaign((TARGET,), 3, 2), field.done)
    assert row.status is Status.SILENT
    notes = {each.scenario: each.note for each in row.tried}
    assert notes == {"a": "", "b": "guest lost in 2 of 2 attempts: silent: had not ended after 71 s", "c": ""}


def test_what_the_host_broke_is_no_attempt_but_is_told_and_has_an_end() -> None:
    lost = Verdict(Outcome.BROKEN, "the synchroniser's self-test failed", fault=Fault.HOST)
    field = Field({"a": [CAUGHT, lost, CAUGHT, CAUGHT]})
    assert power(field)[-1] == "6.1+M01/a.4"
    (row,) = rows(Campaign((TARGET,), 3, 2), field.done)
    assert (row.caught, row.runs, row.broken, row.agrees) == (3, 3, 1, True)
    field = Field({"a": [CAUGHT, lost]})
    assert power(field)[-1] == "6.1+M01/a.6"


def test_a_scenario_that_fails_on_the_stock_kernel_is_no_witness() -> None:
    field = Field({"a": [CAUGHT], "b": [CAUGHT], "stock fails": ["a"]})  # type: ignore[list-item]
    assert power(field)[:3] == ["6.1/a", "6.1/b", "6.1+M01/b"]
    (row,) = rows(Campaign((TARGET,), 3, 2), field.done)
    assert row.scenario == "b"
    assert row.unusable == ("a: FAIL on the stock kernel",)


def test_a_race_that_did_not_happen_on_the_stock_kernel_is_used_and_told() -> None:
    field = Field({"a": [CAUGHT], "stock is vacuous": ["a"]})  # type: ignore[list-item]
    assert power(field)[:2] == ["6.1/a", "6.1+M01/a"]
    (row,) = rows(Campaign((TARGET,), 3, 2), field.done)
    assert (row.scenario, row.unusable, row.vacuous) == ("a", (), ("a",))


def test_the_kernel_s_own_selftests_are_run_beside_and_have_their_own_score() -> None:
    target = replace(TARGET, upstream=("kselftest:cow", "kselftest:gup_test"))
    field = Field({"a": [CAUGHT], "kselftest:cow": [CAUGHT], "kselftest:gup_test": [MISSED]})
    assert power(field, target, seeds=1) == [
        *("6.1/a", "6.1+M01/a", "6.1/kselftest:cow", "6.1+M01/kselftest:cow"),
        *("6.1/kselftest:gup_test", "6.1+M01/kselftest:gup_test"),
    ]
    (row,) = rows(Campaign((target,), 1, 2), field.done)
    assert (row.scenario, row.runs, row.caught_upstream) == ("a", 1, ("kselftest:cow",))
    assert [each.scenario for each in row.tried] == ["a"]
    assert [score.upstream for score in scores([row])] == [1, 1]


COW = "kselftest:cow"
FAILED = Verdict(Outcome.CAUGHT, "cow #2 failed, passed on the stock kernel", fault=Fault.KERNEL)


class Selftests(Field):
    """Runs a program of upstream's with two tests: `stock` and `broken` say which of them fail in each run there."""

    def __init__(self, stock: list[str], broken: list[str]) -> None:
        super().__init__({"a": [CAUGHT]})
        self.failing = {False: stock, True: broken}

    def _result(self, cell: Cell) -> CellResult:
        if cell.scenario != COW:
            return super()._result(cell)
        told = self.failing[bool(cell.kernel.mutant)]
        failing = told[min(cell.attempt, len(told)) - 1]
        tests = [SubtestResult(n, Ending.FAIL if n in failing else Ending.PASS, "") for n in "12"]
        said = replace(race_result(), subtests=tuple(tests), counters={}, upstream="cow")
        clean = Verdict(Outcome.MISSED if cell.kernel.mutant else Outcome.PASS, "2 checks passed")
        bad = FAILED if cell.kernel.mutant else Verdict(Outcome.FAIL, "failed")
        return CellResult(CellRecord(cell, ""), Path(cell.id), bad if failing else clean, evidence(said), ())


@pytest.mark.parametrize(
    ("stock", "broken", "caught", "runs", "clean"),
    [
        ([""], ["2"], True, 3, 3),
        ([""], [""], False, 1, 1),
        ([""], ["2", ""], False, 2, 1),
        ([""], ["2", "1"], False, 2, 1),
        ([""], ["12", "2"], True, 3, 3),
        (["", "2"], ["2"], False, 3, 2),
        (["", "1"], ["12", "2"], True, 3, 3),
    ],
)
def test_a_test_of_upstreams_is_a_catch_if_it_fails_each_time_and_passes_each_time_on_the_stock_kernel(
    stock: list[str], broken: list[str], caught: bool, runs: int, clean: int
) -> None:
    target = replace(TARGET, upstream=(COW,))
    field = Selftests(stock, broken)
    order = power(field, target, seeds=1)
    assert sum("M01/kselftest" in cell for cell in order) == runs
    assert sum("6.1/kselftest" in cell for cell in order) == clean
    (row,) = rows(Campaign((target,), 1, 2), field.done)
    assert row.caught_upstream == ((COW,) if caught else ())
    looked = broken != [""]
    assert bool(row.upstream[0].note) is (looked and not caught), row.upstream[0].note
    assert row.upstream[0].runs == runs


def test_what_upstream_saw_once_is_unfinished_until_it_was_repeated() -> None:
    target = replace(TARGET, upstream=(COW,))
    field = Selftests([""], ["2"])
    power(field, target, seeds=1)
    del field.done[f"6.1/arm64/plain/{COW}.3"]
    (row,) = rows(Campaign((target,), 1, 2), field.done)
    assert row.caught_upstream == ()
    assert row.upstream[0].note == (
        "not counted before 3 whole runs on each kernel: 2 failed in 3 whole runs here and 2 on the stock kernel"
    )


def test_attempts_without_an_answer_are_no_runs_in_the_table_of_scenarios() -> None:
    lost = Verdict(Outcome.BROKEN, "the synchroniser's self-test failed", fault=Fault.HOST)
    field = Field({"a": [CAUGHT, lost, CAUGHT, CAUGHT]})
    power(field)
    (row,) = rows(Campaign((TARGET,), 3, 2), field.done)
    (tried,) = row.tried
    assert (tried.caught, tried.runs, tried.broken) == (3, 3, 1)


def test_what_upstream_alone_sees_is_silent_by_our_scenarios() -> None:
    target = replace(TARGET, scenarios=("a",), others=(), upstream=("kselftest:cow",))
    field = Field({"a": [MISSED], "kselftest:cow": [CAUGHT]})
    power(field, target)
    (row,) = rows(Campaign((target,), 3, 2), field.done)
    assert (row.status, row.caught_upstream) == (Status.SILENT, ("kselftest:cow",))


def test_what_is_not_done_yet_is_unfinished() -> None:
    (row,) = rows(Campaign((TARGET,), 3, 2), {})
    assert (row.status, power_code([row])) == (Status.UNFINISHED, 3)


def test_the_figures_of_a_catch() -> None:
    field = Field({"a": [CAUGHT, MISSED, CAUGHT]})
    power(field)
    (row,) = rows(Campaign((TARGET,), 3, 2), field.done)
    assert row.times == (0.5, 0.5)
    assert row.mean is not None
    assert row.mean[0] < (0.5 + 0.5 + 20.0) / 2 < row.mean[1], "the attempt that missed counts with all of its time"
    assert row.share is not None
    assert row.share[0] < 2 / 3 < row.share[1]
    assert row.trials == 9
    assert (row.subtest, row.oracles, row.vehicles) == ("probe.x", ("stamp",), ("probe",))


@pytest.mark.parametrize("confidence", [0.1, 1e-6])
def test_racing_goes_on_until_the_weakest_control_would_not_be_missed(confidence: float) -> None:
    found = Finding("stamp", "probe.munmap", 2.0, 2.0, 9)
    field = Field({"a": [replace(CAUGHT, found=found)]})
    stock, control = replace(TARGET.stock("a"), race=RaceSettings(1.0)), TARGET.cell("a")
    order = field.race(UntilConfident((stock, control), confidence))
    assert order[:6] == ["6.1/a", "6.1+M01/a", *(f"6.1+M01/a.{n}" for n in (2, 3, 4, 5))]
    raced = sum(r.record.cell.race.seconds for name, r in field.done.items() if "M01" not in name)
    # 5 catches in 10 s: at least 0.197 a second (95 %).
    needed = {0.1: 11.7, 1e-6: 70.1}[confidence]
    assert needed < raced < needed * 1.15


def test_a_control_that_is_never_caught_ends_the_search_at_once() -> None:
    field = Field({"a": [MISSED]})
    assert field.race(UntilConfident((TARGET.stock("a"), TARGET.cell("a")), 1e-3)) == ["6.1/a", "6.1+M01/a"]


def test_racing_for_confidence_gives_up_after_a_day() -> None:
    rare = Finding("stamp", "probe.munmap", 15.0, 15.0, 9)
    field = Field({"a": [replace(CAUGHT, found=rare), *[MISSED] * 9]})
    order = field.race(UntilConfident((TARGET.stock("a"), TARGET.cell("a")), 1e-99), limit=200)
    raced = sum(r.record.cell.race.seconds for name, r in field.done.items() if "M01" not in name)
    assert raced == 86_400.0
    assert order[-1] == "6.1/a.145"


def test_what_another_scenario_says_is_no_answer_of_those_that_must_catch_it() -> None:
    lost = Verdict(Outcome.BROKEN, "no ssh", fault=Fault.HOST)
    field = Field({"a": [lost], "b": [lost], "c": [MISSED]})
    power(field)
    (row,) = found = rows(Campaign((TARGET,), 3, 2), field.done)
    assert (row.status, row.agrees, power_code(found), scores(found)) == (Status.NOT_RACED, None, 3, ())
    assert "no answer from what must catch it (a, b): no ssh" in row.reason


def test_a_scenario_that_need_not_catch_it_is_silent_and_nothing_is_wrong() -> None:
    field, target = Field({"c": [MISSED]}), replace(TARGET, scenarios=())
    power(field, target)
    (row,) = found = rows(Campaign((target,), 3, 2), field.done)
    assert (row.status, row.agrees, power_code(found)) == (Status.SILENT, None, 0)
