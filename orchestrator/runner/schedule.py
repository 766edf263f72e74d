# SPDX-License-Identifier: GPL-2.0-only
"""Which cell comes next, from what is known so far: the one question between two races. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from orchestrator.matrix.plan import Cell, cell_id
from orchestrator.runner.rundir import CellResult

Done = Mapping[str, CellResult]
"""What has a verdict, by the cell's id."""


class Schedule(Protocol):
    """The cells that share an object tree, one after the other."""

    def next(self, done: Done) -> Cell | None:
        """Return the cell to race next, None when all is done; one that is in `done` is never returned."""


@dataclass(frozen=True, slots=True)
class InOrder:
    """These cells and no others."""

    cells: tuple[Cell, ...]

    def next(self, done: Done) -> Cell | None:
        """Return the first that is not done."""
        return next((cell for cell in self.cells if cell.id not in done), None)


def again(cell: Cell, attempt: int) -> Cell:
    """Return the cell of another attempt at the same, with a seed of its own."""
    race = replace(cell.race, seed=None if cell.race.seed is None else (cell.race.seed + attempt - 1) % 2**64)
    return replace(cell, id=cell_id(cell.kernel, cell.scenario, attempt), attempt=attempt, race=race)


def attempts_at(cell: Cell, done: Done) -> tuple[CellResult, ...]:
    """Return what the attempts at a cell gave so far, in their order."""
    found: list[CellResult] = []
    while result := done.get(cell_id(cell.kernel, cell.scenario, len(found) + 1)):
        found.append(result)
    return tuple(found)


def stock_first(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Return the cells with those of the unbroken kernel first: its reports are the baseline of its controls."""
    return tuple(sorted(cells, key=lambda cell: bool(cell.kernel.mutant)))
