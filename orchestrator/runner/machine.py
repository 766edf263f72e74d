# SPDX-License-Identifier: GPL-2.0-only
"""What the guest of a cell must be told and have, beside its kernel: files beside the scenario and the flavour."""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import HostError
from orchestrator.kernel.cache import file_digest
from orchestrator.matrix.plan import Cell
from orchestrator.paths import Project


def cmdline(cell: Cell, project: Project) -> tuple[str, ...]:
    """Return what flavour and scenario want on the kernel's command line: files beside their fragments."""
    files = (
        project.fragments / f"{cell.kernel.flavour}.cmdline",
        project.selftests / "scenarios" / f"{cell.scenario}.cmdline",
    )
    return tuple(word for path in files if path.is_file() for word in path.read_text().split())


def memory(cell: Cell, project: Project) -> int:
    """Return the guest's memory, MiB: what the matrix says, at least what `<scenario>.memory` says.

    Raises:
        HostError: the scenario's file holds no number.
    """
    path = project.selftests / "scenarios" / f"{cell.scenario}.memory"
    if not path.is_file():
        return cell.guest.memory
    text = path.read_text().strip()
    if not text.isdecimal():
        raise HostError(f"{path}: {text!r} is no number of MiB")
    return max(cell.guest.memory, int(text))


def made_of(cell: Cell, binary: Path, project: Project) -> dict[str, str]:
    """Return what a cell has beside its lane's kernel, for its record: what is raced, and how it is booted.

    Raises:
        HostError: there is no such program.
    """
    return {
        "program": file_digest(binary),
        "kernel command line": " ".join(cmdline(cell, project)),
        "memory": f"{memory(cell, project)} MiB",
    }
