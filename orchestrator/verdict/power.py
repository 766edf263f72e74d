# SPDX-License-Identifier: GPL-2.0-only
"""Detection power: whether, by what and how soon each broken kernel was caught, and the principles' scores. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median

from orchestrator.matrix.mutants import MutantExpectation
from orchestrator.matrix.targets import Target
from orchestrator.race.model import RaceResult
from orchestrator.verdict.backing import TICK, Attempt
from orchestrator.verdict.finding import CONSOLE, Finding, raced_seconds
from orchestrator.verdict.model import Fault, Outcome
from orchestrator.verdict.statistics import clopper_pearson, event_rate
from orchestrator.verdict.upstream import Seen, seen, unconfirmed
from orchestrator.words import plural

_ANSWERS = (Outcome.CAUGHT, Outcome.MISSED)


class Status(StrEnum):
    """What became of a broken kernel; one that does not build or boot is neither caught nor silent."""

    CAUGHT = "caught"
    SILENT = "silent"
    NOT_BUILT = "not built"
    NOT_BOOTED = "not booted"
    NOT_RACED = "not raced"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class Tried:
    """One scenario raced against a target: how often, how often it caught it, trials and seconds of racing in that.

    `broken` more attempts had no answer (the host, or the guest, failed). `note` is what else is to be said: a guest
    that was lost while it raced is no catch, but the stock kernel's, raced before, was not.
    """

    scenario: str
    runs: int
    caught: int
    trials: int
    seconds: float
    broken: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A target's result.

    Of the scenario that caught it: `runs` attempts, `caught` of them; `times` in seconds of racing to each catch,
    their `median`; `mean` the 95 % interval of the mean time to a catch (exponential; attempts that missed count with
    all of their time), `share` that of the share of attempts that catch it; `trials` the median of the trials to a
    catch in the subtest that made it, `per_trial` the 95 % interval of its rate, None where guests died with it.
    `broken` attempts of it had no answer (the host, or the guest, failed). `oracles` and `vehicles` are those of the
    catches, the most frequent first. `upstream` is what became of the kernel's own selftests on it; none of the other
    figures has anything of theirs. `vacuous` are the scenarios whose race on the stock kernel did not happen: that
    kernel's own reports are known, but not that it has no hits.
    """

    target: Target
    status: Status
    reason: str = ""
    scenario: str = ""
    subtest: str = ""
    runs: int = 0
    caught: int = 0
    broken: int = 0
    times: tuple[float, ...] = ()
    median: float | None = None
    mean: tuple[float, float] | None = None
    share: tuple[float, float] | None = None
    trials: float | None = None
    per_trial: tuple[float, float] | None = None
    oracles: tuple[str, ...] = ()
    vehicles: tuple[str, ...] = ()
    shown: str = ""
    tried: tuple[Tried, ...] = ()
    unusable: tuple[str, ...] = ()
    upstream: tuple[Tried, ...] = ()
    vacuous: tuple[str, ...] = ()

    @property
    def caught_upstream(self) -> tuple[str, ...]:
        """The kernel's own selftests that caught it."""
        return tuple(each.scenario for each in self.upstream if each.caught)

    @property
    def asked(self) -> bool:
        """Whether a scenario that its record names has given an answer."""
        return any(each.runs for each in self.tried if each.scenario in self.target.scenarios)

    @property
    def agrees(self) -> bool | None:
        """Whether this is what the record says; None where it does not say, or nothing is known."""
        if self.status not in (Status.CAUGHT, Status.SILENT) or self.target.expect is MutantExpectation.UNKNOWN:
            return None
        if self.status is Status.SILENT and self.target.expect is MutantExpectation.CAUGHT and not self.asked:
            return None
        return (self.status is Status.CAUGHT) == (self.target.expect is MutantExpectation.CAUGHT)


@dataclass(frozen=True, slots=True)
class Score:
    """Of a principle: broken kernels that must show, and how many were caught in some attempt, and in each.

    `upstream`: by one of the kernel's own selftests; None where none was run.
    """

    principle: str
    due: int
    caught: int
    always: int
    upstream: int | None = None


def row_of(
    target: Target,
    attempts: Mapping[str, Sequence[Attempt]],
    upstream: Mapping[str, tuple[Sequence[Attempt], Sequence[RaceResult]]],
    unusable: tuple[str, ...],
    vacuous: frozenset[str],
    *,
    finished: bool,
) -> Row:
    """Sum up all attempts by scenario in the order of their trial, and those of upstream's selftests.

    The latter come with what the same program said on the stock kernel.
    """
    row = _row(target, attempts, unusable, finished=finished)
    ran = tuple(_ran(program, each, stock) for program, (each, stock) in upstream.items() if each)
    return replace(row, upstream=ran, vacuous=tuple(each.scenario for each in row.tried if each.scenario in vacuous))


def _ran(program: str, attempts: Sequence[Attempt], stock: Sequence[RaceResult]) -> Tried:
    """Sum up the runs of one of upstream's selftests; what was not seen each time is no catch."""
    whole = _tried(program, attempts)
    caught = whole.caught if seen(attempts, stock) is Seen.CAUGHT else 0
    notes = (unconfirmed(attempts, stock), whole.note)
    return replace(whole, caught=caught, note="; ".join(note for note in notes if note))


def _row(
    target: Target, attempts: Mapping[str, Sequence[Attempt]], unusable: tuple[str, ...], *, finished: bool
) -> Row:
    tried = tuple(_tried(scenario, each) for scenario, each in attempts.items() if each)
    every = [attempt.verdict for each in attempts.values() for attempt in each]
    for scenario, each in attempts.items():
        if any(attempt.verdict.outcome is Outcome.CAUGHT for attempt in each):
            return _caught(target, scenario, each, tried, unusable)
    last = every[-1] if every else None
    missed = any(verdict.outcome is Outcome.MISSED for verdict in every)
    if last and not missed and last.fault in (Fault.BUILD, Fault.USER):
        return Row(target, Status.NOT_BUILT, last.reason, tried=tried, unusable=unusable)
    if last and not missed and last.outcome is Outcome.LOST and not last.trials and not last.race_seconds:
        return Row(target, Status.NOT_BOOTED, last.reason, tried=tried, unusable=unusable)
    if not finished:
        return Row(target, Status.UNFINISHED, "more attempts are due", tried=tried, unusable=unusable)
    if not missed:
        reason = last.reason if last else "; ".join(unusable) or "no scenario of this plan races it"
        return Row(target, Status.NOT_RACED, reason, tried=tried, unusable=unusable)
    silent = Row(target, Status.SILENT, _silence(tried), tried=tried, unusable=unusable)
    if target.expect is MutantExpectation.CAUGHT and target.scenarios and not silent.asked:
        named = (attempt.verdict.reason for scenario in target.scenarios for attempt in attempts.get(scenario, ()))
        theirs = (text for text in unusable if text.partition(":")[0] in target.scenarios)
        why = "; ".join((*theirs, *named)) or "they were not raced"
        reason = f"no answer from what must catch it ({', '.join(target.scenarios)}): {why}"
        return replace(silent, status=Status.NOT_RACED, reason=reason)
    return silent


def scores(rows: Iterable[Row]) -> tuple[Score, ...]:
    """Return the score of each principle, in their order, and of all together (named `all`).

    Only kernels that their record says must be caught, and that were raced by what must catch them, are due.
    """
    due = [row for row in rows if row.target.expect is MutantExpectation.CAUGHT and row.agrees is not None]
    names = sorted({row.target.principle for row in due})
    return tuple(
        Score(
            principle=name,
            due=len(mine),
            caught=sum(row.status is Status.CAUGHT for row in mine),
            always=sum(row.status is Status.CAUGHT and row.caught == row.runs for row in mine),
            upstream=sum(bool(row.caught_upstream) for row in mine) if any(row.upstream for row in mine) else None,
        )
        for name in [*names, "all"]
        if (mine := [row for row in due if name in (row.target.principle, "all")])
    )


def _caught(
    target: Target, scenario: str, each: Sequence[Attempt], tried: tuple[Tried, ...], unusable: tuple[str, ...]
) -> Row:
    raced = [attempt for attempt in each if attempt.verdict.outcome in _ANSWERS]
    caught = [attempt for attempt in raced if attempt.verdict.outcome is Outcome.CAUGHT]
    found = [attempt.verdict.found for attempt in caught if attempt.verdict.found]
    times = tuple(round(each.seconds, 3) for each in found)
    exposure = math.fsum(_seconds(attempt) for attempt in raced)
    low, high = event_rate(len(caught), exposure)
    subtests = _by_count([each.subtest for each in found if each.subtest])
    trials = [each.trials for each in found if each.trials is not None]
    return Row(
        target=target,
        status=Status.CAUGHT,
        scenario=scenario,
        subtest=subtests[0] if subtests else "",
        runs=len(raced),
        caught=len(caught),
        broken=len(each) - len(raced),
        times=times,
        median=median(times) if times else None,
        mean=(1.0 / high, 1.0 / low),
        share=clopper_pearson(len(caught), len(raced)),
        trials=median(trials) if trials else None,
        per_trial=_per_trial(raced, subtests[0]) if subtests else None,
        oracles=_by_count([each.oracle for each in found]),
        vehicles=_by_count([each.vehicle for each in found if each.vehicle]),
        shown=_shown(caught[0]),
        tried=tried,
        unusable=unusable,
    )


def _per_trial(raced: Sequence[Attempt], subtest: str) -> tuple[float, float] | None:
    """Return the interval for the rate per trial of one subtest, from the attempts whose count is known."""
    hits = trials = 0
    for attempt in raced:
        found = attempt.verdict.found
        if found and found.subtest == subtest:
            hits, trials = hits + bool(found.trials), trials + (found.trials or 0)
        elif attempt.race and (found is None or found.subtest):
            # Nothing was found here, be it that something was found elsewhere.
            trials += attempt.race.of(subtest, "trials") or 0
    return clopper_pearson(hits, trials) if hits else None


def _tried(scenario: str, attempts: Sequence[Attempt]) -> Tried:
    answers = [attempt for attempt in attempts if attempt.verdict.outcome in _ANSWERS]
    return Tried(
        scenario=scenario,
        runs=len(answers),
        broken=len(attempts) - len(answers),
        caught=sum(attempt.verdict.outcome is Outcome.CAUGHT for attempt in attempts),
        trials=sum(attempt.verdict.trials for attempt in answers),
        seconds=round(math.fsum(_seconds(attempt) for attempt in answers), 3),
        note=_losses(attempts),
    )


def _losses(attempts: Sequence[Attempt]) -> str:
    lost = [attempt.verdict for attempt in attempts if attempt.verdict.outcome is Outcome.LOST]
    return (
        f"guest lost in {len(lost)} of {len(attempts)} {plural(len(attempts), 'attempt')}: {lost[0].reason}"
        if lost
        else ""
    )


def _seconds(attempt: Attempt) -> float:
    """Return the seconds of racing until it was caught, or in all."""
    found: Finding | None = attempt.verdict.found
    return max(TICK, found.seconds) if found else raced_seconds(attempt.race, "")


def _silence(tried: Sequence[Tried]) -> str:
    said = (
        f"{each.scenario} {each.runs} x, {each.trials} {plural(each.trials, 'trial')}, {each.seconds:.0f} s"
        for each in tried
    )
    return f"nothing seen in {'; '.join(said)}"


def _shown(attempt: Attempt) -> str:
    """Return by what the first catch showed, in short: an oracle's word, or the kernel's report."""
    verdict = attempt.verdict
    if verdict.found and verdict.found.oracle != CONSOLE:
        return f"{verdict.found.oracle} in {verdict.found.subtest}"
    return verdict.splats[0] if verdict.splats else verdict.reason[:120]


def _by_count(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(dict.fromkeys(names), key=lambda name: -names.count(name)))
