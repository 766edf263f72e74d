# SPDX-License-Identifier: GPL-2.0-only
"""Measure: valid trials per second of each scenario, beside the same system calls in a naive loop, in the same guest.

    .venv/bin/python -m tests.guest.bench_scenarios arm64/plain [--matrix M] [--kernel 6.1] [--scenario GLOB]

Each scenario races three times in the same guest: as it is; with `--no-stretch` (no kprobe makes the walk slow, so
that what is left of the difference is the synchroniser's and the oracles'); and with `--naive` (no synchroniser, no
oracle: what a test without the library would do). For each subtest: trials (one call of A's and one change of B's;
of the naive loops the lesser number) per second of the three, ratios of the first two to the naive loop, back-offs
per trial of the three (how often GUP-fast's own defence fired, so how often a trial was inside the window). A
second table says what the kernel did in that time, by the scenario's own counters of /proc/vmstat: a naive round
whose split failed, since a pin was in the way, is a round all the same, and no split. The kernel comes from the
cache, or is built.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orchestrator.guest.guest import Guest
from orchestrator.race.ktap import read_ktap
from orchestrator.race.model import RaceResult
from orchestrator.race.session import GUEST_DIR
from tests.guest.lane import arguments, lane


@dataclass(frozen=True, slots=True)
class Rate:
    """What one subtest did in so many milliseconds: back-offs are None where they are not counted."""

    trials: int
    calls: int
    backoffs: int | None
    milliseconds: int
    kernel: Mapping[str, int]

    @property
    def per_second(self) -> float:
        """Valid trials per second."""
        return self.each_second(self.trials)

    def each_second(self, count: int) -> float:
        """Return how many of that came in a second."""
        return 1000.0 * count / max(self.milliseconds, 1)

    @property
    def inside(self) -> float | None:
        """Back-offs per pin call: a trial has one."""
        return None if self.backoffs is None else self.backoffs / max(self.calls, 1)


def rates(result: RaceResult) -> Iterator[tuple[str, Rate]]:
    """Yield each subtest that raced, with its rate."""
    for subtest in result.subtests:
        names = ("trials", "a_calls", "backoffs", "race_ms")
        trials, calls, backoffs, milliseconds = (result.counters.get(f"{subtest.name}.{name}") for name in names)
        head = f"{subtest.name}.vm."
        kernel = {name.removeprefix(head): value for name, value in result.counters.items() if name.startswith(head)}
        if trials and milliseconds:
            yield subtest.name, Rate(trials, calls or trials, backoffs, milliseconds, kernel)


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


def what_the_kernel_did(scenario: str, ways: tuple[dict[str, Rate], ...]) -> Iterator[str]:
    """Yield a row of the second table for each of the kernel's counters that moved in any of the three."""
    for name in ways[0]:
        rates = [way.get(name) for way in ways]
        for counter in ways[0][name].kernel:
            steered, plain, naive = (rate and rate.each_second(rate.kernel.get(counter, 0)) for rate in rates)
            if steered or plain or naive:
                of_naive = [f"{much / naive:.2f}" if much is not None and naive else "-" for much in (steered, plain)]
                numbers = ["-" if much is None else f"{much:.0f}" for much in (steered, plain, naive)]
                yield "| " + " | ".join([scenario, name, counter, *numbers, *of_naive]) + " |"


def report(scenario: str, ways: tuple[dict[str, Rate], ...]) -> None:
    """Print a row of the first table for each subtest that raced: as it is, without stretch, naive."""
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
    kernel: list[str] = []
    for cell in here.cells:
        with here.guest(cell) as guest:
            ways = ((), ("--no-stretch",), ("--naive",))
            done = tuple(raced(guest, cell.scenario, asked.seconds, *way) for way in ways)
        report(cell.scenario, done)
        kernel.extend(what_the_kernel_did(cell.scenario, done))
    head = ("scenario", "subtest", "of the kernel", "a second", "no stretch", "naive", "ratio", "no stretch")
    print("\n| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    print("\n".join(kernel))


if __name__ == "__main__":
    main()
