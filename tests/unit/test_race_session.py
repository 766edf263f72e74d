# SPDX-License-Identifier: GPL-2.0-only
"""A race's output on its way to race.ktap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import GuestUnfitError, HostError
from orchestrator.guest.model import CommandResult, GuestLostError, LostReason
from orchestrator.guest.ssh import SSH_ERRORS
from orchestrator.race.session import prove_instruments, transcribe


class Speaking:
    """A guest that says some lines; what breaks meanwhile it takes for its connection, as guest/guest.py must."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        self.console_log = Path("console.log")

    def run(self, command: str, seconds: float, on_line: Callable[[str], None] | None = None) -> CommandResult:
        try:
            for line in self.lines:
                if on_line:
                    on_line(line)
        except SSH_ERRORS as error:
            raise GuestLostError(LostReason.SILENT, f"SSH broke: {error}") from error
        return CommandResult(0, "", "", 0.1)


def test_a_full_disk_is_the_hosts_fault_and_no_lost_guest() -> None:
    much = Speaking(*["ok 1 probe.munmap"] * 1000)
    with pytest.raises(HostError, match="No space left on device"):
        transcribe(much, "race", 1.0, Path("/dev/full"), lambda _: None)


def test_each_line_is_in_the_file_as_soon_as_it_is_said(tmp_path: Path) -> None:
    ktap, seen = tmp_path / "race.ktap", list[str]()
    guest = Speaking("# hit probe.munmap foreign_stamp", "not ok 1 probe.munmap")
    transcribe(guest, "race", 1.0, ktap, lambda _: seen.append(ktap.read_text()))
    assert seen == ["# hit probe.munmap foreign_stamp\nnot ok 1 probe.munmap\n"]


def test_a_guest_whose_instruments_fail_is_unfit_and_says_what_they_said(tmp_path: Path) -> None:
    guest = Speaking("KTAP version 1", "1..1", "not ok 1 steered # sync: 1 hit", "# totals pass:0 fail:1 skip:0")
    with pytest.raises(GuestUnfitError, match=r"^sync\.ktap: .*self-test failed: steered sync: 1 hit") as caught:
        prove_instruments(guest, "sync_test", 1, tmp_path / "sync.ktap")
    assert "docs/scenarios.md" in caught.value.hint
