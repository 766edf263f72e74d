# SPDX-License-Identifier: GPL-2.0-only
"""The tables of triage: a console's reports, and how two runs differ."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from orchestrator.report.triage import report_rows, show_diff, show_reports, tally
from orchestrator.splat.compare import Raced, compare
from orchestrator.splat.model import Splat, SplatKind, Standing
from orchestrator.splat.sources import Located
from orchestrator.splat.standing import GupPath

PATH = GupPath(("gup_*",), ())


def race(left: str, right: str, **more: object) -> Splat:
    base = Splat(
        SplatKind.KCSAN,
        f"KCSAN: data-race in {left} / {right}",
        10,
        29,
        "",
        (left, right),
        ((left, "x"), (right, "y")),
        standing=Standing.BACKGROUND,
    )
    return replace(base, **more)  # type: ignore[arg-type]


REPORTS = (
    race("lru_add_fn", "zap_pte_range", count=3),
    race("zap_pte_range", "lru_add_fn.isra.0", count=2, start_line=100, end_line=120),
    race("gup_pte_range", "zap_pte_range", standing=Standing.KNOWN, why="known: reason (link)"),
    Splat(SplatKind.KASAN, "KASAN: x in gup_pte_range", 5, 8, "", ("gup_pte_range",), whole=False, why="expired"),
)


def printed(*, terminal: bool, width: int = 140) -> tuple[Console, StringIO]:
    out = StringIO()
    return Console(file=out, force_terminal=terminal, width=width, color_system=None), out


def test_kcsan_reports_of_one_pair_are_one_row() -> None:
    rows = report_rows(REPORTS, PATH)
    assert [(row.standing, row.count, row.merged, row.marks) for row in rows] == [
        (Standing.NEW, 1, 1, "cut"),
        (Standing.KNOWN, 1, 1, "GUP"),
        (Standing.BACKGROUND, 5, 2, ""),
    ]
    assert tally(rows) == "7 reports in 3 rows: 1 new, 1 known, 5 background"


def test_a_pair_that_is_known_and_new_is_two_rows() -> None:
    pair = race("a", "b")
    rows = report_rows([pair, replace(pair, standing=Standing.NEW)], PATH)
    assert [row.standing for row in rows] == [Standing.NEW, Standing.BACKGROUND]


def test_off_a_terminal_a_report_is_one_line() -> None:
    console, out = printed(terminal=False, width=20)
    show_reports(report_rows(REPORTS, PATH), console, ["a note"])
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("new         KASAN         KASAN: x in gup_pte_range  once  lines 5-8  [cut]  ")
    assert "5 times  lines 10-29 and 1 more" in lines[2]
    assert lines[3:] == [
        "KASAN: x in gup_pte_range: expired",
        "7 reports in 3 rows: 1 new, 1 known, 5 background",
        "a note",
    ]


@pytest.mark.parametrize("width", [60, 140])
def test_a_terminal_gets_a_table_with_lines_of_source(width: int) -> None:
    console, out = printed(terminal=True, width=width)
    located = [Located(each, (), "mm/gup.c:2412" if each.kind is SplatKind.KASAN else "") for each in REPORTS]
    show_reports(report_rows(REPORTS, PATH, located), console)
    text = out.getvalue()
    assert "standing" in text
    assert "source" in text
    assert ("mm/gup.c:2412" in text) == (width == 140) or "mm/gup.c" in text
    assert all(len(line) <= width for line in text.splitlines() if " in 3 rows" not in line and "expired" not in line)


def test_no_report_is_said() -> None:
    console, out = printed(terminal=False)
    show_reports((), console)
    assert out.getvalue() == "no kernel report\n"


def test_what_a_console_says_cannot_write_to_the_terminal() -> None:
    console, out = printed(terminal=False)
    hostile = Splat(SplatKind.BUG, "BUG: \x1b[2J[bold]x", 1, 2, "")
    show_reports(report_rows([hostile], PATH), console)
    assert "\x1b" not in out.getvalue()
    assert "[bold]x" in out.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_differences_are_shown_with_rates_and_p_values(terminal: bool) -> None:
    console, out = printed(terminal=terminal)
    before = [Raced(str(n), "x86_64/kcsan", REPORTS[:1] if n < 9 else ()) for n in range(10)]
    after = [Raced(str(n), "x86_64/kcsan", REPORTS[2:]) for n in range(10)]
    show_diff(compare(before, after), console)
    text = out.getvalue()
    for part in ("new", "gone", "0/10", "10/10", "9/10", "1.1e-05"):
        assert part in text
    assert "3 reports: 2 new, 1 gone; 3 beyond chance (Fisher's exact test, Holm, 5 %)" in text
    assert "2 KCSAN pairs: 1 new, 1 gone; 2 beyond chance" in text


def test_two_quiet_runs_have_nothing_to_differ_in() -> None:
    console, out = printed(terminal=False)
    show_diff(compare([Raced("a", "x/y", ())], [Raced("a", "x/y", ())]), console)
    assert out.getvalue() == "no kernel report in either run\n"
