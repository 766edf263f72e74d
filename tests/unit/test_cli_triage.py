# SPDX-License-Identifier: GPL-2.0-only
"""`guprace triage`: what it prints, for people and for tools."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from orchestrator import records
from tests.fakes.rundir import FakeRun, every_ending, evidence, race_result

LOG = Path(__file__).parents[1] / "data" / "splat" / "x86_64-6.1-kcsan-pin_vs_munmap.log"
KNOWN = """\
- id: panics-on-purpose
  kind: PANIC
  title: "kernel panic: *"
  reason: somebody asked for it
  link: https://example.org/panic
  expires: 2999-12-31
"""


def triage(*arguments: str, log: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-m", "orchestrator", "triage", *arguments]
    return subprocess.run(argv, input=log, capture_output=True, check=False)


def test_a_console_gives_a_line_for_each_report_and_what_they_add_up_to() -> None:
    said = triage(str(LOG)).stdout.decode()
    assert "KCSAN: data-race in " in said
    assert said.splitlines()[-1].startswith("4 reports in 4 rows: ")


def test_json_from_standard_input_says_the_same() -> None:
    done = triage("--json", "-", log=LOG.read_bytes())
    data = json.loads(done.stdout)
    assert done.returncode == 0
    assert data["version"].startswith("6.1")
    report = next(r for r in data["reports"] if r["kind"] == "kcsan")
    assert len(report["kcsan"]["accesses"]) == 2
    assert report["standing"] in ("new", "known", "background")


def test_known_issues_are_named_by_the_user_and_shown_as_such(tmp_path: Path) -> None:
    known = tmp_path / "known.yaml"
    known.write_text(KNOWN)
    log = b"[    1.0] Kernel panic - not syncing: sysrq triggered crash\n[    1.1] CPU: 0 PID: 1 Comm: sh\n"
    said = triage("--known", str(known), "-", log=log).stdout.decode()
    assert said.startswith("known ")
    assert "1 known" in said
    assert triage("-", log=log).stdout.decode().startswith("new ")


def test_a_wrong_list_of_known_issues_is_told_with_its_place(tmp_path: Path) -> None:
    known = tmp_path / "known.yaml"
    known.write_text(KNOWN.replace("kind: PANIC", "kind: PANICK"))
    done = triage("--known", str(known), "-")
    assert done.returncode == 2
    assert b"known.yaml:2:" in done.stderr


def test_a_run_compared_with_itself_has_nothing_new(tmp_path: Path) -> None:
    run = every_ending(tmp_path).root
    done = triage("--diff", str(run), str(run), "--json")
    data = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert {each["change"] for each in data["reports"]} <= {"same", "not raced"}


def test_a_module_without_its_kernel_is_refused() -> None:
    done = triage("--module", str(LOG), str(LOG))
    assert done.returncode == 2
    assert b"--vmlinux" in done.stderr


def test_a_cells_directory_says_what_kcsan_counted(tmp_path: Path) -> None:
    cell = FakeRun(tmp_path).add(
        None, flavour="kcsan", race=race_result(), splats=(), files={"console.log": LOG.read_bytes()}
    )
    where = tmp_path / cell.id
    counted = {"data_races": 77, "setup_watchpoints": 1000}
    records.save(where / "evidence.json", replace(evidence(race_result()), kcsan=counted))
    assert b"KCSAN counted 77 races and printed 0" in triage(str(where)).stdout
    races = json.loads(triage("--json", str(where)).stdout)["races"]
    assert (races["counted"], races["possible"]) == ({"known": 77, "unknown": 0}, True)
    assert triage(str(tmp_path)).returncode == 2
