# SPDX-License-Identifier: GPL-2.0-only
"""Two runs compared by their kernel reports: what is new, what is gone, whose rate changed. Pure.

Rates are compared where they can be: a report's total counts only the cells of those groups (architecture and
flavour) in which either run showed it, so a run with more `plain` cells does not dilute a data race. A group that the
other run did not race at all says nothing: such a report is `not raced` there, neither new nor gone.

The unit is the cell: guests are independent of each other, trials and seconds within one guest are not, and KCSAN
prints a pair once per some seconds. Rates per trial or second of racing can be asked for all the same; take their
p-values as lower bounds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.splat.chance import fisher_exact, holm
from orchestrator.splat.fingerprint import fingerprint, pair_of
from orchestrator.splat.model import Splat, SplatKind

ALPHA = 0.05


class Unit(StrEnum):
    """What a rate is per."""

    CELLS = "cells"
    TRIALS = "trials"
    SECONDS = "seconds"


class Change(StrEnum):
    """What became of a report; the order is that of tables."""

    NEW = "new"
    GONE = "gone"
    MORE = "more often"
    LESS = "less often"
    NOT_RACED = "not raced"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Raced:
    """One cell that got as far as a console: its group (architecture/flavour), its reports, and how much it raced."""

    cell: str
    group: str
    splats: tuple[Splat, ...]
    trials: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Rate:
    """How often: `seen` of `total` units."""

    seen: int
    total: int

    @property
    def share(self) -> float:
        """The rate as a number, 0 when there was nothing to see it in."""
        return self.seen / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """One report (or function pair) in both runs. `p` is Fisher's, two-sided; `corrected` is for all rows (Holm)."""

    key: str
    kind: SplatKind
    title: str
    change: Change
    before: Rate
    after: Rate
    p: float
    corrected: float

    @property
    def significant(self) -> bool:
        """Whether the two rates differ by more than chance, at the 5 % level, all rows together."""
        return self.corrected < ALPHA


@dataclass(frozen=True, slots=True)
class Comparison:
    """Reports by fingerprint, and KCSAN reports by function pair; of each what changed first."""

    unit: Unit
    reports: tuple[Difference, ...]
    pairs: tuple[Difference, ...]


Key = Callable[[Splat], str]


def compare(before: Sequence[Raced], after: Sequence[Raced], unit: Unit = Unit.CELLS) -> Comparison:
    """Compare two runs."""
    return Comparison(
        unit=unit,
        reports=_differences(before, after, unit, fingerprint),
        pairs=_differences(before, after, unit, lambda splat: " / ".join(pair_of(splat))),
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """Where and how often one run showed each key."""

    counts: dict[str, dict[str, int]]
    names: dict[str, Counter[tuple[SplatKind, str]]]


def _differences(before: Sequence[Raced], after: Sequence[Raced], unit: Unit, key: Key) -> tuple[Difference, ...]:
    seen = [_seen(run, unit, key) for run in (before, after)]
    totals = [_totals(run, unit) for run in (before, after)]
    rows = []
    for name in sorted({*seen[0].counts, *seen[1].counts}):
        groups = set().union(*(each.counts.get(name, {}) for each in seen))
        # a group that one of the runs has no cell of cannot be compared, unless there is no other
        shared = {group for group in groups if all(total.get(group) for total in totals)} or groups
        rates = [_rate(each.counts.get(name, {}), total, shared) for each, total in zip(seen, totals, strict=True)]
        p = fisher_exact(rates[0].seen, rates[0].total, rates[1].seen, rates[1].total)
        (kind, title), _ = sum((each.names.get(name, Counter()) for each in seen), Counter()).most_common(1)[0]
        rows.append((name, kind, title, rates[0], rates[1], p))
    corrected = holm([row[-1] for row in rows])
    found = [
        Difference(name, kind, title, _change(old, new, fixed), old, new, p, fixed)
        for (name, kind, title, old, new, p), fixed in zip(rows, corrected, strict=True)
    ]
    return tuple(sorted(found, key=lambda each: (list(Change).index(each.change), each.corrected, each.title)))


def _seen(run: Iterable[Raced], unit: Unit, key: Key) -> _Seen:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    names: dict[str, Counter[tuple[SplatKind, str]]] = defaultdict(Counter)
    for cell in run:
        here: Counter[str] = Counter()
        for splat in cell.splats:
            if name := key(splat):
                here[name] += splat.count
                names[name][splat.kind, splat.title] += splat.count
        for name, count in here.items():
            counts[name][cell.group] += min(count, _size(cell, unit))
    return _Seen({name: dict(groups) for name, groups in counts.items()}, names)


def _size(cell: Raced, unit: Unit) -> int:
    """Return how many units a cell is; at least one, for a cell that showed something was there."""
    match unit:
        case Unit.CELLS:
            return 1
        case Unit.TRIALS:
            return max(1, cell.trials)
        case Unit.SECONDS:
            return max(1, round(cell.seconds))


def _totals(run: Iterable[Raced], unit: Unit) -> dict[str, int]:
    totals: dict[str, int] = defaultdict(int)
    for cell in run:
        totals[cell.group] += _size(cell, unit)
    return dict(totals)


def _rate(counts: dict[str, int], totals: dict[str, int], groups: Iterable[str]) -> Rate:
    wanted = set(groups)
    return Rate(
        sum(count for group, count in counts.items() if group in wanted),
        sum(total for group, total in totals.items() if group in wanted),
    )


def _change(before: Rate, after: Rate, corrected: float) -> Change:
    if not before.total or not after.total:
        return Change.NOT_RACED
    if not before.seen or not after.seen:
        return Change.GONE if before.seen else Change.NEW
    if corrected < ALPHA:
        return Change.MORE if after.share > before.share else Change.LESS
    return Change.SAME
