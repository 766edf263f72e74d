# SPDX-License-Identifier: GPL-2.0-only
"""What the race room gives: the result of one scenario in one guest, and everything collected around it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    """The four endings of a selftest."""

    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class SubtestResult:
    """One KTAP line: a vehicle raced against one operation. `detail` is the text behind `#`."""

    name: str
    ending: Ending
    detail: str


@dataclass(frozen=True, slots=True)
class Hit:
    """An oracle's finding: what was expected and what was observed, as the selftest told it."""

    subtest: str
    oracle: str
    text: str


@dataclass(frozen=True, slots=True)
class RaceResult:
    """What a selftest said, read from its KTAP.

    `params` holds `seed` (decimal or 0x...) and the like; `counters` is keyed `<subtest>.<counter>` (trials,
    pins, unmaps, backoffs, preempted ...); `floors` are the least values, keyed as the counters are, below which
    that subtest's race did not happen; `problem` says why the output is no complete result (no plan line, missing
    tests, bail out), and is empty when it is one; `begun` is the subtest that was being raced when it ended, if any;
    `upstream` is the program of the kernel's own selftests that said it, empty for a race of ours.
    """

    subtests: tuple[SubtestResult, ...]
    hits: tuple[Hit, ...]
    params: dict[str, str]
    counters: dict[str, int]
    floors: dict[str, int]
    problem: str
    begun: str = ""
    upstream: str = ""

    def of(self, subtest: str, counter: str) -> int | None:
        """Return one counter of one subtest, None when it was not printed."""
        return self.counters.get(f"{subtest}.{counter}")

    def total(self, counter: str) -> int:
        """Return the sum of `counter` over all subtests."""
        return sum(n for key, n in self.counters.items() if key.rsplit(".", 1)[-1] == counter)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was collected around the race (evidence.json).

    `vmstat` holds deltas of /proc/vmstat that are not zero; taint is /proc/sys/kernel/tainted before and after;
    `kcsan` the deltas of /sys/kernel/debug/kcsan counters, None on a kernel without KCSAN; `config_lost` the
    options of the built .config that the guest's /proc/config.gz contradicts; `host_load` is the load average
    over one minute before and after; `console_blind` says why the console cannot be trusted, empty when it can.
    """

    race: RaceResult
    vmstat: dict[str, int]
    taint: tuple[int, int]
    kcsan: dict[str, int] | None
    kcsan_on: bool | None
    config_lost: tuple[str, ...]
    console_blind: str
    versions: dict[str, str]
    host_load: tuple[float, float]
    race_seconds: float
