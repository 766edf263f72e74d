# SPDX-License-Identifier: GPL-2.0-only
"""`guprace run --resume`: interrupted runs, and what must not be gone on with; on a fake tree and a fake QEMU."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from defusedxml import ElementTree

from orchestrator import records
from orchestrator.kernel.lock import locked
from orchestrator.proc import Stop
from orchestrator.runner.rundir import CellRecord
from orchestrator.runner.schedule import again
from orchestrator.verdict.model import Outcome
from tests.fakes.qemu.fixture import install
from tests.unit.cli_house import CONTROL, STOCK, House, Raced, furnished, raced

pytestmark = pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="no arm64 cross compiler")
BOTH = ("--only", "*plain*")


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raced]:
    root = tmp_path_factory.mktemp("resume")
    (root / "house").mkdir()
    with furnished(root / "house", install(root / "qemu")) as house:
        yield raced(house, root / "healthy")


@pytest.fixture(scope="module")
def failing(healthy: Raced) -> Raced:
    return raced(healthy.again(), healthy.kept.with_name("failing"), "hit")


@pytest.fixture
def house(healthy: Raced) -> House:
    """Give a house in which both plain cells have been raced: PASS and CAUGHT."""
    return healthy.again()


def interrupted(house: House, *arguments: str) -> str:
    """Run both plain cells, press Ctrl-C while the second is raced, and return what the terminal showed."""
    shutil.rmtree(house.runs)
    process = house.start("run", str(house.matrix), *BOTH, *arguments, fake="long-if-broken")
    while process.poll() is None and not list(house.runs.glob(f"*/{CONTROL}/race.ktap")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    return said


def unfinished(house: House, *cells: str) -> None:
    """Have it as if `cells` of the run had never come so far."""
    for cell in cells:
        (house.run.root / cell / "verdict.json").unlink()


def resume(house: House) -> tuple[int, str]:
    return house.guprace("run", "--resume", str(house.run.root))


def seconds_of(repeat: str) -> str:
    words = shlex.split(repeat)
    return words[words.index("--seconds") + 1]


def test_an_interrupted_run_says_how_to_go_on_and_that_keeps_what_was_done(house: House) -> None:
    said = interrupted(house, "--seconds", "2", "--seed", "0x77", "-j", "1")
    line = next(line for line in said.splitlines() if "to go on: " in line)
    assert line.startswith("interrupted (SIGINT); ")
    run = house.run
    before = (run.root / STOCK / "cell.json").read_bytes()
    lines = run.events_file.read_bytes()
    code, said = house.guprace(*shlex.split(line.split("to go on: guprace ")[1]))
    assert code == 0, said
    assert "goes on: 1 of 2 cells has a verdict that stands" in said
    assert house.run.root == run.root
    assert (run.root / STOCK / "cell.json").read_bytes() == before, "nothing of it is raced again"
    results = house.results()
    assert {name: r.verdict and r.verdict.outcome for name, r in results.items()} == {
        STOCK: Outcome.PASS,
        CONTROL: Outcome.CAUGHT,
    }
    assert results[CONTROL].record.seed == 0x77
    assert seconds_of(results[CONTROL].record.repeat) == "2", "as the first command line said"
    assert (run.root / f"{CONTROL}.interrupted-1" / "race.ktap").is_file(), "what was half done is not lost"
    assert f"what an interrupted race of it left is in {CONTROL}.interrupted-1" in said
    assert run.events_file.read_bytes().startswith(lines)
    known = run.metadata()
    assert (known.interrupted, known.guests, len(known.resumed)) == ("", 1, 1)
    assert known.resumed[0].changed == ()


def test_all_reports_of_a_run_gone_on_with_cover_all_of_its_cells(failing: Raced) -> None:
    house = failing.again()
    unfinished(house, CONTROL)
    code, said = resume(house)
    assert code == 1, "the stock kernel's FAIL stands"
    cases = ElementTree.parse(house.run.root / "junit.xml").getroot().iter("testcase")
    assert {case.get("classname"): next(child.tag for child in case) for case in cases} == {
        "6_1.arm64.plain": "failure",
        "6_1+M01.arm64.plain": "system-out",
    }
    assert "2 cells: 1 FAIL, 1 CAUGHT" in said
    page = (house.run.root / "index.html").read_text()
    assert "resumed 20" in page
    assert "--resume" not in page, "nothing is left to go on with"
    assert house.guprace("report", str(house.run.root))[0] == 1


def test_a_complete_run_says_so_and_has_the_exit_code_that_it_had(failing: Raced) -> None:
    house = failing.again()
    before = house.run.metadata()
    code, said = resume(house)
    assert code == 1
    assert "every cell of " in said
    assert "nothing is left to race" in said
    assert f"FAIL         {STOCK}" in said
    assert house.run.metadata() == before


def test_a_kernel_that_is_another_one_now_is_refused_and_nothing_is_touched(house: House) -> None:
    unfinished(house, CONTROL)
    with (house.tree / "mm" / "gup.c").open("a") as source:
        source.write("/* edited meanwhile */\n")
    root = house.run.root
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    code, said = resume(house)
    assert code == 2
    assert "6.1/arm64/plain: source: stat:" in said
    assert "move the directories of those lanes and cells out of the run" in said
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == before
    assert house.run.metadata().finished
    (root / "6.1").rename(house.root / "elsewhere")
    code, said = resume(house)
    assert code == 0, said
    assert {r.verdict and r.verdict.outcome for r in house.results().values()} == {Outcome.PASS, Outcome.CAUGHT}


def test_a_scenario_that_is_another_program_now_is_refused(house: House) -> None:
    unfinished(house, CONTROL)
    where = house.run.root / STOCK / "cell.json"
    record = records.load(where, CellRecord)
    records.save(where, replace(record, made_of={**record.made_of, "program": "f" * 64}))
    code, said = resume(house)
    assert code == 2
    assert f"{STOCK}: program: {'f' * 24}... -> " in said


def test_another_guprace_at_work_in_the_run_is_named(house: House) -> None:
    unfinished(house, CONTROL)
    with locked(house.run.lock_file, "the run", Stop()):
        code, said = resume(house)
    assert code == 3
    assert f"another guprace (pid {os.getpid()}) holds run {house.run.root.name}" in said
    assert (house.run.root / CONTROL / "console.log").is_file(), "nothing of the other's is put aside"


def test_after_a_power_cut_what_cannot_be_read_is_raced_again_and_said(house: House) -> None:
    run = house.run
    verdict = run.root / STOCK / "verdict.json"
    verdict.write_bytes(verdict.read_bytes()[:40])
    with run.events_file.open("ab") as events:
        events.write(b'{"time": 1, "cell')
    records.save(run.metadata_file, replace(run.metadata(), finished=None))
    code, said = resume(house)
    assert code == 0, said
    assert f"{STOCK} does not stand: its records cannot be read (not a whole record: " in said
    assert f"{CONTROL} does not stand: it was judged by what {STOCK} showed" in said
    assert (run.root / f"{STOCK}.interrupted-1" / "console.log").is_file()
    lines = run.events_file.read_text().splitlines()
    assert [line for line in lines if not line.endswith("}")] == ['{"time": 1, "cell'], "it has a line of its own"
    assert json.loads(lines[-1])["state"] == "finished"


def test_a_control_that_is_raced_again_stands_behind_its_pass_instead_of_the_old_one(house: House) -> None:
    unfinished(house, CONTROL)
    assert "the same set-up caught M01" in house.verdict(STOCK).reason, "by the race that is no more"
    code, said = resume(house)
    assert code == 0, said
    verdict = house.verdict(STOCK)
    assert verdict.reason.count("the same set-up caught M01") == 1
    assert [control.mutant for control in verdict.controls] == ["M01"]


def test_racing_until_confident_goes_on_with_the_attempts_that_there_are(house: House) -> None:
    run = house.run
    plan, first = run.plan(), house.results()
    more = [(STOCK, 2), (STOCK, 3), (CONTROL, 2), (CONTROL, 3), (CONTROL, 4)]
    attempts = {again(first[name].record.cell, number): first[name] for name, number in more}
    for cell, was in attempts.items():
        shutil.copytree(was.directory, run.cell_dir(cell))
        records.save(run.cell_dir(cell) / "cell.json", replace(was.record, cell=cell))
    records.save(run.plan_file, replace(plan, cells=(*plan.cells, *attempts), confidence=1e-3))
    kept = (run.root / f"{CONTROL}.4" / "verdict.json").stat().st_mtime_ns
    code, said = resume(house)
    assert code == 0, said
    assert "goes on: 7 of 7 cells have a verdict that stands" in said
    assert (run.root / f"{CONTROL}.4" / "verdict.json").stat().st_mtime_ns == kept
    assert {cell.id for cell in run.plan().cells} == {
        *(STOCK, *(f"{STOCK}.{number}" for number in (2, 3, 4))),
        *(CONTROL, *(f"{CONTROL}.{number}" for number in (2, 3, 4, 5))),
    }
    (behind,) = house.verdict().controls
    assert behind.caught == 5
    assert behind.escape is not None
    assert behind.escape < 1e-3
    assert house.verdict().reason.count("the same set-up caught") == 1
