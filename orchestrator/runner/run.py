# SPDX-License-Identifier: GPL-2.0-only
"""From a plan to a run directory: a thread for each group of lanes, its cells as its schedule asks for them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path

from orchestrator import records
from orchestrator.errors import BuildError, GupraceError, HostError, RunInterruptedError
from orchestrator.kernel.build import KernelBuilder
from orchestrator.kernel.lock import locked
from orchestrator.kernel.model import Kernel
from orchestrator.matrix.plan import Cell, KernelSpec, Plan, stock_id
from orchestrator.paths import Project
from orchestrator.proc import Stop
from orchestrator.race.model import RaceResult
from orchestrator.runner.cell import LAST_WORD_SECONDS, CellRun, Workshop
from orchestrator.runner.events import EventLog, State, event, fan_out, held_up
from orchestrator.runner.host import free_memory, host_facts, judge_of, now
from orchestrator.runner.lanes import groups_of, guests_at_once
from orchestrator.runner.machine import memory
from orchestrator.runner.rundir import CellResult, KernelRecord, Metadata, RunDir
from orchestrator.runner.schedule import InOrder, Schedule, stock_first
from orchestrator.runner.sequential import UntilConfident
from orchestrator.splat.model import Standing

log = logging.getLogger("guprace.run")

SIGNAL_POLL_SECONDS = 0.1


def new_run(runs: Path, plan: Plan, command: tuple[str, ...], guests: int | None = None) -> RunDir:
    """Make a fresh run directory below `runs`: the plan and the metadata, before any work.

    Whoever goes on with it may do so from elsewhere, so its matrix is named from the root.

    Raises:
        HostError: it cannot be written.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        root = runs / (f"{stamp}-{plan.name}" + (f"-{number}" if number else ""))
        try:
            root.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            hint = "name a directory that you may write to: --runs DIR"
            raise HostError(f"cannot make a run directory: {error.strerror}", where=str(root), hint=hint) from error
        break
    else:
        raise HostError("cannot find a free name for the run", where=str(runs))
    run = RunDir(root.absolute())
    records.save(run.plan_file, replace(plan, matrix=plan.matrix.absolute()))
    version, judge = metadata.version("guprace"), judge_of(Project())
    records.save(run.metadata_file, Metadata(command, version, host_facts(), now(), guests=guests, judge=judge))
    return run


@contextlib.contextmanager
def claimed(run: RunDir, stop: Stop) -> Iterator[None]:
    """Have a run to oneself: two at once would put aside what the other is just writing.

    Raises:
        HostError: another guprace is at work in it.
    """
    with locked(run.lock_file, f"run {run.root.name}", stop, seconds=0.0):
        yield


class Runner:
    """Runs every cell of a plan; what is finished stays finished, whatever happens later."""

    def __init__(self, builder: KernelBuilder, shop: Workshop) -> None:
        self.builder = builder
        self.shop = shop
        self._building = threading.Lock()

    def run(self, run: RunDir, plan: Plan, guests: int | None, schedules: Sequence[Schedule] | None = None) -> None:
        """Take every cell of `plan` to its verdict, or until somebody asks to stop.

        `schedules` may bring more cells, which then enter the plan; left out, they are those that the plan itself
        asks for. What already has a verdict is not raced again. The caller has the run to itself (`claimed`).

        What a lane fails at keeps no other from its end; the first such failure is raised then, others are logged.

        Raises:
            HostError: the run directory cannot be written.
        """
        stop = self.shop.place.stop
        needs = partial(memory, project=self.shop.project)
        workers = guests_at_once(plan.cells, guests, os.cpu_count() or 1, free_memory(), needs)
        with EventLog(run.events_file) as events:
            shop = replace(self.shop, tell=fan_out((events, self.shop.tell)))
            work = _Work(self.builder, shop, run, self._building)
            shop.tell(event("", "run", State.STARTED, str(run.root)))
            with concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="lane") as pool:
                due = schedules_of(plan) if schedules is None else schedules
                futures = [pool.submit(work.group, schedule) for schedule in due]
                # Never for ever: Python runs a signal's handler in this thread, and one that arrives just before
                # an endless wait would be handled after it.
                while concurrent.futures.wait(futures, timeout=SIGNAL_POLL_SECONDS).not_done:
                    pass
                failures = [future.exception() for future in futures]
            shop.tell(event("", "run", State.FINISHED))
        known = run.metadata()
        records.save(run.metadata_file, replace(known, finished=now(), interrupted=stop.reason))
        told = [failure for failure in failures if failure and not isinstance(failure, RunInterruptedError)]
        for failure in told[1:]:
            log.error("another lane failed as well: %s", failure, exc_info=failure)
        if told:
            raise told[0]


def schedules_of(plan: Plan) -> list[Schedule]:
    """Return one schedule for each group of lanes that share an object tree."""
    # More attempts, which a run that is gone on with has in its plan, are asked for by what is known by then.
    first = [cell for cell in plan.cells if cell.attempt == 1]
    groups = [stock_first(cell for lane in group.lanes for cell in lane.cells) for group in groups_of(first)]
    if plan.confidence is None:
        return [InOrder(cells) for cells in groups]
    return [UntilConfident(cells, plan.confidence) for cells in groups]


class _Work:
    def __init__(self, builder: KernelBuilder, shop: Workshop, run: RunDir, building: threading.Lock) -> None:
        self.builder = builder
        self.shop = shop
        self.run = run
        self.building = building
        self.planning = threading.Lock()

    def group(self, schedule: Schedule) -> None:
        kernels: dict[KernelSpec, Kernel | GupraceError] = {}
        done: dict[str, CellResult] = {}
        while (cell := schedule.next(done)) is not None:
            self.shop.place.stop.check()
            self._enter(cell)
            if self.run.result(cell).verdict is None:
                if aside := self.run.set_aside(cell):
                    text = f"what an interrupted race of it left is in {aside.relative_to(self.run.root)}"
                    self.shop.tell(event(cell.id, "resume", State.NOTE, text))
                stock = stock_id(cell)
                said = self._stock(stock) if cell.kernel.mutant else None
                CellRun(cell, self.run, self.shop).run(self._kernel(cell, kernels), self._baseline(stock), said)
            done[cell.id] = self.run.result(cell)

    def _enter(self, cell: Cell) -> None:
        """Have the cell in the plan: reports read nothing else."""
        with self.planning:
            plan = self.run.plan()
            if all(known.id != cell.id for known in plan.cells):
                records.save(self.run.plan_file, replace(plan, cells=(*plan.cells, cell)))

    def _kernel(
        self, cell: Cell, kernels: dict[KernelSpec, Kernel | GupraceError]
    ) -> Callable[[Callable[[str], None]], Kernel]:
        """Return a function that gets the cell's kernel: built by the first that asks, failing for all alike."""

        def get(report: Callable[[str], None]) -> Kernel:
            if cell.kernel not in kernels:
                kernels[cell.kernel] = self._build(cell, report)
            found = kernels[cell.kernel]
            if isinstance(found, GupraceError):
                self._keep_log(cell, found)
                raise found
            return found

        return get

    def _build(self, cell: Cell, report: Callable[[str], None]) -> Kernel | GupraceError:
        # One build at a time: it has all cores anyway.
        if not self.building.acquire(blocking=False):
            report("another lane's build")
            while not self.building.acquire(timeout=0.2):
                self.shop.place.stop.check()
        waits = partial(self._held_up, cell)
        try:
            builder = replace(self.builder, place=replace(self.builder.place, waits=waits))
            return builder.build(cell.kernel, report, partial(self._keep_made_of, cell))
        except RunInterruptedError:
            raise
        except GupraceError as error:
            # A compiler that is ended together with us is no error in a kernel.
            self.shop.place.stop.wait(LAST_WORD_SECONDS)
            return error
        finally:
            self.building.release()

    def _held_up(self, cell: Cell, text: str) -> None:
        self.shop.tell(held_up(cell.id, text))

    def _keep_made_of(self, cell: Cell, made_of: dict[str, str]) -> None:
        records.save(self.run.kernel_file(cell), KernelRecord(made_of))

    def _keep_log(self, cell: Cell, error: GupraceError) -> None:
        if isinstance(error, BuildError) and error.log:
            records.write_atomically(self.run.cell_dir(cell) / "build.log", error.log)

    def _baseline(self, stock: str) -> frozenset[str]:
        """Return the titles of reports that the unbroken kernel gave in this run."""
        for cell in self.run.plan().cells:
            if cell.id == stock and not cell.kernel.mutant:
                return frozenset(s.title for s in self.run.result(cell).splats if s.standing is Standing.NEW)
        return frozenset()

    def _stock(self, stock: str) -> RaceResult | None:
        """Return what the unbroken kernel's cell said in this run; None unless it came to its end."""
        results = (self.run.result(cell) for cell in self.run.plan().cells if cell.id == stock)
        evidence = next((found.evidence for found in results), None)
        return evidence.race if evidence and not evidence.race.problem else None
