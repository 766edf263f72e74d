# SPDX-License-Identifier: GPL-2.0-only
"""The other verbs, on fakes: bisect-step under real git, shell on a real terminal, build, list, doctor."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from orchestrator.paths import Project
from orchestrator.verdict.model import Outcome, Verdict
from tests.fakes.rundir import FakeRun
from tests.unit.cli_house import STOCK, House, furnished
from tests.unit.cli_inside import Guprace

pytestmark = pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="no arm64 cross compiler")
LOG = Path(__file__).parents[1] / "data" / "splat" / "x86_64-6.1-kcsan-pin_vs_munmap.log"
VERBS = ("run", "power", "build", "shell", "list", "doctor", "report", "triage", "bisect-step", "completion")
STEP = ("bisect-step", "--tree", ".", "--cell", "arm64/plain/pin_vs_munmap", "--seconds", "1", "--accel", "tcg")


@pytest.fixture
def house(tmp_path: Path, fake_qemu: Path) -> Iterator[House]:
    with furnished(tmp_path, fake_qemu) as house:
        yield house


def git(tree: Path, *arguments: str) -> str:
    names = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    argv = ["git", "-C", str(tree), *names, *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def history(house: House, *, bad: int, broken: int) -> tuple[str, str, str]:
    """Make six commits: `bad` removes the re-read, `broken` alone does not compile; return first, bad and last."""
    git(house.tree, "init", "-q", "-b", "main")
    git(house.tree, "add", "-A")
    git(house.tree, "commit", "-qm", "start")
    good, culprit = git(house.tree, "rev-parse", "HEAD"), ""
    for number in range(1, 7):
        (house.tree / "mm/mmap.c").write_text("#error broken\n" if number == broken else f"/* {number} */\n")
        if number == bad:
            git(house.tree, "apply", str(Project().mutants / "M01-6.1.patch"))
        git(house.tree, "commit", "-qam", f"commit {number}")
        if number == bad:
            culprit = git(house.tree, "rev-parse", "HEAD")
    return good, culprit, git(house.tree, "rev-parse", "HEAD")


def test_git_bisect_run_names_the_commit_that_removed_the_re_read(house: House) -> None:
    good, culprit, tip = history(house, bad=4, broken=2)
    git(house.tree, "bisect", "start", tip, good)
    argv = ["git", "bisect", "run", sys.executable, "-m", "orchestrator", *STEP]
    done = subprocess.run(argv, cwd=house.tree, env=house.environ(), capture_output=True, text=True, check=False)
    assert f"{culprit} is the first bad commit" in done.stdout, done.stdout + done.stderr
    # Each step says what it raced, and how to race that again: what is checked out by then is another commit.
    assert f"\n  {culprit}\n  " in done.stdout
    repeats = [json.loads(path.read_text())["repeat"] for path in (house.cache / "runs").glob("*/*/*/*/*/cell.json")]
    assert any(f"git -C {house.tree} checkout --detach {culprit} && guprace bisect-step " in each for each in repeats)
    assert all(each.endswith(" --accel tcg") for each in repeats)
    assert git(house.tree, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("fake", "code"),
    [
        *[("", 0), ("hit", 1), ("panic-at-boot", 125), ("panic-mid-race", 125), ("vacuous", 125), ("die", 131)],
        *[("insmod-fails", 125), ("cut-answer", 125), ("bad-sync", 125)],
    ],
)
def test_a_bisect_step_answers_git(house: House, fake: str, code: int) -> None:
    got, said = house.guprace(*STEP, fake=fake, cwd=house.tree)
    assert got == code, said


@pytest.mark.parametrize("output", ["2>&1 | true", ">/dev/full 2>&1"])
@pytest.mark.parametrize(("words", "fake", "code"), [((), "", 0), ((), "hit", 1), (("--seconds", "x"), "", 129)])
def test_a_bisect_step_answers_git_whoever_listens(
    house: House, output: str, words: tuple[str, ...], fake: str, code: int
) -> None:
    line = shlex.join([sys.executable, "-m", "orchestrator", *STEP, *words])
    done = subprocess.run(
        ["bash", "-c", f"{line} {output}; exit ${{PIPESTATUS[0]}}"],
        cwd=house.tree,
        env=house.environ(fake),
        check=False,
    )
    assert done.returncode == code


def test_a_bisect_step_skips_what_does_not_build(house: House) -> None:
    (house.tree / "mm/mmap.c").write_text("#error broken\n")
    assert house.guprace(*STEP, cwd=house.tree)[0] == 125


def test_a_bisect_step_with_a_wrong_cell_stops_the_bisection(house: House) -> None:
    step = [word.replace("plain", "plian") for word in STEP]
    code, said = house.guprace(*step, cwd=house.tree)
    assert code == 129
    assert "did you mean 'plain'" in said


def test_shell_opens_in_the_guest_and_ends_with_it(house: House) -> None:
    argv = ["-m", "orchestrator", "shell", STOCK, "--matrix", str(house.matrix)]
    child = pexpect.spawn(sys.executable, argv, cwd=house.root, env=house.environ(), timeout=240, encoding="utf-8")
    child.expect("is in place")
    child.sendline("exit")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert house.leftovers() == []


def test_a_guest_that_dies_under_the_shell_is_told_and_leaves_its_console(house: House) -> None:
    argv = ["-m", "orchestrator", "shell", STOCK, "--matrix", str(house.matrix)]
    env = house.environ("panic-at-boot")
    done = subprocess.run(
        [sys.executable, *argv], cwd=house.root, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "the guest is lost: panic: " in done.stderr
    assert "Traceback" not in done.stderr
    (kept,) = house.temporary.glob("guprace-console-*.log")
    assert f"guprace triage {kept}" in done.stderr
    assert b"Kernel panic" in kept.read_bytes()


def test_a_probe_that_does_not_load_opens_no_shell(house: House) -> None:
    code, said = house.guprace("shell", STOCK, "--matrix", str(house.matrix), fake="insmod-fails")
    assert code == 3
    assert "the probe module does not load: insmod: can't insert '/guprace/guprace_probe.ko'" in said
    assert "is in place" not in said


def test_shell_asks_for_one_cell(house: House) -> None:
    code, said = house.guprace("shell", "*/arm64/*", "--matrix", str(house.matrix))
    assert code == 2
    assert "2 cells match" in said


def test_build_says_what_was_cached(house: House) -> None:
    assert "built in" in house.guprace("build", str(house.matrix), "--only", STOCK)[1]
    assert "cached in" in house.guprace("build", str(house.matrix), "--only", STOCK)[1]
    code, said = house.guprace("build", str(house.matrix), "--why")
    assert code == 0
    assert "6.1/arm64/plain: hit" in said
    assert "patch 1 M01-6.1.patch: added" in said


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb_shows_an_example(guprace: Guprace, verb: str) -> None:
    code, said = guprace(verb, "--help")
    assert code == 0
    assert "Example" in said
    assert f"guprace {verb}" in said or f"{verb} --tree" in said


def test_a_misspelt_verb_is_a_usage_error_with_the_nearest(guprace: Guprace) -> None:
    code, said = guprace("biuld")
    assert code == 2
    assert "did you mean 'build'" in said


def test_list_marks_the_controls(house: House) -> None:
    code, said = house.guprace("list", str(house.matrix))
    assert code == 0
    assert "6.1+M01/arm64/plain/pin_vs_munmap  (control: M01 must be caught)" in said


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script(guprace: Guprace, shell: str) -> None:
    code, said = guprace("completion", shell)
    assert code == 0
    assert "_GUPRACE_COMPLETE" in said


def test_completion_knows_the_cells_of_the_matrix(house: House) -> None:
    env = {**house.environ(), "_GUPRACE_COMPLETE": "bash_complete", "COMP_CWORD": "3"}
    env["COMP_WORDS"] = "guprace run --only 6.1/arm64/p"
    argv = [sys.executable, "-m", "orchestrator"]
    done = subprocess.run(argv, cwd=house.root, env=env, capture_output=True, text=True, check=False)
    assert "plain,6.1/arm64/plain/pin_vs_munmap" in done.stdout.split()


def test_doctor_names_what_is_missing_with_the_apt_line(house: House) -> None:
    empty = house.root / "empty"
    empty.mkdir()
    for name in ("setpriv", "sh", "gcc"):
        (empty / name).symlink_to(str(shutil.which(name)))
    env = {**house.environ(), "PATH": str(empty)}
    argv = [sys.executable, "-m", "orchestrator", "doctor"]
    done = subprocess.run(argv, cwd=house.root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("apt-get install"))
    assert "qemu-system-arm" in line
    assert "flex" in line


@pytest.mark.parametrize("verb", ["list {matrix}", "report {run}", "run {matrix} --only {cell}", "triage {log}"])
def test_a_reader_that_closes_the_pipe_is_no_error(house: House, verb: str) -> None:
    passed = FakeRun(house.root / "passed")
    passed.add(Verdict(Outcome.PASS, "0 hits"))
    arguments = verb.format(matrix=house.matrix, run=passed.done().root, cell=STOCK, log=LOG)
    line = f"set -o pipefail; {sys.executable} -m orchestrator {arguments} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], env=house.environ(), cwd=house.root, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    if verb.startswith("run"):
        assert house.verdict().outcome is Outcome.PASS


def test_make_without_root_prints_the_apt_line_and_stops_with_3(tmp_path: Path) -> None:
    root = Project().root
    (tmp_path / "configs").mkdir()
    shutil.copy(root / "Makefile", tmp_path)
    (tmp_path / "configs/host-packages.txt").write_text("# none\nno-such-package-x  prog  purpose\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in (("id", "echo 1000"), ("sudo", "exit 1")):
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(["make", "packages"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert "apt-get install -y --no-install-recommends no-such-package-x" in done.stdout
    assert "Error 3" in done.stderr
