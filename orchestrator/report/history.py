# SPDX-License-Identifier: GPL-2.0-only
"""`guprace history`: what all runs in a directory say of the same kernels together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.errors import HostError, UsageError
from orchestrator.matrix.plan import Cell, stock_id
from orchestrator.matrix.select import matches
from orchestrator.paths import Project
from orchestrator.report.power import is_power_run
from orchestrator.report.terminal import STYLES
from orchestrator.report.text import count, harmless, near, rate, seconds, shorten
from orchestrator.runner.backup import principle_of
from orchestrator.runner.left import said_of
from orchestrator.runner.rundir import CellResult, RunDir, open_run
from orchestrator.verdict.backing import in_words
from orchestrator.verdict.history import Raced, Together, together
from orchestrator.verdict.model import Backing, Outcome, Verdict
from orchestrator.words import plural

_SHOWN_TROUBLES = 3
_REASON = 300
# A fault that is as likely to escape as not: nothing to be told of a race.
_A_TOSS = 0.5


@dataclass(frozen=True, slots=True)
class KernelHistory:
    """One kernel of one lane, and what was raced on it; `first` and `last` are when its runs began (ISO 8601, UTC).

    Kernels are the same where their digest is (source, patches, final .config, toolchain, flags), or where they were
    asked for by the same: a broken one has a digest of its own, and stands behind the one that its patch breaks.
    """

    lane: str
    version: str
    digest: str
    first: str
    last: str
    rows: tuple[Together, ...]


@dataclass(frozen=True, slots=True)
class History:
    """All kernels, each lane's last raced one first; `damaged` says what could not be read.

    `unfinished` counts the cells that came to no verdict, `kernelless` those that have one and never got a kernel.
    """

    runs: int
    kernels: tuple[KernelHistory, ...]
    damaged: tuple[str, ...] = ()
    unfinished: int = 0
    kernelless: int = 0

    @property
    def newest(self) -> History:
        """Of each lane only the kernel that was raced last."""
        lanes: dict[str, KernelHistory] = {}
        for kernel in self.kernels:
            lanes.setdefault(kernel.lane, kernel)
        return replace(self, kernels=tuple(lanes.values()))

    @property
    def failed(self) -> bool:
        """Whether some race of these kernels showed a fault, or missed a control."""
        return any(row.failed for kernel in self.kernels for row in kernel.rows)


# A broken kernel: its name, and the digest of the patch that breaks it.
_Mutant = tuple[str, str]


@dataclass(slots=True)
class _Kernel:
    """A kernel under construction: its races by scenario, and those of its mutants by scenario, mutant and patch."""

    lane: str
    version: str = ""
    digest: str = ""
    at: set[str] = field(default_factory=set)
    stock: dict[str, list[Raced]] = field(default_factory=dict)
    broken: dict[str, dict[_Mutant, list[Raced]]] = field(default_factory=dict)

    def take(self, other: _Kernel) -> None:
        """Add what was raced on `other`, which is the same kernel."""
        self.version = self.version or other.version
        self.at |= other.at
        for scenario, races in other.stock.items():
            self.stock.setdefault(scenario, []).extend(races)
        for scenario, mutants in other.broken.items():
            mine = self.broken.setdefault(scenario, {})
            for mutant, races in mutants.items():
                mine.setdefault(mutant, []).extend(races)


_Kernels = dict[tuple[str, frozenset[tuple[str, str]]], _Kernel]


class _LeftOut(Enum):
    """Why a cell counts for no kernel."""

    UNFINISHED = auto()
    KERNELLESS = auto()


def find_runs(places: Sequence[Path]) -> tuple[RunDir, ...]:
    """Return the runs that `places` are or hold, each once, in the order of their names.

    Raises:
        UsageError: a place is no directory, or neither is a run nor holds one.
    """
    found: dict[Path, RunDir] = {}
    for place in places:
        held = [place] if (place / "plan.json").is_file() else sorted(p.parent for p in place.glob("*/plan.json"))
        if not held:
            what = "no run here" if place.is_dir() else "no such directory"
            raise UsageError(what, where=str(place), hint="name runs, or directories that hold some")
        found |= {path.resolve(): open_run(path) for path in held}
    return tuple(found.values())


def history(runs: Sequence[RunDir], only: Sequence[str], project: Project) -> History:
    """Sum up `runs`: of the cells whose stock id matches one of the globs `only` (all, when there is none).

    A cell without verdict or without a kernel is counted, no more; what cannot be read is told, and left out. So are
    the kernel's own selftests on broken kernels: which of their failures are the mutant's only `guprace power` tells.

    Raises:
        UsageError: a glob matches no cell of any run.
    """
    kernels: _Kernels = {}
    left_out: Counter[_LeftOut | None] = Counter()
    damaged, known = [], dict.fromkeys(only, False)
    for run in runs:
        try:
            at, cells, measured = run.metadata().started, run.plan().cells, is_power_run(run)
        except HostError as error:
            damaged.append(str(error))
            continue
        for cell in cells:
            chosen = [glob for glob in only if matches(stock_id(cell), glob)]
            known |= dict.fromkeys(chosen, True)
            if (only and not chosen) or (cell.program and cell.kernel.mutant):
                continue
            try:
                left_out[_add(kernels, run, cell, at, measured)] += 1
            except HostError as error:
                damaged.append(str(error))
    # What matches nothing here may be in what could not be read.
    if not damaged and (vain := [glob for glob, matched in known.items() if not matched]):
        hint = "a glob is of the unbroken kernel's cell or its end, such as '6.12/arm64/*' or pin_vs_munmap"
        raise UsageError(f"no cell of any run matches {vain[0]!r}", hint=hint)
    finished = sorted((_finished(kernel, project) for kernel in _merged(kernels.values())), key=_last, reverse=True)
    return History(
        len(runs), tuple(finished), tuple(damaged), left_out[_LeftOut.UNFINISHED], left_out[_LeftOut.KERNELLESS]
    )


def _merged(kernels: Iterable[_Kernel]) -> Iterable[_Kernel]:
    """Yield the kernels, each once: a fragment's comment, or another probe module, makes no other kernel."""
    first: dict[tuple[str, str], _Kernel] = {}
    for kernel in kernels:
        # Of a mutant that was raced without its stock kernel no digest is known.
        if not kernel.digest:
            yield kernel
        elif (same := first.setdefault((kernel.lane, kernel.digest), kernel)) is not kernel:
            same.take(kernel)
    yield from first.values()


def _last(kernel: KernelHistory) -> str:
    return kernel.last


def _add(kernels: _Kernels, run: RunDir, cell: Cell, at: str, measured: bool) -> _LeftOut | None:
    """Add a cell to its kernel, or say why it counts for none."""
    result = run.result(cell)
    if result.verdict is None:
        return _LeftOut.UNFINISHED
    if not run.kernel_file(cell).is_file():
        return _LeftOut.KERNELLESS
    made_of = dict(run.kernel(cell).made_of)
    mutant, patches, patch = cell.kernel.mutant, cell.kernel.patches, ""
    if mutant and patches:
        # A mutant is the kernel that its own patch, the last one, breaks.
        patch = made_of.pop(f"patch {len(patches)} {patches[-1].name}", "")
    lane = stock_id(cell).rsplit("/", 1)[0]
    kernel = kernels.setdefault((lane, frozenset(made_of.items())), _Kernel(lane))
    kernel.at.add(at)
    kernel.version = kernel.version or result.record.kernel_version
    raced = _raced(result, result.verdict, at, measured)
    if mutant:
        kernel.broken.setdefault(cell.scenario, {}).setdefault((mutant, patch), []).append(raced)
    else:
        # One that ended before it had its kernel tells no digest.
        kernel.digest = result.record.kernel_digest or kernel.digest
        kernel.stock.setdefault(cell.scenario, []).append(raced)
    return None


def _raced(result: CellResult, verdict: Verdict, at: str, measured: bool) -> Raced:
    made_of, repeat = result.record.made_of, result.record.repeat
    return Raced(at, str(result.directory), verdict, said_of(result), made_of.get("program", ""), repeat, measured)


def _principle(mutant: str, project: Project) -> str:
    # A patch of somebody's own (power --patch) has no record, which is nothing to be told of.
    return principle_of(mutant, project) if (project.mutants / f"{mutant}.yaml").is_file() else "?"


def _finished(kernel: _Kernel, project: Project) -> KernelHistory:
    rows = []
    for scenario in sorted({*kernel.stock, *kernel.broken}):
        behind = _named(kernel.broken.get(scenario, {}))
        controls = {name: (_principle(mutant, project), raced) for name, (mutant, raced) in behind.items()}
        rows.append(together(scenario, kernel.stock.get(scenario, []), controls))
    return KernelHistory(kernel.lane, kernel.version, kernel.digest, min(kernel.at), max(kernel.at), tuple(rows))


def _named(broken: Mapping[_Mutant, list[Raced]]) -> dict[str, tuple[str, list[Raced]]]:
    """Name the broken kernels: one whose patch was changed, or is another's of that name, with the patch's digest."""
    names = Counter(mutant for mutant, _ in broken)
    return {
        mutant if names[mutant] == 1 else f"{mutant} (patch {patch[:8]})": (mutant, raced)
        for (mutant, patch), raced in broken.items()
    }


def show_history(found: History, console: Console, older: int) -> None:
    """Print a table for each kernel, and below it what did not end as expected; `older` kernels are not shown."""
    for kernel in found.kernels:
        _plain(console, _head(kernel), "bold")
        if console.is_terminal:
            console.print(_table(kernel.rows))
        else:
            for row in kernel.rows:
                _plain(console, "  ".join([f"{kernel.lane}/{row.scenario}", *_told(row)]))
        for row in kernel.rows:
            if row.controls:
                _plain(console, f"{row.scenario}: {_controls(row.controls)}")
        for row in kernel.rows:
            _troubles(row, console)
        _plain(console, "")
    for text in found.damaged:
        _plain(console, f"left out: {text}", "bold yellow")
    if words := _not_counted(found):
        _plain(console, f"not counted: {words}", "yellow")
    hidden = f"{older} older {plural(older, 'kernel is', 'kernels are')} not shown: --all"
    _plain(console, f"{found.runs} {plural(found.runs, 'run')}{f'; {hidden}' if older else ''}")


def _not_counted(found: History) -> str:
    said = []
    if number := found.unfinished:
        said.append(f"{number} {plural(number, 'cell')} without a verdict")
    if number := found.kernelless:
        said.append(f"{number} {plural(number, 'cell')} that never got a kernel")
    return ", ".join(said)


def _plain(console: Console, text: str, style: str = "") -> None:
    console.print(Text(harmless(text), style=style), soft_wrap=True)


def _head(kernel: KernelHistory) -> str:
    days = dict.fromkeys((kernel.first[:10], kernel.last[:10]))
    named = f"{kernel.lane}: {kernel.version or 'version unknown'}"
    return f"{named}{f', kernel {kernel.digest[:12]}' if kernel.digest else ''}, {' to '.join(days)}"


def _ended(row: Together) -> str:
    return ", ".join(f"{number} {outcome}" for outcome, number in row.outcomes) or "not raced"


def _raced_for(row: Together) -> str:
    return seconds(row.seconds) if row.seconds else "-"


def _told(row: Together) -> Iterable[str]:
    """Return what a plain line says behind the cell."""
    yield _ended(row)
    if row.seconds:
        yield f"raced {seconds(row.seconds)}"
    if row.trials:
        yield f"{count(row.trials)} {plural(row.trials, 'trial')}"
    if row.checks:
        yield f"{count(row.checks)} {plural(row.checks, 'check')}"
    if row.bound is not None:
        yield f"bound {rate(row.bound)} ({row.weakest})"
    if row.programs > 1:
        yield f"by {row.programs} versions of the selftest"


def _table(rows: Sequence[Together]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("scenario", no_wrap=True)
    table.add_column("ended", overflow="fold")
    for name in ("raced", "trials", "bound"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("weakest", overflow="fold")
    for row in rows:
        worst = next((o for o, _ in row.outcomes if not o.as_expected), Outcome.PASS)
        ended = Text(_ended(row), style=STYLES[worst.value] if row.outcomes else "yellow")
        figures = (_raced_for(row), count(row.trials) if row.trials else "-", rate(row.bound))
        table.add_row(Text(harmless(row.scenario)), ended, *figures, Text(harmless(row.weakest)))
    return table


def _controls(controls: Sequence[Backing]) -> str:
    """Say what was caught, and name what was not: a power run also asks scenarios that need not catch it."""
    missed = [control.mutant for control in controls if control.outcome is Outcome.MISSED]
    told = [control for control in controls if control.outcome is not Outcome.MISSED]
    if max((control.escape or 0.0 for control in told), default=0.0) >= _A_TOSS:
        told = [replace(control, escape=None) for control in told]
    said = in_words(told)
    return "; ".join([*said, *([f"never caught by it: {', '.join(missed)}"] if missed else [])])


def _troubles(row: Together, console: Console) -> None:
    for each in row.trouble[:_SHOWN_TROUBLES]:
        outcome = each.verdict.outcome.value
        why = shorten(" ".join(each.verdict.reason.split()), _REASON)
        _plain(console, f"{outcome} {near(Path(each.where))}: {why}", STYLES[outcome])
        if each.repeat:
            _plain(console, f"  again: {each.repeat}")
    if (more := len(row.trouble) - _SHOWN_TROUBLES) > 0:
        _plain(console, f"  and {more} more of {row.scenario}")


def history_data(found: History) -> Mapping[str, object]:
    """Return the history as plain data, for --json: what the terminal shows, and every trouble."""
    return {
        "runs": found.runs,
        "damaged": list(found.damaged),
        "without_verdict": found.unfinished,
        "without_kernel": found.kernelless,
        "kernels": [
            {
                "lane": kernel.lane,
                "version": kernel.version,
                "digest": kernel.digest,
                "first": kernel.first,
                "last": kernel.last,
                "scenarios": [_row_data(row) for row in kernel.rows],
            }
            for kernel in found.kernels
        ],
    }


def _row_data(row: Together) -> Mapping[str, object]:
    return {
        "scenario": row.scenario,
        "outcomes": {outcome.value: number for outcome, number in row.outcomes},
        "seconds": round(row.seconds, 3),
        "trials": row.trials,
        "checks": row.checks,
        "bound": row.bound,
        "weakest": row.weakest,
        "programs": row.programs,
        "controls": [
            {
                "mutant": control.mutant,
                "principle": control.principle,
                "outcome": control.outcome.value,
                "runs": control.runs,
                "caught": control.caught,
                "seconds": control.seconds,
                "subtest": control.subtest,
                "escape": control.escape,
            }
            for control in row.controls
        ],
        "trouble": [
            {
                "at": each.at,
                "outcome": each.verdict.outcome.value,
                "directory": each.where,
                "reason": each.verdict.reason,
                "repeat": each.repeat,
            }
            for each in row.trouble
        ],
    }
