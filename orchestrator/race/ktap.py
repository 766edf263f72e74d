# SPDX-License-Identifier: GPL-2.0-only
"""Read the KTAP that a selftest printed. Strict: what is absent did not happen, and `problem` says what is.

The dialect is Documentation/dev-tools/ktap.rst with records in its diagnostic lines:

    KTAP version 1
    # scenario pin_vs_munmap
    # param seed 0x0123456789abcdef
    1..2
    # subtest probe.munmap
    # floor probe.munmap.unmaps 100
    # hit probe.munmap foreign_stamp expected (0,3,7), observed (1,3,7)
    # counter probe.munmap.trials 4711
    not ok 1 probe.munmap # foreign_stamp: 1 hit
    ok 2 vmsplice.munmap # SKIP no vmsplice
    # totals pass:0 fail:1 skip:1
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.race.model import Ending, Hit, RaceResult, SubtestResult

MAX_LINE = 2000
MAX_LINES = 20_000
MAX_HITS = 200

_PLAN = re.compile(r"1\.\.(\d{1,5})(?:\s+#\s*SKIP\b\s*(.*))?$", re.IGNORECASE)
_RESULT = re.compile(r"(not )?ok (\d{1,5})(?:\s+-)?\s+([^\s#]+)\s*(?:#\s*(.*))?$")
_RECORD = re.compile(r"#\s+(scenario|param|subtest|floor|counter|hit|totals)\s+(.*)$")
_TOTAL = re.compile(r"(pass|fail|skip):(\d{1,6})")
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,120}$")
_NUMBER = re.compile(r"\d{1,20}$")
_ENDINGS = {"pass": Ending.PASS, "fail": Ending.FAIL, "skip": Ending.SKIP}
_STATUS = {0: "pass", 1: "fail", 4: "skip"}


@dataclass(slots=True)
class _Reader:
    subtests: list[SubtestResult] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    hits: list[Hit] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    floors: dict[str, int] = field(default_factory=dict)
    totals: dict[str, int] | None = None
    planned: int | None = None
    begun: str = ""
    versioned: bool = False
    skipped_whole: bool = False
    problems: list[str] = field(default_factory=list)

    def line(self, number: int, text: str) -> None:
        record = _RECORD.match(text)
        if record:
            self._record(number, record[1], record[2].strip())
        elif text.startswith("KTAP version "):
            self._version(number, text)
        elif plan := _PLAN.match(text):
            self._plan(number, int(plan[1]), plan[2])
        elif result := _RESULT.match(text):
            self._result(number, result)
        elif text.startswith("Bail out!"):
            self.problems.append(f"bail out: {text[9:].strip() or 'no reason given'}")
        elif text.startswith(("ok ", "not ok ", "1..")):
            self.problems.append(f"line {number} is malformed: {text[:80]!r}")

    def _version(self, number: int, text: str) -> None:
        if self.versioned:
            self.problems.append(f"line {number}: a second KTAP begins")
        elif text != "KTAP version 1":
            self.problems.append(f"line {number}: unknown {text[:40]!r}")
        self.versioned = True

    def _plan(self, number: int, planned: int, skip: str | None) -> None:
        if self.planned is not None:
            self.problems.append(f"line {number}: a second plan line")
        elif planned == 0 and skip is not None:
            self.subtests.append(SubtestResult("all", Ending.SKIP, skip))
            self.skipped_whole, planned = True, 1
        elif planned == 0:
            self.problems.append("the plan line announces no test")
        self.planned = planned

    def _result(self, number: int, match: re.Match[str]) -> None:
        name, detail = match[3], (match[4] or "").strip()
        if int(match[2]) != len(self.subtests) + 1:
            self.problems.append(f"line {number}: test {match[2]} where {len(self.subtests) + 1} is due")
        if name in self.names:
            self.problems.append(f"line {number}: a second result for {name}")
        self.names.add(name)
        self.subtests.append(SubtestResult(name, *_ending(bool(match[1]), detail)))

    def _record(self, number: int, kind: str, rest: str) -> None:
        readers: dict[str, Callable[[str], bool]] = {
            "scenario": lambda text: self._param(f"scenario {text}"),
            "param": self._param,
            "subtest": self._begin,
            "floor": lambda text: self._count(self.floors, text),
            "counter": lambda text: self._count(self.counters, text),
            "hit": self._hit,
            "totals": self._totals,
        }
        if not readers[kind](rest):
            self.problems.append(f"line {number} is malformed: {f'# {kind} {rest}'[:80]!r}")

    def _param(self, rest: str) -> bool:
        name, _, value = rest.partition(" ")
        if not _NAME.match(name) or not value.strip() or name in self.params:
            return False
        self.params[name] = value.strip()
        return True

    def _begin(self, rest: str) -> bool:
        self.begun = rest
        return bool(_NAME.match(rest))

    @staticmethod
    def _count(into: dict[str, int], rest: str) -> bool:
        name, _, value = rest.partition(" ")
        if not _NAME.match(name) or not _NUMBER.match(value.strip()) or name in into:
            return False
        into[name] = int(value)
        return True

    def _hit(self, rest: str) -> bool:
        words = rest.split(maxsplit=2)
        if len(words) < 2:
            return False
        if len(self.hits) < MAX_HITS:
            self.hits.append(Hit(words[0], words[1], words[2] if len(words) > 2 else ""))
        return True

    def _totals(self, rest: str) -> bool:
        self.totals = {name: int(count) for name, count in _TOTAL.findall(rest)}
        return len(self.totals) == 3


def _ending(failed: bool, detail: str) -> tuple[Ending, str]:
    skip = re.match(r"SKIP\b\s*(.*)", detail, re.IGNORECASE)
    if skip and not failed:
        return Ending.SKIP, skip[1]
    return (Ending.FAIL if failed else Ending.PASS), detail


def read_ktap(text: str, status: int | None = None) -> RaceResult:
    """Read a selftest's standard output into a RaceResult.

    `status` is the exit status of the selftest, if it ended by itself; it must agree with the lines. Never
    raises: whatever is missing or malformed is said in `problem`, and what could be read is kept, so that a hit
    before a crash counts. Lines beyond 20 000 and characters beyond 2000 a line are not read, and that is a
    problem too.
    """
    reader = _Reader()
    lines = text.split("\n")
    for number, raw in enumerate(lines[:MAX_LINES], 1):
        line = raw.rstrip("\r \t\0")
        if len(line) > MAX_LINE:
            reader.problems.append(f"line {number} is longer than {MAX_LINE} characters")
        reader.line(number, line[:MAX_LINE])
    if len(lines) > MAX_LINES:
        reader.problems.append(f"more than {MAX_LINES} lines")
    if lines[-1]:
        reader.problems.append("the last line is cut short")
    problems = [*reader.problems, *_absences(reader, status)]
    return RaceResult(
        subtests=tuple(reader.subtests),
        hits=tuple(reader.hits),
        params=reader.params,
        counters=reader.counters,
        floors=reader.floors,
        problem="; ".join(problems[:5]),
        begun="" if any(subtest.name == reader.begun for subtest in reader.subtests) else reader.begun,
    )


def _absences(reader: _Reader, status: int | None) -> list[str]:
    if not reader.versioned:
        return ["no KTAP version line: the selftest said nothing" if not reader.subtests else "no KTAP version line"]
    found = []
    if reader.planned is None:
        found.append("no plan line")
    elif len(reader.subtests) != reader.planned:
        found.append(f"{len(reader.subtests)} of {reader.planned} planned tests reported")
    if reader.totals is None and not reader.skipped_whole:
        found.append("no totals line")
    return found + _contradictions(reader, status)


def _contradictions(reader: _Reader, status: int | None) -> list[str]:
    found = []
    counted = {name: sum(s.ending is end for s in reader.subtests) for name, end in _ENDINGS.items()}
    if reader.totals is not None and reader.totals != counted:
        found.append(f"the totals line says {reader.totals}, the results say {counted}")
    clean = {s.name for s in reader.subtests if s.ending is Ending.PASS}
    if liars := sorted({hit.subtest for hit in reader.hits} & clean):
        found.append(f"{', '.join(liars)} passed in spite of a hit")
    if status is not None and not found and (wrong := _status_problem(counted, status)):
        found.append(wrong)
    return found


def _status_problem(counted: dict[str, int], status: int) -> str:
    due = 1 if counted["fail"] else 0 if counted["pass"] else 4
    if status == due:
        return ""
    meaning = _STATUS.get(status, "no status of a selftest")
    return f"exit status {status} ({meaning}) where the results ask for {due} ({_STATUS[due]})"
