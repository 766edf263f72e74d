# SPDX-License-Identifier: GPL-2.0-only
"""What a power run leaves: power.json for tools, junit.xml, index.html with a heat map, a table on a terminal.

All of it is made from the run directory, as all reports are: campaign.json says what was to be caught, the attempts'
verdicts what became of it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from junit_xml import TestCase, TestSuite, to_xml_report_string
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator import records
from orchestrator.matrix.mutants import MutantExpectation
from orchestrator.report.html import environment
from orchestrator.report.junit import XML_HEAD
from orchestrator.report.text import harmless, near, shorten
from orchestrator.report.view import view
from orchestrator.runner.power import Campaign, rows
from orchestrator.runner.rundir import Metadata, RunDir
from orchestrator.verdict.power import Row, Score, Status, scores
from orchestrator.words import plural

# Shades of the heat map: caught within so many seconds of racing (median), else the last one.
_SHADES = ((0.1, "h1"), (1.0, "h2"), (10.0, "h3"), (60.0, "h4"))
_SLOWEST = "h5"
_ATTEMPTS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class PowerView:
    """A power run, read back: the targets' rows and the principles' scores.

    `damaged` says what could not be read; `repeats` has the command of each attempt, by cell id.
    """

    run: RunDir
    campaign: Campaign
    rows: tuple[Row, ...]
    scores: tuple[Score, ...]
    metadata: Metadata
    damaged: tuple[str, ...] = ()
    repeats: Mapping[str, str] = field(default_factory=dict)

    @property
    def lanes(self) -> tuple[str, ...]:
        """The lanes that were raced, as `6.12/arm64/plain`."""
        return tuple(dict.fromkeys("/".join(row.target.lane) for row in self.rows))

    @property
    def mutants(self) -> tuple[str, ...]:
        """The mutants, in the order of their principles."""
        ordered = sorted(self.rows, key=lambda row: (row.target.principle == "none", row.target.principle))
        return tuple(dict.fromkeys(row.target.mutant for row in ordered))

    def row(self, mutant: str, lane: str) -> Row | None:
        """Return what became of a mutant on a lane, None where it was not raced."""
        found = (r for r in self.rows if r.target.mutant == mutant and "/".join(r.target.lane) == lane)
        return next(found, None)

    def of(self, mutant: str) -> Row:
        """Return any row of a mutant, for its title and principle."""
        return next(row for row in self.rows if row.target.mutant == mutant)

    @property
    def scenarios(self) -> tuple[str, ...]:
        """Every scenario that was raced against a broken kernel, ours before upstream's."""
        own = {each.scenario for row in self.rows for each in row.tried}
        return (*sorted(own), *sorted({each.scenario for row in self.rows for each in row.upstream}))


@dataclass(frozen=True, slots=True)
class PowerRecord:
    """power.json."""

    started: str
    finished: str | None
    rows: tuple[Row, ...]
    scores: tuple[Score, ...]
    left_out: tuple[str, ...]


def power_view(run: RunDir) -> PowerView:
    """Read a power run. An attempt whose records are damaged counts for nothing, and is told.

    Raises:
        HostError: plan, campaign or metadata are missing or damaged.
    """
    campaign = run.campaign(Campaign)
    cells = view(run).cells
    found = rows(campaign, {cell.id: cell.result for cell in cells if cell.verdict})
    damaged = tuple(f"{cell.id}: {cell.problem}" for cell in cells if cell.damaged)
    repeats = {cell.id: cell.record.repeat for cell in cells if cell.record.repeat}
    return PowerView(run, campaign, found, scores(found), run.metadata(), damaged, repeats)


def is_power_run(run: RunDir) -> bool:
    """Return whether this run measures detection power, its campaign.json there or lost."""
    return run.verb == "power"


def write_power_reports(run: RunDir) -> None:
    """Write power.json, junit.xml and index.html, each atomically. Raises HostError."""
    seen = power_view(run)
    record = PowerRecord(
        seen.metadata.started, seen.metadata.finished, seen.rows, seen.scores, seen.campaign.left_out
    )
    records.save(run.root / "power.json", record)
    records.write_atomically(run.root / "junit.xml", power_junit(seen))
    records.write_atomically(run.root / "index.html", power_html(seen))


def label(row: Row) -> str:
    """Return what a row ended with, in words that say whether that is as its record says."""
    if row.agrees is False:
        return "MISSED" if row.status is Status.SILENT else "CAUGHT, expected " + row.target.expect
    return row.status.upper() if row.status is Status.CAUGHT else str(row.status)


def seconds(value: float | None) -> str:
    """Return a short duration: `0.02 s`, `12 s`; a dash for None."""
    return "-" if value is None else f"{_short(value)} s"


def interval(row: Row) -> str:
    """Return the interval of the mean time to a catch, such as `0.01 to 0.06 s`."""
    return f"{_short(row.mean[0])} to {_short(row.mean[1])} s" if row.mean else "-"


def _short(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"


def _by(row: Row) -> str:
    """Return what caught it, or what did not: the first few."""
    if row.scenario:
        return f"{row.scenario}: {row.shown}"
    names = [each.scenario for each in row.tried]
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def power_table(seen: PowerView, console: Console) -> None:
    """Print the table, what is not as expected, and the score of each principle."""
    if console.is_terminal:
        console.print(_table(seen))
    else:
        for row in seen.rows:
            console.print(Text(harmless("  ".join(_plain(row)))), soft_wrap=True)
    for row in seen.rows:
        if row.agrees is False or row.status not in (Status.CAUGHT, Status.SILENT, Status.UNFINISHED):
            why = row.reason or row.shown
            console.print(Text(harmless(f"{row.target.id}: {label(row)}: {shorten(why, 600)}")), soft_wrap=True)
            for name, repeat in _attempts(seen, row)[:_ATTEMPTS_SHOWN]:
                where = f"  evidence: {near(seen.run.root / name)}/\n  again:    {repeat}"
                console.print(Text(harmless(where)), soft_wrap=True)
        for text in _remarks(row):
            console.print(Text(harmless(f"{row.target.id}: {text}")), soft_wrap=True)
        for each in (*row.tried, *row.upstream):
            if each.note:
                console.print(Text(harmless(f"{row.target.id}: {each.scenario}: {each.note}")), soft_wrap=True)
    for text in seen.damaged:
        console.print(Text(harmless(text), style="bold yellow"), soft_wrap=True)
    for text in seen.campaign.left_out:
        console.print(Text(harmless(f"left out: {text}")), soft_wrap=True)
    for score in seen.scores:
        text = f"{score.principle}: {score.caught} of {score.due} caught, {score.always} in every attempt"
        if score.upstream is not None:
            text += f"; upstream's own selftests: {score.upstream}"
        console.print(Text(text), soft_wrap=True)
    console.print(Text(f"reports: {near(seen.run.root / 'index.html')}"), soft_wrap=True)
    if seen.metadata.interrupted:
        again = shlex.join(["guprace", "power", "--resume", near(seen.run.root)])
        console.print(Text(f"interrupted ({seen.metadata.interrupted}); to go on: {again}"), soft_wrap=True)


def _table(seen: PowerView) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("mutant", no_wrap=True)
    table.add_column("lane", no_wrap=True)
    table.add_column("ended", no_wrap=True)
    for name in ("runs", "median", "mean (95 %)", "trials"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("by", overflow="fold")
    compared = any(row.upstream for row in seen.rows)
    if compared:
        table.add_column("upstream's own", overflow="fold")
    for row in seen.rows:
        style = {True: "green", False: "bold red", None: "yellow"}[row.agrees]
        runs = f"{row.caught}/{row.runs}" if row.runs else str(sum(each.runs for each in row.tried))
        trials = "-" if row.trials is None else f"{row.trials:.0f}"
        own = [Text(_upstream(row))] if compared else []
        table.add_row(
            *(Text(row.target.mutant), Text("/".join(row.target.lane)), Text(label(row), style=style)),
            *(
                Text(runs),
                Text(seconds(row.median)),
                Text(interval(row)),
                Text(trials),
                Text(harmless(_by(row)[:90])),
                *own,
            ),
        )
    return table


def _upstream(row: Row) -> str:
    """Return which of the kernel's own selftests caught it; a dash where some were run and none did."""
    return ", ".join(row.caught_upstream) or ("-" if row.upstream else "")


def _plain(row: Row) -> list[str]:
    told = [f"{label(row):<8} {row.target.id}"]
    if row.scenario:
        told += [f"{row.caught} of {row.runs} by {row.scenario}", f"median {seconds(row.median)}", row.shown]
        told += [
            f"mean {interval(row)}",
            *([f"{row.broken} {plural(row.broken, 'attempt')} without an answer"] if row.broken else []),
        ]
        told += [] if row.trials is None else [f"{row.trials:.0f} {plural(f'{row.trials:.0f}', 'trial')}"]
    told += [f"upstream's own: {_upstream(row)}"] if row.upstream else []
    return told


def power_junit(seen: PowerView) -> bytes:
    """Return one suite for each lane and one case for each mutant.

    A mutant that must be caught and is silent is a failure, and so is one that must be silent and is caught; one that
    was not built, booted or raced is an error; of one whose record does not say, only the properties tell.
    """
    suites = [
        TestSuite(
            harmless(lane),
            [_case(seen, row) for row in seen.rows if "/".join(row.target.lane) == lane],
            timestamp=seen.metadata.started[:19],
            properties={f"{s.principle}.caught": f"{s.caught} of {s.due}" for s in seen.scores},
        )
        for lane in seen.lanes
    ]
    text: str = to_xml_report_string(suites, prettyprint=False, encoding="utf-8")
    return XML_HEAD + text.encode("utf-8")


def _case(seen: PowerView, row: Row) -> TestCase:
    target = row.target
    classname = ".".join(part.replace(".", "_") for part in ("power", *target.lane))
    spent = sum(each.seconds for each in row.tried)
    lines = [f"{target.title} ({target.principle}), expected {target.expect}: {label(row)}", *_plain(row)]
    lines += [
        f"{each.scenario}: caught {each.caught} of {each.runs}, {each.trials} {plural(each.trials, 'trial')}"
        for each in row.tried
    ]
    lines += [f"{each.scenario}: {each.note}" for each in (*row.tried, *row.upstream) if each.note]
    lines += _remarks(row)
    for name, repeat in _attempts(seen, row):
        lines += [f"evidence: {name}/", *([f"repeat: {repeat}"] if repeat else [])]
    case = TestCase(
        target.mutant, classname=classname, elapsed_sec=max(spent, 0.001), stdout=harmless("\n".join(lines))
    )
    message = harmless(f"{label(row)}: {row.reason or row.shown}")[:1000]
    if row.agrees is False:
        case.add_failure_info(message, harmless("\n".join(lines)), label(row))
    elif row.status not in (Status.CAUGHT, Status.SILENT):
        case.add_error_info(message, harmless("\n".join(lines)), str(row.status))
    return case


def power_html(seen: PowerView) -> bytes:
    """Return the heat map and the details as one HTML page (UTF-8), self-contained as all our pages are."""
    page = environment().get_template("power.html.j2")
    shown = page.render(
        seen=seen,
        label=label,
        shade=shade,
        brief=seconds,
        interval=interval,
        links=_links,
        attempts=_attempts,
        remarks=_remarks,
        cell_shade=_cell_shade,
        compared=any(row.upstream for row in seen.rows),
    )
    return shown.encode("utf-8", "replace")


def shade(row: Row | None) -> str:
    """Return the class of a cell of the heat map."""
    if row is None:
        return "none"
    if row.status is Status.CAUGHT:
        if row.agrees is False:
            return "wrong"
        return next((name for limit, name in _SHADES if row.median is not None and row.median <= limit), _SLOWEST)
    if row.status is Status.SILENT:
        silent = row.target.expect in (MutantExpectation.CAUGHT, MutantExpectation.UNKNOWN)
        return ("wrong" if row.agrees is False else "unknown") if silent else "quiet"
    return "error"


def _cell_shade(row: Row, scenario: str) -> tuple[str, str]:
    """Return class and text of a mutant's cell in the table by scenario."""
    for each in (*row.tried, *row.upstream):
        if each.scenario == scenario:
            return (
                "h2" if each.caught == each.runs > 0 else "h4" if each.caught else "quiet"
            ), f"{each.caught}/{each.runs}"
    return "none", ""


def _remarks(row: Row) -> list[str]:
    """Say of the stock kernel's races why they were not used, or what they leave open."""
    found = [f"not usable: {each}" for each in row.unusable]
    open_ = "that it has no hits by this scenario is not known"
    return [*found, *(f"{each}: VACUOUS on the stock kernel: {open_}" for each in row.vacuous)]


def _attempts(seen: PowerView, row: Row) -> list[tuple[str, str]]:
    """Return id and repeating command of each attempt at a target of which there is a directory."""
    found = []
    for each in (*row.tried, *row.upstream):
        first = row.target.cell(each.scenario).id
        for attempt in range(1, each.runs + each.broken + 1):
            name = first if attempt == 1 else f"{first}.{attempt}"
            if (seen.run.root / name).is_dir():
                found.append((name, seen.repeats.get(name, "")))
    return found


def _links(seen: PowerView, row: Row) -> list[tuple[str, str]]:
    """Return name and address of the directory of each attempt at a target."""
    return [(name.rpartition("/")[2], quote(name) + "/") for name, _ in _attempts(seen, row)]
