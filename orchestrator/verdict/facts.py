# SPDX-License-Identifier: GPL-2.0-only
"""What a verdict is made from: everything known of one cell when its stages are over."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.errors import BuildError, GuestUnfitError, GupraceError, UsageError
from orchestrator.guest.model import GuestLostError, LostReason
from orchestrator.matrix.plan import Expectation
from orchestrator.race.model import Ending, Evidence, RaceResult
from orchestrator.splat.model import Splat
from orchestrator.verdict.model import Fault


@dataclass(frozen=True, slots=True)
class Loss:
    """How the guest was lost."""

    reason: LostReason
    detail: str
    last_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trouble:
    """What kept the cell from being run to its end, and whose fault it was."""

    fault: Fault
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of one cell; whatever is left out did not happen.

    `race` is what the selftest said when the evidence around it could not be collected (the guest was lost);
    `kcsan` whether the kernel was built with CONFIG_KCSAN; `dropped` the printk messages that the console
    says were lost, `omitted` the reports on it that were too many to be kept; `baseline` the titles of reports that
    the unbroken kernel of the same run gave (for a control); `stock` what the same selftest of the kernel's own said
    on that kernel in the same run; `first_hit` whether the race was to end with the first hit or taint; `skip` why
    there is nothing to run in this cell; `counted` the faults of the kernel that the selftest met and judged nothing
    by, in words (counted.py); `ended_after` the seconds raced when the guest was lost, or the host or the user made
    an end of it; `files` the evidence, relative to the cell's directory.
    """

    expect: Expectation
    race: RaceResult | None = None
    evidence: Evidence | None = None
    splats: tuple[Splat, ...] = ()
    loss: Loss | None = None
    ended_after: float | None = None
    trouble: Trouble | None = None
    kcsan: bool = False
    dropped: int = 0
    omitted: int = 0
    baseline: frozenset[str] = frozenset()
    stock: RaceResult | None = None
    first_hit: bool = False
    skip: str = ""
    counted: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def then(self, trouble: Trouble) -> Facts:
        """Return these facts with a trouble: behind one that is known already, which keeps its fault."""
        first = self.trouble
        joined = Trouble(first.fault, f"{first.text}; then {trouble.text}") if first else trouble
        return replace(self, trouble=joined)

    @property
    def control(self) -> bool:
        """Whether the kernel is broken on purpose."""
        return self.expect is Expectation.CAUGHT

    @property
    def said(self) -> RaceResult | None:
        """What the selftest said, from wherever it is known."""
        return self.race or (self.evidence.race if self.evidence else None)


def loss_of(error: GuestLostError) -> Loss:
    """Turn the guest room's signal into a fact."""
    return Loss(error.reason, error.detail, error.last_lines)


def trouble_of(error: GupraceError) -> Trouble:
    """Turn a typed error into a fact, by its branch."""
    branches = (
        (BuildError, Fault.BUILD),
        (UsageError, Fault.USER),
        (GuestUnfitError, Fault.NONE),
    )
    fault = next((fault for branch, fault in branches if isinstance(error, branch)), Fault.HOST)
    return Trouble(fault, str(error))


def hit_count(race: RaceResult | None) -> int:
    """Return the number of hits: the selftest says each, and ends the subtest when they are enough."""
    return len(race.hits) if race else 0


def failed_subtests(race: RaceResult | None) -> tuple[str, ...]:
    """Return the names of the subtests that failed."""
    return tuple(s.name for s in race.subtests if s.ending is Ending.FAIL) if race else ()
