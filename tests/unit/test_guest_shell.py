# SPDX-License-Identifier: GPL-2.0-only
"""The interactive shell, driven through a real terminal by pexpect."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pexpect
import pytest

from orchestrator.paths import Project
from tests.unit.guest_house import running

SCRIPT = """\
import sys
from pathlib import Path
from orchestrator.guest.boot import boot
from orchestrator.guest.model import GuestLostError
from orchestrator.proc import Stop
from tests.unit.guest_house import fake_spec
with boot(fake_spec(Path(sys.argv[1])), stop=Stop()) as guest:
    try:
        print("shell ended with", guest.shell())
    except GuestLostError as lost:
        print("lost:", lost.reason)
"""


@pytest.fixture
def terminal(tmp_path: Path, fake_qemu: Path) -> pexpect.spawn[str]:
    env = {**os.environ, "PYTHONPATH": str(Project().root)}
    argv = ["-c", SCRIPT, str(tmp_path / "room")]
    return pexpect.spawn(sys.executable, argv, env=env, encoding="utf-8", timeout=90)


def test_keys_reach_the_guest_and_its_end_ends_the_shell(terminal: pexpect.spawn[str]) -> None:
    terminal.expect_exact("guprace:~# ")
    terminal.setwinsize(50, 132)
    # Ctrl-C belongs to the guest, not to us.
    terminal.send("\x03ls\r")
    terminal.expect_exact("ls")
    terminal.send("exit\r")
    terminal.expect_exact("shell ended with 0")
    terminal.expect(pexpect.EOF)


def test_what_is_typed_while_the_guest_boots_is_typed_in_its_shell(terminal: pexpect.spawn[str]) -> None:
    terminal.send("early\r")
    terminal.expect_exact("guprace:~# ")
    terminal.expect_exact("early")
    terminal.send("exit\r")
    terminal.expect_exact("shell ended with 0")


def test_a_guest_that_dies_gives_the_terminal_back(terminal: pexpect.spawn[str], tmp_path: Path) -> None:
    terminal.expect_exact("guprace:~# ")
    (qemu,) = running(str(tmp_path / "room"))
    os.kill(qemu, 9)
    terminal.expect_exact("lost: QEMU died")
    terminal.expect(pexpect.EOF)
