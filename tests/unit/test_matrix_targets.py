# SPDX-License-Identifier: GPL-2.0-only
"""What there is to be caught on the lanes of a plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.cli.power import lanes
from orchestrator.errors import UsageError
from orchestrator.matrix.likely import Places
from orchestrator.matrix.load import load_plan
from orchestrator.matrix.mutants import Mutant, MutantExpectation, load_mutants
from orchestrator.matrix.plan import Arch, Expectation, Plan, stock_id
from orchestrator.matrix.targets import patch_targets, targets, with_controls
from orchestrator.paths import Project
from orchestrator.runner.power import Campaign, schedules

MUTANTS = load_mutants(Project())


@pytest.fixture(scope="module")
def suite() -> Plan:
    return load_plan(Project().configs / "suite.yaml", Project())


@pytest.fixture(scope="module")
def arm64(suite: Plan) -> Plan:
    return lanes(suite, ["6.12"], ["arm64"], [])


def mutant(name: str) -> Mutant:
    return next(each for each in MUTANTS if each.id == name)


def test_each_mutant_is_raced_in_the_first_flavour_that_shows_it(arm64: Plan) -> None:
    found, _ = targets(arm64, MUTANTS, ())
    flavours = {target.mutant: target.kernel.flavour for target in found}
    assert (flavours["M01"], flavours["M04"]) == ("plain", mutant("M04").flavours[0])
    assert len(flavours) == len(found)


def test_its_own_scenarios_come_first_then_those_of_its_principle_then_the_rest(arm64: Plan) -> None:
    (target,) = targets(arm64, [mutant("M01"), mutant("M03"), mutant("M23")], ())[0][:1]
    assert target.scenarios == ("pin_vs_munmap", "pin_vs_lazyfree", "pin_vs_truncate")
    assert target.others[0] == "pin_vs_collapse", "M03 is of P4, too"
    every = {cell.scenario for cell in arm64.cells if cell.kernel.flavour == "plain"}
    assert {*target.scenarios, *target.others} == every


def test_what_changes_headers_is_told_for_it_costs_whole_builds(arm64: Plan) -> None:
    found, _ = targets(arm64, [mutant("M01"), mutant("M19"), mutant("M10")], ())
    assert [target.headers for target in found] == [False, True, False]
    assert [target.mutant for target in schedules(Campaign(found, 5, 3))[0].targets] == ["M01", "M10", "M19"]


def test_nobody_searches_for_what_does_no_harm(arm64: Plan) -> None:
    (target,) = targets(arm64, [mutant("M02")], ())[0]
    assert target.expect is MutantExpectation.EQUIVALENT
    assert target.others == ()


def test_what_has_no_meaning_here_is_left_out_and_said(arm64: Plan) -> None:
    found, left_out = targets(arm64, [mutant("M06")], ())
    assert (found, left_out) == ((), ("M06 has no meaning on arm64",))


def test_a_target_differs_from_its_stock_kernel_in_the_mutant_s_patch_alone(arm64: Plan) -> None:
    (target,) = targets(arm64, [mutant("M01")], ())[0]
    stock = target.stock("pin_vs_munmap")
    cell = target.cell("pin_vs_munmap")
    assert stock.id == stock_id(cell) == "6.12/arm64/plain/pin_vs_munmap"
    assert replace(stock.kernel, mutant="M01", patches=cell.kernel.patches) == cell.kernel
    assert stock.kernel in {known.kernel for known in arm64.cells}
    assert (cell.expect, stock.expect) == (Expectation.CAUGHT, Expectation.CLEAN)


def test_more_seconds_are_the_attempts_and_fewer_the_stock_kernel_s_too(arm64: Plan) -> None:
    (target,) = targets(arm64, [mutant("M01")], ())[0]
    for seconds, stock in ((120.0, 30.0), (5.0, 5.0)):
        raced = target.raced(seconds, 7)
        assert (raced.cell("pin_vs_munmap").race.seconds, raced.stock("pin_vs_munmap").race.seconds) == (
            seconds,
            stock,
        )
        assert raced.cell("pin_vs_munmap").race.seed == 7


def test_a_patch_is_raced_by_every_scenario_plain_and_under_kasan(arm64: Plan, tmp_path: Path) -> None:
    patch = tmp_path / "0001 mm: gup, faster!.patch"
    found = patch_targets(arm64, patch, MUTANTS, ())
    assert [target.id for target in found] == [
        f"6.12+0001-mm--gup--faster/arm64/{flavour}" for flavour in ("plain", "kasan")
    ]
    every = {path.stem for path in (Project().selftests / "scenarios").glob("*.c")}
    assert all(set(target.scenarios) == every and target.expect is MutantExpectation.UNKNOWN for target in found)


def test_a_patch_is_raced_first_by_what_exposes_its_neighbours(arm64: Plan, tmp_path: Path) -> None:
    patch = tmp_path / "mine.patch"
    head = "--- a/mm/ksm.c\n+++ b/mm/ksm.c\n@@ -1,2 +1,1 @@"
    for function in ("write_protect_page(struct vm", "nobody_breaks_this(void"):
        patch.write_text(f"{head} static int {function}\n one\n-two\n")
        (target,) = patch_targets(arm64, patch, MUTANTS, ("plain",))
        assert target.scenarios[0] == "pin_vs_ksm"
    patch.write_text("--- a/mm/no.c\n+++ b/mm/no.c\n@@ -1,2 +1,1 @@\n one\n-two\n")
    (target,) = patch_targets(arm64, patch, MUTANTS, ("plain",))
    assert set(target.scenarios) == {cell.scenario for cell in arm64.cells}
    assert target.scenarios[0] == "pin_vs_fork", "what exposes most of the catalogue"


def test_a_function_s_name_may_be_cut_in_a_patch_and_a_macro_s_is_none(tmp_path: Path) -> None:
    def places(context: str) -> Places:
        patch = tmp_path / "one.patch"
        patch.write_text(f"--- a/mm/gup.c\n+++ b/mm/gup.c\n@@ -1,2 +1,1 @@ {context}\n one\n-two\n")
        return Places.of(patch)

    whole = places("static struct folio *try_grab_folio_fast(struct page *page, int refs,")
    cut = places("static struct folio *try_grab_folio_fas")
    assert (whole.functions, cut.cut) == ({"try_grab_folio_fast"}, {"try_grab_folio_fas"})
    assert whole.near(cut) == cut.near(whole) == whole.near(whole)
    assert places("EXPORT_SYMBOL_GPL(pin_user_pages_fast);") == places("retry:") == places("")


@pytest.mark.parametrize(
    ("kernels", "arches", "scenarios", "words"),
    [
        (["6.2"], [], [], "no kernel '6.2'"),
        ([], ["arm46"], [], "no architecture 'arm46'"),
        ([], [], ["pin_vs_x*"], "no scenario 'pin_vs_x\\*'"),
    ],
)
def test_a_name_that_the_plan_lacks_is_refused(
    suite: Plan, kernels: list[str], arches: list[str], scenarios: list[str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        lanes(suite, kernels, arches, scenarios)


def test_each_scenario_gets_one_control_that_must_show_there(arm64: Plan) -> None:
    plain = replace(arm64, cells=tuple(cell for cell in arm64.cells if cell.kernel.flavour == "plain"))
    plan = with_controls(plain, MUTANTS, every=False)
    assert plan.controlled
    controls = [cell for cell in plan.cells if cell.kernel.mutant]
    assert len({stock_id(cell) for cell in controls}) == len(controls)
    for cell in controls:
        record = mutant(cell.kernel.mutant or "")
        assert cell.scenario in record.scenarios_on(cell.kernel.arch)
        assert record.expected(cell.kernel.arch, "6.12", "plain") is MutantExpectation.CAUGHT
        assert cell.race.first_hit
    assert {"pin_vs_munmap", "pin_vs_fork", "pin_vs_collapse"} <= {cell.scenario for cell in controls}


def test_a_mutant_is_no_control_of_a_scenario_that_shows_it_on_another_architecture_only(suite: Plan) -> None:
    only = replace(mutant("M01"), expect=dict.fromkeys(Arch, MutantExpectation.CAUGHT))
    for arch, expected in (("arm64", set(mutant("M01").scenarios_on(Arch.ARM64))), ("x86_64", {"pin_vs_lazyfree"})):
        plan = with_controls(lanes(suite, ["6.12"], [arch], []), [only], every=True)
        assert {cell.scenario for cell in plan.cells if cell.kernel.mutant} == expected


def test_a_scenario_that_shows_a_mutant_on_another_architecture_only_comes_later(suite: Plan) -> None:
    (target,) = targets(lanes(suite, ["6.12"], ["x86_64"], []), [mutant("M01")], ())[0]
    assert target.scenarios == ("pin_vs_lazyfree",)
    assert "pin_vs_munmap" in target.others


def test_all_controls_are_all_that_must_show_there(arm64: Plan) -> None:
    one, every = with_controls(arm64, MUTANTS, every=False), with_controls(arm64, MUTANTS, every=True)
    assert {cell.id for cell in one.cells} < {cell.id for cell in every.cells}
    assert len({cell.id for cell in every.cells}) == len(every.cells)


def test_a_matrix_s_own_control_is_enough(suite: Plan) -> None:
    del suite
    quick = load_plan(Project().configs / "quick.yaml", Project())
    plan = with_controls(quick, MUTANTS, every=False)
    ids = [cell.id for cell in plan.cells if cell.kernel.mutant and "arm64/plain" in cell.id]
    assert ids == ["6.1+M01/arm64/plain/pin_vs_munmap"]


def mine(root: Path, source: str) -> Plan:
    (root / "source").mkdir()
    (root / "Image").touch()
    (root / "mine.yaml").write_text(
        f"name: mine\nkernels: {{mine: {source}}}\n"
        "lanes: [{kernel: mine, arch: arm64, flavour: plain}]\nscenarios: pin_vs_munmap\n"
    )
    return load_plan(root / "mine.yaml", Project())


def test_controls_of_a_kernel_of_an_unknown_series_are_refused(tmp_path: Path) -> None:
    plan = mine(tmp_path, "{tree: source}")
    with pytest.raises(UsageError, match=r"of which series is kernel 'mine'\?(?s:.*)say it: kernels\.mine\.series"):
        with_controls(plan, MUTANTS, every=False)
    found, left_out = targets(plan, [mutant("M01"), mutant("M03")], ())
    assert not found
    assert left_out == (
        "of which series is kernel 'mine'? a mutant has a patch for each; say it: kernels.mine.series",
    )


def test_a_series_that_is_said_gives_controls(tmp_path: Path) -> None:
    plan = with_controls(mine(tmp_path, '{tree: source, series: "6.12"}'), MUTANTS, every=False)
    assert [cell.expect for cell in plan.cells] == [Expectation.CLEAN, Expectation.CAUGHT]


def test_a_prebuilt_image_needs_no_series_for_it_has_no_controls(tmp_path: Path) -> None:
    plan = with_controls(mine(tmp_path, "{image: Image}"), MUTANTS, every=True)
    assert [cell.expect for cell in plan.cells] == [Expectation.CLEAN]
