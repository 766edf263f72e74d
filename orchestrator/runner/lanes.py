# SPDX-License-Identifier: GPL-2.0-only
"""Which cells go together, in which order, and how many guests at once. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from orchestrator.matrix.plan import Cell, KernelSpec
from orchestrator.matrix.upstream import PROGRAMS

# One for each actor: of a race, fewer make none (matrix/schema.py asks for as many).
DEFAULT_VCPUS = 2
# What QEMU itself takes beside the guest's memory, MiB (measured: docs/performance.md).
QEMU_OVERHEAD = 512


@dataclass(frozen=True, slots=True)
class Lane:
    """Cells that share a kernel."""

    kernel: KernelSpec
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A stock lane and the lanes of its mutants: one object tree, so one after the other, the stock one first."""

    lanes: tuple[Lane, ...]


def vcpus_of(cell: Cell) -> int:
    """Return how many processors a cell's guest has: what the matrix says, at least what its program needs."""
    least = PROGRAMS[cell.program].vcpus if cell.program else 0
    return max(cell.guest.vcpus or DEFAULT_VCPUS, least)


def lanes_of(cells: Iterable[Cell]) -> tuple[Lane, ...]:
    """Gather cells by kernel, in the order in which the kernels first appear."""
    found: dict[KernelSpec, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.kernel, []).append(cell)
    return tuple(Lane(kernel, tuple(members)) for kernel, members in found.items())


def groups_of(cells: Iterable[Cell]) -> tuple[Group, ...]:
    """Gather lanes by kernel name, architecture and flavour, in order of first appearance, mutants last."""
    found: dict[tuple[str, str, str], list[Lane]] = {}
    for lane in lanes_of(cells):
        found.setdefault((lane.kernel.name, lane.kernel.arch, lane.kernel.flavour), []).append(lane)
    return tuple(Group(tuple(sorted(group, key=lambda lane: bool(lane.kernel.mutant)))) for group in found.values())


def guests_at_once(
    cells: Iterable[Cell], asked: int | None, cpus: int, free_mib: int, memory_of: Callable[[Cell], int]
) -> int:
    """Return how many guests may run at the same time.

    By default as many as have host cores of their own: a guest that shares its cores races less, and under
    TCG every TLB shootdown stops all of its vCPUs. Memory limits whatever was asked for; `memory_of` a cell's
    guest, MiB.
    """
    members = tuple(cells)
    vcpus = max((vcpus_of(cell) for cell in members), default=DEFAULT_VCPUS)
    memory = max((memory_of(cell) for cell in members), default=1024) + QEMU_OVERHEAD
    wanted = asked if asked is not None else max(1, cpus // vcpus)
    return max(1, min(wanted, free_mib // memory))
