# SPDX-License-Identifier: GPL-2.0-only
"""A matrix file to cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import records
from orchestrator.errors import UsageError
from orchestrator.matrix.load import load_plan, plan_for_tree
from orchestrator.matrix.plan import (
    Accel,
    Arch,
    DebSource,
    Expectation,
    GitSource,
    GuestSettings,
    Plan,
    PrebuiltSource,
    RaceSettings,
    TarballSource,
    Toolchain,
    TreeSource,
)
from orchestrator.paths import Project
from tests.unit.matrix_project import M01, M02, MATRIX, example_matrices, load, make_project, refusal

LANES = MATRIX + "lanes:\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


def ids(plan: Plan) -> list[str]:
    return [cell.id for cell in plan.cells]


def test_lists_are_expanded_in_the_order_of_the_file(project: Project) -> None:
    plan = load(LANES + "  - {kernel: ['6.12', '6.1'], arch: [arm64, x86_64], flavour: [plain, kcsan]}\n", project)
    assert ids(plan) == [
        f"{kernel}/{arch}/{flavour}/a_vs_b"
        for kernel in ("6.12", "6.1")
        for arch in ("arm64", "x86_64")
        for flavour in ("plain", "kcsan")
    ]


def test_a_control_follows_its_lane_and_one_without_lane_comes_last(project: Project) -> None:
    text = """\
  - {kernel: "6.1", arch: arm64, flavour: [plain, kcsan]}
controls:
  - {mutant: M01, kernel: "6.12", arch: arm64, flavour: plain, scenario: a_vs_b}
  - {mutant: [M02, M01], kernel: "6.1", arch: arm64, flavour: plain, scenario: a_vs_b}
"""
    assert ids(load(LANES + text, project)) == [
        "6.1/arm64/plain/a_vs_b",
        "6.1+M02/arm64/plain/a_vs_b",
        "6.1+M01/arm64/plain/a_vs_b",
        "6.1/arm64/kcsan/a_vs_b",
        "6.12+M01/arm64/plain/a_vs_b",
    ]


def test_a_control_is_its_lane_with_one_patch_more(project: Project) -> None:
    (project.root / "mine.patch").touch()
    (project.root / "mine.config").touch()
    text = """\
name: x
kernels: {"6.1": {deb: linux-source-6.1, patches: [mine.patch], fragments: [mine.config], toolchain: clang}}
scenarios: [a_vs_b]
lanes: [{kernel: "6.1", arch: arm64, flavour: plain, guest: {memory: 2048}, race: {seconds: 3}}]
controls: [{mutant: M01, kernel: "6.1", arch: arm64, flavour: plain, scenario: c_vs_d, race: {seed: 0x10}}]
guest: {accel: tcg, vcpus: 2}
"""
    stock, control = load(text, project).cells
    assert stock.kernel.patches == (project.root / "mine.patch",)
    assert control.kernel.patches == (project.root / "mine.patch", project.mutants / "M01-6.1.patch")
    assert control.kernel.fragments == stock.kernel.fragments
    assert [(fragment.path.name, fragment.role) for fragment in stock.kernel.fragments] == [
        ("base.config", "base"),
        ("arm64.config", "architecture"),
        ("plain.config", "flavour"),
        ("c_vs_d.config", "scenario"),
        ("mine.config", "user"),
    ]
    assert (stock.kernel.mutant, control.kernel.mutant) == (None, "M01")
    assert (stock.expect, control.expect) == (Expectation.CLEAN, Expectation.CAUGHT)
    assert stock.kernel.toolchain == control.kernel.toolchain == Toolchain.CLANG
    assert stock.guest == control.guest == GuestSettings(Accel.TCG, vcpus=2, memory=2048)
    assert (stock.race, control.race) == (RaceSettings(3), RaceSettings(3, seed=16))


def test_a_control_without_scenario_runs_those_of_its_mutant(project: Project) -> None:
    plan = load(MATRIX + "controls: [{mutant: M01, kernel: '6.1', arch: arm64, flavour: plain}]\n", project)
    assert ids(plan) == ["6.1+M01/arm64/plain/a_vs_b", "6.1+M01/arm64/plain/c_vs_d"]


def test_a_control_without_scenario_runs_those_that_its_mutant_has_for_the_architecture(project: Project) -> None:
    own = M02.replace("scenarios: [a_vs_b, c_vs_d]", "scenarios: {arm64: [a_vs_b, c_vs_d], x86_64: c_vs_d}")
    (project.mutants / "M02.yaml").write_text(own)
    both = "controls: [{mutant: M02, kernel: '6.1', arch: [x86_64, arm64], flavour: plain}]\n"
    assert ids(load(MATRIX + both, project)) == [
        "6.1+M02/x86_64/plain/c_vs_d",
        "6.1+M02/arm64/plain/a_vs_b",
        "6.1+M02/arm64/plain/c_vs_d",
    ]


def test_a_lane_may_have_its_own_scenarios(project: Project) -> None:
    text = "  - {kernel: '6.1', arch: arm64, flavour: plain, scenarios: [c_vs_d]}\n"
    assert ids(load(LANES + text, project)) == ["6.1/arm64/plain/c_vs_d"]


def test_every_kind_of_source_is_read(project: Project) -> None:
    for name in ("linux.tar", "Image", "image.config"):
        (project.root / name).touch()
    (project.root / "linux").mkdir()
    sha = "0123456789abcdef" * 4
    text = f"""\
name: sources
kernels:
  deb: {{deb: {{package: linux-source-7.2, suite: sid, version: 7.2-1}}}}
  git: {{git: {{path: linux, ref: v6.1}}}}
  tarball: {{tarball: {{path: linux.tar, sha256: {sha}}}}}
  tree: {{tree: linux}}
  image: {{image: Image}}
  image2: {{image: {{path: Image, config: image.config}}}}
scenarios: a_vs_b
lanes: [{{kernel: [deb, git, tarball, tree, image, image2], arch: arm64, flavour: plain}}]
"""
    root = project.root
    assert [cell.kernel.source for cell in load(text, project).cells] == [
        DebSource("linux-source-7.2", "7.2-1", "sid"),
        GitSource(root / "linux", "v6.1"),
        TarballSource(root / "linux.tar", sha),
        TreeSource(root / "linux"),
        PrebuiltSource(root / "Image"),
        PrebuiltSource(root / "Image", root / "image.config"),
    ]


@pytest.mark.parametrize(
    ("kernel", "patch"),
    [
        ('"6.1": {deb: linux-source-6.12}', "M01-6.12.patch"),
        ('"6.1": {tree: .}', "M01-6.1.patch"),
        ("v6.12-rc3: {tree: .}", "M01-6.12.patch"),
        ('mine: {tree: ., series: "6.1"}', "M01-6.1.patch"),
        ('mine: {deb: linux-source-6.12, series: "6.1"}', "M01-6.1.patch"),
    ],
)
def test_the_series_chooses_the_patch_of_a_mutant(kernel: str, patch: str, project: Project) -> None:
    name = kernel.split(":")[0]
    text = f"controls: [{{mutant: M01, kernel: {name}, arch: arm64, flavour: plain, scenario: a_vs_b}}]"
    (cell,) = load(f"name: x\nkernels: {{{kernel}}}\nscenarios: a_vs_b\n{text}\n", project).cells
    assert [path.name for path in cell.kernel.patches] == [patch]


CONTROL = "controls: [{mutant: M02, kernel: X, arch: arm64, flavour: plain}]\n"


@pytest.mark.parametrize(
    ("kernels", "control", "message"),
    [
        ("X: {tree: .}", CONTROL, "of which series is kernel 'X'? mutant M02 has a patch for each (matrix.yaml:4:12"),
        ("X: {deb: linux-source-6.12}", CONTROL, "mutant M02 has no patch for series 6.12 (kernel 'X')"),
        ("X: {image: matrix.yaml}", CONTROL, "kernel 'X' is prebuilt: mutant M02 cannot be patched into it"),
        (
            "X: {deb: linux-source-6.1}",
            CONTROL.replace("M02", "M01").replace("arm64", "x86_64"),
            "is silent on x86_64: it is no control there",
        ),
    ],
)
def test_a_control_that_nobody_can_catch_is_refused(
    kernels: str, control: str, message: str, project: Project
) -> None:
    assert message in refusal(f"name: x\nkernels: {{{kernels}}}\nscenarios: a_vs_b\n{control}", project)


def test_a_control_is_refused_where_only_its_series_is_silent(project: Project) -> None:
    (project.mutants / "M01.yaml").write_text(M01 + 'differs: {"6.12": {arm64: equivalent}}\n')
    control = "controls: [{mutant: M01, kernel: K, arch: arm64, flavour: plain}]\n"
    assert load(MATRIX + control.replace("K", '"6.1"'), project).cells
    message = "mutant M01 is equivalent on arm64, series 6.12: it is no control there"
    assert message in refusal(MATRIX + control.replace("K", '"6.12"'), project)


def test_a_control_may_be_asked_for_in_a_flavour_that_does_not_show_it(project: Project) -> None:
    (project.mutants / "M01.yaml").write_text(M01 + "flavours: kcsan\n")
    text = MATRIX + 'controls: [{mutant: M01, kernel: "6.1", arch: arm64, flavour: plain}]\n'
    assert [cell.expect for cell in load(text, project).cells] == [Expectation.CAUGHT] * 2


def test_a_cell_twice_is_refused_with_both_places(project: Project) -> None:
    text = """\
  - {kernel: "6.1", arch: arm64, flavour: plain}
  - {kernel: ["6.12", "6.1"], arch: arm64, flavour: [kcsan, plain]}
"""
    message = "cell 6.1/arm64/plain/a_vs_b twice, first at 5:5 (matrix.yaml:6:5: lanes[1])"
    assert refusal(LANES + text, project) == message


def test_a_broken_mutant_record_is_told_at_the_control_that_wants_it(project: Project) -> None:
    (project.mutants / "M01.yaml").write_text("id: M01\n")
    said = refusal(MATRIX + "controls: [{mutant: M01, kernel: '6.1', arch: arm64, flavour: plain}]\n", project)
    assert "the record of mutant M01 is wrong: 6 problems in configs/mutants/M01.yaml" in said
    assert "missing key 'patches' (configs/mutants/M01.yaml:1:1)" in said


def test_a_plan_survives_its_record(project: Project, tmp_path: Path) -> None:
    plan = load(LANES + "  - {kernel: '6.1', arch: arm64, flavour: plain}\n", project)
    records.save(tmp_path / "plan.json", plan)
    assert records.load(tmp_path / "plan.json", Plan) == plan


def test_quick_is_the_three_lanes_and_the_control_of_the_first_run() -> None:
    plan = load_plan(Project().configs / "quick.yaml", Project())
    assert ids(plan) == [
        "6.1/x86_64/kcsan/pin_vs_munmap",
        "6.1/arm64/plain/pin_vs_munmap",
        "6.1+M01/arm64/plain/pin_vs_munmap",
        "6.1/arm64/debug/pin_vs_munmap",
    ]
    assert all(cell.kernel.source == DebSource("linux-source-6.1") for cell in plan.cells)
    assert all(fragment.path.is_file() for cell in plan.cells for fragment in cell.kernel.fragments)


@pytest.mark.parametrize("path", example_matrices(), ids=lambda path: path.name)
def test_every_matrix_of_the_project_loads(path: Path) -> None:
    assert load_plan(path, Project()).cells


def test_a_tree_is_a_plan_of_one_cell(project: Project) -> None:
    guest, race = GuestSettings(vcpus=2), RaceSettings(5)
    plan = plan_for_tree(project.root, "arm64/plain/c_vs_d", project, guest, race)
    (cell,) = plan.cells
    assert cell.id == "tree/arm64/plain/c_vs_d"
    assert cell.kernel.source == TreeSource(project.root)
    assert (cell.kernel.arch, cell.kernel.flavour) == (Arch.ARM64, "plain")
    assert cell.kernel.fragments[-1].role == "scenario"
    assert (cell.guest, cell.race, cell.expect) == (guest, race, Expectation.CLEAN)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("arm64/plain", "is not architecture/flavour/scenario"),
        ("arm46/plain/a_vs_b", "unknown architecture 'arm46' in cell 'arm46/plain/a_vs_b'; did you mean 'arm64'?"),
        ("arm64/plian/a_vs_b", "unknown flavour 'plian'"),
        ("arm64/base/a_vs_b", "unknown flavour 'base'"),
        ("arm64/plain/a_vs_c", "did you mean 'a_vs_b'?"),
    ],
)
def test_a_cell_of_a_tree_with_unknown_names_is_refused(cell: str, message: str, project: Project) -> None:
    with pytest.raises(UsageError) as caught:
        plan_for_tree(project.root, cell, project, GuestSettings(), RaceSettings())
    assert message in str(caught.value)


def test_a_tree_that_is_not_there_is_refused(project: Project) -> None:
    with pytest.raises(UsageError, match="no such directory"):
        plan_for_tree(project.root / "none", "arm64/plain/a_vs_b", project, GuestSettings(), RaceSettings())
