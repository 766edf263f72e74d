# SPDX-License-Identifier: GPL-2.0-only
"""Faults of the kernel that are none of GUP's: a scenario counts them and judges nothing by them, and a PASS says so.

Which counters mean that stands in configs/counted-faults.yaml. An entry covers nothing, it makes a counter heard; so,
unlike a known issue, it needs neither kernels nor an expiry: where the fault is mended, the counter stays silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from orchestrator.matrix.document import read
from orchestrator.matrix.names import Names
from orchestrator.matrix.schema import Node
from orchestrator.matrix.validate import validate
from orchestrator.matrix.values import Context, Name
from orchestrator.race.model import RaceResult
from orchestrator.splat.policy import Text


@dataclass(frozen=True, slots=True)
class CountedFault:
    """A counter by which nothing is judged: the `fault` of the kernel that it counts, and where that is told."""

    counter: str
    fault: str
    link: str


class _Fault(Node):
    fault: Text
    link: Text


class _Faults(Node):
    counters: Annotated[dict[Name, _Fault], Field(min_length=1)]


def load_counted(file: Path) -> tuple[CountedFault, ...]:
    """Read the faults; a file that is not there holds none. Raises UsageError: all that is wrong, and where."""
    if not file.exists():
        return ()
    said = validate(read(file), _Faults, Context(file.parent.absolute(), Names((), (), ())))
    return tuple(CountedFault(counter, each.fault, each.link) for counter, each in said.counters.items())


def counted(race: RaceResult | None, faults: Sequence[CountedFault]) -> tuple[str, ...]:
    """Return each fault that a race met, in words, such as `fork loses pages (36 times, docs/findings.md)`."""
    met = [(fault, race.total(fault.counter)) for fault in faults] if race else []
    return tuple(f"{fault.fault} ({_times(number)}, {fault.link})" for fault, number in met if number)


def left_out(faults: Sequence[str]) -> str:
    """Say of faults in words that nothing was judged by them."""
    return f"left out as a known fault of the kernel: {', '.join(faults)}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
