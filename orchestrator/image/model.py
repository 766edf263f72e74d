# SPDX-License-Identifier: GPL-2.0-only
"""What the image room gives: an initramfs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.matrix.plan import Arch


@dataclass(frozen=True, slots=True)
class Image:
    """A reproducible initramfs for one architecture; `digest` is the SHA-256 of the file, hexadecimal."""

    arch: Arch
    digest: str
    initramfs: Path
