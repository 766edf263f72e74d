# SPDX-License-Identifier: GPL-2.0-only
"""When was it found, in which subtest, and by what? The measure of detection power. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.race.model import Ending, RaceResult

CONSOLE = "console"
# One of the kernel's own selftests failed: it has no oracle with a name.
SELFTEST = "selftest"
_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Finding:
    """The first thing found in a race.

    `oracle` is that of the selftest, `console` for a kernel report, or `selftest` where a test of the kernel's own
    failed; `subtest` is empty where nobody can tell.
    `seconds` are of racing, in all subtests up to then; `own_seconds` in this subtest alone: set-up and tear-down do
    not count. `trials` are the valid ones of this subtest up to then, None where the guest died with its count.
    """

    oracle: str
    subtest: str
    seconds: float
    own_seconds: float
    trials: int | None = None

    @property
    def vehicle(self) -> str:
        """What took the pin: the first part of the subtest's name."""
        return self.subtest.split(".")[0]


def finding(
    race: RaceResult | None, race_seconds: float, lost_after: float | None, reported_after: float | None = None
) -> Finding:
    """Return the first finding of a race in which something was found; `race` is None where its words are not known.

    `race_seconds` is how long the whole selftest took, `lost_after` after how many seconds the guest was lost (None:
    it was not). An oracle's hit comes with its time. A kernel report is noticed by the taint it leaves (a tenth of a
    second late at most), or by the loss of the guest. One that does neither (lockdep, KCSAN, a second WARN) has the
    kernel's own clock: `reported_after` seconds since the mark before the race, set-up included; or else the time
    of the whole race, the worst it could be.
    """
    if race is None:
        known = (reported_after, lost_after, race_seconds)
        seconds = next(each for each in known if each is not None)
        return Finding(CONSOLE, "", seconds, seconds)
    for subtest in [result.subtest for result in race.hits] + _counted(race, "first_taint_ms"):
        hit, taint = race.of(subtest, "first_hit_ms"), race.of(subtest, "first_taint_ms")
        if (found := hit if hit is not None else taint) is not None:
            oracle = next((h.oracle for h in race.hits if h.subtest == subtest), CONSOLE)
            return _at(race, oracle, subtest, found / _MS)
    if lost_after is not None:
        # A hit that was told before the guest died has no counter any more.
        oracle = next((h.oracle for h in race.hits if h.subtest == race.begun), CONSOLE)
        # After the last subtest nobody knows whose it was: all of the race, then.
        own = max(0.0, lost_after - (_raced(race, race.begun) if race.begun else 0.0))
        return Finding(oracle, race.begun, lost_after, own)
    if reported_after is not None and not race.hits:
        return Finding(CONSOLE, "", reported_after, reported_after)
    if not race.hits and race.upstream and any(result.ending is Ending.FAIL for result in race.subtests):
        return Finding(SELFTEST, "", race_seconds, race_seconds)
    oracle = race.hits[0].oracle if race.hits else CONSOLE
    return Finding(oracle, "", race_seconds, race_seconds)


def raced_seconds(race: RaceResult | None, subtest: str) -> float:
    """Return how long a subtest raced, in seconds; of all subtests together when `subtest` is empty."""
    if race is None:
        return 0.0
    return (race.total("race_ms") if not subtest else race.of(subtest, "race_ms") or 0) / _MS


def _at(race: RaceResult, oracle: str, subtest: str, own: float) -> Finding:
    return Finding(oracle, subtest, _raced(race, subtest) + own, own, race.of(subtest, "trials"))


def _raced(race: RaceResult, until: str) -> float:
    """Return the seconds of the subtests that were raced before `until`."""
    total = 0.0
    for result in race.subtests:
        if result.name == until:
            break
        total += raced_seconds(race, result.name)
    return total


def _counted(race: RaceResult, counter: str) -> list[str]:
    end = f".{counter}"
    return [key.removesuffix(end) for key in race.counters if key.endswith(end)]
