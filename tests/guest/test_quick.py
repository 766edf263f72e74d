# SPDX-License-Identifier: GPL-2.0-only
"""The real thing: both 6.1 kernels built or from the cache, booted, raced; the control caught."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from defusedxml import ElementTree

from orchestrator.matrix.plan import Expectation
from orchestrator.runner.rundir import CellResult, RunDir, open_run
from orchestrator.verdict.model import Outcome

pytestmark = [pytest.mark.guest, pytest.mark.timeout(5000)]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, RunDir, str]:
    """Run configs/quick.yaml as a user does; give exit code, run directory and what the terminal showed."""
    runs = tmp_path_factory.mktemp("runs")
    argv = [sys.executable, "-m", "orchestrator", "run", "configs/quick.yaml", "--runs", str(runs)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    (run,) = runs.iterdir()
    return done.returncode, open_run(run), done.stdout


@pytest.fixture(scope="module")
def cells(finished: tuple[int, RunDir, str]) -> dict[str, CellResult]:
    return {result.record.cell.id: result for result in finished[1].results()}


def test_every_cell_ends_as_expected(finished: tuple[int, RunDir, str], cells: dict[str, CellResult]) -> None:
    outcomes = {name: result.verdict and result.verdict.outcome for name, result in cells.items()}
    wanted = {
        name: Outcome.CAUGHT if result.record.cell.expect is Expectation.CAUGHT else Outcome.PASS
        for name, result in cells.items()
    }
    assert outcomes == wanted
    assert finished[0] == 0
    assert len(cells) == 4


def test_a_clean_verdict_carries_its_claim(cells: dict[str, CellResult]) -> None:
    for result in cells.values():
        if result.record.cell.expect is Expectation.CLEAN:
            assert result.verdict is not None
            assert result.verdict.trials > 0
            assert result.evidence is not None
            race = result.evidence.race
            fewest = min(n for key, n in race.counters.items() if key.endswith(".trials"))
            assert result.verdict.bound == pytest.approx(3 / fewest)
            assert race.total("unmaps") > 0


def test_the_kernels_own_defence_fired_on_arm64(cells: dict[str, CellResult]) -> None:
    evidence = cells["6.1/arm64/plain/pin_vs_munmap"].evidence
    assert evidence is not None
    assert evidence.race.total("backoffs") > 0


def test_kcsan_watched_during_the_race(cells: dict[str, CellResult]) -> None:
    evidence = cells["6.1/x86_64/kcsan/pin_vs_munmap"].evidence
    assert evidence is not None
    assert evidence.kcsan_on
    assert evidence.kcsan is not None
    assert evidence.kcsan["setup_watchpoints"] > 0


def test_the_junit_is_valid_and_has_one_case_per_cell(finished: tuple[int, RunDir, str]) -> None:
    root = ElementTree.parse(finished[1].root / "junit.xml").getroot()
    cases = list(root.iter("testcase"))
    assert sorted(case.get("classname") for case in cases) == [
        "6_1+M01.arm64.plain",
        "6_1.arm64.debug",
        "6_1.arm64.plain",
        "6_1.x86_64.kcsan",
    ]
    assert not list(root.iter("failure"))
    assert not list(root.iter("error"))


def test_the_run_directory_is_complete(finished: tuple[int, RunDir, str], cells: dict[str, CellResult]) -> None:
    run = finished[1].root
    for name in ("plan.json", "metadata.json", "events.ndjson", "junit.xml", "report.ktap", "index.html"):
        assert (run / name).stat().st_size > 0
    for name in cells:
        files = ("cell.json", "qemu.argv", "console.log", "dmesg.log", "race.ktap", "evidence.json", "verdict.json")
        for file in files:
            assert (run / name / file).stat().st_size > 0, f"{name}/{file}"
    events = [json.loads(line) for line in (run / "events.ndjson").read_text().splitlines()]
    assert {event["cell"] for event in events} == {"", *cells}
