# SPDX-License-Identifier: GPL-2.0-only
"""The C selftests, built with the host's compiler and run on the host: no guest, no probe module, any user."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

KSELFTESTS = Path(__file__).resolve().parents[2] / "kselftests"
ENDING = Path(__file__).parents[1] / "fakes" / "ending.c"
KTAP_LINE = re.compile(r"KTAP version 1|1\.\.\d+|# .*|(?:not )?ok \d+ [a-z_]+(?:\.[a-z_]+)?(?: # .+)?|Bail out! .+")


def make(out: Path, *targets: str, tree: Path = KSELFTESTS) -> None:
    """Build `targets` of `tree` (a copy of kselftests) in `out`; warnings are errors there."""
    done = subprocess.run(
        ["make", "-s", "-C", str(tree), f"OUT={out}", *targets], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr


def run(program: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(program), *args], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None or shutil.which("make") is None:
        pytest.skip("needs gcc and make on the host")
    out = tmp_path_factory.mktemp("kselftests")
    make(out, "all", f"{out}/lib_test")
    return out


def test_the_library_passes_its_own_test(built: Path) -> None:
    done = run(built / "lib_test")
    assert done.returncode == 0, done.stdout
    assert "\nnot ok" not in done.stdout
    plan = re.search(r"^1\.\.(\d+)$", done.stdout, re.MULTILINE)
    assert plan is not None
    assert done.stdout.count("\nok ") == int(plan[1]) > 0


def test_a_scenario_runs_alone_on_this_machine_and_skips_what_it_has_no_module_for(built: Path) -> None:
    if Path("/dev/guprace_probe").exists():
        pytest.skip("the probe module is loaded on this host")
    done = run(built / "pin_vs_munmap", "--seconds", "0.2", "--seed", "0x2a", "--only", "[!d]*.munmap")
    if "vmsplice does not work here" in done.stdout or "needs two CPUs" in done.stdout:
        pytest.skip(f"this host cannot race: {done.stdout}")
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert all(KTAP_LINE.fullmatch(line) for line in lines)
    assert "# param seed 0x000000000000002a" in lines
    assert "# param seconds 0.2" in lines
    assert "1..2" in lines
    assert any(line.startswith("ok 1 probe.munmap # SKIP no /dev/guprace_probe") for line in lines)
    assert "ok 2 vmsplice.munmap" in lines
    assert lines[-1] == "# totals pass:1 fail:0 skip:1"


def test_a_counter_of_backoffs_is_absent_rather_than_zero_where_they_cannot_be_counted(built: Path) -> None:
    out = run(built / "pin_vs_munmap", "--seconds", "0.1").stdout
    if "backoffs not counted" not in out:
        pytest.skip("kprobe events can be had on this host")
    assert ".backoffs " not in out


def test_a_fresh_seed_is_printed_each_time(built: Path) -> None:
    seeds = set()
    for _ in range(2):
        out = run(built / "pin_vs_munmap", "--seconds", "0.05").stdout
        seed = re.search(r"^# param seed (0x[0-9a-f]{16})$", out, re.MULTILINE)
        assert seed is not None
        seeds.add(seed[1])
    assert len(seeds) == 2


@pytest.mark.parametrize(
    "args",
    [
        ("--seconds", "0"),
        ("--seconds", "-1"),
        ("--seconds", "nan"),
        ("--seconds", "10x"),
        ("--seconds", "1e300"),
        ("--seed", "-1"),
        ("--seed", "0x10000000000000000"),
        ("--seed", ""),
        ("--only", "no.such"),
        ("--bogus",),
        ("extra",),
    ],
)
def test_a_bad_option_is_a_usage_error_and_no_result(built: Path, args: tuple[str, ...]) -> None:
    done = run(built / "pin_vs_munmap", *args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "--seconds N" in done.stderr


def test_help_and_list_need_no_kernel_feature(built: Path) -> None:
    shown = run(built / "pin_vs_munmap", "--help")
    assert shown.returncode == 0
    assert "example:" in shown.stdout
    listed = run(built / "pin_vs_munmap", "--list")
    assert listed.stdout.splitlines()[:2] == ["probe.munmap", "vmsplice.munmap"]


@pytest.fixture(scope="module")
def ending(built: Path) -> Path:
    program = built / "ending"
    objects = sorted(map(str, (built / "lib").glob("*.o")))
    gcc = ["gcc", "-Wall", "-Werror", f"-I{KSELFTESTS / 'lib'}", "-pthread", "-static", "-o", str(program)]
    subprocess.run([*gcc, str(ENDING), *objects], check=True, timeout=600)
    return program


def said(output: str) -> list[str]:
    """Return what a program says of its end, without what it says of its kernel's lack of kprobes."""
    return [line for line in output.splitlines() if line.startswith(("Bail out!", "# cleaned up"))]


@pytest.mark.parametrize(
    ("number", "status", "why"),
    [
        (signal.SIGINT, 1, "interrupted by a signal"),
        (signal.SIGTERM, 1, "interrupted by a signal"),
        (signal.SIGHUP, 1, "interrupted by a signal"),
        (signal.SIGQUIT, -signal.SIGQUIT, "signal 3"),
        (signal.SIGABRT, -signal.SIGABRT, "signal 6"),
        (signal.SIGBUS, -signal.SIGBUS, "signal 7"),
        (signal.SIGSEGV, -signal.SIGSEGV, "signal 11"),
    ],
)
def test_a_signal_to_all_processes_has_one_of_them_clean_up(
    ending: Path, number: signal.Signals, status: int, why: str
) -> None:
    program = subprocess.Popen(
        [str(ending), "--only", "no.signal"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert program.stdout is not None
    for line in program.stdout:
        if line == "# ready\n":
            break
    os.killpg(program.pid, number)
    output, _ = program.communicate(timeout=60)
    assert said(output) == [f"Bail out! {why}", "# cleaned up"]
    assert program.returncode == status


def test_a_child_that_is_gone_is_told_and_no_silent_end(ending: Path) -> None:
    done = run(ending, "--only", "no.reader")
    assert said(done.stdout) == ["Bail out! the child is gone", "# cleaned up"]
    assert done.returncode == 1


def test_a_child_in_trouble_puts_nothing_back_that_is_its_parents(ending: Path) -> None:
    done = run(ending, "--only", "no.child")
    assert said(done.stdout) == ["Bail out! in a child", "# cleaned up"]
    assert done.stdout.index("ok 1 no.child") < done.stdout.index("# cleaned up")
    assert done.returncode == 0


def test_two_actors_that_fault_end_it_once(ending: Path) -> None:
    done = run(ending, "--only", "no.memory")
    if "needs two CPUs" in done.stdout:
        pytest.skip("this host cannot race")
    assert said(done.stdout) == ["Bail out! signal 11", "# cleaned up"]
    assert done.returncode == -signal.SIGSEGV


def test_a_stack_that_overflows_leaves_room_to_clean_up(ending: Path) -> None:
    done = run(ending, "--only", "no.stack")
    assert said(done.stdout) == ["Bail out! signal 11", "# cleaned up"]
    assert done.returncode == -signal.SIGSEGV


def test_a_reader_that_stops_reading_ends_nothing(built: Path) -> None:
    program = subprocess.Popen([str(built / "pin_vs_munmap"), "--seconds", "0.2"], stdout=subprocess.PIPE)
    assert program.stdout is not None
    program.stdout.readline()
    program.stdout.close()
    assert program.wait(timeout=60) in (0, 4)


def test_two_builds_in_two_places_are_identical(built: Path, tmp_path: Path) -> None:
    tree = tmp_path / "elsewhere"
    shutil.copytree(KSELFTESTS, tree, ignore=shutil.ignore_patterns("build"))
    make(tmp_path / "out", "all", tree=tree)
    assert (tmp_path / "out/pin_vs_munmap").read_bytes() == (built / "pin_vs_munmap").read_bytes()


def test_a_scenario_has_its_kconfig_fragment_beside_it() -> None:
    scenarios = sorted((KSELFTESTS / "scenarios").glob("*.c"))
    assert scenarios
    for scenario in scenarios:
        fragment = scenario.with_suffix(".config").read_text()
        assert re.fullmatch(r"(?:(?:#.*|CONFIG_[A-Z0-9_]+=\S+(?:  #\? if known)?)?\n)+", fragment), scenario
