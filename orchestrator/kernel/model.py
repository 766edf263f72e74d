# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel room gives: a built kernel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Kernel:
    """A built (or prebuilt) kernel in the cache.

    `digest` is hexadecimal over source, patches, final .config, toolchain and flags.  `selftests` holds the
    files built for this very kernel (the static scenario binaries and `guprace_probe.ko`); a prebuilt kernel
    has no module.  `config` is None only for a prebuilt kernel whose .config nobody gave.
    `version` is what `uname -r` must say, None where only booting tells.
    """

    digest: str
    image: Path
    config: Path | None
    vmlinux: Path | None
    selftests: Path
    version: str | None
    toolchain: str
    cached: bool
    seconds: float
