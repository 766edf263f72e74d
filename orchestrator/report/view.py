# SPDX-License-Identifier: GPL-2.0-only
"""What all reports are made from: one run, read back from its directory, tolerant of what is missing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from orchestrator.errors import HostError
from orchestrator.report.text import tail
from orchestrator.runner.rundir import CellRecord, CellResult, Metadata, RunDir
from orchestrator.splat.audit import Audited
from orchestrator.splat.model import Splat, Standing
from orchestrator.splat.races import Races, compare
from orchestrator.verdict.counted import left_out
from orchestrator.verdict.finding import CONSOLE, SELFTEST
from orchestrator.verdict.model import Outcome, Verdict

NOT_FINISHED = "NOT FINISHED"


@dataclass(frozen=True, slots=True)
class CellView:
    """One cell as reports show it; `problem` says why it has no verdict, and is empty when it has one.

    `damaged`: it may well have one, but its records cannot be read.
    """

    result: CellResult
    problem: str
    damaged: bool = False

    @property
    def id(self) -> str:
        """The cell's id."""
        return self.result.record.cell.id

    @property
    def record(self) -> CellRecord:
        """What the stages noted down."""
        return self.result.record

    @property
    def verdict(self) -> Verdict | None:
        """The verdict, None when the cell never ended."""
        return self.result.verdict

    @property
    def label(self) -> str:
        """The outcome in capitals, or NOT FINISHED."""
        return self.verdict.outcome.value if self.verdict else NOT_FINISHED

    @property
    def good(self) -> bool:
        """Whether the cell ended as expected."""
        return self.verdict is not None and self.verdict.outcome.as_expected

    @property
    def reason(self) -> str:
        """Why it ended so, in words."""
        return self.verdict.reason if self.verdict else self.problem

    @property
    def seconds(self) -> float:
        """Seconds spent in all stages so far."""
        return sum(took for _, took in self.record.stages)

    @property
    def seed(self) -> str:
        """The seed that the race ran with, as the selftest printed it, else as it was asked for."""
        race = self.result.evidence.race if self.result.evidence else None
        told = race.params.get("seed", "") if race else ""
        return told or ("" if self.record.seed is None else f"{self.record.seed:#x}")

    @property
    def found(self) -> str:
        """When, where and by what the race's first finding was made, in words; empty where it made none."""
        found = self.verdict.found if self.verdict else None
        if found is None:
            return ""
        where = f", {found.own_seconds:.1f} s into {found.subtest}" if found.subtest else ""
        by = {CONSOLE: "a kernel report", SELFTEST: "a failed test"}.get(found.oracle, found.oracle)
        return f"{by} after {found.seconds:.1f} s of racing{where}"

    def counter(self, name: str) -> int | None:
        """Return the total of a counter of the race, None where it was not counted or there is no evidence."""
        race = self.result.evidence.race if self.result.evidence else None
        counted = race is not None and any(key.endswith(f".{name}") for key in race.counters)
        return race.total(name) if race and counted else None

    @property
    def races(self) -> Races | None:
        """What KCSAN printed against what it counted; None without its counters."""
        counters = self.result.evidence.kcsan if self.result.evidence else None
        return compare(self.result.splats, counters) if counters is not None else None

    def splats(self, standing: Standing) -> tuple[Splat, ...]:
        """Return the kernel reports of one standing."""
        return tuple(splat for splat in self.result.splats if splat.standing is standing)

    def files(self) -> tuple[str, ...]:
        """Return the names of the evidence files that are there, relative to the cell's directory."""
        try:
            names = sorted(p.name for p in self.result.directory.iterdir() if p.is_file() and p.name[0] != ".")
        except OSError:
            return ()
        # console and race first: what people open
        return tuple(sorted(names, key=lambda name: (name not in ("console.log", "race.ktap", "dmesg.log"), name)))

    def last_words(self) -> str:
        """Return the end of what the guest said: of the loss if it was lost, else of the console."""
        if self.verdict and self.verdict.last_lines:
            return "\n".join(self.verdict.last_lines)
        return tail(self.result.directory / "console.log")


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as reports show it; `known` are the known issues that speak of its kernels."""

    run: RunDir
    plan_name: str
    metadata: Metadata | None
    cells: tuple[CellView, ...]
    known: tuple[Audited, ...] = ()

    @property
    def interrupted(self) -> str:
        """By what the run was interrupted; empty when it was not."""
        return self.metadata.interrupted if self.metadata else ""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Say of each cell which known faults of its kernel it met and judged nothing by."""
        told = ((cell.id, cell.verdict.counted) for cell in self.cells if cell.verdict and cell.verdict.counted)
        return tuple(f"{name}: {left_out(faults)}" for name, faults in told)

    @property
    def goes_on(self) -> bool:
        """Whether `guprace run --resume` would race on: something made an end of it, and not its last verdict."""
        verb = self.metadata.command[1:2] if self.metadata else ()
        ended = not self.interrupted and all(cell.verdict for cell in self.cells)
        return not ended and "bisect-step" not in verb

    @property
    def by_host(self) -> int:
        """How many cells of a run that is over `guprace run --resume` would race again: the host was at fault."""
        verb = self.metadata.command[1:2] if self.metadata else ()
        over = not self.goes_on and "bisect-step" not in verb
        return sum(1 for cell in self.cells if cell.verdict and cell.verdict.by_host) if over else 0

    @property
    def resumed(self) -> tuple[str, ...]:
        """When the run was resumed, and what had changed by then; a line each."""
        times = self.metadata.resumed if self.metadata else ()
        return tuple("; ".join([f"resumed {each.at}", *each.changed]) for each in times)

    def tally(self) -> dict[str, int]:
        """Return how many cells ended how, in the order of the outcomes."""
        counts = Counter(cell.label for cell in self.cells)
        return {name: counts[name] for name in [*(o.value for o in Outcome), NOT_FINISHED] if counts[name]}


def view(run: RunDir) -> RunView:
    """Read a run for reporting.

    A cell whose records are damaged is shown as such; only a missing or damaged plan raises HostError.
    """
    plan = run.plan()
    try:
        metadata = run.metadata()
    except HostError:
        metadata = None
    interrupted = metadata.interrupted if metadata else ""
    cells = []
    for cell in plan.cells:
        try:
            result, problem, damaged = run.result(cell), "", False
        except HostError as error:
            result = CellResult(CellRecord(cell, ""), run.cell_dir(cell), None, None, ())
            problem, damaged = f"unreadable record: {error}", True
        if result.verdict is None and not problem:
            problem = f"not finished: the run was interrupted ({interrupted})" if interrupted else "not finished"
        cells.append(CellView(result, problem, damaged))
    return RunView(run, plan.name, metadata, tuple(cells))
