# SPDX-License-Identifier: GPL-2.0-only
"""Scenario programs: named by the sources that they were built of."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from orchestrator.errors import HostError
from orchestrator.kernel.source import Workplace
from orchestrator.matrix.plan import Arch
from orchestrator.paths import Project
from orchestrator.proc import Stop
from orchestrator.race.selftests import Selftests, build_selftests

pytestmark = pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="no arm64 cross compiler")

# The user edits the scenario while make runs.
MAKEFILE = """\
all:
\t@mkdir -p $(OUT) && echo edited >{scenario}
\t@cp scenarios/*.c $(OUT)/a_vs_b && touch $(OUT)/sync_test
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    scenario = tmp_path / "kselftests/scenarios/a_vs_b.c"
    scenario.parent.mkdir(parents=True)
    scenario.write_text("as it was\n")
    (tmp_path / "kselftests/Makefile").write_text(MAKEFILE.format(scenario=scenario))
    (tmp_path / "kselftests/build").mkdir()
    (tmp_path / "kselftests/build/by_hand").write_text("")
    return scenario


def build(root: Path) -> Selftests:
    return build_selftests(Arch.ARM64, Project(root), Workplace(root / "cache", os.environ, Stop()))


def test_a_scenario_that_is_edited_while_make_runs_is_another_program(scenario: Path, tmp_path: Path) -> None:
    first = build(tmp_path)
    edited = build(tmp_path)
    assert edited.digest != first.digest
    assert (edited.directory / "a_vs_b").read_text() == "edited\n"
    scenario.write_text("as it was\n")
    again = build(tmp_path)
    assert again == first
    assert (again.directory / "a_vs_b").read_text() == "as it was\n"


def test_what_was_built_by_hand_is_no_part_of_the_name(scenario: Path, tmp_path: Path) -> None:
    build(tmp_path)
    first = build(tmp_path)
    (tmp_path / "kselftests/build/by_hand").write_text("other\n")
    assert build(tmp_path).digest == first.digest


def test_a_make_that_leaves_a_program_out_is_an_error(scenario: Path, tmp_path: Path) -> None:
    (tmp_path / "kselftests/Makefile").write_text("all:\n")
    with pytest.raises(HostError, match="left no a_vs_b, sync_test"):
        build(tmp_path)
