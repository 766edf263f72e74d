# SPDX-License-Identifier: GPL-2.0-only
"""What stands behind a PASS: the broken kernels that the very same set-up raced. Pure.

A clean race by an instrument that cannot see proves nothing.  So where a run races controls of a scenario, their
verdicts become part of the stock kernel's: which mutants were caught and how soon, and with what probability a fault
that shows as often as they do would have been missed.  A control that was raced and missed takes the PASS away.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from orchestrator.race.model import RaceResult
from orchestrator.verdict.finding import raced_seconds
from orchestrator.verdict.model import Backing, Fault, Outcome, Verdict
from orchestrator.verdict.statistics import least_rate, rounded_up

# Clocks of milliseconds: what was found at once took one.
TICK = 0.001
_RACED = (Outcome.CAUGHT, Outcome.MISSED)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One race of a control: its verdict, and what its selftest said, to its end or not (None: nothing)."""

    verdict: Verdict
    race: RaceResult | None


def backing(mutant: str, principle: str, attempts: Sequence[Attempt], clean: Sequence[RaceResult]) -> Backing:
    """Sum up the attempts at one control; `clean` are the races of the stock kernel that it stands behind."""
    raced = [attempt for attempt in attempts if attempt.verdict.outcome in _RACED]
    caught = [
        found for attempt in raced if attempt.verdict.outcome is Outcome.CAUGHT and (found := attempt.verdict.found)
    ]
    outcome = _outcome([attempt.verdict.outcome for attempt in attempts])
    whole = Backing(mutant, principle, outcome, len(raced), sum(a.verdict.outcome is Outcome.CAUGHT for a in raced))
    if not caught:
        return whole
    places = [found.subtest for found in caught]
    subtest = max(dict.fromkeys(places), key=places.count)
    exposure = math.fsum(_own_seconds(attempt, subtest) for attempt in raced)
    rate = least_rate(places.count(subtest), exposure)
    stock = math.fsum(raced_seconds(race, subtest) for race in clean)
    return replace(
        whole,
        seconds=median(found.seconds for found in caught),
        subtest=subtest,
        rate=rate,
        escape=math.exp(-rate * stock) if stock > 0.0 else None,
    )


def _outcome(outcomes: Iterable[Outcome]) -> Outcome:
    """Return that of all attempts together: caught once is caught, else the worst that became of it."""
    found = list(outcomes)
    order = (Outcome.CAUGHT, Outcome.MISSED, Outcome.VACUOUS, Outcome.SKIP, Outcome.LOST, Outcome.BROKEN)
    return next((outcome for outcome in order if outcome in found), Outcome.LOST)


def _own_seconds(attempt: Attempt, subtest: str) -> float:
    found = attempt.verdict.found
    if found and found.subtest == subtest:
        return max(TICK, found.own_seconds)
    return raced_seconds(attempt.race, subtest)


def backed(
    verdict: Verdict,
    controls: Sequence[Backing],
    demanded: bool,
    prebuilt: bool = False,
    confidence: float | None = None,
) -> Verdict:
    """Return the stock kernel's verdict with its controls; `demanded`: the user asked for controls of each scenario.

    `prebuilt`: nobody can patch that kernel, so there are none. `confidence` is the probability of a miss that was
    raced for (None: for none); that it was not reached is said.

    Only a PASS changes: without a control that was demanded it says so, and with one that was MISSED it is BROKEN.
    """
    if verdict.outcome is not Outcome.PASS or not (controls or demanded):
        return replace(verdict, controls=tuple(controls))
    if not controls:
        unknown = "no kernel broken on purpose is known to show by it here"
        none = f"{'a prebuilt kernel cannot be broken on purpose' if prebuilt else unknown}: no control"
        none = "; ".join([none, *_short_of(controls, confidence)])
        return verdict if verdict.reason.endswith(none) else replace(verdict, reason=f"{verdict.reason}; {none}")
    missed = [control.mutant for control in controls if control.outcome is Outcome.MISSED]
    if missed:
        reason = f"the same set-up missed {', '.join(missed)}: what it does not see proves nothing ({verdict.reason})"
        return replace(
            verdict, outcome=Outcome.BROKEN, reason=reason, bound=None, fault=Fault.NONE, controls=tuple(controls)
        )
    said = [verdict.reason, *in_words(controls), *_short_of(controls, confidence)]
    return replace(verdict, reason="; ".join(said), controls=tuple(controls))


def _short_of(controls: Sequence[Backing], confidence: float | None) -> list[str]:
    """Say that what was raced for was not reached: a PASS is one all the same, with the bound that it has."""
    if confidence is None:
        return []
    escapes = [control.escape for control in controls if control.escape is not None]
    if escapes and max(escapes) <= confidence:
        return []
    return [f"the {confidence:g} that was asked for is NOT REACHED"]


def in_words(controls: Sequence[Backing]) -> list[str]:
    """Say what the same set-up caught, what it could not race, and what would have escaped it."""
    caught = [control for control in controls if control.outcome is Outcome.CAUGHT]
    said = []
    if caught:
        names = _listed([f"{control.mutant} ({control.principle})" for control in caught])
        times = _listed(["?" if c.seconds is None else f"{c.seconds:.2g} s" for c in caught])
        said.append(f"the same set-up caught {names} after {times}")
    said += [f"control {c.mutant}: {c.outcome}" for c in controls if c.outcome is not Outcome.CAUGHT]
    escapes = [(control.escape, control.mutant) for control in caught if control.escape is not None]
    if escapes:
        worst, mutant = max(escapes)
        bound = f"{rounded_up(worst, 1):.1g} at most (95 %)"
        said.append(f"one that shows as often as {mutant} would have escaped with probability {bound}")
    return said


def seconds_needed(control: Backing, confidence: float) -> float | None:
    """Return how long the stock kernel must race the control's subtest until a miss is less likely than `confidence`.

    None where nothing is known of its rate: it was not caught.
    """
    return math.log(1.0 / confidence) / control.rate if control.rate else None


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
