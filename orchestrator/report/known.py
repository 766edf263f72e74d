# SPDX-License-Identifier: GPL-2.0-only
"""The known issues of a run, counted: which were seen, and which entries are expired, vanished or seen too often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

from rich.console import Console
from rich.text import Text

from orchestrator.errors import HostError, UsageError
from orchestrator.kernel.cache import file_digest
from orchestrator.matrix.plan import Expectation
from orchestrator.paths import Project
from orchestrator.report.text import harmless
from orchestrator.runner.lists import GUP_PATH, KNOWN_ISSUES
from orchestrator.runner.rundir import CellResult, RunDir
from orchestrator.splat.audit import Audited, Heard, audit
from orchestrator.splat.policy import load_known, load_path
from orchestrator.splat.standing import GupPath, KnownIssue, Subject


def audited(run: RunDir, known: Sequence[KnownIssue], path: GupPath, today: date) -> tuple[Audited, ...]:
    """Return what a run says of each known issue that speaks of one of its kernels.

    Controls do not count: a kernel that is broken on purpose may well hide a report, or give it more often. A cell
    whose records are damaged does not count either; reports show it as such. Nor, but for what it showed, does one in
    which no race was watched (Verdict.watched).

    Raises:
        HostError: there is no plan to read.
    """
    heard = []
    for cell in run.plan().cells:
        if cell.expect is Expectation.CAUGHT or not (run.cell_dir(cell) / "splats.json").is_file():
            continue
        try:
            heard.append(_heard(run.result(cell)))
        except HostError:
            continue
    return audit(heard, known, path, today)


def show_known(run: RunDir, project: Project, console: Console) -> None:
    """Print what a run says of this project's known issues, one line an entry that was seen or is wrong.

    A list that cannot be read (today's, not the one that the run was judged by) is told, and changes no exit code.

    Raises:
        HostError: there is no plan to read.
    """
    try:
        lines = remarks(audit_of(run, project))
    except UsageError as error:
        lines = (f"known issues are not counted: {error}",)
    for line in lines:
        console.print(Text(harmless(line)), soft_wrap=True)


def audit_of(run: RunDir, project: Project) -> tuple[Audited, ...]:
    """Return what a run says of this project's known issues today.

    Raises:
        HostError: there is no plan to read.
        UsageError: the list, or that of GUP's path, is not what it should be.
    """
    path, known = load_path(project.configs / GUP_PATH), load_known(project.configs / KNOWN_ISSUES)
    another = _judged_by_another(run, project)
    return tuple(replace(each, another=another) for each in audited(run, known, path, datetime.now(UTC).date()))


def _judged_by_another(run: RunDir, project: Project) -> bool:
    """Whether the lists are not those of the run's metadata; where it names none, nobody knows: no."""
    try:
        judge = run.metadata().judge
    except HostError:
        return False
    names = (name for name in (GUP_PATH, KNOWN_ISSUES) if name in judge)
    return any(file_digest(project.configs / name) != judge[name] for name in names)


def remarks(entries: Sequence[Audited]) -> tuple[str, ...]:
    """Return the lines that a report shows: entries with something wrong first, then those that were seen."""
    wrong = [f"known issue {each.text}" for each in entries if each.remarks]
    fine = [f"known issue {each.text}" for each in entries if each.reports and not each.remarks]
    return (*wrong, *fine)


def _heard(result: CellResult) -> Heard:
    cell, evidence = result.record.cell, result.evidence
    kernel = cell.kernel
    subject = Subject(result.record.kernel_version, kernel.arch, kernel.flavour, cell.scenario)
    # a lost guest left no counters: its flavour's name is what is known
    kcsan = evidence.kcsan is not None if evidence else "kcsan" in kernel.flavour
    return Heard(subject, result.splats, kcsan, watched=result.verdict is not None and result.verdict.watched)
