# SPDX-License-Identifier: GPL-2.0-only
"""Read what the kernel's own selftests printed: TAP 13 as kselftest.h and kselftest_harness.h write it, or none.

The file holds one or more runs of a program, each between two lines of guprace's own:

    # guprace: run ./cow
    TAP version 13
    1..2
    # [RUN] Basic COW after fork() ... with base page
    ok 1 No leak from parent into child
    # [RUN] Basic COW after fork() ... with swapped out base page
    ok 2 # SKIP MADV_PAGEOUT did not work, is swap enabled?
    # Totals: pass:1 fail:0 xfail:0 xpass:0 skip:1 error:0
    # guprace: status 0

A program that prints no TAP (khugepaged before v6.13, gup_test before v6.5) is one test, and its exit status counts.
A subtest is named by run, number and what `RUN` announced: its description says how it ended, so it differs between
a pass and a failure, and a failure must be found again in what the stock kernel's run says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from orchestrator.race.model import Ending, RaceResult, SubtestResult

MAX_LINE = 2000
MAX_LINES = 50_000
MAX_TEXT = 160
SKIP_STATUS = 4

_BEGIN = re.compile(r"# guprace: run \./(.*)$")
_END = re.compile(r"# guprace: status (-?\d{1,4})$")
_VERSION = re.compile(r"K?TAP version \d+$")
_PLAN = re.compile(r"1\.\.(\d{1,5})\s*(?:#\s*SKIP\b\s*(.*))?$", re.IGNORECASE)
_RESULT = re.compile(r"(not )?ok (\d{1,5})\b(?:\s+-\s)?\s*(.*)$")
_DIRECTIVE = re.compile(r"(?:^|\s)#\s*(SKIP|XFAIL|XPASS)\b\s*", re.IGNORECASE)
_ANNOUNCED = re.compile(r"#\s+(?:\[RUN\]|RUN\s{2,})\s*(.*?)(?:\s*\.\.\.)?$")
# A test whose text lacks its newline has the next one's announcement on its line.
_GLUED = re.compile(r"(?<=\S)(?=# \[RUN\] )")
# khugepaged's words for a check that failed; its exit status is their number, so that four are no skip.
_FAILED = re.compile(r"\bFail\b")
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,12}m")
_TOTALS = re.compile(r"# Totals: (.*)$")
_TOTAL = re.compile(r"(\w+):(\d{1,6})")
_COUNTED = {
    Ending.PASS: ("pass", "xfail", "xpass"),
    Ending.FAIL: ("fail", "error"),
    Ending.SKIP: ("skip",),
}

_BADNESS = (Ending.PASS, Ending.SKIP, Ending.FAIL)


def begin_line(program: str, arguments: str) -> str:
    """Return the line that begins a run."""
    return f"# guprace: run ./{program} {arguments}".rstrip()


def end_line(status: int) -> str:
    """Return the line that ends a run."""
    return f"# guprace: status {status}"


def read_upstream(text: str, program: str) -> RaceResult:
    """Read all runs of `program` into one result, its tests counted as `checks`.

    Never raises: whatever is missing or contradicts itself is said in `problem`, and what could be read is kept.
    """
    lines = text.split("\n")
    runs = list(_runs(lines[:MAX_LINES], program))
    problems = [problem for run in runs for problem in run.problems()]
    if not runs:
        problems.append(f"{program} was not run")
    if len(lines) > MAX_LINES:
        problems.append(f"more than {MAX_LINES} lines")
    subtests = tuple(subtest for run in runs for subtest in run.results())
    counters = {f"{s.name}.checks": 1 for s in subtests if s.ending is not Ending.SKIP}
    return RaceResult(subtests, (), {}, counters, {}, "; ".join(problems[:5]), upstream=program)


def _runs(lines: list[str], program: str) -> Iterator[_Run]:
    run: _Run | None = None
    for raw in lines:
        line = raw.rstrip("\r \t\0")[:MAX_LINE]
        if begun := _BEGIN.match(line):
            if run:
                yield run
            run = _Run(_clean(begun[1]) or program)
        elif run:
            for part in _GLUED.split(line):
                run.line(part)
    if run:
        yield run


@dataclass(slots=True)
class _Run:
    label: str
    status: int | None = None
    subtests: list[SubtestResult] = field(default_factory=list)
    announced: str = ""
    last: str = ""
    failed: str = ""
    tap: bool = False
    planned: int | None = None
    totals: dict[str, int] | None = None
    bailed: str | None = None
    wrong: list[str] = field(default_factory=list)
    before: list[tuple[SubtestResult, ...]] = field(default_factory=list)

    def line(self, text: str) -> None:
        """Take one line."""
        if ended := _END.match(text):
            self.status = int(ended[1])
        elif _VERSION.match(text):
            if self.tap:
                self._begin_again()
            self.tap = True
        elif plan := _PLAN.match(text):
            self._once(self.planned is not None, "a second plan line")
            self._plan(int(plan[1]), plan[2])
        elif result := _RESULT.match(text):
            self._result(bool(result[1]), int(result[2]), result[3])
        elif announced := _ANNOUNCED.match(text):
            self.announced = _clean(announced[1])
        elif totals := _TOTALS.match(text):
            self.totals = {name: int(count) for name, count in _TOTAL.findall(totals[1])}
        elif text.startswith("Bail out!"):
            self.bailed = _clean(text[9:]) or "no reason given"
        elif text.strip():
            self.last = _clean(text)
            if not self.failed and _FAILED.search(self.last):
                self.failed = self.last

    def _begin_again(self) -> None:
        """Take what follows for a repetition, and a continuation.

        A child that exits prints what it found in stdio's buffer, all that its parent had said until then
        (memfd_secret of 6.1); the parent prints it again, and goes on.
        """
        self.before.append(tuple(self.subtests))
        self.subtests, self.planned, self.totals, self.announced = [], None, None, ""

    def _once(self, twice: bool, what: str) -> None:
        if twice:
            self.wrong.append(what)

    def _plan(self, planned: int, skip: str | None) -> None:
        if planned == 0:
            self.subtests.append(SubtestResult(self.label, Ending.SKIP, _clean(skip or "") or "no test planned"))
        self.planned = max(planned, 1)

    def _result(self, failed: bool, number: int, rest: str) -> None:
        if not 1 <= number <= len(self.subtests) + 1:
            self.wrong.append(f"test {number} where {len(self.subtests) + 1} is due")
        directive = _DIRECTIVE.search(rest)
        if directive and directive[1].upper() == "SKIP":
            ending, detail = Ending.SKIP, rest[directive.end() :]
        else:
            ending, detail = (Ending.FAIL if failed else Ending.PASS), rest
        name = f"{self.label} #{number} {self.announced}".rstrip()
        self._told(number, SubtestResult(name, ending, _clean(detail)))
        self.announced = ""

    def _told(self, number: int, test: SubtestResult) -> None:
        """Keep a test; one that is told twice counts by its worse ending.

        In v6.12 the exec of ksm_functional_tests' child fails (its argv has no end), and the child goes on with the
        tests that are left, before its parent does.
        """
        if not 1 <= number <= len(self.subtests):
            self.subtests.append(test)
        elif _BADNESS.index(test.ending) > _BADNESS.index(self.subtests[number - 1].ending):
            self.subtests[number - 1] = replace(test, name=self.subtests[number - 1].name)

    @property
    def speaks_tap(self) -> bool:
        """Whether the program printed any TAP."""
        return self.tap or self.planned is not None or bool(self.subtests)

    def results(self) -> list[SubtestResult]:
        """Return the tests; a program without TAP is one."""
        if self.speaks_tap or self.status is None:
            return self.subtests
        if self.status == SKIP_STATUS and not self.failed:
            return [SubtestResult(self.label, Ending.SKIP, self.last or "no reason given")]
        if self.status == 0:
            return [SubtestResult(self.label, Ending.PASS, self.last)]
        return [
            SubtestResult(
                self.label, Ending.FAIL, f"exit status {self.status}: {self.failed or self.last}".rstrip(": ")
            )
        ]

    def problems(self) -> Iterator[str]:
        """Yield why this is no complete result."""
        yield from (f"{self.label}: {what}" for what in (*self.wrong[:3], *self._absences()))

    def _absences(self) -> Iterator[str]:
        done = len(self.subtests)
        if self.status is None:
            yield "it did not end"
        if any(tuple(self.subtests[: len(earlier)]) != earlier for earlier in self.before):
            yield "a second TAP begins, and says something else"
        if not self.speaks_tap:
            return
        # What ends in the middle because it has to skip the rest says so in its last test (ksft_exit_skip).
        gave_up = self.status == SKIP_STATUS and done > 0 and self.subtests[-1].ending is Ending.SKIP
        if self.planned is None:
            yield "no plan line"
        elif done != self.planned and not gave_up:
            yield f"{done} of {self.planned} planned tests reported"
        # ksft_exit_fail_msg("%d out of %d tests failed") is how cow ends with all its tests told.
        if self.bailed is not None and done != self.planned:
            yield f"bail out: {self.bailed}"
        yield from self._contradictions()

    def _contradictions(self) -> Iterator[str]:
        counted = {ending: sum(s.ending is ending for s in self.subtests) for ending in _COUNTED}
        for ending, names in _COUNTED.items():
            told = sum((self.totals or {}).get(name, 0) for name in names)
            if self.totals is not None and told != counted[ending]:
                yield f"the totals line says {told} {ending}, the results say {counted[ending]}"
        if self.status not in (None, 0, SKIP_STATUS) and not counted[Ending.FAIL] and self.bailed is None:
            yield f"exit status {self.status} though no test failed"
        elif self.status is not None and not 0 <= self.status <= SKIP_STATUS:
            yield f"exit status {self.status}"


def _clean(text: str) -> str:
    """Return hostile text as one short line of printable characters."""
    printable = "".join(c if c.isprintable() else " " for c in _COLOUR.sub("", text))
    return " ".join(printable.split())[:MAX_TEXT]
