# SPDX-License-Identifier: GPL-2.0-only
"""What a failed test of the kernel's own selftests says of a control. Pure.

Some of them fail on a stock kernel in a small guest. So on a broken kernel only a test counts that passed on the
stock kernel of the same run: one that failed or was skipped there says nothing, and without that run nobody knows.
"""

from __future__ import annotations

from orchestrator.race.model import Ending, RaceResult, SubtestResult
from orchestrator.verdict.facts import Facts

MAX_NAMED = 3


def new_failures(facts: Facts) -> tuple[SubtestResult, ...]:
    """Return the tests that failed on this control and passed on the stock kernel of the same run."""
    passed = _names(facts.stock, Ending.PASS)
    return tuple(test for test in _failed(facts) if test.name in passed)


def old_failures(facts: Facts) -> tuple[SubtestResult, ...]:
    """Return the tests that failed on this control as they did on the stock kernel."""
    failed = _names(facts.stock, Ending.FAIL)
    return tuple(test for test in _failed(facts) if test.name in failed)


def unproven(facts: Facts) -> str:
    """Say which tests failed on this control of which the stock kernel's run says nothing; empty: none."""
    if not facts.control:
        return ""
    told = _names(facts.stock, Ending.PASS) | _names(facts.stock, Ending.FAIL)
    found = tuple(test for test in _failed(facts) if test.name not in told)
    why = "did not run them" if facts.stock else "has no complete result in this run"
    return f"{in_words(found)}; the stock kernel {why}, so nobody knows whose fault it is" if found else ""


def in_words(tests: tuple[SubtestResult, ...]) -> str:
    """Name the first tests that failed, with what they said."""
    shown = [f"{test.name} ({test.detail})" if test.detail else test.name for test in tests[:MAX_NAMED]]
    more = len(tests) - len(shown)
    return f"{'; '.join(shown)}{f' and {more} more' if more else ''} failed"


def claim(race: RaceResult) -> str:
    """Return what a run without a new failure claims: checks, no trials, and so no bound."""
    counts = {ending: sum(test.ending is ending for test in race.subtests) for ending in Ending}
    skipped = f", {counts[Ending.SKIP]} skipped" if counts[Ending.SKIP] else ""
    number = counts[Ending.PASS]
    xfail = sum(test.ending is Ending.PASS and test.detail.startswith("# XFAIL") for test in race.subtests)
    excused = f" ({xfail} by a failure that upstream expects)" if xfail else ""
    return (
        f"upstream's {race.upstream}: {number} check{'' if number == 1 else 's'} passed{excused}{skipped}; no bound"
    )


def _failed(facts: Facts) -> tuple[SubtestResult, ...]:
    race = facts.said
    return tuple(t for t in race.subtests if t.ending is Ending.FAIL) if race and race.upstream else ()


def _names(race: RaceResult | None, ending: Ending) -> frozenset[str]:
    return frozenset(test.name for test in race.subtests if test.ending is ending) if race else frozenset()
