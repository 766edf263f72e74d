# SPDX-License-Identifier: GPL-2.0-only
"""What a failed test of the kernel's own selftests says of a control. Pure.

Some of them fail on a stock kernel in a small guest. So on a broken kernel only a test counts that passed on the
stock kernel of the same run: one that failed or was skipped there says nothing, and without that run nobody knows.

And some fail now and then, on any kernel. Of one run on each kernel such a test makes a catch in one case of four at
worst (p (1 - p), it fails with p = 1/2). So `guprace power` believes a failed test only when it has failed in each of
RUNS runs on the broken kernel and passed in each of RUNS on the stock one: (p (1 - p))^RUNS, 1 in 64 at worst. These
tests are sequential: what a kernel breaks for one of them is broken the next time.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from orchestrator.race.model import Ending, RaceResult, SubtestResult
from orchestrator.verdict.backing import Attempt
from orchestrator.verdict.facts import Facts
from orchestrator.verdict.model import Outcome
from orchestrator.words import plural

MAX_NAMED = 3
RUNS = 3
# What the host broke is no run; but a host that breaks half of them is not asked for ever.
MAX_ATTEMPTS = 2 * RUNS
_RAN = (Outcome.CAUGHT, Outcome.MISSED)


class Seen(StrEnum):
    """What repeated runs of one program say of a broken kernel."""

    CAUGHT = "caught"
    UNSURE = "to be repeated"
    NOTHING = "not caught"


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


def seen(attempts: Sequence[Attempt], stock: Sequence[RaceResult]) -> Seen:
    """Return what all runs of one program on a broken kernel say, beside those on the stock kernel.

    A kernel report or a hit is a catch at once. A failed test is one when it is the same in RUNS runs of each kernel;
    as long as it can still be, more are to be made.
    """
    ran = runs_of(attempts)
    caught = [attempt for attempt in attempts if attempt.verdict.outcome is Outcome.CAUGHT]
    if any(attempt.verdict.splats or attempt.verdict.hits for attempt in caught):
        return Seen.CAUGHT
    refuted = ran and stock and not repeated(attempts, stock)
    if not caught or refuted:
        return Seen.NOTHING
    return Seen.CAUGHT if len(ran) >= RUNS and len(stock) >= RUNS else Seen.UNSURE


def repeated(attempts: Sequence[Attempt], stock: Sequence[RaceResult]) -> tuple[str, ...]:
    """Return the tests that failed in every run on the broken kernel and passed in every one on the stock kernel."""
    failed = [_names(attempt.race, Ending.FAIL) for attempt in runs_of(attempts)]
    passed = [_names(race, Ending.PASS) for race in stock]
    if not failed or not passed:
        return ()
    return tuple(sorted(frozenset.intersection(*failed, *passed)))


def runs_of(attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """Return the attempts that have an answer, and whose tests are known."""
    return tuple(attempt for attempt in attempts if attempt.verdict.outcome in _RAN and _whole(attempt.race))


def _whole(race: RaceResult | None) -> bool:
    return race is not None and not race.problem


def unconfirmed(attempts: Sequence[Attempt], stock: Sequence[RaceResult]) -> str:
    """Say why what looked like a catch counts for nothing (yet); empty where nothing looked like one."""
    looked = any(attempt.verdict.outcome is Outcome.CAUGHT for attempt in attempts)
    if not looked or seen(attempts, stock) is Seen.CAUGHT:
        return ""
    ran = len(runs_of(attempts))
    runs = f"in {ran} whole {plural(ran, 'run')} here and {len(stock)} on the stock kernel"
    if same := repeated(attempts, stock):
        named = ", ".join(same[:MAX_NAMED])
        return f"not counted before {RUNS} whole runs on each kernel: {named} failed {runs}"
    return f"not counted: {runs} no test failed here each time and passed there each time"


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
    return f"upstream's {race.upstream}: {number} {plural(number, 'check')} passed{excused}{skipped}; no bound"


def _failed(facts: Facts) -> tuple[SubtestResult, ...]:
    race = facts.said
    return tuple(t for t in race.subtests if t.ending is Ending.FAIL) if race and race.upstream else ()


def _names(race: RaceResult | None, ending: Ending) -> frozenset[str]:
    return frozenset(test.name for test in race.subtests if test.ending is ending) if race else frozenset()
