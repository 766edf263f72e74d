# SPDX-License-Identifier: GPL-2.0-only
"""Fixtures that several rooms' tests share."""

from __future__ import annotations

from hypothesis import settings

from tests.fakes.qemu.fixture import fake_qemu
from tests.unit.cli_inside import guprace

__all__ = ["fake_qemu", "guprace"]

# How long an example takes is the host's affair: these tests run beside each other, and beside guests.
settings.register_profile("guprace", deadline=None)
settings.load_profile("guprace")
