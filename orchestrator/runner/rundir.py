# SPDX-License-Identifier: GPL-2.0-only
"""The run directory: the interface between all stages, and all that reports ever read.

    runs/<run>/            plan.json (first)  metadata.json  events.ndjson  junit.xml  report.ktap  index.html
    runs/<run>/<lane>/     kernel.json: what the lane's kernel is made of
    runs/<run>/<cell>/     cell.json  qemu.argv  console.log  dmesg.log  race.ktap  evidence.json  splats.json
                           verdict.json (last); judged.json, the verdict before its controls were put behind it
    runs/<run>/<cell>.interrupted-1/   what a race left that came to no verdict and was raced again

Whatever is missing did not happen: a cell without verdict.json is lost or not finished.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from orchestrator import records
from orchestrator.errors import HostError, UsageError
from orchestrator.matrix.plan import Cell, Plan
from orchestrator.race.model import Evidence
from orchestrator.splat.model import Splat
from orchestrator.verdict.model import Verdict

_LOST = "the run is lost, remove it; `guprace triage` reads the consoles of its cells"


@dataclass(frozen=True, slots=True)
class Resumed:
    """An interrupted run was gone on with; `changed` says what was not as it had been for the verdicts kept."""

    at: str
    command: tuple[str, ...]
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metadata:
    """metadata.json, written before the work and again at the end (`finished`, `interrupted`).

    `guests` is what -j asked for; `judge` maps what judges (guprace itself, the lists it reads) to digests.
    """

    command: tuple[str, ...]
    guprace: str
    host: dict[str, str]
    started: str
    finished: str | None = None
    interrupted: str = ""
    guests: int | None = None
    judge: dict[str, str] = field(default_factory=dict)
    resumed: tuple[Resumed, ...] = ()


@dataclass(frozen=True, slots=True)
class KernelRecord:
    """kernel.json of a lane: what its kernel is made of, by name, as it was asked for (kernel/request.py)."""

    made_of: dict[str, str]


@dataclass(frozen=True, slots=True)
class CellRecord:
    """cell.json: the cell, and what its stages decided so far. Times in seconds.

    `kernel_version` is what the tree says, or of a prebuilt image its own banner on the console, once it was read;
    `stages` maps stage name (build, image, boot, deploy, race, collect) to the seconds it took;
    `repeat` is the exact command that runs this cell again with the same seed; `made_of` maps what this cell has
    beside its lane's kernel (the program that races, words on the kernel's command line) to a digest or itself.
    """

    cell: Cell
    repeat: str
    kernel_digest: str = ""
    kernel_version: str = ""
    toolchain: str = ""
    image_digest: str = ""
    accel: str = ""
    accel_why: str = ""
    vcpus: int = 0
    seed: int | None = None
    stages: tuple[tuple[str, float], ...] = ()
    made_of: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CellResult:
    """Everything a cell's directory says, absent parts None."""

    record: CellRecord
    directory: Path
    verdict: Verdict | None
    evidence: Evidence | None
    splats: tuple[Splat, ...]


@dataclass(frozen=True, slots=True)
class RunDir:
    """Paths and records of one run."""

    root: Path

    @property
    def plan_file(self) -> Path:
        """The first file of a run."""
        return self.root / "plan.json"

    @property
    def metadata_file(self) -> Path:
        """Who, where, when."""
        return self.root / "metadata.json"

    @property
    def campaign_file(self) -> Path:
        """What a run of `guprace power` is to catch; no other run has one."""
        return self.root / "campaign.json"

    @property
    def events_file(self) -> Path:
        """One JSON object a line."""
        return self.root / "events.ndjson"

    @property
    def lock_file(self) -> Path:
        """Held by the guprace that races its cells."""
        return self.root / ".lock"

    def cell_dir(self, cell: Cell) -> Path:
        """Return the directory of `cell`: its id, as a path."""
        return self.root / cell.id

    def kernel_file(self, cell: Cell) -> Path:
        """What the kernel of the cell's lane is made of."""
        return self.root / cell.lane / "kernel.json"

    def judged_file(self, cell: Cell) -> Path:
        """The cell's own verdict, where verdict.json is what its controls made of it."""
        return self.cell_dir(cell) / "judged.json"

    def set_aside(self, cell: Cell) -> Path | None:
        """Move what an earlier race of `cell` left out of the way: none of it may be taken for the next one's.

        Returns where it is now, None when there was nothing.

        Raises:
            HostError: it cannot be moved.
        """
        where = self.cell_dir(cell)
        if not where.exists():
            return None
        names = (where.with_name(f"{where.name}.interrupted-{number}") for number in count(1))
        aside = next(name for name in names if not name.exists())
        try:
            return where.rename(aside)
        except OSError as error:
            raise records.disk_error(error, where) from error

    def plan(self) -> Plan:
        """Read the plan. Raises HostError when this is no run directory."""
        return records.load(self.plan_file, Plan, _LOST)

    def metadata(self) -> Metadata:
        """Read the metadata. Raises HostError."""
        stand = "its verdicts stand (`guprace report`), but it cannot be gone on with"
        return records.load(self.metadata_file, Metadata, stand)

    def campaign(self, kind: type[records.T]) -> records.T:
        """Read what a run of `guprace power` is to catch. Raises HostError."""
        stand = "its cells' verdicts stand (`guprace history`), but what they were to answer is lost"
        return records.load(self.campaign_file, kind, stand)

    def kernel(self, cell: Cell) -> KernelRecord:
        """Read what the kernel of the cell's lane is made of. Raises HostError."""
        lane = self.kernel_file(cell).parent
        hint = (
            f"which kernel its cells raced nobody knows any more: move {lane} out of the run, and --resume races them"
        )
        return records.load(self.kernel_file(cell), KernelRecord, hint)

    @property
    def verb(self) -> str:
        """Which verb of guprace made it (run, power, bisect-step); empty where nothing says so any more."""
        if self.campaign_file.is_file():
            return "power"
        try:
            return next(iter(self.metadata().command[1:2]), "")
        except HostError:
            return ""

    def judged(self, cell: Cell) -> Verdict | None:
        """Read the cell's own verdict from before its controls were put behind it. Raises HostError."""
        return self._optional(self.judged_file(cell), Verdict)

    def result(self, cell: Cell) -> CellResult:
        """Read what there is of one cell. Raises HostError when a file is there but unreadable."""
        where = self.cell_dir(cell)
        record = self._optional(where / "cell.json", CellRecord) or CellRecord(cell, "")
        return CellResult(
            record=record,
            directory=where,
            verdict=self._optional(where / "verdict.json", Verdict),
            evidence=self._optional(where / "evidence.json", Evidence),
            splats=self._optional(where / "splats.json", tuple[Splat, ...]) or (),
        )

    def results(self) -> tuple[CellResult, ...]:
        """Read every cell of the plan, in its order."""
        return tuple(self.result(cell) for cell in self.plan().cells)

    def _optional(self, path: Path, kind: type[records.T]) -> records.T | None:
        if not path.exists():
            return None
        try:
            return records.load(path, kind)
        except HostError as error:
            raise HostError(error.what, where=error.where, hint=self._once_more()) from error

    def _once_more(self) -> str:
        """Say how to race a cell again whose record is damaged."""
        verb = self.verb
        if verb == "bisect-step":
            return "`guprace bisect-step` races this commit again"
        again = shlex.join(["guprace", "power" if verb == "power" else "run", "--resume", str(self.root)])
        return f"`{again}` races this cell again"


def open_run(path: Path) -> RunDir:
    """Return the run at `path`.

    Raises:
        UsageError: there is no such directory, or no plan.json in it: not a run.
    """
    run = RunDir(path)
    if not run.plan_file.is_file():
        what = "no plan.json: not a run directory" if path.is_dir() else "no such run directory"
        what = "a file, not a run directory" if path.is_file() else what
        raise UsageError(what, where=str(path), hint=_run_near(path))
    return run


def newest_in(directory: Path) -> Path | None:
    """Return the newest run in a directory of runs, None where there is none."""
    plans = sorted(directory.glob("*/plan.json"), key=lambda plan: plan.stat().st_mtime)
    return plans[-1].parent if plans else None


def _run_near(path: Path) -> str:
    """Say which run somebody may have meant who named `path`: the one that it is in, or the newest that it holds."""
    if path.exists():
        above = (each for each in path.absolute().parents if (each / "plan.json").is_file())
        if run := next(above, None):
            return f"it is in a run: name {shlex.quote(os.path.relpath(run))}"
        if newest := newest_in(path):
            return f"it holds runs: name one, such as the newest: {shlex.quote(str(newest))}"
    return "`guprace run` makes them, by default in ./runs"
