# SPDX-License-Identifier: GPL-2.0-only
"""What a scenario's guest must have at least: a file beside it says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import HostError
from orchestrator.matrix.plan import GuestSettings
from orchestrator.paths import Project
from orchestrator.runner.machine import memory
from tests.fakes.rundir import FakeRun


def project_with(root: Path, said: str | None) -> Project:
    scenarios = root / "kselftests" / "scenarios"
    scenarios.mkdir(parents=True)
    if said is not None:
        (scenarios / "pin_vs_munmap.memory").write_text(said)
    return Project(root)


@pytest.mark.parametrize(
    ("said", "asked", "gets"), [("6144\n", 1024, 6144), ("6144\n", 8192, 8192), (None, 1024, 1024)]
)
def test_a_scenario_has_the_memory_that_it_needs(tmp_path: Path, said: str | None, asked: int, gets: int) -> None:
    project, cell = project_with(tmp_path, said), FakeRun(tmp_path / "run").add(None)
    assert memory(replace(cell, guest=GuestSettings(memory=asked)), project) == gets


def test_memory_that_is_no_number_is_said_with_its_file(tmp_path: Path) -> None:
    project, cell = project_with(tmp_path, "6 GiB"), FakeRun(tmp_path / "run").add(None)
    with pytest.raises(HostError, match=r"pin_vs_munmap\.memory: '6 GiB' is no number of MiB"):
        memory(cell, project)
