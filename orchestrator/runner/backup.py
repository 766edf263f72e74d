# SPDX-License-Identifier: GPL-2.0-only
"""Put the controls of a run behind the verdicts of its stock kernels: a last pass over the run directory."""

from __future__ import annotations

import logging

from orchestrator import records
from orchestrator.errors import UsageError
from orchestrator.matrix.mutants import load_mutant
from orchestrator.matrix.plan import Plan, PrebuiltSource, stock_id
from orchestrator.paths import Project
from orchestrator.runner.rundir import CellResult, RunDir
from orchestrator.runner.schedule import attempts_at
from orchestrator.runner.sequential import races, tried
from orchestrator.verdict.backing import backed, backing
from orchestrator.verdict.model import Outcome, Verdict

log = logging.getLogger("guprace.backup")


def back_verdicts(run: RunDir, project: Project) -> None:
    """Write into each stock cell's verdict.json what its controls showed; a second time changes nothing.

    A cell some of whose controls have no verdict yet (the run was interrupted) is left as it is.

    Raises:
        HostError: the run directory cannot be read or written.
    """
    plan = run.plan()
    done = {result.record.cell.id: result for result in run.results() if result.verdict}
    for cell in plan.cells:
        result = done.get(cell.id)
        if result and result.verdict and not cell.kernel.mutant and cell.attempt == 1 and not result.verdict.controls:
            verdict = _verdict(plan, result, result.verdict, done, project)
            if verdict is not None and verdict != result.verdict:
                # Whoever goes on with this run judges by more of its controls, or by others: not on top of this.
                records.save(run.judged_file(cell), result.verdict)
                records.save(result.directory / "verdict.json", verdict)


def unback_verdicts(run: RunDir) -> None:
    """Give each stock cell its own verdict back, as it was before `back_verdicts`.

    Raises:
        HostError: the run directory cannot be read or written.
    """
    for cell in run.plan().cells:
        if kept := run.judged(cell):
            records.save(run.cell_dir(cell) / "verdict.json", kept)
            run.judged_file(cell).unlink()


def _verdict(
    plan: Plan, stock: CellResult, verdict: Verdict, done: dict[str, CellResult], project: Project
) -> Verdict | None:
    cell = stock.record.cell
    controls = [c for c in plan.cells if c.kernel.mutant and c.attempt == 1 and stock_id(c) == cell.id]
    if any(control.id not in done for control in controls):
        return None
    # One that is no PASS, or whose word counts for nothing, has not looked for what would have escaped.
    attempts = (each for each in attempts_at(cell, done) if each.verdict and each.verdict.outcome is Outcome.PASS)
    clean = races(attempts)
    behind = [
        backing(name, principle_of(name, project), tried(attempts_at(control, done)), clean)
        for control in controls
        if (name := control.kernel.mutant)
    ]
    prebuilt = isinstance(cell.kernel.source, PrebuiltSource)
    # The kernel's own selftests race for no time: nobody can ask how sure they are.
    confidence = None if cell.program else plan.confidence
    return backed(verdict, behind, plan.controlled, prebuilt, confidence)


def principle_of(mutant: str, project: Project) -> str:
    """Return the principle that a mutant breaks, `?` where nothing is known of it (any more)."""
    try:
        return load_mutant(mutant, project).principle
    except UsageError as error:
        log.warning("no record of mutant %s: %s", mutant, error)
        return "?"
