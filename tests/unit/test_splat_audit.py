# SPDX-License-Identifier: GPL-2.0-only
"""Known issues counted in a run: expired, vanished, seen too often."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator import records
from orchestrator.kernel.cache import file_digest
from orchestrator.matrix.load import load_plan
from orchestrator.matrix.plan import Arch
from orchestrator.paths import Project
from orchestrator.report.diff import raced
from orchestrator.report.known import audited, remarks, show_known
from orchestrator.report.write import write_reports
from orchestrator.runner.rundir import RunDir
from orchestrator.splat.audit import Heard, Remark, audit
from orchestrator.splat.model import Splat, SplatKind, Standing
from orchestrator.splat.standing import GupPath, KnownIssue, Subject
from orchestrator.verdict.model import Outcome, Verdict
from tests.fakes.rundir import FakeRun, splat

TODAY = date(2026, 11, 23)
PATH = GupPath(("gup_*",), ())
ISSUE = KnownIssue("odd", SplatKind.WARNING, "reason", "link", date(2027, 1, 1), title="WARNING in odd")
ODD = Splat(SplatKind.WARNING, "WARNING in odd", 1, 2, "", ("odd",), count=3)
STOCK = Subject("6.1.192", "x86_64", "debug")


def cells(shown: int, total: int, subject: Subject = STOCK) -> list[Heard]:
    return [Heard(subject, (ODD,) if number < shown else ()) for number in range(total)]


@pytest.mark.parametrize(
    ("issue", "shown", "total", "expected"),
    [
        (ISSUE, 2, 8, ()),
        (ISSUE, 0, 1, ()),
        (ISSUE, 0, 28, ()),
        (ISSUE, 0, 29, (Remark.VANISHED,)),
        (ISSUE, 29, 29, ()),
        (replace(ISSUE, expires=date(2026, 11, 22)), 2, 8, (Remark.EXPIRED,)),
        (replace(ISSUE, expires=date(2026, 11, 22)), 0, 8, (Remark.EXPIRED,)),
        (replace(ISSUE, expires=date(2026, 11, 22)), 0, 40, (Remark.EXPIRED, Remark.VANISHED)),
        (replace(ISSUE, expires=TODAY), 2, 8, ()),
        (replace(ISSUE, rate=0.1), 0, 8, ()),
        (replace(ISSUE, rate=0.1), 0, 40, (Remark.VANISHED,)),
        (replace(ISSUE, rate=0.02), 0, 40, ()),
        (replace(ISSUE, rate=0.95), 0, 1, ()),
        (replace(ISSUE, rate=0.96), 0, 1, (Remark.VANISHED,)),
        (replace(ISSUE, rate=0.1), 2, 8, ()),
        (replace(ISSUE, rate=0.1), 6, 8, (Remark.EXCESSIVE,)),
        (replace(ISSUE, rate=1.0), 8, 8, ()),
    ],
)
def test_an_entry_is_expired_vanished_or_excessive(
    issue: KnownIssue, shown: int, total: int, expected: tuple[Remark, ...]
) -> None:
    (found,) = audit(cells(shown, total), [issue], PATH, TODAY)
    assert (found.cells, found.seen, found.reports, found.remarks) == (total, shown, 3 * shown, expected)


def test_an_entry_for_kernels_that_were_not_raced_is_not_mentioned() -> None:
    other = replace(ISSUE, since="6.12")
    assert audit(cells(0, 8), [other, replace(ISSUE, flavours=("kasan",))], PATH, TODAY) == ()
    assert audit([], [ISSUE], PATH, TODAY) == ()


def test_a_data_race_can_vanish_only_where_they_are_looked_for() -> None:
    race = replace(ISSUE, kind=SplatKind.KCSAN)
    assert audit([Heard(STOCK, (), kcsan=False)] * 40, [race], PATH, TODAY) == ()
    assert audit([Heard(STOCK, (), kcsan=True)] * 40, [race], PATH, TODAY)[0].remarks == (Remark.VANISHED,)


def test_a_cell_without_a_race_says_nothing_of_a_rate_but_what_it_showed_has_not_vanished() -> None:
    idle = [replace(each, watched=False) for each in cells(0, 40)]
    assert audit(idle, [ISSUE], PATH, TODAY) == ()
    (found,) = audit([*cells(0, 5), *idle], [replace(ISSUE, rate=0.1)], PATH, TODAY)
    assert (found.cells, found.remarks) == (5, ())
    shown = replace(cells(1, 1)[0], watched=False)
    (found,) = audit([*cells(0, 40), shown], [ISSUE], PATH, TODAY)
    assert (found.text, found.remarks) == ("odd: 3 reports in 0 of 40 cells and in 1 whose race did not happen", ())
    (found,) = audit([shown] * 9, [replace(ISSUE, rate=0.01)], PATH, TODAY)
    assert (found.cells, found.seen, found.reports, found.remarks) == (0, 0, 27, ())


def test_what_nobody_measured_can_vanish_in_the_suite_of_one_kernel_but_not_in_make_run() -> None:
    race = replace(ISSUE, kind=SplatKind.KCSAN)
    for matrix, expected in (("suite.yaml", (Remark.VANISHED,)), ("quick.yaml", ())):
        kernels = [cell.kernel for cell in load_plan(Project().configs / matrix, Project()).cells]
        subjects = [Subject(k.name, k.arch, k.flavour) for k in kernels if k.name == "6.1" and not k.mutant]
        heard = [Heard(subject, (), kcsan=subject.flavour == "kcsan") for subject in subjects]
        assert [each.remarks for each in audit(heard, [race], PATH, TODAY)] == [expected], matrix


def test_an_entry_is_said_in_words() -> None:
    issue = replace(ISSUE, rate=0.1, expires=date(2026, 1, 1))
    (found,) = audit(cells(6, 8), [issue], PATH, TODAY)
    assert found.text == (
        "odd: 18 reports in 6 of 8 cells, expected in 10%; expired on 2026-01-01: it covers nothing any more; "
        "seen more often than expected: it may cover something else as well"
    )


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (
            None,
            "cells; vanished: take the entry out if the kernel was fixed, or give it a rate if it is rarer than 10%",
        ),
        (0.5, "cells, expected in 50%; vanished: take the entry out if the kernel was fixed"),
    ],
)
def test_of_a_vanished_entry_without_a_rate_it_is_said_what_was_supposed(rate: float | None, words: str) -> None:
    (found,) = audit(cells(0, 40), [replace(ISSUE, rate=rate)], PATH, TODAY)
    assert found.text == f"odd: 0 reports in 0 of 40 {words}"


def test_a_run_directory_is_audited_without_its_controls(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    shown = (splat(Standing.KNOWN),)
    run.add(Verdict(Outcome.PASS, ""), arch=Arch.X86_64, flavour="kcsan", splats=shown)
    run.add(Verdict(Outcome.CAUGHT, ""), arch=Arch.X86_64, flavour="kcsan", splats=shown, mutant="M01")
    run.add(Verdict(Outcome.PASS, ""), flavour="plain", splats=(ODD,))
    run.add(None, scenario="pin_vs_fork")
    damaged = run.add(None, scenario="pin_vs_zap", splats=(ODD,))
    directory = run.done()
    (directory.cell_dir(damaged) / "splats.json").write_text("{")
    race = replace(ISSUE, kind=SplatKind.KCSAN, title="*", id="race")
    gone = replace(ISSUE, title="WARNING in gone", rate=0.9)
    found = audited(directory, [race, gone, ISSUE], PATH, TODAY)
    assert [(each.issue.title, each.seen, each.cells) for each in found] == [
        ("*", 1, 1),
        ("WARNING in gone", 0, 2),
        ("WARNING in odd", 1, 2),
    ]
    assert remarks(found) == (
        "known issue odd: 0 reports in 0 of 2 cells, expected in 90%; "
        "vanished: take the entry out if the kernel was fixed",
        "known issue race: 1 report in 1 of 1 cell",
        "known issue odd: 3 reports in 1 of 2 cells",
    )


@pytest.mark.parametrize(
    ("verdict", "counts"),
    [
        (Verdict(Outcome.PASS, ""), True),
        (Verdict(Outcome.FAIL, "", race_seconds=3.0), True),
        (Verdict(Outcome.LOST, "", race_seconds=3.0), True),
        (Verdict(Outcome.LOST, "at boot"), False),
        (Verdict(Outcome.SKIP, "", race_seconds=0.2), False),
        (Verdict(Outcome.VACUOUS, "", race_seconds=10.0), False),
        (Verdict(Outcome.BROKEN, "a blind console", race_seconds=10.0), False),
        (None, False),
    ],
)
def test_only_cells_in_which_a_race_was_watched_count(tmp_path: Path, verdict: Verdict | None, counts: bool) -> None:
    run = FakeRun(tmp_path)
    cell = run.add(verdict)
    records.save(RunDir(tmp_path).cell_dir(cell) / "splats.json", ())
    directory = run.done()
    assert [each.cells for each in audited(directory, [ISSUE], PATH, TODAY)] == ([1] if counts else [])
    assert [each.cell for each in raced(directory)] == ([cell.id] if counts else [])


def test_a_report_of_a_cell_without_a_race_is_shown(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    run.add(Verdict(Outcome.SKIP, ""), splats=(ODD,))
    found = audited(run.done(), [ISSUE], PATH, TODAY)
    assert remarks(found) == ("known issue odd: 3 reports in 0 of 0 cells and in 1 whose race did not happen",)
    assert [each.splats for each in raced(RunDir(tmp_path))] == [(ODD,)]


def quiet_run(root: Path, races: int) -> RunDir:
    """Return a run of that many KCSAN cells without a report."""
    run = FakeRun(root)
    for number in range(races):
        cell = run.add(Verdict(Outcome.PASS, ""), arch=Arch.X86_64, flavour="kcsan", scenario=f"race_{number}")
        records.save(RunDir(root).cell_dir(cell) / "splats.json", ())
    return run.done()


def test_the_known_issues_of_a_run_are_printed(tmp_path: Path) -> None:
    out = StringIO()
    show_known(quiet_run(tmp_path, 29), Project(), Console(file=out))
    assert "known issue gup-fast-rereads-plain: 0 reports in 0 of 29 cells; vanished" in out.getvalue()


@pytest.mark.parametrize("name", ["known-issues.yaml", "gup-path.yaml"])
def test_a_run_that_was_judged_by_another_list_says_so(tmp_path: Path, name: str) -> None:
    run = quiet_run(tmp_path, 29)
    for digest, told in ((file_digest(Project().configs / name), False), ("0" * 64, True)):
        records.save(run.metadata_file, replace(run.metadata(), judge={name: digest}))
        out = StringIO()
        show_known(run, Project(), Console(file=out))
        assert ("29 cells (by today's list; the run was judged by another); vanished" in out.getvalue()) is told


def test_of_a_run_that_is_too_small_to_miss_a_known_issue_nothing_is_said(tmp_path: Path) -> None:
    out = StringIO()
    show_known(quiet_run(tmp_path, 1), Project(), Console(file=out))
    assert out.getvalue() == ""


def test_the_known_issues_of_a_run_stand_in_its_reports(tmp_path: Path) -> None:
    write_reports(quiet_run(tmp_path, 29))
    said = "gup-fast-rereads-plain: 0 reports in 0 of 29 cells; vanished"
    assert f"known issue {said}" in (tmp_path / "index.html").read_text()
    assert f'name="known-issue.gup-fast-rereads-plain" value="{said}' in (tmp_path / "junit.xml").read_text()
