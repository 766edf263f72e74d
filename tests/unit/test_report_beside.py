# SPDX-License-Identifier: GPL-2.0-only
"""What lies beside a cell's console is used, and what is damaged or elsewhere is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import records
from orchestrator.errors import UsageError
from orchestrator.kernel.kept import kept_vmlinux, probe_digest
from orchestrator.matrix.plan import Arch
from orchestrator.paths import Project
from orchestrator.report.beside import Beside, beside, console_of
from orchestrator.runner.rundir import CellRecord, RunDir
from orchestrator.splat.model import Standing
from orchestrator.splat.standing import Subject
from orchestrator.verdict.model import Outcome, Verdict
from tests.fakes.rundir import FakeRun, evidence, race_result, splat


def cell(tmp_path: Path, counters: dict[str, int] | None = None) -> Path:
    run = FakeRun(tmp_path / "run")
    made = run.add(
        Verdict(Outcome.PASS, "0 hits"),
        arch=Arch.X86_64,
        flavour="kcsan",
        splats=(splat(Standing.BACKGROUND),),
        files={"console.log": b"quiet\n"},
    )
    where = RunDir(tmp_path / "run").cell_dir(made)
    if counters is not None:
        records.save(where / "evidence.json", replace(evidence(race_result()), kcsan=counters))
    return where


def entry(cache: Path, digest: str, config: str) -> Path:
    """A kernel in the cache, of the files that count here."""
    records.write_atomically(cache / "kernels" / digest / "config", config.encode())
    records.write_atomically(cache / "kernels" / digest / "vmlinux", b"\x7fELF")
    return cache / "kernels" / digest / "vmlinux"


def test_a_cells_directory_means_its_console(tmp_path: Path) -> None:
    where = cell(tmp_path)
    assert console_of(where) == console_of(where / "console.log") == where / "console.log"
    with pytest.raises(UsageError):
        console_of(tmp_path)


def test_the_record_tells_the_kernel_and_the_counters_the_races(tmp_path: Path) -> None:
    where = cell(tmp_path, {"data_races": 9, "setup_watchpoints": 1000})
    found = beside(where / "console.log", tmp_path / "cache", Project())
    record = records.load(where / "cell.json", CellRecord)
    assert found.subject == Subject(record.kernel_version, "x86_64", "kcsan", record.cell.scenario)
    assert found.races
    assert found.races.counted == (9, 0)
    assert found.vmlinux is None


def test_the_vmlinux_of_a_kernel_with_debug_information_is_found(tmp_path: Path) -> None:
    where, cache = cell(tmp_path), tmp_path / "cache"
    digest = records.load(where / "cell.json", CellRecord).kernel_digest
    kept = entry(cache, digest, "CONFIG_DEBUG_KERNEL=y\nCONFIG_DEBUG_INFO=y\n")
    probe = cache / "probes" / probe_digest(digest, Project().selftests / "probe") / "guprace_probe.ko"
    records.write_atomically(probe, b"\x7fELF")
    found = beside(where / "console.log", cache, Project())
    assert (found.vmlinux, found.modules) == (kept, {"guprace_probe": probe})
    entry(cache, digest, "# CONFIG_DEBUG_INFO is not set\n")
    assert kept_vmlinux(cache, digest) is None


def test_a_console_elsewhere_and_a_damaged_record_say_nothing(tmp_path: Path) -> None:
    elsewhere = tmp_path / "console.log"
    elsewhere.write_bytes(b"quiet\n")
    assert beside(elsewhere, tmp_path, Project()) == Beside()
    where = cell(tmp_path)
    (where / "cell.json").write_text("{")
    assert beside(where / "console.log", tmp_path, Project()) == Beside()
