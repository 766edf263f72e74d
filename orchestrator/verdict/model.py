# SPDX-License-Identifier: GPL-2.0-only
"""Verdicts: what a cell ended with, and what that claim is worth."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.guest.model import LostReason
from orchestrator.verdict.finding import Finding


class Outcome(StrEnum):
    """The closed set of endings; the last two are a control's."""

    PASS = "PASS"
    FAIL = "FAIL"
    LOST = "LOST"
    VACUOUS = "VACUOUS"
    SKIP = "SKIP"
    BROKEN = "BROKEN"
    CAUGHT = "CAUGHT"
    MISSED = "MISSED"

    @property
    def as_expected(self) -> bool:
        """Whether this ending needs nobody's attention."""
        return self in (Outcome.PASS, Outcome.SKIP, Outcome.CAUGHT)


class Fault(StrEnum):
    """Whose fault a BROKEN or LOST verdict is; decides the exit code. NONE: nobody's, or nobody knows whose."""

    NONE = "none"
    KERNEL = "kernel"
    BUILD = "build"
    HOST = "host"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Backing:
    """A control of a scenario, and what became of it: one line behind a PASS.

    `seconds` of racing until it was first caught; `runs` and `caught` are of all its attempts; `subtest` is where.
    `rate` is the lower 95 % bound on its catches per second of racing that subtest, `escape` the probability that a
    fault which shows as often would have gone unseen in the seconds that the stock kernel raced there.
    """

    mutant: str
    principle: str
    outcome: Outcome
    runs: int
    caught: int
    seconds: float | None = None
    subtest: str = ""
    rate: float | None = None
    escape: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one cell (verdict.json, written last).

    `trials` are the valid ones of all subtests; `bound` is the 95 % upper bound on hits per trial (3/n, the rule of
    three) of the subtest with the fewest, None when the race is not clean or no subtest raced (checks that need no
    race bound no rate); `evidence` are file names relative to the cell's directory; `last_lines` the end of the
    console where the guest was lost; `found` says when, where and by what the race's first finding was made, None
    where it made none (a report from before the race, or of a stall that a busy host can cause, fails a kernel, but
    the race has not shown it); `controls` are the broken kernels that the same set-up raced (see backing.py);
    `counted` are, of a PASS, the faults of the kernel that it met and judged nothing by, in words (see counted.py).
    """

    outcome: Outcome
    reason: str
    trials: int = 0
    hits: int = 0
    bound: float | None = None
    lost: LostReason | None = None
    fault: Fault = Fault.NONE
    splats: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    last_lines: tuple[str, ...] = ()
    race_seconds: float = 0.0
    found: Finding | None = None
    controls: tuple[Backing, ...] = ()
    counted: tuple[str, ...] = ()

    @property
    def watched(self) -> bool:
        """Whether a race was there to be watched: only then does a report that did not come say something."""
        if self.outcome in (Outcome.SKIP, Outcome.VACUOUS, Outcome.BROKEN):
            return False
        return self.outcome in (Outcome.PASS, Outcome.MISSED) or self.race_seconds > 0.0

    @property
    def by_host(self) -> bool:
        """Whether it was the host that kept it from being raced or judged: that says nothing of the kernel."""
        return self.outcome in (Outcome.BROKEN, Outcome.LOST) and self.fault is Fault.HOST

    @property
    def seconds_to_hit(self) -> float | None:
        """After how many seconds of racing the first finding was made; None when there is none."""
        return self.found.seconds if self.found else None
