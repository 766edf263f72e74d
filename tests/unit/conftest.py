# SPDX-License-Identifier: GPL-2.0-only
"""Fixtures that several rooms' tests share."""

from __future__ import annotations

from tests.fakes.qemu.fixture import fake_qemu
from tests.unit.cli_inside import guprace

__all__ = ["fake_qemu", "guprace"]
