# SPDX-License-Identifier: GPL-2.0-only
"""Is the list of known issues still true? What a run says of each entry: expired, vanished, seen too often. Pure.

An entry nobody looks at hides the next bug that looks like it. So every entry that speaks of a kernel of the run is
counted, and said to be

* expired: its last day is over, so it covers nothing, whether or not its report was seen;
* vanished: the run raced kernels it speaks of and the report did not come, in so many cells that it would be a
  surprise (less than 5 %). Without a `rate` nobody knows what to expect of a cell: one in ten is supposed
  (`LEAST_RATE`), so that 29 cells without it say something and one says nothing;
* excessive: seen in more cells than its rate explains (a chance below 1 %).

Cells are those in which a race was watched. One that was skipped, in which the race did not happen, or that is BROKEN
is no cell without the report: it says nothing of a rate. A report that came there all the same (at boot) has not
vanished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from orchestrator.splat.chance import at_least
from orchestrator.splat.model import Splat, SplatKind
from orchestrator.splat.standing import GupPath, KnownIssue, Subject
from orchestrator.words import plural

SURPRISING = 0.05
EXCESSIVE = 0.01
# What is expected of an entry whose rate nobody measured. As low as a run can still contradict: the 29 cells it takes
# are fewer than the kcsan lanes of one kernel of configs/suite.yaml have; a rarer report needs a rate of its own.
LEAST_RATE = 0.1


class Remark(StrEnum):
    """What is to be said of an entry."""

    EXPIRED = "expired"
    VANISHED = "vanished"
    EXCESSIVE = "seen more often than expected"


@dataclass(frozen=True, slots=True)
class Heard:
    """One cell that got as far as a console: its kernel and its reports.

    `kcsan`: the kernel looks for data races. `watched`: it raced, and what did not come then says something.
    """

    subject: Subject
    splats: tuple[Splat, ...]
    kcsan: bool = True
    watched: bool = True


@dataclass(frozen=True, slots=True)
class Audited:
    """One entry in one run: cells it speaks of, those that showed it, how many reports, and what is wrong with it.

    `beside` are the cells that showed it and in which no race was watched; the reports are those of all.
    `another`: the run was judged by another list than this entry's.
    """

    issue: KnownIssue
    cells: int
    seen: int
    reports: int
    remarks: tuple[Remark, ...] = ()
    beside: int = 0
    another: bool = False

    @property
    def text(self) -> str:
        """The entry in words, such as `x: 3 reports in 2 of 8 cells, expected in 10 %; expired on 2027-01-01`."""
        many = f"{self.reports} {plural(self.reports, 'report')}"
        text = f"{self.issue.id}: {many} in {self.seen} of {self.cells} {plural(self.cells, 'cell')}"
        if self.beside:
            text += f" and in {self.beside} whose race did not happen"
        if self.issue.rate is not None:
            text += f", expected in {self.issue.rate:.0%}"
        words = {
            Remark.EXPIRED: f"expired on {self.issue.expires}: it covers nothing any more",
            Remark.VANISHED: f"vanished: take the entry out if the kernel was fixed{self._or_rarer}",
            Remark.EXCESSIVE: "seen more often than expected: it may cover something else as well",
        }
        if self.another:
            text += " (by today's list; the run was judged by another)"
        return "; ".join([text, *(words[remark] for remark in self.remarks)])

    @property
    def _or_rarer(self) -> str:
        return f", or give it a rate if it is rarer than {LEAST_RATE:.0%}" if self.issue.rate is None else ""


def audit(heard: Sequence[Heard], known: Sequence[KnownIssue], path: GupPath, today: date) -> tuple[Audited, ...]:
    """Return each entry that speaks of a kernel of the run, in the order of the file."""
    found = (_audited(issue, [h for h in heard if _concerns(issue, h)], path, today) for issue in known)
    return tuple(each for each in found if each.cells or each.beside)


def _concerns(issue: KnownIssue, heard: Heard) -> bool:
    return issue.concerns(heard.subject) and (heard.kcsan or issue.kind is not SplatKind.KCSAN)


def _audited(issue: KnownIssue, heard: Sequence[Heard], path: GupPath, today: date) -> Audited:
    matching = [(h.watched, [s for s in h.splats if issue.matches(s, path, h.subject)]) for h in heard]
    cells = sum(1 for watched, _ in matching if watched)
    seen = sum(1 for watched, splats in matching if watched and splats)
    beside = sum(1 for watched, splats in matching if not watched and splats)
    remarks = []
    if issue.expires < today:
        remarks.append(Remark.EXPIRED)
    expected = LEAST_RATE if issue.rate is None else issue.rate
    if not seen and not beside and (1.0 - expected) ** cells < SURPRISING:
        remarks.append(Remark.VANISHED)
    if issue.rate is not None and at_least(seen, cells, issue.rate) < EXCESSIVE:
        remarks.append(Remark.EXCESSIVE)
    reports = sum(splat.count for _, splats in matching for splat in splats)
    return Audited(issue, cells, seen, reports, tuple(remarks), beside)
