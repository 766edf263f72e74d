# SPDX-License-Identifier: GPL-2.0-only
"""`guprace power`, and a run's controls, on a fake kernel tree and a fake QEMU."""

from __future__ import annotations

import difflib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from defusedxml import ElementTree

from orchestrator.verdict.model import Outcome
from tests.unit.cli_house import CONTROL, STOCK, House, furnished

pytestmark = pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="no arm64 cross compiler")
LANE = ("--kernel", "6.1", "--arch", "arm64")


@pytest.fixture
def house(tmp_path: Path, fake_qemu: Path) -> Iterator[House]:
    with furnished(tmp_path, fake_qemu) as house:
        yield house


def power(house: House, *arguments: str, fake: str = "") -> tuple[int, str]:
    return house.guprace("power", str(house.matrix), *LANE, *arguments, fake=fake)


def test_a_mutant_is_caught_from_every_seed_and_all_reports_say_so(house: House) -> None:
    code, said = power(house, "--mutant", "M01", "--seeds", "2")
    assert code == 0, said
    assert "CAUGHT   6.1+M01/arm64/plain  2 of 2 by pin_vs_munmap" in said
    assert "P4: 1 of 1 caught, 1 in every attempt" in said
    assert set(house.results()) == {STOCK, CONTROL, f"{CONTROL}.2"}
    record = json.loads((house.run.root / "power.json").read_text())
    (row,) = record["rows"]
    assert (row["status"], row["scenario"], row["caught"], row["runs"]) == ("caught", "pin_vs_munmap", 2, 2)
    assert row["vehicles"] == ["vmsplice"]
    assert row["oracles"] == ["foreign_stamp"]
    # Half a second of the first subtest, then 90 ms of the second.
    assert row["times"] == [0.59, 0.59]
    (case,) = ElementTree.parse(house.run.root / "junit.xml").getroot().iter("testcase")
    assert (case.get("classname"), case.get("name")) == ("power.6_1.arm64.plain", "M01")
    assert [child.tag for child in case] == ["system-out"]
    page = (house.run.root / "index.html").read_text()
    assert "0.59 s · 2/2" in page
    assert house.guprace("report", str(house.run.root))[0] == 0


def test_a_patch_that_nobody_has_a_record_of_can_be_asked_about(house: House) -> None:
    patch = house.root / "my idea.patch"
    shutil.copy(Path(__file__).parents[2] / "configs" / "mutants" / "M01-6.1.patch", patch)
    code, said = power(house, "--patch", str(patch), "--seeds", "1")
    assert code == 0, said
    assert "CAUGHT   6.1+my-idea/arm64/plain  1 of 1 by pin_vs_munmap" in said
    repeat = house.results()["6.1+my-idea/arm64/plain/pin_vs_munmap"].record.repeat
    assert f"--patch '{patch}'" in repeat


def test_a_patch_that_is_not_seen_is_silent_and_no_failure(house: House) -> None:
    before = (house.tree / "mm" / "gup.c").read_text().splitlines(keepends=True)
    diff = difflib.unified_diff(before, ["/* harmless */\n", *before], "a/mm/gup.c", "b/mm/gup.c")
    patch = house.root / "harmless.patch"
    patch.write_text("".join(diff))
    code, said = power(house, "--patch", str(patch), "--rounds", "2")
    assert "silent   6.1+harmless/arm64/plain" in said
    assert code == 0, "nobody knows whether it should have been seen"
    assert "6.1+harmless/arm64/plain/pin_vs_munmap.2" in house.results()
    (case,) = ElementTree.parse(house.run.root / "junit.xml").getroot().iter("testcase")
    told = "".join(case.itertext()).splitlines()
    assert [line for line in told if line.startswith("evidence: ")] == [
        "evidence: 6.1+harmless/arm64/plain/pin_vs_munmap/",
        "evidence: 6.1+harmless/arm64/plain/pin_vs_munmap.2/",
    ]
    assert sum(line.startswith("repeat: guprace power ") and f"--patch {patch}" in line for line in told) == 2


def test_an_interrupted_campaign_goes_on_where_it_was(house: House) -> None:
    power(house, "--mutant", "M01", "--seeds", "2")
    run = house.run
    first = (run.root / CONTROL / "verdict.json").stat().st_mtime_ns
    (run.root / f"{CONTROL}.2" / "verdict.json").unlink()
    (run.root / f"{CONTROL}.2" / "build.log").write_text("of the interrupted race")
    code, said = house.guprace("power", "--resume", str(run.root))
    assert code == 0, said
    assert "2 of 2 by pin_vs_munmap" in said
    assert (run.root / CONTROL / "verdict.json").stat().st_mtime_ns == first
    assert not (run.root / f"{CONTROL}.2" / "build.log").exists(), "nothing of it may count for the next"
    assert house.run.root == run.root


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--mutant", "M99"), "no mutant matches 'M99'"),
        (("--scenario", "pin_vs_nothing"), "no scenario 'pin_vs_nothing'"),
        (("--mutant", "M04"), "no broken kernel to race on these lanes"),
    ],
)
def test_a_wrong_name_is_said_and_nothing_is_done(house: House, arguments: tuple[str, ...], words: str) -> None:
    code, said = power(house, *arguments)
    assert code == 2
    assert words in said
    assert not house.runs.exists()


def test_a_run_gets_its_controls_and_a_pass_names_them(house: House) -> None:
    house.matrix.write_text(
        house.matrix.read_text().split("controls:")[0] + "guest: {accel: tcg}\nrace: {seconds: 1}\n"
    )
    code, said = house.race("--only", STOCK, "--controls")
    assert code == 0, said
    verdict = house.verdict()
    assert f"{STOCK}: the same set-up caught M01 (P4) after 0.59 s" in said
    assert "the same set-up caught M01 (P4) after 0.59 s" in verdict.reason
    assert [control.mutant for control in verdict.controls] == ["M01"]
    assert house.verdict(CONTROL).outcome is Outcome.CAUGHT


def test_racing_until_confident_ends_with_the_probability_asked_for(house: House) -> None:
    code, said = house.race("--only", "arm64/plain/*", "--until-confidence", "1e-3")
    assert code == 0, said
    verdict = house.verdict()
    (control,) = verdict.controls
    assert control.caught == 5
    assert control.escape is not None
    assert control.escape < 1e-3
    assert f"{STOCK}.2" in house.results()
    assert house.results()[f"{STOCK}.2"].record.cell.race.seconds > 1
