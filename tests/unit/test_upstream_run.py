# SPDX-License-Identifier: GPL-2.0-only
"""One of the kernel's own selftests in a guest: what is run, how long it may take, and what stays when it is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.guest.model import CommandResult, GuestLostError, LostReason
from orchestrator.matrix.plan import Accel
from orchestrator.matrix.upstream import PROGRAMS
from orchestrator.race.model import Ending
from orchestrator.race.tap import read_upstream
from orchestrator.race.upstream_build import Upstream
from orchestrator.race.upstream_run import EMULATED, run_upstream, upstream_steps


class FakeGuest:
    """A guest that says what it is told to say, and is lost in the run called `lost`."""

    def __init__(self, said: str, lost: str = "no such run") -> None:
        self.said = said
        self.lost = lost
        self.commands: list[tuple[str, float]] = []
        self.console_log = Path("console.log")

    def run(self, command: str, seconds: float, on_line: Callable[[str], None] | None = None) -> CommandResult:
        self.commands.append((command, seconds))
        if on_line:
            for line in self.said.splitlines():
                on_line(line)
        if self.lost in command:
            raise GuestLostError(LostReason.SILENT, "had not ended")
        return CommandResult(0, self.said, "", 0.1)


def upstream(name: str, *arguments: str) -> Upstream:
    return Upstream(PROGRAMS[name], Path(f"/cache/{name}"), arguments, 180.0)


def test_each_run_of_upstreams_own_runner_is_run_in_time(tmp_path: Path) -> None:
    guest, told = FakeGuest("TAP version 13\n1..1\nok 1 ioctl status 0"), list[str]()
    what = upstream("gup_test", "-u", "-ct -F 0x1 0 19 0x1000")
    result = run_upstream(guest, what, Accel.TCG, tmp_path / "race.ktap", told.append)
    assert guest.commands == [
        ("cd /guprace && ./gup_test -u 2>&1", 180.0 * EMULATED),
        ("cd /guprace && ./gup_test -ct -F 0x1 0 19 0x1000 2>&1", 180.0 * EMULATED),
    ]
    assert [(s.name, s.ending) for s in result.subtests] == [
        ("gup_test -u #1", Ending.PASS),
        ("gup_test -ct -F 0x1 0 19 0x1000 #1", Ending.PASS),
    ]
    assert (result.problem, told) == ("", ["ok 1 ioctl status 0"] * 2)


def test_a_guest_that_is_lost_leaves_what_was_said(tmp_path: Path) -> None:
    tap = tmp_path / "race.ktap"
    guest = FakeGuest("TAP version 13\n1..2\nnot ok 1 Leak", lost="-a")
    with pytest.raises(GuestLostError):
        run_upstream(guest, upstream("gup_test", "-u", "-a"), Accel.KVM, tap, lambda _: None)
    kept = read_upstream(tap.read_text(), "gup_test")
    assert [s.ending for s in kept.subtests] == [Ending.FAIL, Ending.FAIL]
    assert "gup_test -a: it did not end" in kept.problem


def test_hugetlb_pages_are_reserved_for_what_wants_them() -> None:
    swap, reserve = upstream_steps(upstream("cow", ""))
    assert "nr_hugepages" in reserve.command
    assert upstream_steps(upstream("khugepaged", "")) == (swap,)


def test_a_guest_without_a_ram_disk_goes_on_without_swap() -> None:
    (swap,) = upstream_steps(upstream("khugepaged", ""))
    assert not swap.must, "a step that may fail"


def test_a_guest_without_hugetlb_pages_goes_on_to_the_next_step(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 1 kB\n")
    _, reserve = upstream_steps(upstream("cow", ""))
    command = f"{reserve.command.replace('/proc/meminfo', str(meminfo))}\necho on"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("on\n", "")
