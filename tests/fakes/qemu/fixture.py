# SPDX-License-Identifier: GPL-2.0-only
"""Puts the fake QEMU in front of PATH: the fixture `fake_qemu`, and `install` for other processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[3]
_PROGRAMS = ("qemu-system-x86_64", "qemu-system-aarch64")
_WRAPPER = """\
#!{python} -S
import sys
sys.path[:0] = {paths!r}
from tests.fakes.qemu.fakeqemu import main
sys.exit(main({program!r}, sys.argv[1:]))
"""


def install(directory: Path) -> Path:
    """Write the fake programs into `directory` and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [str(_ROOT), *[entry for entry in sys.path if entry.endswith("site-packages")]]
    for name in _PROGRAMS:
        program = directory / name
        program.write_text(_WRAPPER.format(python=sys.executable, paths=paths, program=name))
        program.chmod(0o755)
    return directory


@pytest.fixture
def fake_qemu(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the directory of the fake, which is first in PATH; set FAKEQEMU to choose what it does."""
    directory = install(tmp_path_factory.mktemp("fakeqemu"))
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("FAKEQEMU", raising=False)
    return directory
