# SPDX-License-Identifier: GPL-2.0-only
"""Exit codes, statistics and taint words."""

from __future__ import annotations

import pytest

from orchestrator.errors import ExitCode
from orchestrator.verdict.codes import BisectCode, bisect_code, exit_code
from orchestrator.verdict.finding import CONSOLE, Finding
from orchestrator.verdict.model import Fault, Outcome, Verdict
from orchestrator.verdict.statistics import clopper_pearson, incomplete_beta, rule_of_three
from orchestrator.verdict.taint import decode, unexplained

PASS = Verdict(Outcome.PASS, "")
UNBUILT = Verdict(Outcome.BROKEN, "", fault=Fault.BUILD)
HOST = Verdict(Outcome.BROKEN, "", fault=Fault.HOST)
USER = Verdict(Outcome.BROKEN, "", fault=Fault.USER)
DOUBT = Verdict(Outcome.BROKEN, "", fault=Fault.NONE)
PANIC = Verdict(Outcome.LOST, "", fault=Fault.KERNEL)
QEMU = Verdict(Outcome.LOST, "", fault=Fault.HOST)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], ExitCode.OK),
        ([PASS, Verdict(Outcome.SKIP, ""), Verdict(Outcome.CAUGHT, "", fault=Fault.KERNEL)], ExitCode.OK),
        ([PASS, Verdict(Outcome.FAIL, ""), UNBUILT, HOST], ExitCode.FAILED),
        ([Verdict(Outcome.MISSED, "")], ExitCode.FAILED),
        ([Verdict(Outcome.VACUOUS, "")], ExitCode.FAILED),
        ([PANIC, HOST], ExitCode.FAILED),
        ([UNBUILT, HOST, USER], ExitCode.BUILD),
        ([HOST, USER], ExitCode.HOST),
        ([QEMU], ExitCode.HOST),
        ([DOUBT], ExitCode.HOST),
        ([PASS, None], ExitCode.HOST),
        ([USER, PASS], ExitCode.USAGE),
    ],
)
def test_the_gravest_verdict_decides_the_exit_code(verdicts: list[Verdict | None], code: ExitCode) -> None:
    assert exit_code(verdicts) is code
    assert exit_code(verdicts, interrupted=True) is ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (PASS, BisectCode.GOOD),
        (Verdict(Outcome.FAIL, "", fault=Fault.KERNEL, found=Finding(CONSOLE, "", 1.0, 1.0)), BisectCode.BAD),
        (Verdict(Outcome.FAIL, "only before the race", fault=Fault.KERNEL, race_seconds=9.0), BisectCode.SKIP),
        (UNBUILT, BisectCode.SKIP),
        (PANIC, BisectCode.SKIP),
        (DOUBT, BisectCode.SKIP),
        (Verdict(Outcome.VACUOUS, ""), BisectCode.SKIP),
        (Verdict(Outcome.SKIP, ""), BisectCode.SKIP),
        (HOST, BisectCode.HOST),
        (QEMU, BisectCode.HOST),
        (None, BisectCode.HOST),
        (USER, BisectCode.USAGE),
    ],
)
def test_a_bisect_step_answers_good_bad_skip_or_stop(verdict: Verdict | None, code: BisectCode) -> None:
    assert bisect_code(verdict) is code
    assert bisect_code(verdict, interrupted=True) == 130
    assert code in (0, 1, 125) or code >= 128


def test_the_rule_of_three() -> None:
    assert rule_of_three(0) is None
    assert rule_of_three(2) == 1.0
    assert rule_of_three(300) == pytest.approx(0.01)


# Tables of exact binomial limits: 10 of 100 and 0 of 30, 95 %.
def test_clopper_pearson_agrees_with_published_tables() -> None:
    assert clopper_pearson(10, 100) == pytest.approx((0.0490, 0.1762), abs=1e-4)
    assert clopper_pearson(0, 30) == pytest.approx((0.0, 0.1157), abs=1e-4)
    assert clopper_pearson(30, 30) == pytest.approx((0.8843, 1.0), abs=1e-4)
    low, high = clopper_pearson(3, 5_000_000)
    assert 0 < low < 3 / 5_000_000 < high < 1e-5


def test_clopper_pearson_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="5 hits in 3 trials"):
        clopper_pearson(5, 3)


def test_incomplete_beta_has_its_closed_forms() -> None:
    for x in (0.0, 0.1, 0.5, 0.9, 1.0):
        assert incomplete_beta(1, 1, x) == pytest.approx(x)
        assert incomplete_beta(2, 1, x) == pytest.approx(x * x)


def test_taint_bits_are_put_into_words() -> None:
    assert decode(0) == ""
    assert decode(1 << 9 | 1 << 7) == "D (oops or BUG), W (warning)"
    assert "unknown bits" in decode(1 << 40)


def test_our_own_module_explains_its_taint() -> None:
    assert unexplained(1 << 12 | 1 << 13, ()) == 0
    assert unexplained(1 << 12 | 1 << 5, ()) == 1 << 5
