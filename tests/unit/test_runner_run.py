# SPDX-License-Identifier: GPL-2.0-only
"""Lanes beside each other: what one of them fails at keeps no other from its end, and is told. No guest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.errors import HostError
from orchestrator.kernel.build import KernelBuilder
from orchestrator.kernel.source import Workplace
from orchestrator.paths import Project
from orchestrator.proc import Stop
from orchestrator.runner.cell import Workshop
from orchestrator.runner.lists import load_lists
from orchestrator.runner.run import Runner
from orchestrator.runner.schedule import Done
from tests.fakes.rundir import every_ending


@dataclass(frozen=True, slots=True)
class Failing:
    """A lane that fails before its first cell."""

    error: Exception

    def next(self, done: Done) -> None:
        raise self.error


def test_of_several_lanes_that_fail_none_fails_unheard(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = every_ending(tmp_path / "run")
    place, project = Workplace(tmp_path / "cache", {}, Stop()), Project()
    shop = Workshop(place, project, load_lists(project), lambda _event: None, lambda _cell, _seed: "again")
    lanes = [Failing(HostError("no space")), Failing(ZeroDivisionError("a defect")), Failing(HostError("no memory"))]
    with pytest.raises(HostError, match="no space"):
        Runner(KernelBuilder(place, project, 1), shop).run(run, run.plan(), 1, lanes)
    assert "a defect" in caplog.text
    assert "Traceback" in caplog.text, "whoever mends it needs the whole of it"
    assert "no memory" in caplog.text
    assert run.metadata().finished
