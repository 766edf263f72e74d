# SPDX-License-Identifier: GPL-2.0-only
"""What lies beside a cell's console and says more of it: which kernel it was, what KCSAN counted, its vmlinux."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator import records
from orchestrator.errors import HostError, UsageError
from orchestrator.kernel.kept import kept_modules, kept_vmlinux
from orchestrator.paths import Project
from orchestrator.race.model import Evidence
from orchestrator.runner.rundir import CellRecord
from orchestrator.splat.model import Splat
from orchestrator.splat.races import Races, compare
from orchestrator.splat.standing import Subject

CONSOLE = "console.log"


@dataclass(frozen=True, slots=True)
class Beside:
    """`subject` is the kernel, `races` KCSAN's reports against its counters, `vmlinux` has lines: each if known."""

    subject: Subject | None = None
    races: Races | None = None
    vmlinux: Path | None = None
    modules: Mapping[str, Path] = field(default_factory=dict)


def console_of(path: Path) -> Path:
    """Return the console that `path` names: itself, or that of a cell's directory.

    Raises:
        UsageError: a directory without a console.
    """
    if not path.is_dir():
        return path
    if (path / CONSOLE).is_file():
        return path / CONSOLE
    hint = "of a whole run: guprace report" if (path / "plan.json").is_file() else "name a console, or a cell"
    raise UsageError(f"no {CONSOLE} in this directory", where=str(path), hint=hint)


def beside(console: Path, cache: Path, project: Project) -> Beside:
    """Return what the files beside a console say; of a console elsewhere, and where they are damaged: nothing."""
    directory = console.parent
    if console.name != CONSOLE or not (directory / "cell.json").is_file():
        return Beside()
    try:
        record = records.load(directory / "cell.json", CellRecord)
        races = _races(directory)
    except HostError:
        return Beside()
    kernel, digest = record.cell.kernel, record.kernel_digest
    vmlinux = kept_vmlinux(cache, digest)
    return Beside(
        subject=Subject(record.kernel_version, kernel.arch, kernel.flavour, record.cell.scenario),
        races=races,
        vmlinux=vmlinux,
        modules=kept_modules(cache, digest, project) if vmlinux else {},
    )


def _races(directory: Path) -> Races | None:
    """Hold the reports of the race, as the run placed them, against the counters; None without counters."""
    evidence, splats = directory / "evidence.json", directory / "splats.json"
    counters = records.load(evidence, Evidence).kcsan if evidence.is_file() else None
    if counters is None:
        return None
    return compare(records.load(splats, tuple[Splat, ...]) if splats.is_file() else (), counters)
