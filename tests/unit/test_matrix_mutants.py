# SPDX-License-Identifier: GPL-2.0-only
"""Records of kernels broken on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.matrix.mutants import Mutant, MutantExpectation, load_mutant, load_mutants
from orchestrator.matrix.plan import Arch
from orchestrator.paths import Project
from tests.unit.matrix_project import M01, make_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


def test_a_record_is_read_whole(project: Project) -> None:
    assert load_mutant("M01", project) == Mutant(
        id="M01",
        principle="P4",
        title="no re-read",
        breaks="",
        why="x86_64 waits for the walker",
        patches={"6.1": project.mutants / "M01-6.1.patch", "6.12": project.mutants / "M01-6.12.patch"},
        scenarios=("a_vs_b", "c_vs_d"),
        expect={Arch.ARM64: MutantExpectation.CAUGHT, Arch.X86_64: MutantExpectation.SILENT},
    )


def test_all_records_come_in_the_order_of_their_ids(project: Project) -> None:
    assert [mutant.id for mutant in load_mutants(project)] == ["M01", "M02"]


def test_every_mutant_of_the_project_is_well_described() -> None:
    mutants = load_mutants(Project())
    assert "M01" in [mutant.id for mutant in mutants]
    for mutant in mutants:
        assert mutant.title
        assert mutant.why, "silence and detection both need their reason"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id: M01", "id: M07", "id 'M07' in a file called M01.yaml (configs/mutants/M01.yaml:1:5: id)"),
        ("M01-6.1.patch", "M01.patch", "no file 'M01.patch' (configs/mutants/M01.yaml:4:18: patches.\"6.1\")"),
        ('"6.1":', "stable:", "'stable' is no kernel series such as '6.1' (configs/mutants/M01.yaml:4:11"),
        ("arm64:", "arm:", "unknown architecture 'arm' (configs/mutants/M01.yaml:6:10: expect.arm)"),
        ("caught", "cought", "unknown expectation 'cought' (configs/mutants/M01.yaml:6:17: expect.arm64)"),
        ("a_vs_b", "a_vs_x", "unknown scenario 'a_vs_x'"),
        ("why:", "wy:", "unknown key 'wy' (configs/mutants/M01.yaml:7:1); did you mean 'why'?"),
    ],
)
def test_a_wrong_record_is_told_with_its_place(old: str, new: str, message: str, project: Project) -> None:
    (project.mutants / "M01.yaml").write_text(M01.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        load_mutant("M01", project)
    assert message in str(caught.value).replace(f"{project.root}/", "")


def test_an_unknown_mutant_is_refused_with_the_nearest(project: Project) -> None:
    with pytest.raises(UsageError, match=r"unknown mutant 'M1'; did you mean 'M0[12]'"):
        load_mutant("M1", project)
