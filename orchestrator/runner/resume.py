# SPDX-License-Identifier: GPL-2.0-only
"""Go on with an interrupted run: which of its verdicts stand, and would those to come be of the same things?

A run's table claims that its rows are of one kernel, one program, one instrument each. So before anything is raced
the kept verdicts' kernels and programs, as their records name them, are compared with what would be raced now; where
one differs, nothing is raced. What judges, or the host, may be another one: that is told, and stays in the metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator import records
from orchestrator.errors import HostError, UsageError
from orchestrator.kernel.build import KernelBuilder
from orchestrator.kernel.request import compare
from orchestrator.matrix.plan import Cell, Expectation, stock_id
from orchestrator.race.selftests import Selftests, build_selftests
from orchestrator.runner.backup import unback_verdicts
from orchestrator.runner.events import EventLog, State, event
from orchestrator.runner.host import host_facts, judge_of, now
from orchestrator.runner.lanes import lanes_of
from orchestrator.runner.left import evidence_in, said_in
from orchestrator.runner.machine import made_of
from orchestrator.runner.rundir import CellResult, Metadata, Resumed, RunDir
from orchestrator.runner.schedule import Schedule, stock_first
from orchestrator.verdict.facts import Facts, Trouble
from orchestrator.verdict.finding import raced_seconds
from orchestrator.verdict.judge import LAST_WORDS, judge
from orchestrator.verdict.model import Fault, Outcome, Verdict
from orchestrator.words import plural

# Of a host that is another one: what a race may feel.
_FELT = ("name", "kernel", "machine", "cpus")
_SHOWN = 20
_REASON = 200
UNKNOWN = (
    "an older guprace began this run and did not note what its kernels and programs are made of: "
    "whether those of the verdicts kept are those of today is not known"
)


@dataclass(frozen=True, slots=True)
class Standing:
    """The cells with a verdict that stands, by id; `fallen` says of the others with one why it does not.

    `found` are those among them whose verdict is not written yet: a hit that guprace was killed over.
    """

    kept: Mapping[str, CellResult]
    fallen: Mapping[str, str]
    found: Mapping[str, CellResult]


def standing(run: RunDir) -> Standing:
    """Return which verdicts of a run stand: those that can be read, and of a control only with its stock cell's.

    Whatever its outcome is: to be repeated until it pleases is not what a race is for. So what a race of a stock
    kernel had found stands even if guprace was killed before there was a verdict. But where the host was at fault
    there was nothing to please, and a PASS is no better than its evidence.

    Raises:
        HostError: there is no plan to read.
    """
    cells = run.plan().cells
    ids = {cell.id for cell in cells}
    kept: dict[str, CellResult] = {}
    fallen: dict[str, str] = {}
    found: dict[str, CellResult] = {}
    for cell in stock_first(cells):
        try:
            result = _own(run, cell)
        except HostError as error:
            fallen[cell.id] = f"its records cannot be read ({error.what})"
            continue
        if result.verdict is None:
            if verdict := _found_before(result):
                kept[cell.id] = found[cell.id] = replace(result, verdict=verdict)
            continue
        if why := _void(result, result.verdict):
            fallen[cell.id] = why
            continue
        stock = stock_id(cell)
        if cell.kernel.mutant and stock in ids and stock not in kept:
            fallen[cell.id] = f"it was judged by what {stock} showed, which is raced again"
        else:
            kept[cell.id] = result
    return Standing(kept, fallen, found)


def _void(result: CellResult, verdict: Verdict) -> str:
    """Say why a verdict is none to keep; empty where it is one."""
    if verdict.by_host:
        first = verdict.reason.partition("\n")[0]
        return f"the host was at fault ({first[:_REASON]})"
    if verdict.outcome is Outcome.PASS and result.evidence is None:
        return "its PASS has no evidence.json to stand on"
    return ""


def _found_before(result: CellResult) -> Verdict | None:
    """Return the verdict on a stock kernel's race that had found something when guprace was killed; None: it had not.

    By the selftest's words, and by the reports that were written down before the verdict could be (a full disk): of a
    console that nobody has read nobody knows by which marks to read it. A broken kernel's is raced again, which can
    only tell less of it.
    """
    cell = result.record.cell
    if cell.expect is not Expectation.CLEAN:
        return None
    race = said_in(result.directory, cell)
    # How the guest was lost, if it was, is not known any more: a bare panic or stall may have been the loss itself.
    splats = tuple(splat for splat in result.splats if splat.whole and splat.kind not in LAST_WORDS)
    raced = raced_seconds(race, "") if race else None
    facts = Facts(cell.expect, race, splats=splats, ended_after=raced, files=evidence_in(result.directory))
    why = "its verdict could not be written" if splats else "guprace was killed, so its console was not judged"
    verdict = judge(facts.then(Trouble(Fault.HOST, why)))
    return verdict if verdict.outcome is Outcome.FAIL else None


def _own(run: RunDir, cell: Cell) -> CellResult:
    """Return what there is of a cell, with the verdict that it had before its controls were put behind it."""
    result, judged = run.result(cell), run.judged(cell)
    return replace(result, verdict=judged) if judged else result


def take_up(
    run: RunDir,
    schedules: Iterable[Schedule],
    builder: KernelBuilder,
    command: Sequence[str],
    tell: Callable[[str], None],
) -> bool:
    """Make a run ready for going on with it, tell what it is gone on from, and return whether anything is left.

    Verdicts that do not stand are put aside, and one that stands without having been written is written. A run in
    which nothing is left to race is only said to have ended. The caller has the run to itself.

    Raises:
        UsageError: a kept verdict is of a kernel or program that is another one now; nothing was touched.
        HostError: the run directory, or what is compared, cannot be read or written; or a compiler is missing.
        GupraceError: as the rooms do of which it is asked what would be raced now.
    """
    plan, found = run.plan(), standing(run)
    known = run.metadata()
    if all(schedule.next(found.kept) is None for schedule in schedules):
        _write(found, run)
        if known.interrupted or not known.finished:
            records.save(run.metadata_file, replace(known, finished=known.finished or now(), interrupted=""))
        tell(f"every cell of {run.root.name} has its verdict: nothing is left to race")
        return False
    if lines := differences(run, found.kept.values(), builder):
        raise _refused(run, lines)
    for lane in lanes_of(cell for cell in plan.cells if cell.id not in found.kept):
        # Or each cell would be set aside, only to be BROKEN again.
        builder.check_tools(lane.kernel)
    changed = _changed(known, builder) if found.kept else ()
    stands = f"{len(found.kept)} of {len(plan.cells)} {plural(len(plan.cells), 'cell')}"
    notes = [f"goes on: {stands} {plural(len(found.kept), 'has', 'have')} a verdict that stands", *changed]
    notes += [f"{name}: what its race had found when guprace was killed stands" for name in found.found]
    for cell in plan.cells:
        if why := found.fallen.get(cell.id):
            aside = run.set_aside(cell)
            notes.append(f"{cell.id} does not stand: {why}; what it had is in {_below(run, aside)}")
    _write(found, run)
    unback_verdicts(run)
    resumed = (*known.resumed, Resumed(now(), tuple(command), changed))
    records.save(run.metadata_file, replace(known, finished=None, interrupted="", resumed=resumed))
    with EventLog(run.events_file) as events:
        for note in notes:
            events(event("", "resume", State.NOTE, note))
            tell(note)
    return True


def _write(standing: Standing, run: RunDir) -> None:
    for result in standing.found.values():
        records.save(run.cell_dir(result.record.cell) / "verdict.json", result.verdict)


def _below(run: RunDir, path: Path | None) -> str:
    return str(path.relative_to(run.root)) if path else "no directory"


def differences(run: RunDir, kept: Iterable[CellResult], builder: KernelBuilder) -> tuple[str, ...]:
    """Return a line for each kernel and each program of the kept cells that is no longer what was raced.

    Where nothing was noted, nothing is compared: the cell never came so far, or an older guprace raced it.
    """
    results = {result.record.cell.id: result for result in kept}
    lines: list[str] = []
    for lane in lanes_of(result.record.cell for result in results.values()):
        noted = run.kernel_file(lane.cells[0])
        if noted.is_file():
            before, today = run.kernel(lane.cells[0]).made_of, builder.made_of(lane.kernel)
            lines += [f"{lane.cells[0].lane}: {line}" for line in compare(before, today)]
    programs = _Programs(builder)
    for result in results.values():
        cell, before = result.record.cell, result.record.made_of
        # Upstream's own selftests come of the kernel's tree, which was compared above.
        if before and cell.program is None:
            lines += [f"{cell.id}: {line}" for line in compare(before, programs.of(cell))]
    return tuple(lines)


class _Programs:
    """What cells would race now; the selftests of an architecture are built, or found in the cache, once."""

    def __init__(self, builder: KernelBuilder) -> None:
        self._builder = builder
        self._built: dict[str, Selftests] = {}

    def of(self, cell: Cell) -> dict[str, str]:
        arch, builder = cell.kernel.arch, self._builder
        if arch not in self._built:
            self._built[arch] = build_selftests(arch, builder.project, builder.place)
        binary = self._built[arch].directory / cell.scenario
        if not binary.is_file():
            return {}
        return made_of(cell, binary, builder.project)


def _changed(known: Metadata, builder: KernelBuilder) -> tuple[str, ...]:
    """Say what is not as it was for the kept verdicts, and does not keep others from standing beside them."""
    if not known.judge:
        return (UNKNOWN,)
    judge = compare(known.judge, judge_of(builder.project))
    lines = [f"what judges is not what judged the verdicts kept: {line}" for line in judge]
    before, today = ({name: facts.get(name, "") for name in _FELT} for facts in (known.host, host_facts()))
    return (*lines, *(f"the verdicts kept are of another host: {line}" for line in compare(before, today)))


def _refused(run: RunDir, lines: Sequence[str]) -> UsageError:
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    listed = "\n    ".join([*lines[:_SHOWN], *more])
    return UsageError(
        f"verdicts of this run are of kernels or programs that are others now, and would stand in one table with "
        f"theirs:\n    {listed}",
        where=str(run.root),
        hint="have it all as it was; or move the directories of those lanes and cells out of the run, and they are "
        "raced again; or begin another run",
    )
