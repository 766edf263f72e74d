# SPDX-License-Identifier: GPL-2.0-only
"""What the cache keeps of a kernel for who reads its reports later: the vmlinux, where it has lines to give."""

from __future__ import annotations

from pathlib import Path

from orchestrator.kernel.cache import digest_of, tree_digest
from orchestrator.paths import Project

_HAS_LINES = "CONFIG_DEBUG_INFO=y"


def kept_vmlinux(cache: Path, digest: str) -> Path | None:
    """Return the vmlinux of a built kernel that has debug information; None: no such kernel, or none in it."""
    entry = cache / "kernels" / digest
    try:
        lines = (entry / "config").read_text().splitlines() if digest else []
    except (OSError, UnicodeDecodeError):
        return None
    vmlinux = entry / "vmlinux"
    return vmlinux if _HAS_LINES in lines and vmlinux.is_file() else None


def probe_digest(kernel: str, sources: Path) -> str:
    """Return what the probe module is called that is built for `kernel` from the directory `sources` as it is."""
    return digest_of([kernel, tree_digest(sources)])


def kept_modules(cache: Path, digest: str, project: Project) -> dict[str, Path]:
    """Return the modules that were built for a kernel, by name: the probe."""
    probe = cache / "probes" / probe_digest(digest, project.selftests / "probe") / "guprace_probe.ko"
    return {probe.stem: probe} if probe.is_file() else {}
