# SPDX-License-Identifier: GPL-2.0-only
"""`guprace run` from matrix to JUnit, on a fake kernel tree and a fake QEMU: every ending a guest can have."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from defusedxml import ElementTree

from orchestrator import records
from orchestrator.guest.model import LostReason
from orchestrator.kernel.lock import locked
from orchestrator.proc import Stop
from orchestrator.runner.power import Campaign
from orchestrator.verdict.model import Outcome
from tests.unit.cli_house import CONTROL, KCSAN, STOCK, House, furnished

pytestmark = pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="no arm64 cross compiler")


@pytest.fixture
def house(tmp_path: Path, fake_qemu: Path) -> Iterator[House]:
    with furnished(tmp_path, fake_qemu) as house:
        yield house


def junit(house: House) -> dict[str, str]:
    """Return the kind of each JUnit case: passed, failure, error, skipped."""
    root = ElementTree.parse(house.run.root / "junit.xml").getroot()
    kinds = {}
    for case in root.iter("testcase"):
        found = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        kinds[str(case.get("classname"))] = found[0] if found else "passed"
    return kinds


def test_a_matrix_ends_with_every_verdict_as_expected(house: House) -> None:
    code, said = house.race()
    assert {name: r.verdict and r.verdict.outcome for name, r in house.results().items()} == {
        KCSAN: Outcome.PASS,
        STOCK: Outcome.PASS,
        CONTROL: Outcome.CAUGHT,
    }, said
    assert code == 0
    assert set(junit(house).values()) == {"passed"}
    assert house.leftovers() == []
    for name in ("metadata.json", "events.ndjson", "report.ktap", "index.html", "guprace.log"):
        assert (house.run.root / name).stat().st_size > 0
    assert house.run.metadata().finished


def test_a_pass_names_trials_bound_seed_and_kernel(house: House) -> None:
    house.race("--only", STOCK, "--seed", "0x1234")
    result = house.results()[STOCK]
    assert result.record.seed == 0x1234
    assert result.record.kernel_digest
    assert result.verdict is not None
    assert result.verdict.trials == 8000
    assert result.verdict.bound == pytest.approx(3 / 4000)  # of the weakest of two subtests
    suite = ElementTree.parse(house.run.root / "junit.xml").getroot()[0]
    properties = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert properties["kernel.digest"] == result.record.kernel_digest
    assert properties["accelerator"] == "tcg"
    assert int(str(properties["pin_vs_munmap.seed"]), 0) == 0x1234
    assert properties["pin_vs_munmap.trials"] == "8000"
    assert properties["pin_vs_munmap.bound"] == "7.500e-04"


def test_the_command_that_repeats_a_cell_runs_it_with_the_same_seed(house: House) -> None:
    _, said = house.race("--only", STOCK, fake="hit")
    again = next(line.split("again:")[1].split() for line in said.splitlines() if "again:" in line)
    seed = house.results()[STOCK].record.seed
    assert again[0] == "guprace"
    assert house.guprace(*again[1:], fake="hit")[0] == 1
    assert len(list(house.runs.iterdir())) == 2
    assert house.results()[STOCK].record.seed == seed


ENDINGS = [
    ("hit", Outcome.FAIL, None, 1),
    ("vacuous", Outcome.VACUOUS, None, 1),
    ("panic-mid-race", Outcome.LOST, LostReason.PANIC, 1),
    ("panic-at-boot", Outcome.LOST, LostReason.PANIC, 1),
    ("die", Outcome.LOST, LostReason.QEMU_DIED, 3),
    ("reboot", Outcome.LOST, LostReason.REBOOT, 1),
    ("bail-out", Outcome.BROKEN, None, 3),
    ("truncated", Outcome.BROKEN, None, 3),
    ("bad-sync", Outcome.BROKEN, None, 3),
    ("insmod-fails", Outcome.BROKEN, None, 3),
    ("cut-answer", Outcome.BROKEN, None, 3),
    ("config-lost", Outcome.BROKEN, None, 3),
    ("garbage", Outcome.PASS, None, 0),
    ("taint", Outcome.BROKEN, None, 1),
]


@pytest.mark.parametrize(("fake", "outcome", "lost", "code"), ENDINGS, ids=[row[0] for row in ENDINGS])
def test_every_ending_has_its_verdict(
    house: House, fake: str, outcome: Outcome, lost: LostReason | None, code: int
) -> None:
    got, said = house.race("--only", STOCK, fake=fake)
    verdict = house.verdict()
    assert (verdict.outcome, verdict.lost) == (outcome, lost), said
    assert got == code
    assert house.leftovers() == []
    if lost:
        assert verdict.last_lines or lost is LostReason.QEMU_DIED
    if not outcome.as_expected:
        assert verdict.reason.splitlines()[0][:40] in said
        assert "again:" in said


def test_an_answer_that_is_cut_short_says_what_is_missing(house: House) -> None:
    house.race("--only", STOCK, fake="cut-answer")
    assert "the guest's answer ends before that of `mark` is whole" in house.verdict().reason


def test_a_cell_takes_four_commands_over_ssh_and_no_file(house: House) -> None:
    house.race("--only", STOCK, fake="log-ssh")
    said = (house.results()[STOCK].directory / "qemu.stderr").read_text().splitlines()
    assert [line.partition(" --seconds")[0] for line in said] == [
        "/guprace/sync_test",
        "exec 2>&1 # insmod uname config refresh tainted vmstat kcsan mark rearm",
        "/guprace/pin_vs_munmap",
        "exec 2>&1 # mark refresh tainted vmstat kcsan dmesg",
    ]


def test_a_kcsan_kernel_whose_kcsan_is_off_is_broken(house: House) -> None:
    code, _ = house.race("--only", KCSAN, fake="kcsan-off")
    assert house.verdict(KCSAN).outcome is Outcome.BROKEN
    assert "KCSAN" in house.verdict(KCSAN).reason
    assert code == 3


def test_a_flood_of_200_mb_is_kept_and_ends_in_a_verdict(house: House) -> None:
    code, _ = house.race("--only", STOCK, fake="flood")
    assert house.verdict().outcome is Outcome.PASS
    assert code == 0
    assert (house.results()[STOCK].directory / "console.log").stat().st_size > 200_000_000
    assert (house.run.root / "junit.xml").stat().st_size < 1_000_000


def test_a_kernel_that_does_not_build_is_broken_and_the_others_go_on(house: House) -> None:
    matrix = house.matrix.read_text()
    bad = house.root / "bad"
    shutil.copytree(house.tree, bad)
    (bad / "mm/mmap.c").write_text("#error on purpose\n")
    house.matrix.write_text(
        matrix.replace("lanes:", f"  bad: {{tree: {bad}}}\nlanes:\n  - {{kernel: bad, arch: arm64, flavour: plain}}")
    )
    code, said = house.race()
    assert code == 4
    broken = house.results()["bad/arm64/plain/pin_vs_munmap"]
    assert broken.verdict is not None
    assert broken.verdict.outcome is Outcome.BROKEN
    assert "#error on purpose" in broken.verdict.reason
    assert (broken.directory / "build.log").is_file()
    assert house.verdict().outcome is Outcome.PASS
    assert junit(house)["bad.arm64.plain"] == "error"
    assert "#error on purpose" in said


STAGES = ["build", "boot", "deploy", "race", "collect"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupt_keeps_what_is_finished_and_leaves_nothing_behind(
    house: House, stage: str, number: signal.Signals
) -> None:
    if stage == "build":
        (house.tree / "Makefile").write_text("%:\n\t@sleep 98\n")
    process = house.start("run", str(house.matrix), "--only", "*plain*")
    wait_for_event(house, process, stage)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert house.leftovers() == []
    assert "error" in junit(house).values()
    assert house.run.metadata().interrupted == number.name
    assert house.results()[CONTROL].verdict is None


def wait_for_event(house: House, process: subprocess.Popen[str], stage: str) -> None:
    while process.poll() is None:
        for path in house.runs.glob("*/events.ndjson"):
            events = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
            if any(event["stage"] == stage and event["state"] == "started" for event in events):
                return
        time.sleep(0.02)
    raise AssertionError(f"ended before {stage}: {process.communicate()[0]}")


def test_finished_cells_keep_their_verdicts_when_the_next_is_interrupted(house: House) -> None:
    process = house.start("run", str(house.matrix), "--only", "*plain*", fake="long-if-broken")
    while process.poll() is None and not list(house.runs.glob(f"*/{STOCK}/verdict.json")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert house.verdict(STOCK).outcome is Outcome.PASS
    assert house.results()[CONTROL].verdict is None
    assert junit(house) == {"6_1.arm64.plain": "passed", "6_1+M01.arm64.plain": "error"}


def test_a_run_that_must_wait_for_another_guprace_says_for_what_and_for_whom(house: House) -> None:
    house.race("--only", STOCK)
    (lane,) = (house.cache / "lanes").iterdir()
    (house.tree / "mm/mmap.c").write_text("/* edited, so that it is built again */\n")
    with locked(lane / "lock", "the lane", Stop()):
        process = house.start("run", str(house.matrix), "--only", STOCK)
        while process.poll() is None and not any(
            '"note"' in p.read_text() for p in house.runs.glob("*/events.ndjson")
        ):
            time.sleep(0.02)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    waits = f"waits for lane {lane.name}, which another guprace (pid {os.getpid()}) holds"
    assert f"[{STOCK}] lock note {waits}" in said
    notes = [json.loads(line) for line in house.run.events_file.read_text().splitlines() if '"note"' in line]
    assert [(note["cell"], note["text"]) for note in notes] == [(STOCK, waits)]


def test_two_cannot_be_at_work_in_one_run(house: House) -> None:
    house.race("--only", STOCK)
    (house.run.root / STOCK / "verdict.json").unlink()
    records.save(house.run.campaign_file, Campaign((), 1, 1))
    with locked(house.run.lock_file, "the run", Stop()):
        code, said = house.guprace("power", "--resume", str(house.run.root))
    assert code == 3
    assert f"another guprace (pid {os.getpid()}) holds run {house.run.root.name}" in said
    assert (house.run.root / STOCK / "console.log").is_file(), "nothing of the other's is cleared away"


def test_a_killed_guprace_takes_its_qemu_along(house: House) -> None:
    process = house.start("run", str(house.matrix), "--only", STOCK, fake="silent-mid-race")
    wait_for_event(house, process, "race")
    process.kill()
    process.wait()
    for _ in range(500):
        if not [line for line in house.leftovers() if "qemu-system" in line]:
            break
        time.sleep(0.02)
    assert not [line for line in house.leftovers() if "qemu-system" in line]


def test_a_qemu_that_is_killed_mid_race_is_lost(house: House) -> None:
    process = house.start("run", str(house.matrix), "--only", STOCK, fake="silent-mid-race")
    wait_for_event(house, process, "race")
    subprocess.run(["pkill", "-9", "-f", f"qemu-system-aarch64.*{house.root}"], check=True)
    process.communicate(timeout=60)
    assert house.verdict().lost is LostReason.QEMU_DIED
    assert process.returncode == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_full_disk_is_a_clear_error(house: House) -> None:
    house.runs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(house.runs)], check=True)
    try:
        code, said = house.race("--only", STOCK, fake="garbage")
        assert code == 3
        assert "No space left on device" in said
        assert "Traceback" not in said
    finally:
        subprocess.run(["umount", str(house.runs)], check=True)


def test_report_writes_the_same_from_the_directory_alone(house: House) -> None:
    house.race("--only", STOCK, fake="hit")
    before = (house.run.root / "junit.xml").read_bytes()
    (house.run.root / "junit.xml").unlink()
    code, said = house.guprace("report", str(house.run.root))
    assert code == 1
    assert (house.run.root / "junit.xml").read_bytes() == before
    assert "FAIL" in said


def test_a_dry_run_touches_nothing(house: House) -> None:
    code, said = house.race("--dry-run")
    assert code == 0
    assert STOCK in said
    assert not house.runs.exists()


def test_a_selftest_that_the_kernels_tree_lacks_is_skipped_without_a_guest(house: House) -> None:
    house.matrix.write_text(house.matrix.read_text().replace("[pin_vs_munmap]", '["kselftest:cow"]'))
    code, said = house.race("--only", "6.1/arm64/*")
    result = house.results()["6.1/arm64/plain/kselftest:cow"]
    assert result.verdict, said
    assert (result.verdict.outcome, result.verdict.reason) == (Outcome.SKIP, "this kernel's tree has no cow")
    assert not (result.directory / "console.log").exists()
    assert (code, set(junit(house).values())) == (0, {"skipped"})
