# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel room gives: a built kernel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Kernel:
    """A built (or prebuilt) kernel in the cache.

    `digest` is hexadecimal over source, patches, final .config, toolchain and flags (for a prebuilt kernel: of
    the file).  `probe` is guprace_probe.ko built for this very kernel, None for a prebuilt one.  `config` is None
    only for a prebuilt kernel whose .config nobody gave.  `version` is what `uname -r` must say, None where only
    booting tells.  `seconds` is what getting it took, `cached` whether it was there.
    """

    digest: str
    image: Path
    config: Path | None
    vmlinux: Path | None
    probe: Path | None
    version: str | None
    toolchain: str
    cached: bool
    seconds: float
