# SPDX-License-Identifier: GPL-2.0-only
"""Wrong command lines and defects of ours: what is said, and the exit code. In this process, nothing is built."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest

from orchestrator import records
from orchestrator.cli import bisect_step
from orchestrator.cli import power as power_verb
from orchestrator.cli import run as run_verb
from orchestrator.cli.common import complete_tails, log_to
from orchestrator.errors import BuildError, HostError
from orchestrator.kernel.build import KernelBuilder
from orchestrator.matrix.plan import KernelSpec
from orchestrator.paths import Project
from orchestrator.report import known
from orchestrator.runner import lists
from orchestrator.runner.power import Campaign
from orchestrator.runner.rundir import RunDir
from orchestrator.verdict.model import Fault, Outcome, Verdict
from tests.fakes.rundir import FakeRun, every_ending
from tests.unit.cli_inside import Guprace

CELL = "arm64/plain/pin_vs_munmap"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--cell", CELL, "--nope"),
        ("--cell", CELL, "--seconds", "soon"),
        ("--cell", CELL, "--seconds", "nan"),
        ("--cell", CELL, "--accel", "hvf"),
    ],
)
def test_a_wrong_command_line_stops_a_bisection_and_accuses_no_commit(
    guprace: Guprace, arguments: tuple[str, ...]
) -> None:
    code, said = guprace("bisect-step", *arguments)
    assert code == 129, "git bisect takes 1 to 124 for a bad commit"
    assert "bisect-step --help" in said


def test_help_of_bisect_step_is_no_error(guprace: Guprace) -> None:
    assert guprace("bisect-step", "--help")[0] == 0


def test_bisect_step_completes_cells_without_their_kernel() -> None:
    context = click.Context(click.Command("bisect-step"))
    found = [item.value for item in complete_tails(context, click.Option(["--cell"]), "arm64/p")]
    assert found == [CELL], "as --cell takes them, each once"


def test_warnings_reach_whoever_watches_and_cannot_act_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger("guprace")
    before, level = list(root.handlers), root.level
    try:
        log_to(tmp_path / "guprace.log")
        logging.getLogger("guprace.x").warning("said by a guest: \x1b[2J")
        logging.getLogger("guprace.x").info("for the lab book")
    finally:
        root.setLevel(level)
        for handler in set(root.handlers) - set(before):
            root.removeHandler(handler)
            handler.close()
    assert capsys.readouterr().err == "guprace: warning: said by a guest: \ufffd[2J\n"
    assert "for the lab book" in (tmp_path / "guprace.log").read_text()


def test_a_defect_of_ours_is_shown_whole_and_accuses_no_kernel(
    guprace: Guprace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(run_verb, "plan_of", broken)
    code, said = guprace("run")
    assert code == 3
    assert "Traceback" in said
    assert "internal error: ZeroDivisionError('a defect')" in said
    monkeypatch.setattr(bisect_step, "plan_for_tree", broken)
    assert guprace("bisect-step", "--cell", CELL)[0] == 131


def test_a_bisect_step_that_cannot_even_be_imported_accuses_no_commit(
    guprace: Guprace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_name: str) -> None:
        raise ImportError("half of an update")

    monkeypatch.setattr("orchestrator.cli.main.importlib.import_module", gone)
    assert guprace("bisect-step", "--cell", CELL)[0] == 131
    assert guprace("list")[0] == 3


@pytest.mark.parametrize(("outcome", "expected"), [(Outcome.FAIL, 1), (Outcome.PASS, 3)])
def test_what_was_found_goes_before_what_the_host_failed_at_afterwards(
    guprace: Guprace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, outcome: Outcome, expected: int
) -> None:
    def full(*_arguments: object) -> None:
        raise HostError("No space left on device", where="cell.json")

    run = FakeRun(tmp_path / "r")
    run.add(Verdict(outcome, "found", fault=Fault.KERNEL))
    run.done()
    monkeypatch.setattr(run_verb, "take_up", lambda *_arguments: True)
    monkeypatch.setattr(run_verb.Runner, "run", full)
    code, said = guprace("run", "--resume", "r")
    assert code == expected
    assert said.endswith("guprace: cell.json: No space left on device\n"), "behind the table"
    assert (tmp_path / "r" / "junit.xml").is_file()


def test_what_the_disk_refuses_is_the_hosts_fault_and_no_traceback(
    guprace: Guprace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/var/x")

    monkeypatch.setattr(run_verb, "plan_of", full)
    code, said = guprace("run")
    assert (code, said) == (
        3,
        "guprace: /var/x: No space left on device\n  free some space, or move the cache with GUPRACE_CACHE=DIR\n",
    )
    monkeypatch.setattr(bisect_step, "plan_for_tree", full)
    assert guprace("bisect-step", "--cell", CELL)[0] == 131


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("report",), "runs: no run here"),
        (("report", "nowhere"), "nowhere: no such run directory"),
        (("report", "."), ".: no plan.json: not a run directory"),
        (("triage", "--diff", ".", "."), ".: no plan.json: not a run directory"),
        (("power", "--resume", "nowhere"), "nowhere: no such run directory"),
        (("run", "--resume", "nowhere"), "nowhere: no such run directory"),
        (("run", "--resume", "."), ".: no plan.json: not a run directory"),
        (("power", "--kernel", "5.4"), "no kernel '5.4'"),
        (("power", "--flavour", "plian"), "no flavour 'plian'"),
        (("power", "--mutant", "Z*"), "no mutant matches 'Z*'"),
        (("run", "--controls", "configs/quick.yaml"), "put the matrix first, or write --controls=one"),
        (("list", "configs/absent.yaml"), f"example matrices are in {Project().configs}"),
    ],
)
def test_what_is_not_there_is_the_users_to_name(guprace: Guprace, arguments: tuple[str, ...], words: str) -> None:
    code, said = guprace(*arguments)
    assert code == 2
    assert words in said
    assert said.count("\n") >= 2, "and what to do next"


def test_who_names_the_runs_or_something_in_a_run_is_told_the_run(guprace: Guprace, tmp_path: Path) -> None:
    every_ending(tmp_path / "runs/a")
    newest = every_ending(tmp_path / "runs/b and c").plan_file
    os.utime(newest, (2e9, 2e9))
    code, said = guprace("report", "runs")
    assert (code, said.splitlines()[1]) == (2, "  it holds runs: name one, such as the newest: 'runs/b and c'")
    for inside in ("runs/a/6.1", f"runs/a/6.1/{CELL}", f"runs/a/6.1/{CELL}/verdict.json", "runs/a/plan.json"):
        code, said = guprace("report", inside)
        assert (code, said.splitlines()[1]) == (2, "  it is in a run: name runs/a")
    assert guprace("report", "runs/a/plan.json")[1].startswith(
        "guprace: runs/a/plan.json: a file, not a run directory"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(
    # What the run's verdicts say goes before what could not be shown of them.
    ("verb", "code"),
    [(("list",), 3), (("report", "r"), 1), (("triage", "--json", "/dev/null"), 3)],
)
def test_a_standard_output_that_is_full_is_named_as_that(tmp_path: Path, verb: tuple[str, ...], code: int) -> None:
    every_ending(tmp_path / "r")
    argv = [sys.executable, "-m", "orchestrator", *verb]
    environ = {**os.environ, "PYTHONPATH": str(Project().root)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(argv, cwd=tmp_path, env=environ, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (
        code,
        "guprace: standard output: No space left on device\n  not all was shown\n",
    )


def test_a_run_that_is_no_power_run_is_not_resumed(guprace: Guprace, tmp_path: Path) -> None:
    every_ending(tmp_path / "r")
    code, said = guprace("power", "--resume", "r")
    assert code == 2
    assert "not a run of `guprace power`" in said
    assert "guprace run --resume r" in said


def test_a_power_run_and_a_step_of_a_bisection_are_no_runs_to_go_on_with(guprace: Guprace, tmp_path: Path) -> None:
    run = every_ending(tmp_path / "r")
    records.save(run.metadata_file, replace(run.metadata(), command=("guprace", "bisect-step", "--cell", CELL)))
    code, said = guprace("run", "--resume", "r")
    assert (code, "r: a step of a bisection" in said) == (2, True), said
    records.save(run.campaign_file, Campaign((), 5, 3))
    code, said = guprace("run", "--resume", "r")
    assert (code, "guprace power --resume r" in said) == (2, True), said


def test_a_run_that_is_resumed_takes_no_other_wishes(guprace: Guprace, tmp_path: Path) -> None:
    run = every_ending(tmp_path / "r")
    code, said = guprace("run", "configs/quick.yaml", "--resume", "r", "--dry-run", "--seconds", "3", "-j", "2")
    assert code == 2
    assert "no matrix, --dry-run, --seconds beside it" in said
    records.save(run.campaign_file, Campaign((), 5, 3))
    code, said = guprace("power", "--resume", "r", "--seeds", "9", "--kernel", "6.1")
    assert code == 2
    assert "no --kernel, --seeds beside it" in said


def test_a_report_of_an_unfinished_run_says_how_to_go_on(guprace: Guprace, tmp_path: Path) -> None:
    every_ending(tmp_path / "an unfinished run")
    said = guprace("report", "an unfinished run")[1]
    assert "not every cell has a verdict; to go on: guprace run --resume 'an unfinished run'" in said
    page = (tmp_path / "an unfinished run" / "index.html").read_text()
    assert "<code>guprace run --resume an unfinished run</code> goes on" in page


def test_a_run_that_the_host_broke_says_how_to_race_it_again(guprace: Guprace, tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "r")
    run.add(Verdict(Outcome.BROKEN, "no qemu-system-aarch64", fault=Fault.HOST))
    run.done()
    said = guprace("report", "r")[1]
    assert "the host was at fault in 1 cell; when that is mended, race it again: guprace run --resume r\n" in said


def test_two_patches_of_one_name_are_refused(guprace: Guprace, tmp_path: Path) -> None:
    """Their attempts would lie in the same directories, and one would be judged by the other's."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copy(Project().mutants / "M01-6.12.patch", tmp_path / name / "fix.patch")
    code, said = guprace("power", "--kernel", "6.12", "--patch", "a/fix.patch", "--patch", "b/fix.patch")
    assert code == 2
    assert "two patches would both be 6.12+fix/" in said


def test_a_mutant_that_nothing_of_the_plan_races_is_left_out_before_anything_is_built(
    guprace: Guprace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(power_verb.Runner, "run", lambda *_arguments: None)
    asked = ("power", "--kernel", "6.12", "--arch", "arm64", "--narrow", "--scenario", "pin_vs_munmap")
    why = "6.12+M08/arm64/plain: nothing of this plan races it; its record names pin_vs_lazyfree, pin_vs_split, "
    code, said = guprace(*asked, "--mutant", "M08")
    assert (code, "no broken kernel to race on these lanes" in said) == (2, True), said
    assert why in said
    assert not (tmp_path / "runs").exists()
    guprace(*asked, "--mutant", "M08", "--mutant", "M01")
    (run,) = (tmp_path / "runs").iterdir()
    campaign = RunDir(run).campaign(Campaign)
    assert [target.mutant for target in campaign.targets] == ["M01"]
    assert [each.startswith(why) for each in campaign.left_out] == [True]


def test_what_is_no_patch_is_refused_before_anything_is_raced(guprace: Guprace, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("+++  \nnot a patch\n")
    code, said = guprace("power", "--kernel", "6.12", "--patch", "notes.txt")
    assert code == 2
    assert "notes.txt: not a patch that git apply can read" in said
    assert not (tmp_path / "runs").exists()


def test_a_place_where_no_run_can_be_made_is_named_with_the_way_out(guprace: Guprace) -> None:
    code, said = guprace("run", "--runs", "/proc/guprace")
    assert code == 3
    assert "cannot make a run directory" in said
    assert "--runs DIR" in said


def test_a_damaged_record_costs_its_cell_and_no_report(guprace: Guprace, tmp_path: Path) -> None:
    run = every_ending(tmp_path / "r")
    verdict = run.root / "6.1" / CELL / "verdict.json"
    verdict.write_bytes(verdict.read_bytes()[:40])
    code, said = guprace("report", "r")
    assert code == 1, "of the others one failed"
    assert f"unreadable record: {verdict.relative_to(tmp_path)}: not a whole record: Invalid JSON: " in said
    assert "`guprace run --resume r` races this cell again" in said
    assert (run.root / "index.html").is_file()


@pytest.mark.parametrize(
    ("name", "words"), [("plan.json", "the run is lost, remove it"), ("campaign.json", "`guprace history`")]
)
def test_a_record_says_what_is_lost_without_it(guprace: Guprace, tmp_path: Path, name: str, words: str) -> None:
    run = every_ending(tmp_path / "r")
    records.save(run.campaign_file, Campaign((), 5, 3))
    (run.root / name).write_text("[]")
    for verb in (("report", "r"), ("power", "--resume", "r")):
        got, said = guprace(*verb)
        assert (got, f"r/{name}: not a whole record: " in said) == (3, True), said
        assert words in said


def test_a_power_run_without_its_campaign_is_damaged_and_no_ordinary_run(guprace: Guprace, tmp_path: Path) -> None:
    run = every_ending(tmp_path / "r")
    records.save(run.metadata_file, replace(run.metadata(), command=("guprace", "power")))
    for verb in (("report", "r"), ("power", "--resume", "r")):
        code, said = guprace(*verb)
        assert (code, "r/campaign.json: no such file\n  its cells' verdicts stand" in said) == (3, True), said


def test_a_list_of_known_issues_that_is_wrong_by_now_changes_no_exit_code(
    guprace: Guprace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    every_ending(tmp_path / "r")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("- id: unfinished\n")
    monkeypatch.setattr(known, "KNOWN_ISSUES", str(wrong))
    code, said = guprace("report", "r")
    assert code == 1, "of its cells one failed"
    assert "known issues are not counted: " in said
    assert "wrong.yaml" in said


def test_a_run_whose_reports_cannot_be_written_is_shown_all_the_same(guprace: Guprace, tmp_path: Path) -> None:
    run = every_ending(tmp_path / "r")
    (run.root / "junit.xml").mkdir()
    code, said = guprace("report", "r")
    assert code == 3
    assert "r/junit.xml: Is a directory" in said
    assert f"PASS         6.1/{CELL}" in said


def test_build_tells_each_stage_once_and_the_compilers_words_cannot_act_on_the_terminal(
    guprace: Guprace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(_builder: KernelBuilder, _spec: KernelSpec, report: Callable[[str], None]) -> None:
        for text in ("preparing linux", "", "CC mm/gup.o", "", "CC mm/mmap.o", "probe module"):
            report(text)
        raise BuildError("error: \x1b[2J")

    monkeypatch.setattr(KernelBuilder, "build", build)
    lane = "6.1/arm64/plain"
    assert guprace("build", "--only", f"{lane}/*") == (
        4,
        f"{lane}: preparing linux\n{lane}: probe module\n{lane}: error: \ufffd[2J\n",
    )


@pytest.mark.parametrize(
    "verb", [("run",), ("power", "--kernel", "6.12"), ("bisect-step", "--cell", CELL, "--tree", ".")]
)
def test_a_wrong_list_of_known_issues_is_told_before_anything_is_made(
    guprace: Guprace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: tuple[str, ...]
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("- id: unfinished\n")
    monkeypatch.setattr(lists, "KNOWN_ISSUES", str(wrong))
    code, said = guprace(*verb)
    assert code == (129 if verb[0] == "bisect-step" else 2)
    assert "wrong.yaml" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_lab_book_on_a_full_disk_is_told_once_and_the_run_goes_on() -> None:
    script = """
import logging, pathlib
from orchestrator.cli.common import log_to
log_to(pathlib.Path("/dev/full"))
for _ in range(3):
    logging.getLogger("guprace.cell").info("6.1/arm64/plain/pin_vs_munmap build 1.0 s")
print("went on")
"""
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, cwd=Project().root, capture_output=True, text=True, check=True)
    assert done.stdout == "went on\n"
    assert "Traceback" not in done.stderr
    assert done.stderr.count("/dev/full: No space left on device") == 1
