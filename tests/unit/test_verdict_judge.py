# SPDX-License-Identifier: GPL-2.0-only
"""Judgement: which facts give which verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import BuildError, ExitCode, GuestUnfitError, GupraceError, HostError, UsageError
from orchestrator.guest.model import LostReason
from orchestrator.matrix.plan import Expectation
from orchestrator.race.ktap import read_ktap
from orchestrator.race.model import Ending, Evidence, RaceResult, SubtestResult
from orchestrator.splat.model import Phase, Splat, SplatKind, Standing
from orchestrator.verdict.codes import BisectCode, bisect_code, exit_code
from orchestrator.verdict.facts import Facts, Loss, Trouble, trouble_of
from orchestrator.verdict.judge import judge
from orchestrator.verdict.model import Fault, Outcome

DATA = Path(__file__).parents[1] / "data" / "ktap"
CLEAN = read_ktap((DATA / "pass.ktap").read_text(), 0)
HIT = read_ktap((DATA / "fail.ktap").read_text(), 1)
COUNTERS = {"setup_watchpoints": 4000, "data_races": 3}
PANIC = Splat(SplatKind.PANIC, "kernel panic: sysrq triggered crash", 10, 20, "Kernel panic")
KASAN = Splat(SplatKind.KASAN, "KASAN: use-after-free Read in gup_pte_range", 3, 9, "BUG: KASAN")
RACE = Splat(SplatKind.KCSAN, "KCSAN: data-race in a / b", 3, 9, "BUG: KCSAN")
LOSS = Loss(LostReason.PANIC, "Kernel panic - not syncing: sysrq triggered crash", ("last words",))


def evidence(race: RaceResult = CLEAN) -> Evidence:
    return Evidence(
        race=race,
        vmstat={"nr_foll_pin_acquired": 4},
        taint=(1 << 12, 1 << 12 | 1 << 13),
        kcsan=None,
        kcsan_on=None,
        config_lost=(),
        console_blind="",
        versions={},
        host_load=(1.0, 2.0),
        race_seconds=10.5,
    )


def facts(race: RaceResult = CLEAN) -> Facts:
    return Facts(Expectation.CLEAN, evidence=evidence(race))


def control(race: RaceResult = CLEAN) -> Facts:
    return replace(facts(race), expect=Expectation.CAUGHT)


def test_a_clean_race_passes_with_its_bound() -> None:
    verdict = judge(facts())
    assert verdict.outcome is Outcome.PASS
    assert verdict.trials == 400
    assert verdict.bound == pytest.approx(3 / 150)
    assert verdict.race_seconds == 10.5
    assert "400 trials" in verdict.reason
    assert "weakest of 2 subtests, probe.munmap with 150" in verdict.reason


def test_checks_that_need_no_race_pass_without_a_bound() -> None:
    counters = {k: n for k, n in CLEAN.counters.items() if not k.endswith(".trials")}
    checked = replace(CLEAN, counters=counters | {"probe.munmap.checks": 9, "vmsplice.munmap.checks": 3})
    verdict = judge(facts(checked))
    assert (verdict.outcome, verdict.trials, verdict.bound) == (Outcome.PASS, 0, None)
    assert verdict.reason == "0 hits in 12 checks that need no race"
    assert judge(control(checked)).outcome is Outcome.MISSED


def test_a_few_checks_do_not_weaken_the_bound_of_a_race() -> None:
    counters = {k: n for k, n in CLEAN.counters.items() if k != "probe.munmap.trials"}
    mixed = replace(CLEAN, counters=counters | {"probe.munmap.checks": 9})
    assert judge(facts(mixed)).bound == pytest.approx(3 / 250)


def test_cheap_trials_of_one_subtest_do_not_strengthen_the_bound_of_another() -> None:
    cheap = replace(CLEAN, counters=CLEAN.counters | {"vmsplice.munmap.trials": 5_000_000})
    assert judge(facts(cheap)).bound == judge(facts()).bound


def test_a_hit_fails_with_its_words_and_its_time() -> None:
    verdict = judge(facts(HIT))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.fault is Fault.KERNEL
    assert verdict.hits == 1
    assert verdict.bound is None
    assert verdict.seconds_to_hit == pytest.approx(0.812)
    assert "foreign_stamp in vmsplice.munmap: expected mapping 3" in verdict.reason


def test_a_failed_subtest_without_a_listed_hit_fails_all_the_same() -> None:
    failed = replace(CLEAN, subtests=(SubtestResult("probe.munmap", Ending.FAIL, "why"), *CLEAN.subtests[1:]))
    assert judge(facts(failed)).outcome is Outcome.FAIL
    assert judge(control(failed)).outcome is Outcome.MISSED


def test_no_facts_at_all_is_lost() -> None:
    assert judge(Facts(Expectation.CLEAN)).outcome is Outcome.LOST
    assert judge(Facts(Expectation.CAUGHT)).outcome is Outcome.LOST


def test_a_new_report_fails_and_a_known_or_background_one_does_not() -> None:
    assert judge(replace(facts(), splats=(KASAN,))).outcome is Outcome.FAIL
    for standing in (Standing.KNOWN, Standing.BACKGROUND):
        verdict = judge(replace(facts(), splats=(replace(RACE, standing=standing, count=7),)))
        assert verdict.outcome is Outcome.PASS
        assert f"7 {standing} reports shown" in verdict.reason


def test_a_new_report_before_the_race_fails_and_says_when() -> None:
    verdict = judge(replace(facts(), splats=(replace(KASAN, phase=Phase.BOOT),)))
    assert verdict.outcome is Outcome.FAIL
    assert "before the race" in verdict.reason


BEFORE = replace(KASAN, phase=Phase.BOOT)
STALL = Splat(SplatKind.RCU_STALL, "INFO: rcu detected stall in f", 3, 9, "INFO", since=2.0)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (replace(facts(), splats=(BEFORE,)), BisectCode.SKIP),
        (Facts(Expectation.CLEAN, loss=LOSS, splats=(BEFORE, replace(PANIC, phase=Phase.BOOT))), BisectCode.SKIP),
        (Facts(Expectation.CLEAN, trouble=Trouble(Fault.HOST, "insmod"), splats=(BEFORE,)), BisectCode.SKIP),
        (replace(facts(), splats=(STALL,)), BisectCode.SKIP),
        (replace(facts(), splats=(BEFORE, STALL, replace(KASAN, since=4.0))), BisectCode.BAD),
        (replace(facts(HIT), splats=(BEFORE,)), BisectCode.BAD),
        (Facts(Expectation.CLEAN, loss=LOSS, splats=(KASAN, PANIC)), BisectCode.BAD),
        (Facts(Expectation.CLEAN, race=HIT, trouble=Trouble(Fault.HOST, "disk full")), BisectCode.BAD),
        (Facts(Expectation.CLEAN, trouble=Trouble(Fault.HOST, "a defect"), splats=(KASAN,)), BisectCode.BAD),
    ],
)
def test_only_what_the_race_shows_makes_a_commit_bad(given: Facts, code: BisectCode) -> None:
    verdict = judge(given)
    assert verdict.outcome is Outcome.FAIL
    assert bisect_code(verdict) is code
    assert (verdict.found is None) == (code is BisectCode.SKIP)


def test_the_time_of_a_finding_is_not_that_of_a_stall_before_it() -> None:
    assert judge(replace(facts(), splats=(BEFORE, STALL, replace(KASAN, since=4.0)))).seconds_to_hit == 4.0


@pytest.mark.parametrize(
    ("reason", "fault"), [(r, Fault.KERNEL) for r in LostReason if r is not LostReason.QEMU_DIED]
)
def test_a_bare_loss_is_lost_by_the_kernel(reason: LostReason, fault: Fault) -> None:
    verdict = judge(Facts(Expectation.CLEAN, loss=Loss(reason, "detail", ("x",)), splats=(PANIC,)))
    assert (verdict.outcome, verdict.fault, verdict.lost) == (Outcome.LOST, fault, reason)
    assert verdict.last_lines == ("x",)


def test_a_qemu_that_died_is_the_hosts_fault() -> None:
    verdict = judge(Facts(Expectation.CLEAN, loss=Loss(LostReason.QEMU_DIED, "signal 9")))
    assert (verdict.outcome, verdict.fault) == (Outcome.LOST, Fault.HOST)


def test_a_report_before_the_panic_is_a_finding_and_the_loss_is_said_too() -> None:
    verdict = judge(Facts(Expectation.CLEAN, loss=LOSS, splats=(KASAN, PANIC)))
    assert verdict.outcome is Outcome.FAIL
    assert "KASAN" in verdict.reason
    assert "then the guest was lost (panic" in verdict.reason
    assert verdict.lost is LostReason.PANIC
    assert verdict.splats == (KASAN.title,)


def test_a_hit_before_the_loss_is_a_finding() -> None:
    assert judge(Facts(Expectation.CLEAN, race=HIT, loss=LOSS)).outcome is Outcome.FAIL


def test_a_panic_that_nobody_lost_a_guest_over_fails() -> None:
    assert judge(replace(facts(), splats=(PANIC,))).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (BuildError("x"), Fault.BUILD),
        (UsageError("x"), Fault.USER),
        (HostError("x"), Fault.HOST),
        (GuestUnfitError("x"), Fault.NONE),
    ],
)
def test_trouble_is_broken_with_its_fault(error: GupraceError, fault: Fault) -> None:
    verdict = judge(Facts(Expectation.CLEAN, trouble=trouble_of(error)))
    assert (verdict.outcome, verdict.fault) == (Outcome.BROKEN, fault)


def test_a_guest_that_cannot_be_made_ready_is_an_error_that_a_bisection_goes_round() -> None:
    verdict = judge(Facts(Expectation.CLEAN, trouble=trouble_of(GuestUnfitError("the probe does not load"))))
    assert (exit_code([verdict]), bisect_code(verdict)) == (ExitCode.HOST, BisectCode.SKIP)


def test_a_hit_outlives_trouble_afterwards() -> None:
    verdict = judge(replace(facts(HIT), trouble=trouble_of(HostError("disk full"))))
    assert verdict.outcome is Outcome.FAIL
    assert "then disk full" in verdict.reason


def test_what_ended_the_guest_and_what_failed_behind_it_are_both_said() -> None:
    verdict = judge(Facts(Expectation.CLEAN, race=HIT, loss=LOSS, trouble=trouble_of(HostError("disk full"))))
    assert verdict.outcome is Outcome.FAIL
    assert "then the guest was lost (panic" in verdict.reason
    assert verdict.reason.endswith("; then disk full")


DOUBTS = [
    ({"config_lost": ("CONFIG_KCSAN",)}, "configuration is not the one built"),
    ({"console_blind": "no mark came back"}, "blind"),
    ({"taint": (0, 1 << 9)}, "W (warning)"),
    ({"taint": (1 << 9, 1 << 9)}, "tainted before the race"),
    ({"race": replace(CLEAN, problem="no plan line")}, "no plan line"),
]


@pytest.mark.parametrize(("change", "says"), DOUBTS)
def test_a_result_that_cannot_be_trusted_is_broken(change: dict[str, object], says: str) -> None:
    doubtful = replace(evidence(), **change)  # type: ignore[arg-type]
    for expect in Expectation:
        verdict = judge(Facts(expect, evidence=doubtful))
        assert verdict.outcome is Outcome.BROKEN
        assert says in verdict.reason


def test_messages_that_the_kernel_dropped_make_a_clean_console_prove_nothing() -> None:
    for expect in Expectation:
        verdict = judge(replace(facts(), expect=expect, dropped=3))
        assert verdict.outcome is Outcome.BROKEN
        assert "dropped 3 messages" in verdict.reason


def test_reports_that_nobody_looked_at_are_no_clean_console() -> None:
    for expect in Expectation:
        verdict = judge(replace(facts(), expect=expect, omitted=7))
        assert verdict.outcome is Outcome.BROKEN
        assert "7 more reports" in verdict.reason
    assert judge(replace(facts(HIT), omitted=7)).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("on", "counters"), [(False, COUNTERS), (None, None), (True, None), (True, {}), (True, {"setup_watchpoints": 0})]
)
def test_a_kcsan_kernel_whose_kcsan_is_off_or_idle_is_broken(
    on: bool | None, counters: dict[str, int] | None
) -> None:
    blind = replace(evidence(), kcsan_on=on, kcsan=counters)
    assert judge(Facts(Expectation.CLEAN, evidence=blind, kcsan=True)).outcome is Outcome.BROKEN


def test_a_kcsan_kernel_whose_kcsan_worked_passes() -> None:
    seeing = replace(evidence(), kcsan_on=True, kcsan=COUNTERS)
    assert judge(Facts(Expectation.CLEAN, evidence=seeing, kcsan=True)).outcome is Outcome.PASS


def test_a_taint_that_a_known_report_explains_is_no_doubt() -> None:
    warned = replace(evidence(), taint=(0, 1 << 9))
    known = Splat(SplatKind.WARNING, "WARNING in f", 1, 2, "", standing=Standing.KNOWN)
    assert judge(Facts(Expectation.CLEAN, evidence=warned, splats=(known,))).outcome is Outcome.PASS


def test_all_skipped_is_skip_with_the_requirement() -> None:
    skipped = replace(CLEAN, subtests=(SubtestResult("a.b", Ending.SKIP, "no /dev/guprace_probe"),), counters={})
    for expect in Expectation:
        verdict = judge(Facts(expect, evidence=evidence(skipped)))
        assert verdict.outcome is Outcome.SKIP
        assert "no /dev/guprace_probe" in verdict.reason


@pytest.mark.parametrize(
    ("counters", "says"),
    [
        ({}, "no valid trial"),
        (CLEAN.counters | {"probe.munmap.trials": 0, "probe.munmap.checks": 5}, "no valid trial in probe.munmap"),
        (CLEAN.counters | {"probe.munmap.trials": 0}, "no valid trial in probe.munmap"),
        ({k: n for k, n in CLEAN.counters.items() if k != "probe.munmap.trials"}, "no valid trial in probe.munmap"),
        (CLEAN.counters | {"probe.munmap.unmaps": 99}, "probe.munmap.unmaps is 99, not 100 or more"),
        (
            {k: n for k, n in CLEAN.counters.items() if k != "probe.munmap.unmaps"},
            "probe.munmap.unmaps is 0, not 100",
        ),
    ],
)
def test_a_race_that_did_not_happen_is_vacuous(counters: dict[str, int], says: str) -> None:
    idle = replace(CLEAN, counters=counters)
    for expect in Expectation:
        verdict = judge(Facts(expect, evidence=evidence(idle)))
        assert verdict.outcome is Outcome.VACUOUS
        assert says in verdict.reason


def test_the_floor_of_a_skipped_subtest_is_not_due() -> None:
    skipped = replace(CLEAN.subtests[0], ending=Ending.SKIP, detail="no /dev/guprace_probe")
    counters = {key: n for key, n in CLEAN.counters.items() if not key.startswith("probe.")}
    race = replace(CLEAN, subtests=(skipped, *CLEAN.subtests[1:]), counters=counters)
    assert judge(Facts(Expectation.CLEAN, evidence=evidence(race))).outcome is Outcome.PASS


def test_a_control_is_caught_by_a_hit_or_by_a_new_report_of_the_race() -> None:
    assert judge(control(HIT)).outcome is Outcome.CAUGHT
    assert judge(replace(control(), splats=(KASAN,))).outcome is Outcome.CAUGHT


def test_a_control_that_shows_nothing_of_its_own_is_missed() -> None:
    assert judge(control()).outcome is Outcome.MISSED
    for no_catch in (
        replace(RACE, standing=Standing.BACKGROUND),
        replace(RACE, standing=Standing.KNOWN),
        replace(RACE, phase=Phase.BOOT),
    ):
        assert judge(replace(control(), splats=(no_catch,))).outcome is Outcome.MISSED
    same_as_stock = replace(control(), splats=(KASAN,), baseline=frozenset({KASAN.title}))
    assert judge(same_as_stock).outcome is Outcome.MISSED


STALLS = [SplatKind.SOFT_LOCKUP, SplatKind.WORKQUEUE_LOCKUP, SplatKind.RCU_STALL, SplatKind.HUNG_TASK]


@pytest.mark.parametrize("kind", STALLS)
def test_a_stall_that_the_guest_survives_neither_catches_a_control_nor_lets_it_be_missed(kind: SplatKind) -> None:
    """A busy host can cause it, as it can lose the guest by it; and where it taints the kernel it ends the race."""
    stall = Splat(kind, "INFO: a stall in pin_vs_munmap", 3, 9, "INFO")
    verdict = judge(replace(control(), splats=(stall,)))
    assert (verdict.outcome, verdict.fault) == (Outcome.BROKEN, Fault.NONE)
    assert verdict.reason.startswith("INFO: a stall in pin_vs_munmap (a busy host can cause it, too): no catch")
    assert judge(replace(control(), splats=(replace(stall, phase=Phase.BOOT),))).outcome is Outcome.MISSED
    caught = judge(replace(control(), splats=(stall, KASAN)))
    assert (caught.outcome, caught.splats) == (Outcome.CAUGHT, (KASAN.title,))


def test_a_stall_on_a_stock_kernel_fails_and_says_what_else_may_be_its_cause() -> None:
    stall = Splat(SplatKind.RCU_STALL, "INFO: rcu detected stall in f", 3, 9, "INFO")
    verdict = judge(replace(facts(), splats=(stall,)))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reason == "INFO: rcu detected stall in f (a busy host can cause it, too)"


def test_a_lost_control_is_lost() -> None:
    assert judge(Facts(Expectation.CAUGHT, loss=LOSS, splats=(PANIC,))).outcome is Outcome.LOST


def test_a_control_in_the_wrong_kernel_catches_nothing() -> None:
    wrong = replace(evidence(HIT), config_lost=("CONFIG_SMP",))
    assert judge(Facts(Expectation.CAUGHT, evidence=wrong)).outcome is Outcome.BROKEN
    assert judge(Facts(Expectation.CLEAN, evidence=wrong)).outcome is Outcome.FAIL


def test_a_control_whose_race_was_ended_by_a_taint_that_is_no_catch_was_not_missed() -> None:
    known = Splat(SplatKind.WARNING, "WARNING in hugetlb_split", 3, 9, "WARNING", standing=Standing.KNOWN)
    tainted = replace(CLEAN, counters=CLEAN.counters | {"probe.munmap.first_taint_ms": 300})
    ended = replace(control(tainted), splats=(known,), first_hit=True)
    assert judge(replace(ended, first_hit=False)).outcome is Outcome.MISSED
    verdict = judge(ended)
    assert verdict.outcome is Outcome.BROKEN
    assert verdict.reason == (
        "a taint ended the race 0.3 s into probe.munmap: no catch (WARNING in hugetlb_split), nor a miss"
    )


def test_the_floor_of_a_subtest_is_its_own_where_a_skipped_ones_name_begins_it() -> None:
    subtests = (SubtestResult("probe.shmem", Ending.SKIP, "why"), SubtestResult("probe.shmem.part", Ending.PASS, ""))
    counters = {"probe.shmem.part.trials": 9, "probe.shmem.part.huge": 0}
    race = replace(CLEAN, subtests=subtests, counters=counters, floors={"probe.shmem.part.huge": 50})
    assert judge(facts(race)).outcome is Outcome.VACUOUS
