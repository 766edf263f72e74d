# SPDX-License-Identifier: GPL-2.0-only
"""What measurements in guests have in common: the scenarios of a lane, and a guest for each on one kernel."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from orchestrator.guest.accel import host_slowness
from orchestrator.guest.boot import boot
from orchestrator.guest.guest import Guest
from orchestrator.guest.model import AccelChoice, GuestSpec
from orchestrator.image.build import build_image
from orchestrator.image.model import Image
from orchestrator.kernel.build import KernelBuilder
from orchestrator.kernel.model import Kernel
from orchestrator.kernel.source import Workplace
from orchestrator.matrix.load import load_plan
from orchestrator.matrix.plan import Accel, Cell, Fragment
from orchestrator.paths import Project, cache_root
from orchestrator.proc import Stop
from orchestrator.race.selftests import build_selftests
from orchestrator.race.session import carried, probe_steps
from orchestrator.race.steps import perform
from orchestrator.runner.machine import cmdline, memory

ROOT = Path(__file__).resolve().parents[2]


def arguments(about: str | None, kernel: str, seconds: float) -> argparse.ArgumentParser:
    """Return the parser of what such a measurement is told: the lane, kernel, scenarios and seconds."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0] if about else "")
    parser.add_argument("lane", help="architecture/flavour, such as arm64/plain")
    parser.add_argument("--matrix", type=Path, default=ROOT / "configs" / "suite.yaml")
    parser.add_argument("--kernel", default=kernel)
    parser.add_argument("--scenario", default="*")
    parser.add_argument("--seconds", type=float, default=seconds)
    return parser


@dataclass(frozen=True, slots=True)
class Lane:
    """The cells that were asked for, their kernel, their programs and what else a guest takes."""

    cells: tuple[Cell, ...]
    kernel: Kernel
    binaries: Path
    image: Image
    cache: Path
    project: Project
    stop: Stop

    @contextmanager
    def guest(self, cell: Cell) -> Iterator[Guest]:
        """Give a guest of its own to a scenario: what another leaves behind, a thread that spins, is not its load."""
        with tempfile.TemporaryDirectory() as directory:
            spec = GuestSpec(
                cell.kernel.arch,
                self.kernel.image,
                self.image.initramfs,
                Path(directory),
                AccelChoice(Accel.TCG, "measured", host_slowness()),
                2,
                memory(cell, self.project),
                cmdline(cell, self.project),
                files=carried(self.binaries / cell.scenario, self.kernel.probe),
            )
            with boot(spec, stop=self.stop) as guest:
                perform(guest, probe_steps(self.kernel.probe))
                yield guest


def lane(parser: argparse.ArgumentParser, asked: argparse.Namespace, *more: Fragment) -> Lane:
    """Return the lane that was asked for, its kernel built with `more` fragments; the parser ends it if none is."""
    project, stop = Project(), Stop()
    place = Workplace(cache_root(os.environ), os.environ, stop)
    cells = tuple(
        cell
        for cell in load_plan(asked.matrix, project).cells
        if cell.id.startswith(f"{asked.kernel}/{asked.lane}/") and fnmatchcase(cell.scenario, asked.scenario)
    )
    if not cells:
        parser.error(f"no cell of {asked.matrix} is {asked.kernel}/{asked.lane}/{asked.scenario}")
    spec = replace(cells[0].kernel, fragments=(*cells[0].kernel.fragments, *more))
    kernel = KernelBuilder(place, project, os.cpu_count() or 1).build(spec)
    binaries = build_selftests(spec.arch, project, place).directory
    image = build_image(spec.arch, cache=place.cache, project=project, stop=stop, environ=os.environ)
    return Lane(cells, kernel, binaries, image, place.cache, project, stop)
