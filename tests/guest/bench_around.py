# SPDX-License-Identifier: GPL-2.0-only
"""Measure: what a cell takes around its race, step by step, in real guests of one lane.

    .venv/bin/python -m tests.guest.bench_around x86_64/kcsan [--matrix M] [--kernel 6.1] [--rounds 3]

Each round boots a guest and does what a cell does, without the race. Beside that, for comparison: an exec of `true`,
with and without TCP_NODELAY on our end. A row is the median and the worst of all rounds, in seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from orchestrator.guest.accel import host_slowness
from orchestrator.guest.boot import boot
from orchestrator.guest.guest import Guest
from orchestrator.guest.model import AccelChoice, GuestSpec
from orchestrator.image.build import build_image
from orchestrator.kernel.build import KernelBuilder
from orchestrator.kernel.source import Workplace
from orchestrator.matrix.load import load_plan
from orchestrator.matrix.plan import Accel
from orchestrator.paths import Project, cache_root
from orchestrator.proc import Stop
from orchestrator.race import collect
from orchestrator.race.selftests import SYNC_TEST, build_selftests
from orchestrator.race.session import carried, probe_steps, prove_instruments
from orchestrator.race.steps import Step
from orchestrator.runner.machine import cmdline, memory

ROOT = Path(__file__).resolve().parents[2]
EXECS = 10


class Clock:
    """Seconds by step, in the order in which the steps first came."""

    def __init__(self) -> None:
        self.taken: defaultdict[str, list[float]] = defaultdict(list)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        started = time.monotonic()
        yield
        self.taken[name].append(time.monotonic() - started)

    def report(self) -> None:
        """Print a row for each step."""
        print("| step | median | worst | times |\n|---|---|---|---|")
        for name, taken in self.taken.items():
            print(f"| {name} | {statistics.median(taken):.3f} | {max(taken):.3f} | {len(taken)} |")


def around(guest: Guest, clock: Clock, config: Path | None, steps: tuple[Step, ...], ktap: Path) -> None:
    """Do what a cell does before and after its race."""
    with clock.step("deploy: self-test"):
        prove_instruments(guest, SYNC_TEST, 0x5EED, ktap)
    with clock.step("deploy: before, one exec"):
        collect.before(guest, steps, config, Stop())
    with clock.step("collect: after, one exec"):
        collect.after(guest, Stop())


def compare(guest: Guest, clock: Clock) -> None:
    """Do what a cell should not."""
    transport = guest._transport
    for name, nodelay in (("exec of true", 1), ("exec of true, without TCP_NODELAY", 0)):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, nodelay)
        for _ in range(EXECS):
            with clock.step(name):
                guest.run("true", 30)
    transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(f"{transport.local_cipher}, {transport.local_mac}", flush=True)


def main() -> None:
    """Boot the lane's guest as often as asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("lane", help="architecture/flavour, such as arm64/plain")
    parser.add_argument("--matrix", type=Path, default=ROOT / "configs" / "quick.yaml")
    parser.add_argument("--kernel", default="6.1")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    project, stop, clock = Project(), Stop(), Clock()
    place = Workplace(cache_root(os.environ), os.environ, stop)
    ids = f"{asked.kernel}/{asked.lane}/"
    cell = next((cell for cell in load_plan(asked.matrix, project).cells if cell.id.startswith(ids)), None)
    if cell is None:
        parser.error(f"no cell of {asked.matrix} is {ids}*")
    arch = cell.kernel.arch
    kernel = KernelBuilder(place, project, os.cpu_count() or 1).build(cell.kernel)
    selftests = build_selftests(arch, project, place)
    files = carried(selftests.directory / cell.scenario, selftests.sync_test, kernel.probe)
    image = build_image(arch, cache=place.cache, project=project, stop=stop, environ=os.environ)
    choice = AccelChoice(Accel.TCG, "bench", host_slowness())
    machine = (2, memory(cell, project), cmdline(cell, project))
    print(f"{ids}, load {os.getloadavg()[0]:.1f}", flush=True)
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory() as directory:
            spec = GuestSpec(arch, kernel.image, image.initramfs, Path(directory), choice, *machine, files=files)
            with boot(spec, stop=stop) as guest:
                clock.taken["boot: to init's mark"].append(guest.boot_seconds)
                clock.taken["boot: login"].append(guest.ssh_seconds - guest.boot_seconds)
                around(guest, clock, kernel.config, probe_steps(kernel.probe), Path(directory) / "sync.ktap")
                compare(guest, clock)
                ended = time.monotonic()
            clock.taken["end of QEMU"].append(time.monotonic() - ended)
    clock.report()


if __name__ == "__main__":
    main()
