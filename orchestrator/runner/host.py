# SPDX-License-Identifier: GPL-2.0-only
"""What metadata.json says of where and by what a run was made: this host, this guprace, this moment."""

from __future__ import annotations

import logging
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.kernel.cache import digest_of, file_digest
from orchestrator.paths import Project
from orchestrator.runner.lists import COUNTED_FAULTS, GUP_PATH, KNOWN_ISSUES

log = logging.getLogger("guprace.host")

# Which reports and counters of a kernel count is said there.
_LISTS = (GUP_PATH, KNOWN_ISSUES, COUNTED_FAULTS)


def now() -> str:
    """Return this moment, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def host_facts() -> dict[str, str]:
    """Say what the host is."""
    return {
        "name": platform.node(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": str(os.cpu_count() or 0),
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.2f}",
        "memory_free_mib": str(free_memory()),
    }


def judge_of(project: Project) -> dict[str, str]:
    """Return what makes a verdict of what a guest left: digests of guprace itself and of each list it reads, by name.

    Raises:
        HostError: one cannot be read.
    """
    package = project.root / "orchestrator"
    modules = [(str(path.relative_to(package)), file_digest(path)) for path in sorted(package.rglob("*.py"))]
    lists = {name: project.configs / name for name in _LISTS}
    return {"guprace": digest_of(modules), **{n: file_digest(path) for n, path in lists.items() if path.is_file()}}


def free_memory() -> int:
    """Return MemAvailable in MiB, a large number where /proc does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) // 1024
    except OSError as error:
        log.warning("cannot read /proc/meminfo: %s", error)
    return 1 << 30
