# SPDX-License-Identifier: GPL-2.0-only
"""Measure: valid trials per second of each scenario, beside the same system calls in a naive loop, in the same guest.

    .venv/bin/python -m tests.guest.bench_scenarios arm64/plain [--matrix M] [--kernel 6.1] [--scenario GLOB]

Each scenario races three times in the same guest: as it is; with `--no-stretch` (no kprobe makes the walk slow, so
that what is left of the difference is the synchroniser's and the oracles'); and with `--naive` (no synchroniser, no
oracle: what a test without the library would do). For each subtest: trials (one call of A's and one change of B's;
of the naive loops the lesser number) per second of the three, ratios of the first two to the naive loop, back-offs
per trial of the three (how often GUP-fast's own defence fired, so how often a trial was inside the window). The
kernel comes from the cache, or is built.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.guest.guest import Guest
from orchestrator.race.ktap import read_ktap
from orchestrator.race.model import RaceResult
from orchestrator.race.session import GUEST_DIR
from tests.guest.lane import arguments, lane


@dataclass(frozen=True, slots=True)
class Rate:
    """What one subtest did: trials, pin calls and back-offs (None: not counted) in so many milliseconds."""

    trials: int
    calls: int
    backoffs: int | None
    milliseconds: int

    @property
    def per_second(self) -> float:
        """Valid trials per second."""
        return 1000.0 * self.trials / max(self.milliseconds, 1)

    @property
    def inside(self) -> float | None:
        """Back-offs per pin call: a trial has one."""
        return None if self.backoffs is None else self.backoffs / max(self.calls, 1)


def rates(result: RaceResult) -> Iterator[tuple[str, Rate]]:
    """Yield each subtest that raced, with its rate."""
    for subtest in result.subtests:
        names = ("trials", "a_calls", "backoffs", "race_ms")
        trials, calls, backoffs, milliseconds = (result.counters.get(f"{subtest.name}.{name}") for name in names)
        if trials and milliseconds:
            yield subtest.name, Rate(trials, calls or trials, backoffs, milliseconds)


def raced(guest: Guest, scenario: str, seconds: float, *options: str) -> dict[str, Rate]:
    """Race a scenario that is deployed."""
    line = " ".join([f"{GUEST_DIR}/{scenario}", f"--seconds {seconds:g}", *options])
    done = guest.run(line, seconds=seconds + 120)
    return dict(rates(read_ktap(done.stdout, done.status)))


def inside(rate: Rate | None) -> str:
    """Say back-offs per trial."""
    return "-" if rate is None or rate.inside is None else f"{rate.inside:.3f}"


def per_second(rate: Rate | None) -> str:
    """Say trials per second."""
    return f"{rate.per_second:.0f}" if rate else "-"


def ratio(rate: Rate | None, naive: Rate | None) -> str:
    """Say how many trials there are for one of the naive loop."""
    return f"{rate.per_second / naive.per_second:.2f}" if rate and naive and naive.per_second else "-"


def report(scenario: str, ways: tuple[dict[str, Rate], ...]) -> None:
    """Print a row of the table for each subtest that raced: as it is, without stretch, naive."""
    for name in ways[0]:
        steered, plain, naive = (way.get(name) for way in ways)
        row = [scenario, name, *map(per_second, (steered, plain, naive)), ratio(steered, naive), ratio(plain, naive)]
        print("| " + " | ".join([*row, *map(inside, (steered, plain, naive))]) + " |", flush=True)


def main() -> None:
    """Boot a guest of the lane for each scenario and race it there, three times."""
    parser = arguments(__doc__, "6.1", 10.0)
    asked = parser.parse_args()
    here = lane(parser, asked)
    print(f"{asked.kernel}/{asked.lane}, {asked.seconds:g} s a scenario, load {os.getloadavg()[0]:.1f}")
    head = ("scenario", "subtest", "trials/s", "no stretch", "naive", "ratio", "no stretch", "back-offs a trial")
    print("| " + " | ".join([*head, "no stretch", "naive"]) + " |\n" + "|---" * (len(head) + 2) + "|")
    for cell in here.cells:
        with here.guest(cell) as guest:
            ways = ((), ("--no-stretch",), ("--naive",))
            report(cell.scenario, tuple(raced(guest, cell.scenario, asked.seconds, *way) for way in ways))


if __name__ == "__main__":
    main()
