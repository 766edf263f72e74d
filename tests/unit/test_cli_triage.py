# SPDX-License-Identifier: GPL-2.0-only
"""`guprace triage`: what it prints, for people and for tools."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

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
