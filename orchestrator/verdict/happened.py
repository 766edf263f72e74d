# SPDX-License-Identifier: GPL-2.0-only
"""Did the race happen? Trials, checks, and the floors that the selftest set for its counters. Pure."""

from __future__ import annotations

from orchestrator.race.model import Ending, RaceResult


def counted(race: RaceResult, counter: str) -> dict[str, int]:
    """Return `counter` of each subtest that ran and has it."""
    ran = [s.name for s in race.subtests if s.ending is not Ending.SKIP]
    return {name: race.counters[key] for name in ran if (key := f"{name}.{counter}") in race.counters}


def below_floor(race: RaceResult) -> list[tuple[str, str]]:
    """Return each floor that was missed: the subtest that it is of (empty: of all), and how it was missed in words.

    What a skipped subtest announced does not count.
    """
    skipped = {s.name for s in race.subtests if s.ending is Ending.SKIP}
    due = {key: least for key, least in race.floors.items() if _owner(race, key) not in skipped}
    counts = {key: race.counters.get(key, 0) for key in due}
    return [
        (_owner(race, key), f"{key} is {counts[key]}, not {least} or more")
        for key, least in due.items()
        if counts[key] < least
    ]


def idle(race: RaceResult) -> list[str]:
    """Return the subtests that ran without a valid trial, or, where none are counted, without a check."""
    # Checks stand for trials only where none are counted: a race that never met may have checked something beside.
    done = counted(race, "checks") | counted(race, "trials")
    return [s.name for s in race.subtests if s.ending is not Ending.SKIP and not done.get(s.name)]


def shortfalls(race: RaceResult) -> dict[str, str]:
    """Return of each subtest in which the race did not happen why, in words."""
    found: dict[str, list[str]] = {}
    for name in idle(race):
        found.setdefault(name, []).append("no valid trial")
    for name, text in below_floor(race):
        found.setdefault(name, []).append(text.removeprefix(f"{name}."))
    return {name: "; ".join(texts) for name, texts in found.items()}


def _owner(race: RaceResult, key: str) -> str:
    """Return the subtest that a counter is of: one's name may begin with another's. Empty: it is of all."""
    return max((s.name for s in race.subtests if key.startswith(f"{s.name}.")), key=len, default="")
