# SPDX-License-Identifier: GPL-2.0-only
"""How many guests at once: as many as have cores of their own, and as fit into the memory that the largest takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.matrix.plan import Cell, GuestSettings
from orchestrator.runner.lanes import guests_at_once, vcpus_of
from tests.fakes.rundir import FakeRun


@pytest.mark.parametrize(
    ("asked", "cpus", "free_mib", "largest", "guests"),
    [
        (None, 8, 64_000, 1024, 4),
        (None, 8, 64_000, 30_000, 2),
        (6, 8, 64_000, 1024, 6),
        (6, 8, 20_000, 6144, 3),
        (1, 8, 1000, 6144, 1),
        (None, 1, 64_000, 1024, 1),
    ],
)
def test_guests_at_once(
    tmp_path: Path, asked: int | None, cpus: int, free_mib: int, largest: int, guests: int
) -> None:
    run = FakeRun(tmp_path)
    small, large = run.add(None), run.add(None, scenario="pin_vs_hugepud")

    def memory(cell: Cell) -> int:
        return largest if cell == large else 1024

    assert guests_at_once((small, large), asked, cpus, free_mib, memory) == guests


@pytest.mark.parametrize(
    ("scenario", "said", "vcpus"),
    [
        ("pin_vs_fork", None, 2),
        ("pin_vs_fork", 4, 4),
        ("kselftest:migration", None, 3),
        ("kselftest:migration", 4, 4),
    ],
)
def test_a_guest_has_the_processors_that_its_program_needs(
    tmp_path: Path, scenario: str, said: int | None, vcpus: int
) -> None:
    cell = FakeRun(tmp_path).add(None, scenario=scenario)
    assert vcpus_of(replace(cell, guest=GuestSettings(vcpus=said))) == vcpus
