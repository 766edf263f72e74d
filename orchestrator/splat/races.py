# SPDX-License-Identifier: GPL-2.0-only
"""The data races that a console shows, held against those that the kernel counted. Pure.

/sys/kernel/debug/kcsan counts every race that KCSAN meets (kernel/kcsan/core.c): `data_races` and `assert_failures`
where one access found the other, `races_unknown_origin` where only the value had changed. It prints fewer of them: a
pair of functions once in CONFIG_KCSAN_REPORT_ONCE_IN_MS (3 s), by default none whose write left the value as it was,
none of unknown origin without CONFIG_KCSAN_REPORT_RACE_UNKNOWN_ORIGIN. So more counted than printed is how it works;
fewer cannot be: then the console or the counters are not those of this race.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.splat.model import Phase, Splat, SplatKind
from orchestrator.words import plural

# Counted only behind the report (kcsan_found_watchpoint() counts when the other CPU has been told), one per CPU.
IN_FLIGHT = 2


@dataclass(frozen=True, slots=True)
class Races:
    """Races printed on the console and counted by the kernel, both during the race.

    Each is a pair: those whose two accesses are known, and those of unknown origin. `incomplete` are reports that
    lack a stack or their end; `checks` the watchpoints that were set up: without any, nothing was looked for.
    """

    printed: tuple[int, int]
    counted: tuple[int, int]
    incomplete: int
    checks: int

    @property
    def impossible(self) -> str:
        """Say how the two contradict each other; empty when they agree."""
        for what, shown, known in zip(("races", "races of unknown origin"), self.printed, self.counted, strict=True):
            if shown > known + IN_FLIGHT:
                return f"the console shows {shown} {what}, KCSAN counted {known}"
        return ""

    @property
    def text(self) -> str:
        """The comparison in words."""
        if self.impossible:
            return f"{self.impossible}: console and counters are not of one race"
        printed, counted = sum(self.printed), sum(self.counted)
        if not counted and not printed:
            looked = (
                f"{self.checks} {plural(self.checks, 'watchpoint')}"
                if self.checks
                else "no watchpoint: it did not look"
            )
            return f"KCSAN counted no race and printed none ({looked})"
        said = f"KCSAN counted {counted} {plural(counted, 'race')} and printed {printed}"
        if counted > printed:
            said += ": a pair once in 3 s, and only where the value changed"
        return f"{said}; {self.incomplete} of the reports incomplete" if self.incomplete else said


def compare(splats: Iterable[Splat], counters: Mapping[str, int]) -> Races:
    """Hold the reports of the race's phase against the deltas of KCSAN's counters over the race."""
    pairs = unknown = incomplete = 0
    for splat in splats:
        if splat.kind is not SplatKind.KCSAN or splat.phase is not Phase.RACE:
            continue
        if splat.kcsan and splat.kcsan.unknown_origin:
            unknown += splat.count
        else:
            pairs += splat.count
        if splat.kcsan is None or not splat.kcsan.complete:
            incomplete += 1
    found = counters.get("data_races", 0) + counters.get("assert_failures", 0)
    return Races(
        printed=(pairs, unknown),
        counted=(found, counters.get("races_unknown_origin", 0)),
        incomplete=incomplete,
        checks=counters.get("setup_watchpoints", 0),
    )
