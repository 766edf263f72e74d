# SPDX-License-Identifier: GPL-2.0-only
"""`guprace doctor`."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import click

from orchestrator.cli.common import workplace
from orchestrator.errors import ExitCode, GupraceError, HostError
from orchestrator.kernel.source import Workplace
from orchestrator.paths import Project
from orchestrator.proc import run
from orchestrator.runner.host import free_memory

# A kernel's source, objects and image (measured: docs/performance.md), three lanes of them.
WANTED_DISK_GIB = 12
WANTED_MEMORY_MIB = 3072


@dataclass(frozen=True, slots=True)
class Need:
    """A line of configs/host-packages.txt."""

    package: str
    probe: str
    purpose: str

    @property
    def met(self) -> bool:
        """Whether the program or file is there."""
        return Path(self.probe).exists() if self.probe.startswith("/") else shutil.which(self.probe) is not None


def read_needs(path: Path) -> tuple[Need, ...]:
    """Read the package list. Raises HostError when it is missing or malformed."""
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise HostError(f"cannot read the package list: {error}", where=str(path)) from error
    rows = [line.split(None, 2) for line in lines if line.strip() and not line.startswith("#")]
    if bad := [row for row in rows if len(row) != 3]:
        raise HostError(f"not 'package probe purpose': {' '.join(bad[0])}", where=str(path))
    return tuple(Need(*row) for row in rows)


@click.command("doctor")
def command() -> int:
    """Check programs, packages, memory, disk and accelerator of this host.

    Exit code: 0 everything needed is there, 3 something is missing (the apt-get line is printed).

    \b
    Example:
      guprace doctor
    """
    with workplace() as (place, _):
        needs = read_needs(Project().configs / "host-packages.txt")
        missing = [need for need in needs if not need.met]
        for need in needs:
            click.echo(f"{'ok     ' if need.met else 'MISSING'}  {need.package:<24} {need.purpose}")
        for line in (*_programs(place), *_resources(place), _kvm()):
            click.echo(line)
    if missing:
        click.echo(f"\napt-get install -y --no-install-recommends {' '.join(n.package for n in missing)}")
        return int(ExitCode.HOST)
    return int(ExitCode.OK)


def _programs(place: Workplace) -> list[str]:
    lines = []
    for name in ("qemu-system-x86_64", "qemu-system-aarch64", "gcc", "aarch64-linux-gnu-gcc", "ccache", "clang"):
        try:
            said = run([name, "--version"], stop=place.stop, seconds=30, env=place.environ).stdout
        except GupraceError:
            said = "not there" + (" (optional)" if name in ("ccache", "clang") else "")
        lines.append(f"info     {name}: {said.splitlines()[0] if said else 'says nothing'}")
    return lines


def _resources(place: Workplace) -> list[str]:
    where = place.cache
    while not where.exists():
        where = where.parent
    free = shutil.disk_usage(where).free >> 30
    memory = free_memory()
    return [
        f"{'ok     ' if free >= WANTED_DISK_GIB else 'LOW    '}  disk: {free} GiB free for {place.cache}",
        f"{'ok     ' if memory >= WANTED_MEMORY_MIB else 'LOW    '}  memory: {memory} MiB free",
        f"info     cores: {os.cpu_count()}",
    ]


def _kvm() -> str:
    if not Path("/dev/kvm").exists():
        return "info     /dev/kvm: not there; guests run under TCG"
    usable = os.access("/dev/kvm", os.R_OK | os.W_OK)
    return (
        f"info     /dev/kvm: {'opens; whether it is any faster is timed at the first run' if usable else 'no access'}"
    )
