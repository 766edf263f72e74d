# SPDX-License-Identifier: GPL-2.0-only
"""Guests on the fake QEMU: every beginning, every ending, and that nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from orchestrator.errors import HostError, RunInterruptedError
from orchestrator.guest.boot import boot
from orchestrator.guest.model import GuestFile, GuestLostError, GuestSpec, LostReason
from orchestrator.guest.workdir import work_directory
from orchestrator.matrix.plan import Arch
from orchestrator.paths import Project
from orchestrator.proc import Deadline, Stop
from tests.unit.guest_house import fake_spec, hasty, running

RACE = "/guprace/pin_vs_munmap --seconds 10 --seed 0x2a"


@pytest.fixture
def short() -> Iterator[Path]:
    """Give a directory whose path is short enough for sockets, as pytest's is not."""
    with tempfile.TemporaryDirectory(prefix="gt-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def spec(tmp_path: Path, short: Path, monkeypatch: pytest.MonkeyPatch, fake_qemu: Path) -> Iterator[GuestSpec]:
    """Give a guest's description; at the end no QEMU and no temporary file of it may be left."""
    monkeypatch.setenv("TMPDIR", str(short))
    yield fake_spec(tmp_path / "room")
    assert list(short.iterdir()) == []
    assert running(str(tmp_path)) == []


def test_a_healthy_guest_runs_commands(spec: GuestSpec, short: Path) -> None:
    lines: list[str] = []
    with boot(spec, stop=Stop()) as guest:
        assert len(list(short.iterdir())) == 1
        assert guest.run("uname -r", 10).stdout == "6.1.0-fake\n"
        assert guest.run(["echo", "a b"], 10, lines.append).stdout == "a b\n"
        refused = guest.run("no such command", 10)
        assert guest.run(RACE, 10).stdout.startswith("KTAP version 1\n")
        assert guest.qemu_version == "7.2.0 (fake)"
        assert 0 < guest.boot_seconds <= guest.ssh_seconds < 10
    assert lines == ["a b"]
    assert refused.status == 127
    assert "no such command" in refused.stderr


def test_a_guest_that_answers_no_request_is_lost_at_the_deadline(
    spec: GuestSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(channel: paramiko.Channel, line: str) -> None:
        del line
        while not channel.closed:
            time.sleep(0.01)
        raise paramiko.SSHException("Channel closed.")

    with boot(spec, stop=Stop()) as guest:
        monkeypatch.setattr(paramiko.Channel, "exec_command", wait)
        with pytest.raises(GuestLostError, match="was not begun after") as caught:
            guest.run("dmesg", 1.0)
    assert caught.value.reason is LostReason.SILENT


def test_time_that_guprace_itself_stood_still_is_not_the_guests(spec: GuestSpec) -> None:
    with boot(spec, stop=Stop()) as guest:
        assert guest.run(["echo", "a"], 0.5, lambda _: time.sleep(1.6)).stdout == "a\n"


def test_no_small_message_waits_for_the_acknowledgement_of_another(spec: GuestSpec) -> None:
    with boot(spec, stop=Stop()) as guest:
        assert guest._transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def boot_and_race(spec: GuestSpec, stop: Stop) -> None:
    with boot(spec, stop=stop) as guest:
        guest.run(RACE, 60)


@pytest.mark.parametrize("arch", list(Arch))
def test_the_command_line_is_on_disk_and_can_be_pasted(arch: Arch, tmp_path: Path, spec: GuestSpec) -> None:
    other = fake_spec(tmp_path / "other", arch)
    with boot(other, stop=Stop()):
        line = (other.directory / "qemu.argv").read_text()
    assert line.startswith("qemu-system-")
    assert " -append 'console=" in line


@pytest.mark.parametrize(
    ("behaviour", "reason", "detail"),
    [
        ("panic-at-boot", LostReason.PANIC, "Kernel panic - not syncing"),
        ("reset-at-boot", LostReason.REBOOT, "reset itself"),
        ("init-fails", LostReason.BOOT_FAILED, "cannot find eth0"),
        ("no-start", LostReason.QEMU_DIED, "Cannot allocate memory"),
    ],
)
def test_a_boot_that_fails_says_how(
    behaviour: str, reason: LostReason, detail: str, spec: GuestSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKEQEMU", behaviour)
    with pytest.raises(GuestLostError, match=detail) as caught, boot(spec, stop=Stop()):
        pass
    assert caught.value.reason is reason


def test_a_boot_that_hangs_ends_at_its_deadline(spec: GuestSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKEQEMU", "hang-at-boot")
    with pytest.raises(GuestLostError) as caught, boot(hasty(spec, 1.0), stop=Stop()):
        pass
    assert caught.value.reason is LostReason.BOOT_TIMEOUT
    assert any("Linux version" in line for line in caught.value.last_lines)


@pytest.mark.parametrize(
    ("behaviour", "reason", "detail"),
    [
        ("panic-mid-race", LostReason.PANIC, "Kernel panic - not syncing: Fatal exception"),
        ("die", LostReason.QEMU_DIED, "exit code 1: qemu: fatal: Trying to execute code"),
        ("reboot", LostReason.REBOOT, "the guest reset itself"),
    ],
)
def test_a_guest_that_ends_in_the_race_is_lost_with_its_reason(
    behaviour: str, reason: LostReason, detail: str, spec: GuestSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKEQEMU", behaviour)
    with boot(spec, stop=Stop()) as guest:
        with pytest.raises(GuestLostError, match=detail) as caught:
            guest.run(RACE, 60)
        assert caught.value.reason is reason
        assert caught.value.last_lines
        with pytest.raises(GuestLostError, match=detail):
            guest.run("uname -r", 10)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("silent-mid-race", LostReason.SILENT),
        ("soft-lockup", LostReason.SOFT_LOCKUP),
        ("rcu-stall", LostReason.RCU_STALL),
        ("hung-task", LostReason.HUNG_TASK),
    ],
)
def test_a_guest_that_stops_answering_is_named_by_its_last_report(
    behaviour: str, reason: LostReason, spec: GuestSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKEQEMU", behaviour)
    with boot(spec, stop=Stop()) as guest, pytest.raises(GuestLostError) as caught:
        guest.run(RACE, 1.0)
    assert caught.value.reason is reason
    assert "had not ended after" in caught.value.detail


def test_a_console_flooded_with_200_mb_is_whole_on_disk(spec: GuestSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKEQEMU", "flood")
    with boot(spec, stop=Stop()) as guest:
        assert guest.run(RACE, 60).status == 0
    assert (spec.directory / "console.log").stat().st_size > 199_000_000
    (spec.directory / "console.log").unlink()


def test_garbage_on_the_console_is_kept_on_disk_and_harmless(
    spec: GuestSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKEQEMU", "garbage")
    with boot(spec, stop=Stop()) as guest:
        assert guest.run(RACE, 60).status == 0
        os.kill(running(str(spec.directory))[0], signal.SIGKILL)
        with pytest.raises(GuestLostError) as caught:
            guest.run("uname -r", 10)
    assert caught.value.reason is LostReason.QEMU_DIED
    assert b"\x00\x1b[2J" in (spec.directory / "console.log").read_bytes()
    assert not any("\x1b" in line or "\x00" in line for line in caught.value.last_lines)


def test_a_console_that_cannot_be_kept_is_trouble_of_the_host(spec: GuestSpec) -> None:
    spec.directory.mkdir(parents=True, exist_ok=True)
    (spec.directory / "console.log").symlink_to("/dev/full")
    with pytest.raises(HostError, match=r"console\.log"), boot(spec, stop=Stop()):
        pass


def test_another_host_key_than_the_guests_is_refused(spec: GuestSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKEQEMU", "wrong-host-key")
    monkeypatch.setattr("orchestrator.guest.boot.LOGIN_SECONDS", 0.5)
    with pytest.raises(GuestLostError, match="another host key"), boot(spec, stop=Stop()):
        pass


@pytest.mark.parametrize("behaviour", ["hang-at-boot", "deaf", "silent-mid-race"])
def test_a_user_who_stops_waits_for_no_deadline(
    behaviour: str, spec: GuestSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKEQEMU", behaviour)
    stop = Stop()
    timer = threading.Timer(1.0, stop.set, ["SIGINT"])
    timer.start()
    with pytest.raises(RunInterruptedError):
        boot_and_race(spec, stop)


def test_a_guest_has_the_files_of_its_description_from_its_start(
    spec: GuestSpec, short: Path, tmp_path: Path
) -> None:
    (tmp_path / "race").write_bytes(b"\x7fELF" + b"070701" * 50)
    (tmp_path / "key").write_bytes(b"")
    files = (
        GuestFile(tmp_path / "race", "/guprace/pin_vs_munmap"),
        GuestFile(tmp_path / "key", "/guprace/key", 0o600),
    )
    with boot(replace(spec, files=files), stop=Stop()) as guest:
        assert guest.run(RACE, 10).stdout.startswith("KTAP version 1\n")
        (work,) = short.iterdir()
        archive = (work / "initramfs").read_bytes()
    for one in files:
        # The mode is the second field of the record that ends with the name.
        record = archive[archive.index(one.remote.encode()[1:]) - 110 :]
        assert int(record[14:22], 16) == stat.S_IFREG | one.mode
        assert one.local.read_bytes() in record


def test_a_file_that_a_guest_is_to_have_and_that_is_not_there_starts_none(spec: GuestSpec, tmp_path: Path) -> None:
    missing = replace(spec, files=(GuestFile(tmp_path / "missing", "/guprace/x"),))
    with pytest.raises(HostError, match="missing: no such file to copy into the guest"), boot(missing, stop=Stop()):
        pass
    assert not (spec.directory / "qemu.argv").exists()


def test_no_qemu_is_an_error_that_names_the_program(spec: GuestSpec) -> None:
    with (
        pytest.raises(HostError, match="no program 'qemu-system-aarch64'"),
        boot(spec, stop=Stop(), environ={"PATH": "/nonexistent"}),
    ):
        pass


def test_a_temporary_directory_with_a_long_path_is_not_used_for_sockets(
    spec: GuestSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    with boot(spec, stop=Stop()):
        assert list(long.iterdir()) == []


def test_a_guest_that_dies_while_it_is_logged_in_to_is_noticed_at_once(
    spec: GuestSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKEQEMU", "deaf")

    def kill() -> None:
        for pid in running(str(spec.directory)):
            os.kill(pid, signal.SIGKILL)

    timer = threading.Timer(1.0, kill)
    timer.start()
    with pytest.raises(GuestLostError, match="signal 9"), boot(spec, stop=Stop()):
        pass
    timer.join()


def test_what_a_killed_guprace_left_is_swept_up_and_a_live_ones_directory_is_not(short: Path) -> None:
    env = {"TMPDIR": str(short)}
    left, fresh = short / "guprace-guest-left", short / "guprace-guest-fresh"
    for one in (left, fresh):
        one.mkdir()
    (left / "lock").touch()
    with work_directory(env) as first, work_directory(env) as second:
        assert set(short.iterdir()) == {first, second, fresh}
    assert list(short.iterdir()) == [fresh]


VICTIM = """\
import os, sys, time
from pathlib import Path
from orchestrator.guest.boot import boot
from orchestrator.proc import Stop
from tests.unit.guest_house import fake_spec
with boot(fake_spec(Path(sys.argv[1])), stop=Stop()):
    print("up", flush=True)
    time.sleep(60)
"""


def test_guprace_killed_with_9_takes_its_qemu_along(spec: GuestSpec, short: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", VICTIM, str(tmp_path / "victim")]
    env = {**os.environ, "PYTHONPATH": str(Project().root)}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"up\n"
        assert running(str(tmp_path / "victim"))
        victim.kill()
        victim.wait()
    deadline = Deadline.after(5)
    while running(str(tmp_path / "victim")):
        assert not deadline.expired, "QEMU outlived guprace"
        time.sleep(0.02)
    with boot(spec, stop=Stop()):
        assert len(list(short.iterdir())) == 1, "what the killed one left is still there"
