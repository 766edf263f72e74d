# SPDX-License-Identifier: GPL-2.0-only
"""The C selftests, built with the host's compiler and run on the host: no guest, no probe module, any user."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

KSELFTESTS = Path(__file__).resolve().parents[2] / "kselftests"
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
