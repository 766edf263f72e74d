# SPDX-License-Identifier: GPL-2.0-only
"""Faults of the kernel that a scenario counts and judges nothing by: read, put into words, told with a PASS."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.errors import UsageError
from orchestrator.matrix.plan import Expectation
from orchestrator.paths import Project
from orchestrator.report.terminal import show
from orchestrator.report.view import view
from orchestrator.report.write import write_reports
from orchestrator.verdict.counted import CountedFault, counted, left_out, load_counted
from orchestrator.verdict.facts import Facts
from orchestrator.verdict.judge import judge
from orchestrator.verdict.model import Outcome, Verdict
from tests.fakes.rundir import FakeRun, evidence, race_result

FAULTS = (CountedFault("lost", "fork loses pages", "docs/x.md"), CountedFault("torn", "mremap tears", "docs/y.md"))
SAID = ("fork loses pages (36 times, docs/x.md)",)
TOLD = "left out as a known fault of the kernel: fork loses pages (36 times, docs/x.md)"


@pytest.mark.parametrize(
    ("counters", "expected"),
    [
        ({}, ()),
        ({"probe.a.lost": 0}, ()),
        ({"probe.a.lost_too": 9}, ()),
        ({"probe.a.lost": 30, "vmsplice.a.lost": 6}, SAID),
        (
            {"probe.a.lost": 1, "probe.a.torn": 2},
            ("fork loses pages (once, docs/x.md)", "mremap tears (2 times, docs/y.md)"),
        ),
    ],
)
def test_a_fault_is_met_where_its_counter_is_not_zero(counters: dict[str, int], expected: tuple[str, ...]) -> None:
    race = race_result()
    assert counted(replace(race, counters=race.counters | counters), FAULTS) == expected


def test_a_guest_that_said_nothing_met_none() -> None:
    assert counted(None, FAULTS) == ()


def test_a_pass_says_what_it_left_out_and_is_a_pass_all_the_same() -> None:
    facts = Facts(Expectation.CLEAN, evidence=evidence(race_result()))
    plain, verdict = judge(facts), judge(replace(facts, counted=SAID))
    assert verdict == replace(plain, reason=f"{plain.reason}; {TOLD}", counted=SAID)
    assert verdict.outcome is Outcome.PASS


def test_what_was_left_out_takes_nothing_from_a_finding_and_adds_nothing_to_it() -> None:
    for facts in (
        Facts(Expectation.CLEAN, evidence=evidence(race_result(hits=2))),
        Facts(Expectation.CAUGHT, evidence=evidence(race_result())),
    ):
        assert judge(replace(facts, counted=SAID)) == judge(facts)


def test_what_was_left_out_stands_in_every_report(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    run.add(Verdict(Outcome.PASS, f"0 hits; {TOLD}", counted=SAID), scenario="admission", race=race_result())
    run.add(Verdict(Outcome.PASS, "0 hits"), race=race_result())
    directory = run.done()
    write_reports(directory)
    out = StringIO()
    show(view(directory), Console(file=out))
    assert out.getvalue().count(f"6.1/arm64/plain/admission: {TOLD}\n") == out.getvalue().count("left out") == 1
    assert f'<p class="soft">6.1/arm64/plain/admission: {TOLD}</p>' in (tmp_path / "index.html").read_text()
    assert f'name="admission.left out" value="{SAID[0]}"' in (tmp_path / "junit.xml").read_text()
    assert TOLD in (tmp_path / "report.ktap").read_text()


def test_the_counters_of_the_project_are_counted_by_some_scenario_and_told_somewhere() -> None:
    faults = load_counted(Project().configs / "counted-faults.yaml")
    sources = "".join(path.read_text() for path in Project().selftests.glob("*/*.c"))
    assert "lost_by_fork" in [fault.counter for fault in faults]
    for fault in faults:
        assert f'"{fault.counter}"' in sources
        assert (Project().root / fault.link).is_file()
        assert fault.counter in (Project().root / fault.link).read_text()


def test_a_project_without_the_file_has_none(tmp_path: Path) -> None:
    assert load_counted(tmp_path / "absent.yaml") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("counters: {lost: {fault: x}}\n", "missing key 'link' (f.yaml:1:18: counters.lost)"),
        ("counters: {lost: {fault: ' ', link: x}}\n", "is no text: it is empty (f.yaml:1:26: counters.lost.fault)"),
        ("counters: {}\n", "must not be empty (f.yaml:1:11: counters)"),
        ("counter: {}\n", "unknown key 'counter' (f.yaml:1:1); did you mean 'counters'?"),
    ],
)
def test_what_is_wrong_with_the_file_is_told_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_counted(file)
    assert message in str(caught.value).replace(f"{tmp_path}/", "")


def test_several_faults_are_said_in_one_go() -> None:
    assert left_out(("a (once, x)", "b (2 times, y)")) == (
        "left out as a known fault of the kernel: a (once, x), b (2 times, y)"
    )
