# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own selftests in a matrix: `kselftest:<program>`."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli.run import repeater
from orchestrator.matrix.load import plan_for_tree
from orchestrator.matrix.plan import GuestSettings, Plan, RaceSettings
from orchestrator.matrix.upstream import PREFIX, PROGRAMS
from orchestrator.paths import Project
from tests.unit.matrix_project import load, make_project, refusal

MATRIX = """\
name: small
kernels: {{"6.12": {{deb: linux-source-6.12}}}}
lanes: [{{kernel: "6.12", arch: arm64, flavour: plain}}]
scenarios: {scenarios}
"""
CONTROL = 'controls: [{mutant: M01, kernel: "6.12", arch: arm64, flavour: plain, scenario: "kselftest:cow"}]\n'


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


def scenarios(text: str, project: Project) -> list[str]:
    return [cell.scenario for cell in load(MATRIX.format(scenarios=text), project).cells]


def test_a_cell_is_named_like_any_other_and_knows_its_program(project: Project) -> None:
    ours, theirs = load(MATRIX.format(scenarios='[a_vs_b, "kselftest:cow"]'), project).cells
    assert (ours.program, theirs.program) == (None, "cow")
    assert theirs.id == "6.12/arm64/plain/kselftest:cow"
    assert theirs.lane == ours.lane


def test_a_glob_stays_within_its_kind(project: Project) -> None:
    assert scenarios('"*"', project) == ["a_vs_b", "c_vs_d"]
    assert scenarios('"kselftest:*"', project) == sorted(f"{PREFIX}{name}" for name in PROGRAMS)
    assert scenarios('"kselftest:gup_*"', project) == ["kselftest:gup_longterm", "kselftest:gup_test"]
    assert "nothing" not in scenarios('["*", "kselftest:c*"]', project)


@pytest.mark.parametrize("text", ["kselftest:cwo", '"kselftest:x*"', '"*:cow"', "kselftest", '"kselftest:"'])
def test_an_unknown_program_is_refused(text: str, project: Project) -> None:
    assert "unknown scenario" in refusal(MATRIX.format(scenarios=text), project)


def test_a_typing_error_gets_a_suggestion(project: Project) -> None:
    assert "did you mean 'kselftest:cow'?" in refusal(MATRIX.format(scenarios="kselftest:cwo"), project)


def test_they_leave_the_lanes_kernel_as_it_is(project: Project) -> None:
    (project.selftests / "scenarios" / "kselftest:cow.config").write_text("CONFIG_X=y\n")
    alone = load(MATRIX.format(scenarios="[a_vs_b, c_vs_d]"), project).cells[0].kernel
    both = load(MATRIX.format(scenarios='["*", "kselftest:*"]'), project).cells
    assert {cell.kernel for cell in both} == {alone}


def test_a_control_may_name_them(project: Project) -> None:
    cells = load(MATRIX.format(scenarios="a_vs_b") + CONTROL, project).cells
    assert [cell.id for cell in cells] == ["6.12/arm64/plain/a_vs_b", "6.12+M01/arm64/plain/kselftest:cow"]


def test_the_command_that_repeats_a_control_takes_the_stock_kernel_along(project: Project) -> None:
    lane, control = load(MATRIX.format(scenarios="kselftest:cow") + CONTROL, project).cells
    repeat = repeater(Plan("m", Path("m.yaml"), (lane, control)))
    assert repeat(control, 1) == f"guprace run m.yaml --only {control.id} --only {lane.id} --seed 0x1"
    assert repeat(lane, 1) == f"guprace run m.yaml --only {lane.id} --seed 0x1"


def test_bisect_step_takes_them(project: Project) -> None:
    plan = plan_for_tree(project.root, "arm64/plain/kselftest:cow", project, GuestSettings(), RaceSettings())
    assert plan.cells[0].program == "cow"
