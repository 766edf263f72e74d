# SPDX-License-Identifier: GPL-2.0-only
"""`guprace triage`: what it prints, for people and for tools."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import records
from orchestrator.runner.rundir import CellRecord
from tests.fakes.rundir import FakeRun, every_ending, evidence, race_result
from tests.unit.cli_inside import Guprace

LOG = Path(__file__).parents[1] / "data" / "splat" / "x86_64-6.1-kcsan-pin_vs_munmap.log"
KNOWN = """\
- id: panics-on-purpose
  kind: PANIC
  title: "kernel panic: *"
  reason: somebody asked for it
  link: https://example.org/panic
  expires: 2999-12-31
"""


def test_a_console_gives_a_line_for_each_report_and_what_they_add_up_to(guprace: Guprace) -> None:
    said = guprace("triage", str(LOG))[1]
    assert "KCSAN: data-race in " in said
    assert said.splitlines()[-1].startswith("4 reports in 4 rows: ")


def test_json_from_standard_input_says_the_same(guprace: Guprace) -> None:
    code, said = guprace("triage", "--json", "-", stdin=LOG.read_bytes())
    data = json.loads(said)
    assert code == 0
    assert data["version"].startswith("6.1")
    report = next(r for r in data["reports"] if r["kind"] == "kcsan")
    assert len(report["kcsan"]["accesses"]) == 2
    assert report["standing"] in ("new", "known", "background")


def test_a_compressed_console_that_was_cut_is_judged_and_said_to_be_cut(guprace: Guprace, tmp_path: Path) -> None:
    packed = gzip.compress(LOG.read_bytes())
    whole = tmp_path / "oops.log.gz"
    whole.write_bytes(packed)
    assert guprace("triage", str(whole)) == guprace("triage", str(LOG))
    code, said = guprace("triage", "-", stdin=packed[:-400])
    assert code == 0
    assert "KCSAN: data-race in " in said
    assert said.splitlines()[-1] == "the gzip data end before their end: what came before was read"
    assert json.loads(guprace("triage", "--json", stdin=packed[:-400])[1])["cut"].startswith("the gzip data end")
    assert json.loads(guprace("triage", "--json", stdin=packed)[1])["cut"] == ""


def test_a_form_of_compression_that_is_not_read_is_the_users_to_undo(guprace: Guprace) -> None:
    code, said = guprace("triage", stdin=b"\x28\xb5\x2f\xfdxxxx")
    assert (code, "zstdcat FILE | guprace triage -" in said) == (2, True), said


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (
            b"make: *** [all] Error 2\nsegfault\n",
            "no kernel report in 2 lines, and none of them looks like a kernel's",
        ),
        (b"hello", "no kernel report in 1 line, and it does not look like a kernel's"),
        (b"", "no kernel report in 0 lines, and none of them looks like a kernel's"),
    ],
)
def test_what_no_kernel_wrote_is_said_to_be_that(guprace: Guprace, log: bytes, words: str) -> None:
    assert guprace("triage", stdin=log) == (0, words + "\n")
    assert json.loads(guprace("triage", "--json", stdin=log)[1])["kernel"] is False


@pytest.mark.parametrize(
    "line",
    [
        "[    1.234567] usb 1-1: new device",
        "<6>usb 1-1: new device",
        "buildroot login: [   12.345678] usb 1-1: new device",
        "[Thu Nov 26 09:15:00 2026] usb 1-1: new device",
        "[Nov26 09:15] usb 1-1: new device",
        "[  +0.000012] usb 1-1: new device",
        "kern  :info  : usb 1-1: new device",
        "Nov 26 09:15:00 host kernel: usb 1-1: new device",
        "6,339,5140900,-;usb 1-1: new device",
        "[T1] usb 1-1: new device",
        "Linux version 6.12.0 (x@y)",
    ],
)
def test_a_kernels_line_in_any_form_is_enough_to_say_no_more_than_that_there_is_no_report(
    guprace: Guprace, line: str
) -> None:
    assert guprace("triage", stdin=f"something\n{line}\n".encode()) == (0, "no kernel report\n")


def test_two_runs_are_compared_without_a_console_beside_them(guprace: Guprace, tmp_path: Path) -> None:
    run = str(every_ending(tmp_path).root)
    code, said = guprace("triage", str(LOG), "--diff", run, run)
    assert (code, "--diff compares two runs, and reads no console" in said) == (2, True), said


def test_known_issues_are_named_by_the_user_and_shown_as_such(guprace: Guprace, tmp_path: Path) -> None:
    known = tmp_path / "known.yaml"
    known.write_text(KNOWN)
    log = b"[    1.0] Kernel panic - not syncing: sysrq triggered crash\n[    1.1] CPU: 0 PID: 1 Comm: sh\n"
    said = guprace("triage", "--known", str(known), stdin=log)[1]
    assert said.startswith("known ")
    assert "1 known" in said
    assert guprace("triage", "-", stdin=log)[1].startswith("new ")


def test_a_wrong_list_of_known_issues_is_told_with_its_place(guprace: Guprace, tmp_path: Path) -> None:
    known = tmp_path / "known.yaml"
    known.write_text(KNOWN.replace("kind: PANIC", "kind: PANICK"))
    code, said = guprace("triage", "--known", str(known), "-")
    assert code == 2
    assert "known.yaml:2:" in said


def test_a_run_compared_with_itself_has_nothing_new(guprace: Guprace, tmp_path: Path) -> None:
    run = every_ending(tmp_path).root
    code, said = guprace("triage", "--diff", str(run), str(run), "--json")
    data = json.loads(said)
    assert code == 0
    assert {each["change"] for each in data["reports"]} <= {"same", "not raced"}


def test_a_module_without_its_kernel_is_refused(guprace: Guprace) -> None:
    code, said = guprace("triage", "--module", str(LOG), str(LOG))
    assert code == 2
    assert "--vmlinux" in said


def test_a_cells_directory_says_what_kcsan_counted(guprace: Guprace, tmp_path: Path) -> None:
    cell = FakeRun(tmp_path).add(
        None, flavour="kcsan", race=race_result(), splats=(), files={"console.log": LOG.read_bytes()}
    )
    where = tmp_path / cell.id
    counted = {"data_races": 77, "setup_watchpoints": 1000}
    records.save(where / "evidence.json", replace(evidence(race_result()), kcsan=counted))
    assert "KCSAN counted 77 races and printed 0" in guprace("triage", str(where))[1]
    races = json.loads(guprace("triage", "--json", str(where))[1])["races"]
    assert (races["counted"], races["possible"]) == ({"known": 77, "unknown": 0}, True)
    assert guprace("triage", str(tmp_path))[0] == 2


def test_a_cell_that_does_not_know_its_kernels_version_goes_by_that_of_the_console(
    guprace: Guprace, tmp_path: Path
) -> None:
    known = tmp_path / "known.yaml"
    bound = '  kernels: {since: "6.1", before: "6.2"}\n  flavours: [debug]\n'
    known.write_text(KNOWN.replace("PANIC", "OOPS").replace("kernel panic: ", "") + bound)
    oops = (LOG.parent / "real" / "6.1-x86_64-debian-null-deref.log").read_bytes()
    cell = FakeRun(tmp_path).add(None, flavour="debug", files={"console.log": oops})
    where = tmp_path / cell.id
    record = records.load(where / "cell.json", CellRecord)
    records.save(where / "cell.json", replace(record, kernel_version=""))
    reports = json.loads(guprace("triage", "--json", "--known", str(known), str(where))[1])["reports"]
    assert [each["standing"] for each in reports if each["family"] == "OOPS"] == ["known"]
