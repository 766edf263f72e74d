# SPDX-License-Identifier: GPL-2.0-only
"""The end of a run on a terminal: a table, then for each cell that needs attention why, where, and how again."""

from __future__ import annotations

import os
import shlex

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.race.session import SELFTEST_KTAP
from orchestrator.report.text import count, harmless, near, rate, seconds
from orchestrator.report.view import NOT_FINISHED, CellView, RunView
from orchestrator.splat.model import Standing
from orchestrator.verdict.backing import in_words
from orchestrator.verdict.model import Outcome
from orchestrator.words import plural

STYLES = {
    Outcome.PASS.value: "green",
    Outcome.CAUGHT.value: "green",
    Outcome.SKIP.value: "cyan",
    Outcome.FAIL.value: "bold red",
    Outcome.MISSED.value: "bold red",
    Outcome.LOST.value: "bold magenta",
    Outcome.VACUOUS.value: "bold yellow",
    Outcome.BROKEN.value: "bold yellow",
    NOT_FINISHED: "yellow",
}
_NARROW = 100
_LAST_LINES = 5
_PLAIN_WIDTH = 160


class Output(Console):
    """Standard output. If nobody reads it any more (`| head`) what comes is dropped, and the verb goes on."""

    def on_broken_pipe(self) -> None:
        """Do not end the program, as rich would, by 1: that would accuse a kernel, and lose the lane that spoke."""
        self.quiet = True
        # What is still buffered must not fail once more when Python ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


def show(run: RunView, console: Console) -> None:
    """Print the run: table, the cells that did not end as expected, and the tally.

    On anything but a terminal plain text without colour or frames, one line a cell, never wrapped.
    """
    if console.is_terminal:
        console.print(_table(run, console.width))
    else:
        for cell in run.cells:
            _plain(console, _plain_line(cell))
    for cell in run.cells:
        if not cell.good and (cell.verdict or cell.files()):
            _attention(cell, console)
    if idle := [cell.id for cell in run.cells if not cell.verdict and not cell.files()]:
        _plain(console, f"\n{NOT_FINISHED}, and nothing is there of {', '.join(idle)}")
    for line in (*_backing(run), *run.left_out, *_accelerators(run)):
        _plain(console, line)
    tally = ", ".join(f"{number} {name}" for name, number in run.tally().items())
    _plain(console, f"{len(run.cells)} {plural(len(run.cells), 'cell')}: {tally or 'none'}")
    for line in run.resumed:
        _plain(console, line)
    _plain(console, f"reports: {near(run.run.root / 'index.html')}")
    resume = shlex.join(["guprace", "run", "--resume", near(run.run.root)])
    if run.goes_on:
        why = f"interrupted ({run.interrupted})" if run.interrupted else "not every cell has a verdict"
        _plain(console, f"{why}; to go on: {resume}")
    elif many := run.by_host:
        why = f"the host was at fault in {many} {plural(many, 'cell')}"
        _plain(console, f"{why}; when that is mended, race {plural(many, 'it', 'them')} again: {resume}")


def _backing(run: RunView) -> list[str]:
    """Say of each pass what the same set-up caught, one line each."""
    found = []
    for cell in run.cells:
        if cell.verdict and cell.good and cell.verdict.controls:
            found.append(f"{cell.id}: {'; '.join(in_words(cell.verdict.controls))}")
    return found


def _accelerators(run: RunView) -> list[str]:
    """Say how the guests of each architecture ran, and why so."""
    found = {(c.record.cell.kernel.arch, c.record.accel, c.record.accel_why) for c in run.cells if c.record.accel}
    return [f"{arch} guests under {accel}: {why}" for arch, accel, why in sorted(found)]


def _plain(console: Console, text: str, style: str = "") -> None:
    console.print(Text(harmless(text), style=style), soft_wrap=True)


def _table(run: RunView, width: int) -> Table:
    narrow = width < _NARROW
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("verdict", no_wrap=True)
    table.add_column("cell", overflow="fold", ratio=1 if narrow else None)
    for name in ("trials", "bound") if narrow else ("trials", "hits", "bound", "back-offs", "reports", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for cell in run.cells:
        told = figures(cell)
        kept = (told[0], told[2]) if narrow else told
        label = Text(cell.label, style=STYLES.get(cell.label, ""))
        table.add_row(label, Text(harmless(cell.id)), *(Text(figure) for figure in kept))
    return table


def figures(cell: CellView) -> tuple[str, str, str, str, str, str]:
    """Return trials, hits, bound, back-offs, reports and time as tables show them."""
    verdict, backoffs = cell.verdict, cell.counter("backoffs")
    race = cell.result.evidence.race if cell.result.evidence else None
    # Checks that need no race, and upstream's selftests, have neither trials nor back-offs: 0 would be an accusation.
    raced = race is not None and any(key.endswith(".trials") for key in race.counters)
    told = verdict is not None and (raced or verdict.trials > 0 or verdict.hits > 0)
    return (
        count(verdict.trials) if verdict and told else "-",
        count(verdict.hits) if verdict and told else "-",
        rate(verdict.bound if verdict else None),
        count(backoffs) if backoffs is not None and raced else "-",
        reports_in_words(cell),
        seconds(cell.seconds),
    )


def reports_in_words(cell: CellView) -> str:
    """Return how many kernel reports of which standing, such as `1 new, 7 background`; a dash for none."""
    totals = [(sum(splat.count for splat in cell.splats(standing)), standing) for standing in Standing]
    return ", ".join(f"{number} {standing}" for number, standing in totals if number) or "-"


def _plain_line(cell: CellView) -> str:
    trials, hits, bound, backoffs, reports, took = figures(cell)
    facts = [
        (trials, f"{trials} {plural(trials, 'trial')}"),
        (hits, f"{hits} {plural(hits, 'hit')}"),
        (bound, f"bound {bound}"),
        (backoffs, f"{backoffs} {plural(backoffs, 'back-off')}"),
        (reports, f"reports {reports}"),
    ]
    told = [text for value, text in facts if value != "-"]
    return "  ".join([f"{cell.label:<12} {cell.id}", *told, took])


def _attention(cell: CellView, console: Console) -> None:
    _plain(console, f"\n{cell.label} {cell.id}", STYLES.get(cell.label, ""))
    for line in harmless(cell.reason or "no reason given").splitlines()[:8]:
        _plain(console, f"  {line}")
    if cell.found:
        _plain(console, f"  found:    {cell.found}")
    _plain(console, f"  evidence: {near(cell.result.directory)}/" + _best_file(cell))
    if cell.verdict and cell.verdict.last_lines:
        for line in cell.verdict.last_lines[-_LAST_LINES:]:
            _plain(console, f"  | {line[:_PLAIN_WIDTH]}", "dim")
    if cell.record.repeat:
        _plain(console, f"  again:    {cell.record.repeat}")


def _best_file(cell: CellView) -> str:
    verdict, files = cell.verdict, cell.files()
    if verdict and verdict.outcome in (Outcome.FAIL, Outcome.MISSED, Outcome.VACUOUS):
        wanted = ("splats.json", "race.ktap") if verdict.splats and not verdict.hits else ("race.ktap",)
    elif cell.reason.startswith(SELFTEST_KTAP):
        wanted = (SELFTEST_KTAP,)
    else:
        wanted = ("console.log",)
    return next((name for name in (*wanted, *files) if name in files), "")
