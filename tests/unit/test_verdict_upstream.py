# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel's own selftests say of a kernel, and which failed tests catch a broken one."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.guest.model import LostReason
from orchestrator.matrix.plan import Expectation
from orchestrator.race.model import RaceResult
from orchestrator.race.tap import begin_line, end_line, read_upstream
from orchestrator.verdict.facts import Facts, Loss
from orchestrator.verdict.judge import judge
from orchestrator.verdict.model import Fault, Outcome, Verdict
from tests.unit.test_verdict_judge import KASAN, control, facts

OK = "ok {n} No leak"
BAD = "not ok {n} Leak"
SKIP = "ok {n} # SKIP no swap"


def said(*lines: str) -> RaceResult:
    tests = [f"# [RUN] test {n}\n{line.format(n=n)}" for n, line in enumerate(lines, 1)]
    text = "\n".join([begin_line("cow", ""), "TAP version 13", f"1..{len(tests)}", *tests, end_line(0)])
    return read_upstream(f"{text}\n", "cow")


def on_control(*lines: str, stock: RaceResult | None) -> Verdict:
    return judge(replace(control(said(*lines)), stock=stock))


def test_a_pass_claims_checks_and_no_bound() -> None:
    verdict = judge(facts(said(OK, OK, SKIP)))
    assert (verdict.outcome, verdict.trials, verdict.bound) == (Outcome.PASS, 0, None)
    assert verdict.reason == "upstream's cow: 2 checks passed, 1 skipped; no bound"


def test_a_failure_that_upstream_expects_is_no_failure_and_is_told() -> None:
    verdict = judge(facts(said(OK, "ok {n} # XFAIL Leak from parent into child")))
    assert verdict.outcome is Outcome.PASS
    assert verdict.reason == "upstream's cow: 2 checks passed (1 by a failure that upstream expects); no bound"


def test_a_failed_test_on_a_stock_kernel_fails_and_is_named_with_its_words() -> None:
    verdict = judge(facts(said(OK, BAD)))
    assert (verdict.outcome, verdict.fault) == (Outcome.FAIL, Fault.KERNEL)
    assert verdict.reason == "cow #2 test 2 (Leak) failed"


def test_many_failures_are_counted_not_listed() -> None:
    assert "and 7 more failed" in judge(facts(said(*[BAD] * 10))).reason


def test_all_skipped_is_a_skip_with_its_reason() -> None:
    verdict = judge(facts(said(SKIP, SKIP)))
    assert (verdict.outcome, verdict.reason) == (Outcome.SKIP, "no swap")


def test_a_program_that_the_tree_lacks_is_skipped_without_a_guest() -> None:
    for expect in Expectation:
        verdict = judge(Facts(expect, skip="this kernel's tree has no cow"))
        assert (verdict.outcome, verdict.reason) == (Outcome.SKIP, "this kernel's tree has no cow")


def test_a_test_that_the_stock_kernel_passes_catches_the_broken_one() -> None:
    verdict = on_control(BAD, OK, stock=said(OK, OK))
    assert (verdict.outcome, verdict.fault) == (Outcome.CAUGHT, Fault.KERNEL)
    assert verdict.reason == "cow #1 test 1 (Leak) failed, passed on the stock kernel"
    assert verdict.found is not None
    assert verdict.found.oracle == "selftest", "the console said nothing"


def test_a_test_that_fails_on_the_stock_kernel_as_well_catches_nothing() -> None:
    verdict = on_control(OK, BAD, stock=said(OK, BAD))
    assert verdict.outcome is Outcome.MISSED
    assert "1 check passed; no bound; as on the stock kernel cow #2 test 2 (Leak) failed" in verdict.reason
    both = on_control(BAD, BAD, stock=said(OK, BAD))
    assert both.outcome is Outcome.CAUGHT
    assert "test 2" not in both.reason


def test_a_failure_of_which_the_stock_kernel_says_nothing_is_no_verdict_on_the_broken_one() -> None:
    alone = on_control(OK, BAD, stock=None)
    assert alone.outcome is Outcome.BROKEN
    assert "the stock kernel has no complete result in this run" in alone.reason
    skipped = on_control(OK, BAD, stock=said(OK, SKIP))
    assert skipped.outcome is Outcome.BROKEN
    assert "the stock kernel did not run them" in skipped.reason


def test_without_a_failure_nobody_needs_the_stock_kernels_run() -> None:
    assert on_control(OK, OK, stock=None).outcome is Outcome.MISSED


def test_a_new_kernel_report_catches_whatever_the_tests_say() -> None:
    assert judge(replace(control(said(OK)), splats=(KASAN,))).outcome is Outcome.CAUGHT
    same = replace(control(said(OK)), splats=(KASAN,), baseline=frozenset({KASAN.title}))
    assert judge(same).outcome is Outcome.MISSED


def test_a_program_that_did_not_end_in_time_is_lost_unless_it_showed_something_before() -> None:
    cut = read_upstream(f"{begin_line('cow', '')}\nTAP version 13\n1..9\nok 1 No leak\n", "cow")
    loss = Loss(LostReason.SILENT, "`./cow` had not ended after 180 s")
    assert judge(Facts(Expectation.CLEAN, race=cut, loss=loss)).outcome is Outcome.LOST
    shown = read_upstream(f"{begin_line('cow', '')}\nTAP version 13\n1..9\nnot ok 1 Leak\n", "cow")
    assert judge(Facts(Expectation.CLEAN, race=shown, loss=loss)).outcome is Outcome.FAIL


def test_an_incomplete_result_is_not_trusted() -> None:
    cut = replace(said(OK), problem="cow: 1 of 9 planned tests reported")
    assert judge(facts(cut)).outcome is Outcome.BROKEN
