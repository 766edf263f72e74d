# SPDX-License-Identifier: GPL-2.0-only
"""How the kernel's make is called."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.kernel.make import KernelMake
from orchestrator.kernel.source import Workplace
from orchestrator.kernel.toolchain import Tools
from orchestrator.proc import Stop

AUTOGROUP = Path("/proc/self/autogroup")


def test_a_build_gives_way_to_the_races_beside_it(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:\n\t@nice >$(O)/nice\n\t@cat /proc/self/autogroup >$(O)/group || true\n")
    make = KernelMake(
        tmp_path,
        tmp_path / "objects",
        Tools((), ("cc",), ""),
        tmp_path / "build.log",
        1,
        Workplace(tmp_path / "cache", os.environ, Stop()),
    )
    make("all")
    assert int((make.objects / "nice").read_text()) == min(os.nice(0) + 10, 19)
    if AUTOGROUP.exists():
        assert (make.objects / "group").read_text().endswith(" nice 10\n")
