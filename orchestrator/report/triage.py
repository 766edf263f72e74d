# SPDX-License-Identifier: GPL-2.0-only
"""Kernel reports for people: one table of what a console says, one of how two runs differ.

What `guprace triage` calls, with values that are read already:

    found = classify(scan(log).splats, path, known, subject, today)     # Splats with their standing
    located = locate(found, symbols)                                    # splat/sources.py, with --vmlinux
    show_reports(report_rows(found, path, located), Console(), notes)   # notes: remarks(audited(...)) and the like

    comparison = compare(raced(open_run(a)), raced(open_run(b)), unit)  # report/diff.py, with --diff
    show_diff(comparison, Console())

On anything but a terminal both are plain lines without colour, one a report, fields parted by two blanks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.report.text import count, harmless
from orchestrator.splat.compare import Change, Comparison, Difference, Rate
from orchestrator.splat.fingerprint import fingerprint, pair_of
from orchestrator.splat.model import Scan, Splat, SplatKind, Standing
from orchestrator.splat.sources import Located
from orchestrator.splat.standing import GupPath
from orchestrator.words import plural

OWN_PATH = "GUP"
CORRUPTED = "cut"
NONE = "no kernel report"
STYLES = {Standing.NEW: "bold red", Standing.KNOWN: "cyan", Standing.BACKGROUND: "dim"}
CHANGES = {
    Change.NEW: "bold red",
    Change.MORE: "red",
    Change.GONE: "green",
    Change.LESS: "green",
    Change.NOT_RACED: "yellow",
    Change.SAME: "dim",
}
_WIDE = 110


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a report, or all reports of one KCSAN pair (`merged` of them, `count` times in all)."""

    kind: SplatKind
    title: str
    count: int
    lines: str
    standing: Standing
    why: str
    frame: str
    source: str
    own_path: bool
    whole: bool
    key: str
    merged: int = 1

    @property
    def marks(self) -> str:
        """The marks behind a title: an access in GUP-fast's own path, a text that was cut."""
        return " ".join([OWN_PATH] * self.own_path + [CORRUPTED] * (not self.whole))


def report_rows(splats: Sequence[Splat], path: GupPath, located: Sequence[Located] = ()) -> tuple[Row, ...]:
    """Return the lines of the table: new reports first, each standing in the order of the console.

    `located` are the same reports in the same order with symbols, if there are any. KCSAN reports of one function
    pair and standing are one line: which of the two came first, and by which accesses, does not make another race.
    """
    sources = [each.source for each in located] or [""] * len(splats)
    rows: dict[tuple[str, ...], Row] = {}
    for splat, source in zip(splats, sources, strict=True):
        row = _row(splat, path, source)
        pair = pair_of(splat)
        key = (
            ("pair", splat.standing, splat.title.partition(" in ")[0], *pair) if pair else ("report", str(len(rows)))
        )
        rows[key] = _merged(rows[key], row) if key in rows else row
    return tuple(sorted(rows.values(), key=lambda row: list(Standing).index(row.standing)))


def _row(splat: Splat, path: GupPath, source: str) -> Row:
    return Row(
        kind=splat.kind,
        title=splat.title,
        count=splat.count,
        lines=f"{splat.start_line}-{splat.end_line}",
        standing=splat.standing,
        why=splat.why,
        frame=" / ".join(splat.functions),
        source=source,
        own_path=any(path.holds(stack) for stack in splat.stacks) if splat.kind is SplatKind.KCSAN else False,
        whole=splat.whole,
        key=fingerprint(splat),
    )


def _merged(first: Row, other: Row) -> Row:
    return replace(
        first,
        count=first.count + other.count,
        source=first.source or other.source,
        own_path=first.own_path or other.own_path,
        whole=first.whole or other.whole,
        merged=first.merged + other.merged,
    )


def show_reports(rows: Sequence[Row], console: Console, notes: Iterable[str] = (), none: str = NONE) -> None:
    """Print the table, what it adds up to (`none` where it is empty), and `notes` (dropped messages, say) below."""
    if console.is_terminal:
        console.print(_report_table(rows, console.width))
    else:
        for row in rows:
            _plain(console, "  ".join(text for text in _fields(row) if text))
    for row in rows:
        if row.why and row.standing is Standing.NEW:
            _plain(console, f"{row.title}: {row.why}")
    _plain(console, tally(rows) if rows else none)
    for note in notes:
        _plain(console, note)


def none_in(found: Scan) -> str:
    """Return what is said of a console without reports: of one that no kernel wrote it means nothing."""
    if found.kernel:
        return NONE
    them = plural(found.lines, "it does not look", "none of them looks")
    return f"{NONE} in {count(found.lines)} {plural(found.lines, 'line')}, and {them} like a kernel's"


def tally(rows: Sequence[Row]) -> str:
    """Return what the rows add up to, such as `33 reports in 3 rows: 1 new, 2 known, 30 background`."""
    counts = {standing: sum(row.count for row in rows if row.standing is standing) for standing in Standing}
    total = sum(counts.values())
    if not total:
        return NONE
    told = ", ".join(f"{count(number)} {standing}" for standing, number in counts.items() if number)
    return f"{count(total)} {plural(total, 'report')} in {len(rows)} {plural(len(rows), 'row')}: {told}"


def _fields(row: Row) -> tuple[str, ...]:
    where = f"lines {row.lines}" + (f" and {row.merged - 1} more" if row.merged > 1 else "")
    return (
        f"{row.standing:<10}",
        f"{row.kind:<12}",
        row.title,
        row.source,
        f"{count(row.count)} times" if row.count > 1 else "once",
        where,
        f"[{row.marks}]" if row.marks else "",
        row.key,
    )


def _report_table(rows: Sequence[Row], width: int) -> Table:
    wide = width >= _WIDE
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("standing", no_wrap=True)
    if wide:
        table.add_column("kind", no_wrap=True)
    table.add_column("title", overflow="fold", ratio=2)
    if any(row.source for row in rows):
        table.add_column("source", overflow="fold", ratio=1)
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("lines", justify="right", no_wrap=True)
    table.add_column("marks", no_wrap=True)
    for row in rows:
        more = f" +{row.merged - 1}" if row.merged > 1 else ""
        cells = [(row.standing.value, STYLES[row.standing])]
        cells += [(row.kind.value, "")] if wide else []
        cells += [(row.title, "")]
        cells += [(row.source, "dim")] if any(each.source for each in rows) else []
        cells += [(count(row.count), ""), (row.lines + more, "dim"), (row.marks, "yellow")]
        table.add_row(*(Text(harmless(text), style=style) for text, style in cells))
    return table


def show_diff(comparison: Comparison, console: Console) -> None:
    """Print how two runs differ: reports by fingerprint, then KCSAN pairs; what did not change is counted."""
    for name, differences in (("report", comparison.reports), ("KCSAN pair", comparison.pairs)):
        if not differences:
            continue
        changed = [each for each in differences if each.change is not Change.SAME]
        if changed and console.is_terminal:
            console.print(_diff_table(name, comparison, changed))
        else:
            for each in changed:
                _plain(console, "  ".join(_difference_fields(each, comparison.unit.value)))
        _plain(console, _diff_tally(name, differences))
    if not comparison.reports:
        _plain(console, "no kernel report in either run")


def _diff_tally(name: str, differences: Sequence[Difference]) -> str:
    counts = {change: sum(1 for each in differences if each.change is change) for change in Change}
    told = ", ".join(f"{number} {change}" for change, number in counts.items() if number)
    sure = sum(1 for each in differences if each.significant)
    many = f"{len(differences)} {plural(len(differences), name)}"
    return f"{many}: {told}; {sure} beyond chance (Fisher's exact test, Holm, 5 %)"


def _difference_fields(each: Difference, unit: str) -> tuple[str, ...]:
    return (
        f"{each.change:<10}",
        f"{each.kind:<12}",
        each.title,
        f"{_rate(each.before)} -> {_rate(each.after)} {unit}",
        f"p {_probability(each.p)}, corrected {_probability(each.corrected)}",
        each.key,
    )


def _diff_table(name: str, comparison: Comparison, differences: Sequence[Difference]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("change", no_wrap=True)
    table.add_column(plural(0, name), overflow="fold", ratio=1)
    for heading in (f"before, {comparison.unit}", f"after, {comparison.unit}", "p", "corrected"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in differences:
        figures = (_rate(each.before), _rate(each.after), _probability(each.p), _probability(each.corrected))
        table.add_row(
            Text(each.change.value, style=CHANGES[each.change]),
            Text(harmless(each.title)),
            *(Text(figure, style="bold" if each.significant else "") for figure in figures),
        )
    return table


def _rate(rate: Rate) -> str:
    return f"{count(rate.seen)}/{count(rate.total)}" if rate.total else "-"


def _probability(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def _plain(console: Console, text: str) -> None:
    console.print(Text(harmless(text)), soft_wrap=True)
