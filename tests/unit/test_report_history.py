# SPDX-License-Identifier: GPL-2.0-only
"""`guprace history`: trials of many runs add up, each kernel's for itself; nothing but clean races counts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator import records
from orchestrator.cli.history import command
from orchestrator.errors import UsageError
from orchestrator.matrix.plan import Arch
from orchestrator.paths import Project
from orchestrator.race.model import Ending, RaceResult, SubtestResult
from orchestrator.report.history import History, find_runs, history
from orchestrator.verdict.finding import Finding
from orchestrator.verdict.history import Raced, Together, together
from orchestrator.verdict.model import Fault, Outcome, Verdict
from tests.fakes.rundir import FakeRun

KERNEL = {"source": "aaaa", "flags": "-"}
PASS = Verdict(Outcome.PASS, "0 hits in 300 trials", trials=300, bound=3 / 100)
FAIL = Verdict(Outcome.FAIL, "foreign_stamp in probe.a: expected 1,\nobserved 2", hits=1, fault=Fault.KERNEL)
FOUND = Finding("foreign_stamp", "probe.a", 2.0, 2.0, 7)
CAUGHT = Verdict(Outcome.CAUGHT, "foreign_stamp", hits=1, found=FOUND)
MISSED = Verdict(Outcome.MISSED, "the broken kernel was not caught")


def race(a: int, b: int, seconds: float = 10.0) -> RaceResult:
    """Two subtests, half of the time each, with so many trials; a third that was skipped."""
    subtests = (
        SubtestResult("probe.a", Ending.PASS, ""),
        SubtestResult("probe.b", Ending.PASS, ""),
        SubtestResult("probe.c", Ending.SKIP, "no uffd"),
    )
    half = round(seconds * 500)
    counters = {"probe.a.trials": a, "probe.b.trials": b, "probe.c.trials": 0}
    counters |= {"probe.a.race_ms": half, "probe.b.race_ms": half, "probe.a.checks": 5}
    return RaceResult(subtests, (), {}, counters, {}, "")


def raced(verdict: Verdict, said: RaceResult | None, at: str = "2026-11-23", program: str = "p1") -> Raced:
    return Raced(at, f"runs/{at}", verdict, said, program)


def only_row(found: History) -> Together:
    (kernel,) = found.kernels
    (row,) = kernel.rows
    return row


def test_trials_add_up_and_the_weakest_of_all_runs_bounds_them() -> None:
    row = together("s", [raced(PASS, race(100, 200)), raced(PASS, race(900, 50))], {})
    assert (row.runs, row.trials, row.checks, row.seconds) == (2, 1250, 10, 20.0)
    # Neither run's own weakest decides: probe.a has 1 000 trials, probe.b 250.
    assert (row.weakest, row.bound) == ("probe.b", 3 / 250)
    assert row.programs == 1


def test_what_was_skipped_in_one_run_and_raced_in_another_counts_where_it_was_raced() -> None:
    whole = race(100, 200)
    late = replace(whole.subtests[2], ending=Ending.PASS)
    more = replace(whole, subtests=(*whole.subtests[:2], late), counters=whole.counters | {"probe.c.trials": 30})
    assert together("s", [raced(PASS, whole), raced(PASS, more)], {}).bound == 3 / 30


@pytest.mark.parametrize("outcome", [Outcome.VACUOUS, Outcome.BROKEN, Outcome.LOST, Outcome.FAIL, Outcome.SKIP])
def test_only_clean_races_give_trials(outcome: Outcome) -> None:
    row = together("s", [raced(PASS, race(100, 200)), raced(Verdict(outcome, "why"), race(100, 200))], {})
    assert (row.runs, row.trials, row.seconds) == (2, 300, 10.0)
    assert row.outcomes == tuple((o, 1) for o in Outcome if o in (Outcome.PASS, outcome))
    assert row.failed is (outcome is Outcome.FAIL)
    # What showed once is not bounded by the races in which it did not.
    assert row.bound == (None if outcome is Outcome.FAIL else 3 / 100)
    assert [each.verdict.outcome for each in row.trouble] == ([] if outcome is Outcome.SKIP else [outcome])


def test_versions_of_the_selftest_are_counted() -> None:
    races = [raced(PASS, race(1, 1), program="p1"), raced(PASS, race(1, 1), program="p2")]
    assert together("s", [*races, raced(FAIL, None, program="p3")], {}).programs == 2


def test_the_last_trouble_comes_first() -> None:
    races = [raced(FAIL, None, f"2026-11-{day}") for day in (21, 25, 23)]
    assert [each.at[-2:] for each in together("s", races, {}).trouble] == ["25", "23", "21"]


def test_a_control_is_weighed_against_all_clean_races() -> None:
    controls = {"M01": ("P4", [raced(CAUGHT, None), raced(CAUGHT, None)])}
    once = together("s", [raced(PASS, race(100, 200))], controls).controls[0]
    thrice = together("s", [raced(PASS, race(100, 200))] * 3, controls).controls[0]
    assert (once.runs, once.caught, once.seconds) == (2, 2, 2.0)
    assert once.escape is not None
    assert thrice.escape == pytest.approx(once.escape**3)


def test_a_missed_control_is_a_failure_of_a_run_and_an_answer_of_a_power_run() -> None:
    missed = raced(MISSED, race(10, 10))
    assert together("s", [raced(PASS, race(1, 1))], {"M01": ("P4", [missed])}).failed
    row = together("s", [raced(PASS, race(1, 1))], {"M01": ("P4", [replace(missed, measured=True)])})
    assert not row.failed
    assert row.trouble == ()
    assert row.controls[0].outcome is Outcome.MISSED


def nights(root: Path, number: int = 3) -> Path:
    """Make as many runs, a night each, of the same two scenarios on the same kernel and one broken one."""
    for night in range(number):
        run = FakeRun(root / f"run{night}", started=f"2026-11-2{night}T04:00:00+00:00")
        run.add(PASS, race=race(100, 200), made_of=KERNEL)
        run.add(PASS, race=race(10, 20), scenario="pin_vs_fork", made_of=KERNEL)
        run.add(CAUGHT, mutant="M01", made_of=KERNEL)
        run.done()
    return root


def test_nights_of_one_kernel_are_one_row_a_scenario_and_its_mutants_stand_behind_it(tmp_path: Path) -> None:
    found = history(find_runs([nights(tmp_path)]), (), Project())
    (kernel,) = found.kernels
    assert (found.runs, kernel.lane, kernel.version) == (3, "6.1/arm64/plain", "6.1.192")
    assert (kernel.first[:10], kernel.last[:10]) == ("2026-11-20", "2026-11-22")
    assert [(row.scenario, row.runs, row.trials) for row in kernel.rows] == [
        ("pin_vs_fork", 3, 90),
        ("pin_vs_munmap", 3, 900),
    ]
    (control,) = kernel.rows[1].controls
    assert (control.mutant, control.principle, control.caught) == ("M01", "P4", 3)


def test_another_comment_in_a_fragment_makes_no_other_kernel(tmp_path: Path) -> None:
    nights(tmp_path, 2)
    late = FakeRun(tmp_path / "late", started="2026-11-24T04:00:00+00:00")
    late.add(PASS, race=race(1, 1), made_of=KERNEL | {"fragment base base.config": "other bytes, the same .config"})
    late.add(CAUGHT, mutant="M01", made_of=KERNEL | {"fragment base base.config": "other bytes, the same .config"})
    late.done()
    (kernel,) = history(find_runs([tmp_path]), ("pin_vs_munmap",), Project()).kernels
    assert (kernel.rows[0].runs, kernel.rows[0].controls[0].runs, kernel.last[:10]) == (3, 3, "2026-11-24")


def test_another_source_is_another_kernel_and_only_the_last_one_is_shown(tmp_path: Path) -> None:
    nights(tmp_path, 2)
    late = FakeRun(tmp_path / "late", started="2026-11-24T04:00:00+00:00")
    late.add(PASS, race=race(1, 1), made_of=KERNEL | {"source": "bbbb"}, digest="b" * 64)
    late.add(FAIL, arch=Arch.X86_64, made_of=KERNEL)
    late.done()
    found = history(find_runs([tmp_path]), (), Project())
    assert [(kernel.lane, kernel.rows[-1].trials) for kernel in found.kernels] == [
        ("6.1/arm64/plain", 2),
        ("6.1/x86_64/plain", 0),
        ("6.1/arm64/plain", 600),
    ]
    assert [kernel.last[:10] for kernel in found.newest.kernels] == ["2026-11-24"] * 2
    assert found.newest.failed


def test_only_chooses_by_the_id_of_the_stock_cell(tmp_path: Path) -> None:
    found = history(find_runs([nights(tmp_path)]), ("arm64/plain/pin_vs_munmap",), Project())
    row = only_row(found)
    assert (row.scenario, len(row.controls)) == ("pin_vs_munmap", 1)


def test_what_has_no_verdict_or_no_kernel_counts_for_nothing(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run")
    run.add(PASS, race=race(1, 2), made_of=KERNEL)
    run.add(None, scenario="pin_vs_fork", made_of=KERNEL)
    run.add(Verdict(Outcome.BROKEN, "does not build", fault=Fault.BUILD), kernel="6.12")
    run.done()
    found = history(find_runs([tmp_path]), (), Project())
    assert only_row(found).scenario == "pin_vs_munmap"
    assert "not counted: 1 cell without a verdict, 1 cell that never got a kernel" in said(tmp_path).splitlines()
    data = json.loads(said(tmp_path, "--json"))
    assert (data["without_verdict"], data["without_kernel"]) == (1, 1)
    assert "not counted" not in said(tmp_path, "--only", "6.1/*munmap"), "of what was asked for nothing is left out"


def test_a_glob_that_matches_no_cell_of_any_run_is_the_users_mistake(tmp_path: Path) -> None:
    runs = find_runs([nights(tmp_path)])
    with pytest.raises(UsageError, match="no cell of any run matches 'pin_vs_frok'"):
        history(runs, ("pin_vs_munmap", "pin_vs_frok"), Project())
    (tmp_path / "run2/plan.json").write_text("[]")
    assert history(runs, ("pin_vs_frok",), Project()).damaged, "it may be in what could not be read"


def test_the_kernels_own_selftests_on_broken_kernels_are_left_to_power(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run")
    run.add(PASS, race=race(1, 2), scenario="kselftest:cow", made_of=KERNEL)
    run.add(CAUGHT, mutant="M01", scenario="kselftest:cow", made_of=KERNEL)
    run.done()
    assert only_row(history(find_runs([tmp_path]), (), Project())).controls == ()


def test_attempts_of_a_power_run_that_missed_are_no_trouble(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run")
    run.add(PASS, race=race(1, 2), made_of=KERNEL)
    run.add(MISSED, race=race(1, 2), mutant="M01", made_of=KERNEL)
    run.done()
    assert history(find_runs([tmp_path]), (), Project()).failed
    records.write_atomically(tmp_path / "run" / "campaign.json", b"{}")
    assert not history(find_runs([tmp_path]), (), Project()).failed


def test_damaged_records_are_told_and_the_others_counted(tmp_path: Path) -> None:
    nights(tmp_path)
    (tmp_path / "run1/6.1/arm64/plain/pin_vs_munmap/verdict.json").write_text("{")
    (tmp_path / "run2/plan.json").write_text("[]")
    found = history(find_runs([tmp_path]), ("pin_vs_munmap",), Project())
    assert only_row(found).runs == 1
    assert [name in text for name, text in zip(("run1", "run2"), found.damaged, strict=True)] == [True, True]


def test_a_run_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    nights(tmp_path)
    runs = find_runs([tmp_path, tmp_path / "run0"])
    assert only_row(history(runs, ("pin_vs_munmap",), Project())).runs == 3


def test_a_place_without_runs_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run here"):
        find_runs([tmp_path])
    with pytest.raises(UsageError, match="no such directory"):
        find_runs([tmp_path / "absent"])


def said(*argv: str | Path, code: int = 0) -> str:
    """Run the verb and return what it prints."""
    done = CliRunner().invoke(command, [str(word) for word in argv], standalone_mode=False)
    assert done.exception is None, done.exception
    assert done.return_value == code
    return done.output


def test_the_verb_says_what_all_nights_say_together(tmp_path: Path) -> None:
    lines = said(nights(tmp_path)).splitlines()
    assert lines[0] == "6.1/arm64/plain: 6.1.192, kernel 3f1c0ffee000, 2026-11-20 to 2026-11-22"
    assert lines[2] == (
        "6.1/arm64/plain/pin_vs_munmap  3 PASS  raced 30.0 s  900 trials  15 checks  bound ≤ 1.0e-02 (probe.a)"
    )
    assert lines[3].startswith("pin_vs_munmap: the same set-up caught M01 (P4) after 2 s; one that shows as often")
    assert lines[-1] == "3 runs"


def test_what_would_have_escaped_as_likely_as_not_is_not_told(tmp_path: Path) -> None:
    """The control took its 2 s, and so did the stock kernel: that bounds nothing."""
    run = FakeRun(tmp_path / "run")
    run.add(PASS, race=race(1, 1, 2.0), made_of=KERNEL)
    run.add(CAUGHT, mutant="M01", made_of=KERNEL)
    run.done()
    text = said(tmp_path)
    assert "the same set-up caught M01 (P4) after 2 s" in text
    assert "escaped" not in text
    assert "1 trial  " not in text, "two subtests of one trial each"
    assert "  2 trials  " in text


def test_the_verb_names_the_last_troubles_with_the_commands_that_repeat_them(tmp_path: Path) -> None:
    for night in range(5):
        run = FakeRun(tmp_path / f"run{night}", started=f"2026-11-2{night}T04:00:00+00:00")
        run.add(FAIL, made_of=KERNEL)
        run.done()
    text = said(tmp_path, code=1)
    assert "run4/6.1/arm64/plain/pin_vs_munmap: foreign_stamp in probe.a: expected 1, observed 2" in text
    assert "run1/" not in text
    assert text.count("again: guprace run configs/quick.yaml --only") == 3
    assert "and 2 more of pin_vs_munmap" in text


def test_the_verb_tells_of_older_kernels_and_shows_them_when_asked(tmp_path: Path) -> None:
    nights(tmp_path, 1)
    run = FakeRun(tmp_path / "late", started="2026-11-24T04:00:00+00:00")
    run.add(FAIL, made_of=KERNEL | {"source": "bbbb"}, digest="b" * 64)
    run.done()
    assert "1 older kernel is not shown: --all" in said(tmp_path, code=1)
    assert said(tmp_path, "--all", code=1).count("6.1/arm64/plain: 6.1.192") == 2


def test_damage_is_told_by_the_exit_code_too(tmp_path: Path) -> None:
    nights(tmp_path)
    (tmp_path / "run2/plan.json").write_text("[]")
    assert "left out: " in said(tmp_path, code=3)


def test_json_has_what_the_terminal_shows(tmp_path: Path) -> None:
    data = json.loads(said(nights(tmp_path), "--json"))
    (kernel,) = data["kernels"]
    assert (kernel["lane"], kernel["last"][:10]) == ("6.1/arm64/plain", "2026-11-22")
    row = kernel["scenarios"][1]
    assert (row["scenario"], row["outcomes"], row["trials"]) == ("pin_vs_munmap", {"PASS": 3}, 900)
    assert (row["bound"], row["weakest"], row["controls"][0]["mutant"]) == (0.01, "probe.a", "M01")


def test_a_guests_words_do_not_act_on_the_terminal(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run")
    run.add(replace(FAIL, reason="x\x1b[2Jy"), made_of=KERNEL)
    run.done()
    assert "\x1b" not in said(tmp_path, code=1)


def test_a_cell_that_ended_before_its_kernel_was_known_makes_no_other_kernel(tmp_path: Path) -> None:
    nights(tmp_path, 2)
    late = FakeRun(tmp_path / "late", started="2026-11-24T04:00:00+00:00")
    late.add(PASS, race=race(1, 1), made_of=KERNEL | {"fragment base base.config": "other bytes, the same .config"})
    late.add(Verdict(Outcome.SKIP, "no such program"), scenario="z", made_of=None, digest="")
    late.done()
    found = history(find_runs([tmp_path]), (), Project())
    (kernel,) = found.kernels
    assert kernel.rows[1].trials == 602


def test_two_patches_of_one_name_are_two_broken_kernels(tmp_path: Path) -> None:
    nights(tmp_path, 1)
    late = FakeRun(tmp_path / "late", started="2026-11-24T04:00:00+00:00")
    late.add(PASS, race=race(1, 1), made_of=KERNEL)
    late.add(MISSED, mutant="M01", race=race(9, 9), made_of=KERNEL, patch="5eed" * 16)
    late.done()
    (kernel,) = history(find_runs([tmp_path]), (), Project()).kernels
    row = next(row for row in kernel.rows if row.scenario == "pin_vs_munmap")
    assert [(each.mutant, each.principle, each.outcome) for each in row.controls] == [
        ("M01 (patch 0ddba11)", "P4", Outcome.CAUGHT),
        ("M01 (patch 5eed5eed)", "P4", Outcome.MISSED),
    ]
