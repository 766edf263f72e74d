# SPDX-License-Identifier: GPL-2.0-only
"""Records of kernels broken on purpose."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.matrix.load import load_plan
from orchestrator.matrix.mutants import Mutant, MutantExpectation, load_mutant, load_mutants
from orchestrator.matrix.plan import Arch
from orchestrator.paths import Project
from tests.unit.matrix_project import M01, make_project

LISTED = "scenarios: [a_vs_b, c_vs_d]"


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
        scenarios={Arch.ARM64: ("a_vs_b", "c_vs_d"), Arch.X86_64: ("a_vs_b", "c_vs_d")},
        expect={Arch.ARM64: MutantExpectation.CAUGHT, Arch.X86_64: MutantExpectation.SILENT},
    )


def test_all_records_come_in_the_order_of_their_ids(project: Project) -> None:
    assert [mutant.id for mutant in load_mutants(project)] == ["M01", "M02"]


def test_a_record_names_its_upstream_faults_and_where_a_series_differs(project: Project) -> None:
    more = 'upstream: CVE-2024-35872\ndiffers: {"6.12": {arm64: equivalent}}\n'
    (project.mutants / "M01.yaml").write_text(M01 + more)
    mutant = load_mutant("M01", project)
    assert mutant.upstream == ("CVE-2024-35872",)
    said = {(arch, series): mutant.expected(arch, series) for arch in Arch for series in ("6.1", "6.12", None)}
    assert said == {
        (Arch.ARM64, "6.1"): MutantExpectation.CAUGHT,
        (Arch.ARM64, "6.12"): MutantExpectation.EQUIVALENT,
        (Arch.ARM64, None): MutantExpectation.CAUGHT,
        (Arch.X86_64, "6.1"): MutantExpectation.SILENT,
        (Arch.X86_64, "6.12"): MutantExpectation.SILENT,
        (Arch.X86_64, None): MutantExpectation.SILENT,
    }


def test_a_record_names_the_scenarios_of_all_architectures_or_of_each_its_own(project: Project) -> None:
    own = "scenarios: {arm64: [a_vs_b, c_vs_d], x86_64: c_vs_d}"
    for said, on_x86 in ((LISTED, ("a_vs_b", "c_vs_d")), (own, ("c_vs_d",))):
        (project.mutants / "M01.yaml").write_text(M01.replace(LISTED, said))
        mutant = load_mutant("M01", project)
        assert [mutant.scenarios_on(arch) for arch in (Arch.ARM64, Arch.X86_64)] == [("a_vs_b", "c_vs_d"), on_x86]


@pytest.mark.parametrize("said", ["a_vs_*", "[c_vs_d, 'a_vs_?']", "{arm64: '*', x86_64: c_vs_d}"])
def test_a_record_names_each_scenario_since_each_was_measured(project: Project, said: str) -> None:
    (project.mutants / "M01.yaml").write_text(M01.replace(LISTED, f"scenarios: {said}"))
    with pytest.raises(UsageError, match=r"is a glob \(.*M01\.yaml:\d+:\d+: scenarios.*name each scenario"):
        load_mutant("M01", project)


@pytest.mark.parametrize("said", ["7", "[7]", "{arm64: 7}", "{arm64: [{}]}", "null"])
def test_scenarios_that_are_no_names_are_told_with_their_place(project: Project, said: str) -> None:
    (project.mutants / "M01.yaml").write_text(M01.replace(LISTED, f"scenarios: {said}"))
    with pytest.raises(UsageError, match=r"M01\.yaml:\d+:\d+"):
        load_mutant("M01", project)


def test_an_architecture_that_only_one_series_speaks_of_has_scenarios_too(project: Project) -> None:
    text = M01.replace(LISTED, "scenarios: {arm64: a_vs_b, x86_64: c_vs_d}").replace(", x86_64: silent", "")
    (project.mutants / "M01.yaml").write_text(text + 'differs: {"6.12": {x86_64: caught}}\n')
    assert load_mutant("M01", project).scenarios_on(Arch.X86_64) == ("c_vs_d",)


def test_an_architecture_without_expectation_has_none(project: Project) -> None:
    (project.mutants / "M01.yaml").write_text(M01.replace("arm64: caught, ", ""))
    assert load_mutant("M01", project).expected(Arch.ARM64, "6.1") is None


def test_a_fault_that_takes_a_checker_is_silent_without_it(project: Project) -> None:
    (project.mutants / "M01.yaml").write_text(M01 + "flavours: kcsan\n")
    mutant = load_mutant("M01", project)
    assert mutant.flavours == ("kcsan",)
    assert [mutant.shown_in(flavour) for flavour in ("kcsan", "plain")] == [True, False]
    assert mutant.expected(Arch.ARM64, "6.1", "kcsan") == MutantExpectation.CAUGHT
    assert mutant.expected(Arch.ARM64, "6.1", "plain") == MutantExpectation.SILENT
    assert mutant.expected(Arch.ARM64, "6.1") == MutantExpectation.CAUGHT


def test_without_flavours_a_fault_shows_in_all(project: Project) -> None:
    mutant = load_mutant("M01", project)
    assert mutant.flavours == ()
    assert mutant.expected(Arch.ARM64, "6.1", "plain") == MutantExpectation.CAUGHT


def test_a_checker_makes_no_difference_to_what_does_no_harm(project: Project) -> None:
    (project.mutants / "M01.yaml").write_text(M01.replace("caught", "benign") + "flavours: [kcsan]\n")
    assert load_mutant("M01", project).expected(Arch.ARM64, "6.1", "plain") == MutantExpectation.BENIGN


PATCH_LINE = re.compile(r"[-+ @]|---|\+\+\+")


def test_the_patches_of_the_project_are_unified_diffs_that_say_what_they_break() -> None:
    for mutant in load_mutants(Project()):
        for series, path in mutant.patches.items():
            told, _, diff = path.read_text().partition("\n--- a/")
            assert path.name == f"{mutant.id}-{series}.patch"
            assert told.startswith(f"{mutant.id}: ")
            assert told.endswith(f"For Linux {series}.  A control, never to be applied to a kernel that is used.\n")
            assert "@@ -" in diff
            assert all(PATCH_LINE.match(line) for line in diff.splitlines()[1:])


def test_every_patch_of_the_project_is_named_by_a_record() -> None:
    named = {path.name for mutant in load_mutants(Project()) for path in mutant.patches.values()}
    assert {path.name for path in Project().mutants.glob("*.patch")} == named


def test_every_mutant_of_the_project_is_well_described() -> None:
    mutants = load_mutants(Project())
    assert "M01" in [mutant.id for mutant in mutants]
    for mutant in mutants:
        assert mutant.title
        assert mutant.breaks
        assert mutant.why, "silence and detection both need their reason"


def test_the_controls_of_the_project_are_raced_where_they_show() -> None:
    mutants = {mutant.id: mutant for mutant in load_mutants(Project())}
    for cell in load_plan(Project().configs / "controls.yaml", Project()).cells:
        assert cell.kernel.mutant, cell.id
        assert mutants[cell.kernel.mutant].shown_in(cell.kernel.flavour), cell.id


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id: M01", "id: M07", "id 'M07' in a file called M01.yaml (configs/mutants/M01.yaml:1:5: id)"),
        ("M01-6.1.patch", "M01.patch", "no file 'M01.patch' (configs/mutants/M01.yaml:4:18: patches.\"6.1\")"),
        ('"6.1":', "stable:", "'stable' is no kernel series such as '6.1' (configs/mutants/M01.yaml:4:11"),
        ("arm64:", "arm:", "unknown architecture 'arm' (configs/mutants/M01.yaml:6:10: expect.arm)"),
        ("caught", "cought", "unknown expectation 'cought' (configs/mutants/M01.yaml:6:17: expect.arm64)"),
        ("a_vs_b", "a_vs_x", "unknown scenario 'a_vs_x' (configs/mutants/M01.yaml:5:13: scenarios[0])"),
        (LISTED, "scenarios: []", "must not be empty (configs/mutants/M01.yaml:5:12: scenarios)"),
        (LISTED, "scenarios: 7", "7 is a number here (configs/mutants/M01.yaml:5:12: scenarios)"),
        (
            LISTED,
            "scenarios: {arm: a_vs_b}",
            "unknown architecture 'arm' (configs/mutants/M01.yaml:5:13: scenarios.arm)",
        ),
        (LISTED, "scenarios: {arm64: [a_vs_b, a_vs_b]}", "'a_vs_b' twice in one list (configs/mutants/M01.yaml:5:20"),
        (LISTED, "scenarios: {arm64: a_vs_x}", "'a_vs_x' (configs/mutants/M01.yaml:5:20: scenarios.arm64)"),
        (LISTED, "scenarios: {arm64: a_vs_b}", "x86_64 has an expectation and no scenarios"),
        ("P4", "P6", "'P6' is no principle: P1 to P5, PX, NF or none (configs/mutants/M01.yaml:2:12: principle)"),
        ("why:", "upstream: cve\nwhy:", "'cve' is no commit (12 digits) or CVE"),
        ("why:", 'differs: {"7.2": {arm64: silent}}\nwhy:', "differs: no patch for series 7.2"),
        ("why:", "flavours: [kcsan, plane]\nwhy:", "unknown flavour 'plane' (configs/mutants/M01.yaml:7:19"),
        ("why:", "wy:", "unknown key 'wy' (configs/mutants/M01.yaml:7:1); did you mean 'why'?"),
    ],
)
def test_a_wrong_record_is_told_with_its_place(old: str, new: str, message: str, project: Project) -> None:
    (project.mutants / "M01.yaml").write_text(M01.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        load_mutant("M01", project)
    assert message in str(caught.value).replace(f"{project.root}/", "")


def test_scenarios_for_an_architecture_of_which_nothing_is_expected_are_refused(project: Project) -> None:
    text = M01.replace(LISTED, "scenarios: {arm64: a_vs_b, x86_64: c_vs_d}").replace(", x86_64: silent", "")
    (project.mutants / "M01.yaml").write_text(text)
    with pytest.raises(UsageError, match="x86_64 has scenarios and no expectation"):
        load_mutant("M01", project)


def test_an_unknown_mutant_is_refused_with_the_nearest(project: Project) -> None:
    with pytest.raises(UsageError, match=r"unknown mutant 'M1'; did you mean 'M0[12]'"):
        load_mutant("M1", project)


def controls_told(scenario: Path) -> set[str]:
    """The mutants in the sentence `Controls: ...` of the comment that a scenario begins with."""
    comment = scenario.read_text().split("*/", 1)[0].replace("\n *", "")
    told = re.search(r"Controls?: ([^.]*)\.", comment)
    return set(re.findall(r"\b[GM][0-9]{2,3}\b", told[1])) if told else set()


def test_a_scenario_names_the_mutants_whose_records_name_it() -> None:
    project = Project()
    naming: dict[str, set[str]] = {path.stem: set() for path in (project.selftests / "scenarios").glob("*.c")}
    for mutant in load_mutants(project):
        for arch in mutant.expect:
            for scenario in mutant.scenarios_on(arch):
                naming[scenario].add(mutant.id)
    told = {name: controls_told(project.selftests / "scenarios" / f"{name}.c") for name in naming}
    assert told == naming
