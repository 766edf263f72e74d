# SPDX-License-Identifier: GPL-2.0-only
"""`guprace power`: how soon, and how surely, are broken kernels caught? The order of its races. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.matrix.plan import Cell
from orchestrator.matrix.targets import Target
from orchestrator.race.model import RaceResult
from orchestrator.runner.rundir import CellResult
from orchestrator.runner.schedule import Done, again, attempts_at
from orchestrator.runner.sequential import races, tried
from orchestrator.verdict.backing import Attempt
from orchestrator.verdict.model import Fault, Outcome
from orchestrator.verdict.power import Row, row_of
from orchestrator.verdict.upstream import MAX_ATTEMPTS, RUNS, Seen, runs_of, seen

# A stock kernel that ends so says what its own reports are; whatever else becomes of it, nothing can be compared.
_USABLE = (Outcome.PASS, Outcome.VACUOUS)


@dataclass(frozen=True, slots=True)
class Campaign:
    """campaign.json: what is to be caught, and how hard it is tried.

    Each scenario that a mutant's record names is tried up to `rounds` times, then each other one once, until one
    catches it; that one is then raced until it has had `seeds` attempts. `left_out` says what is not tried, and why.
    """

    targets: tuple[Target, ...]
    seeds: int
    rounds: int
    left_out: tuple[str, ...] = ()


def schedules(campaign: Campaign) -> list[PowerSchedule]:
    """Return one schedule for each object tree: mutants of headers last, or each costs two whole builds."""
    lanes = dict.fromkeys(target.lane for target in campaign.targets)
    ordered = sorted(campaign.targets, key=lambda target: target.headers)
    return [
        PowerSchedule(tuple(t for t in ordered if t.lane == lane), campaign.seeds, campaign.rounds) for lane in lanes
    ]


def rows(campaign: Campaign, done: Done) -> tuple[Row, ...]:
    """Return what became of each target so far."""
    whole = PowerSchedule(campaign.targets, campaign.seeds, campaign.rounds)
    return tuple(
        row_of(
            target,
            {scenario: tried(results) for scenario, results in attempts(target, done).items()},
            {scenario: _beside(target, scenario, done) for scenario in target.upstream},
            _unusable(target, done),
            frozenset(s for s in (*target.scenarios, *target.others) if _vacuous(done.get(target.stock(s).id))),
            finished=whole.step(target, done) is None,
        )
        for target in campaign.targets
    )


@dataclass(frozen=True, slots=True)
class PowerSchedule:
    """The targets of one lane, one after the other: each costs a small build, and is raced until it is known."""

    targets: tuple[Target, ...]
    seeds: int
    rounds: int

    def next(self, done: Done) -> Cell | None:
        """Return the next race: of the stock kernel first where its mutant's is due."""
        return next((cell for target in self.targets if (cell := self.step(target, done)) is not None), None)

    def step(self, target: Target, done: Done) -> Cell | None:
        """Return the next race of one target, None when enough is known."""
        known = attempts(target, done)
        results = [result for each in known.values() for result in each]
        # What was raced does build and boot; a boot that is lost then is a busy host's.
        if any(map(hopeless, results)) and not any(map(raced, results)):
            return None
        return self._own(target, known, done) or next(_upstream(target, done), None)

    def _own(self, target: Target, known: dict[str, tuple[CellResult, ...]], done: Done) -> Cell | None:
        for scenario, results in known.items():
            if any(_caught(result) for result in results):
                # What the host broke was no attempt; but a host that breaks half of them is not asked for ever.
                enough = sum(raced(result) for result in results) >= self.seeds or len(results) >= 2 * self.seeds
                return None if enough else again(target.cell(scenario), len(results) + 1)
        return next(self._search(target, done), None)

    def _search(self, target: Target, done: Done) -> Iterator[Cell]:
        plan = [(scenario, count) for count in range(1, self.rounds + 1) for scenario in target.scenarios]
        for scenario, count in [*plan, *((other, 1) for other in target.others)]:
            cell, stock = target.cell(scenario), target.stock(scenario)
            if stock.id not in done:
                yield stock
            elif usable(done[stock.id]) and len(attempts_at(cell, done)) < count:
                yield again(cell, count)


def _upstream(target: Target, done: Done) -> Iterator[Cell]:
    """Yield what is left to do of the kernel's own selftests: a failure on the stock kernel as well is no catch.

    What looks like a catch is run again, first where it looked so: mostly that is the end of it.
    """
    for scenario in target.upstream:
        cell, stock = target.cell(scenario), target.stock(scenario)
        if stock.id not in done:
            yield stock
        elif cell.id not in done and (found := done[stock.id].verdict) and found.outcome is not Outcome.SKIP:
            yield cell
        else:
            yield from _again(cell, stock, *_beside(target, scenario, done), done)


def _again(
    cell: Cell, stock: Cell, runs: tuple[Attempt, ...], clean: tuple[RaceResult, ...], done: Done
) -> Iterator[Cell]:
    if seen(runs, clean) is not Seen.UNSURE:
        return
    for one, whole in ((cell, len(runs_of(runs))), (stock, len(clean))):
        number = len(attempts_at(one, done))
        if whole < RUNS and number < MAX_ATTEMPTS:
            yield again(one, number + 1)


def _beside(target: Target, scenario: str, done: Done) -> tuple[tuple[Attempt, ...], tuple[RaceResult, ...]]:
    """Return the runs of a selftest of the kernel's own on a target, and what whole ones said on the stock kernel."""
    said = races(attempts_at(target.stock(scenario), done))
    return tried(attempts_at(target.cell(scenario), done)), tuple(race for race in said if not race.problem)


def attempts(target: Target, done: Done) -> dict[str, tuple[CellResult, ...]]:
    """Return all attempts at a target by scenario, in the order in which scenarios are tried."""
    return {s: attempts_at(target.cell(s), done) for s in (*target.scenarios, *target.others)}


def usable(stock: CellResult) -> bool:
    """Return whether a scenario can be compared with what it says of the unbroken kernel."""
    return stock.verdict is not None and stock.verdict.outcome in _USABLE


def _vacuous(stock: CellResult | None) -> bool:
    return stock is not None and stock.verdict is not None and stock.verdict.outcome is Outcome.VACUOUS


def hopeless(result: CellResult) -> bool:
    """Return whether more attempts would end alike: the kernel does not build, or does not boot."""
    verdict = result.verdict
    if verdict is None:
        return False
    return verdict.fault in (Fault.BUILD, Fault.USER) or (verdict.outcome is Outcome.LOST and _never_raced(result))


def _never_raced(result: CellResult) -> bool:
    return all(stage not in ("boot", "deploy", "race") for stage, _ in result.record.stages)


def raced(result: CellResult) -> bool:
    """Return whether an attempt has an answer: caught, or missed."""
    return result.verdict is not None and result.verdict.outcome in (Outcome.CAUGHT, Outcome.MISSED)


def _caught(result: CellResult) -> bool:
    return result.verdict is not None and result.verdict.outcome is Outcome.CAUGHT


def _unusable(target: Target, done: Done) -> tuple[str, ...]:
    """Say which scenarios could not be used, since of the unbroken kernel they do not say that it is clean."""
    found = []
    for scenario in (*target.scenarios, *target.others):
        stock = done.get(target.stock(scenario).id)
        if stock and stock.verdict and not usable(stock):
            found.append(f"{scenario}: {stock.verdict.outcome} on the stock kernel")
    return tuple(found)
