# SPDX-License-Identifier: GPL-2.0-only
"""`run --until-confidence`: race on until a fault that shows as often as the controls' would hardly be missed. Pure.

First every cell of the plan once.  Then each control of a scenario that passed is raced again until it was caught
often enough for its rate to be known, and at last the stock kernel, until the catch rate of its weakest control (its
lower 95 % bound, per second of racing the subtest that caught it) makes a miss less likely than asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from orchestrator.matrix.plan import Cell, stock_id
from orchestrator.race.model import RaceResult
from orchestrator.runner.left import said_of
from orchestrator.runner.rundir import CellResult
from orchestrator.runner.schedule import Done, InOrder, again, attempts_at
from orchestrator.verdict.backing import Attempt, backing, seconds_needed
from orchestrator.verdict.finding import raced_seconds
from orchestrator.verdict.model import Backing, Outcome

CATCHES = 5
MAX_ATTEMPTS = 10
# One guest races so long at most: a longer one loses more when it is lost.
MAX_SECONDS = 600.0
# And all of a scenario's together: a day.
MAX_TOTAL_SECONDS = 86400.0
# The shares of the subtests vary a little from race to race.
_MARGIN = 1.05


@dataclass(frozen=True, slots=True)
class UntilConfident:
    """The cells of a group, then as many more attempts as `confidence` (the probability of a miss) asks for."""

    cells: tuple[Cell, ...]
    confidence: float

    def next(self, done: Done) -> Cell | None:
        """Return the next cell; see the module."""
        if (due := InOrder(self.cells).next(done)) is not None:
            return due
        stock = [cell for cell in self.cells if not cell.kernel.mutant]
        return next((more for cell in stock if (more := self._more(cell, done)) is not None), None)

    def _more(self, cell: Cell, done: Done) -> Cell | None:
        if cell.program is not None:
            # The kernel's own selftests race for no time, so no rate says how much more of it is needed.
            return None
        attempts = attempts_at(cell, done)
        if any(result.verdict is None or result.verdict.outcome is not Outcome.PASS for result in attempts):
            return None
        controls = [c for c in self.cells if c.kernel.mutant and stock_id(c) == cell.id]
        for control in controls:
            if (more := _control(control, attempts_at(control, done))) is not None:
                return more
        clean = races(attempts)
        behind = [backing(c.kernel.mutant or "", "", tried(attempts_at(c, done)), clean) for c in controls]
        seconds = _seconds_left(behind, clean, self.confidence)
        raced = math.fsum(raced_seconds(race, "") for race in clean)
        if seconds <= 0.0 or raced >= MAX_TOTAL_SECONDS:
            return None
        more = again(cell, len(attempts) + 1)
        seconds = min(MAX_SECONDS, MAX_TOTAL_SECONDS - raced, seconds)
        # Never shorter than what its floors were made for.
        seconds = max(min(MAX_SECONDS, cell.race.seconds), seconds)
        return replace(more, race=replace(more.race, seconds=round(seconds, 1)))


def _control(cell: Cell, attempts: tuple[CellResult, ...]) -> Cell | None:
    """Return the next attempt at a control whose rate is not known well enough yet."""
    outcomes = [result.verdict.outcome for result in attempts if result.verdict]
    caught = outcomes.count(Outcome.CAUGHT)
    if not 0 < caught < CATCHES or len(attempts) >= MAX_ATTEMPTS:
        return None
    more = again(cell, len(attempts) + 1)
    return replace(more, race=replace(more.race, first_hit=True))


def _seconds_left(controls: Iterable[Backing], clean: tuple[RaceResult, ...], confidence: float) -> float:
    """Return the seconds of racing, all subtests together, that the weakest control still asks for."""
    left = [0.0]
    total = math.fsum(raced_seconds(race, "") for race in clean)
    for control in controls:
        needed = seconds_needed(control, confidence)
        own = math.fsum(raced_seconds(race, control.subtest) for race in clean)
        if needed is not None and own > 0.0:
            left.append((needed - own) * total / own * _MARGIN)
    return max(left)


def races(results: Iterable[CellResult]) -> tuple[RaceResult, ...]:
    """Return what the selftests said."""
    return tuple(result.evidence.race for result in results if result.evidence)


def tried(results: Iterable[CellResult]) -> tuple[Attempt, ...]:
    """Return a control's attempts as `backing` wants them: what a lost guest raced before counts, too."""
    return tuple(Attempt(result.verdict, said_of(result)) for result in results if result.verdict)
