# SPDX-License-Identifier: GPL-2.0-only
"""What many races of one scenario on one kernel say together: nights of them bound more than the longest. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.race.model import Ending, RaceResult
from orchestrator.verdict.backing import Attempt, backing
from orchestrator.verdict.finding import raced_seconds
from orchestrator.verdict.model import Backing, Outcome, Verdict
from orchestrator.verdict.statistics import rule_of_three


@dataclass(frozen=True, slots=True)
class Raced:
    """One cell of one run: `at` is when the run began (ISO 8601, UTC), `where` the cell's directory.

    `race` is what the selftest said, None where the guest was lost; `program` the digest of what raced; `repeat` the
    command that races it again. `measured`: a power run asked whether a broken kernel shows, and No is an answer.
    """

    at: str
    where: str
    verdict: Verdict
    race: RaceResult | None
    program: str = ""
    repeat: str = ""
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Together:
    """A scenario on a kernel, of all its runs.

    `outcomes` says how many ended how, in the order of the outcomes. `seconds` of racing, `trials` (valid, all
    subtests) and `checks` are of the races that PASSed, and of nothing else. `bound` is the 95 % upper bound on hits
    per trial (3/n) of `weakest`, the subtest with the fewest trials in all runs together; None where some race
    FAILed: what shows has no such bound. `programs` counts the versions of the selftest that raced. `controls` are
    the broken kernels of all runs; `trouble` is what did not end as it should, the last first.
    """

    scenario: str
    outcomes: tuple[tuple[Outcome, int], ...]
    seconds: float = 0.0
    trials: int = 0
    checks: int = 0
    bound: float | None = None
    weakest: str = ""
    programs: int = 0
    controls: tuple[Backing, ...] = ()
    trouble: tuple[Raced, ...] = ()

    @property
    def runs(self) -> int:
        """How many runs raced it on this kernel, whatever came of it."""
        return sum(number for _, number in self.outcomes)

    @property
    def failed(self) -> bool:
        """Whether a race showed a fault of this kernel, or missed a control."""
        return any(each.verdict.outcome in (Outcome.FAIL, Outcome.MISSED) for each in self.trouble)


def together(scenario: str, races: Sequence[Raced], controls: Mapping[str, tuple[str, Sequence[Raced]]]) -> Together:
    """Sum up the races of one scenario on one kernel; `controls` maps a mutant to its principle and its races."""
    ended = Counter(each.verdict.outcome for each in races)
    outcomes = tuple((outcome, ended[outcome]) for outcome in Outcome if ended[outcome])
    clean = [(each, each.race) for each in races if each.verdict.outcome is Outcome.PASS and each.race]
    heard = [race for _, race in clean]
    trials, checks = _ran(heard, "trials"), _ran(heard, "checks")
    weakest = min(trials, key=trials.__getitem__, default="")
    behind = (
        backing(mutant, principle, [Attempt(each.verdict, each.race) for each in attempts], heard)
        for mutant, (principle, attempts) in sorted(controls.items())
    )
    attempts = [each for _, raced in controls.values() for each in raced]
    troubled = [each for each in (*races, *attempts) if not each.verdict.outcome.as_expected and not _answer(each)]
    return Together(
        scenario=scenario,
        outcomes=outcomes,
        seconds=math.fsum(raced_seconds(race, "") for race in heard),
        trials=sum(trials.values()),
        checks=sum(checks.values()),
        bound=rule_of_three(trials[weakest]) if weakest and not ended[Outcome.FAIL] else None,
        weakest=weakest,
        programs=len({each.program for each, _ in clean if each.program}),
        controls=tuple(behind),
        trouble=tuple(sorted(troubled, key=lambda each: each.at, reverse=True)),
    )


def _answer(raced: Raced) -> bool:
    return raced.measured and raced.verdict.outcome is Outcome.MISSED


def _ran(races: Sequence[RaceResult], counter: str) -> dict[str, int]:
    """Return the sum of `counter` of each subtest that ran and has it."""
    total: Counter[str] = Counter()
    for race in races:
        for subtest in race.subtests:
            if subtest.ending is not Ending.SKIP and (number := race.of(subtest.name, counter)) is not None:
                total[subtest.name] += number
    return dict(total)
