# SPDX-License-Identifier: GPL-2.0-only
"""Processes: deadlines, stops, groups, and what is left behind (nothing)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from orchestrator.errors import HostError, RunInterruptedError
from orchestrator.proc import Deadline, Stop, run, stop_on_signals


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until_dead(pid: int) -> bool:
    deadline = Deadline.after(20)
    while alive(pid) and not deadline.expired:
        time.sleep(0.02)
    return not alive(pid)


def test_output_and_status_come_back() -> None:
    done = run(
        ["sh", "-c", "echo out; echo err >&2; cat; exit 3"], stop=Stop(), seconds=30, check=False, input_bytes=b"in"
    )
    assert (done.stdout, done.stderr, done.returncode) == ("out\nin", "err\n", 3)


def test_a_failure_is_told_as_a_line_to_paste_with_what_it_said() -> None:
    with pytest.raises(HostError, match=r"exit code 7: sh -c 'echo \"why\" >&2; exit 7'\nwhy"):
        run(["sh", "-c", 'echo "why" >&2; exit 7'], stop=Stop(), seconds=30)


def test_a_missing_program_is_the_hosts_fault() -> None:
    with pytest.raises(HostError, match="no program 'no-such-program'"):
        run(["no-such-program"], stop=Stop(), seconds=5)


def test_a_deadline_kills_the_whole_group(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(HostError, match="no end after 1 s"):
        run(["sh", "-c", f"sleep 99 & echo $! > {pid_file}; wait"], stop=Stop(), seconds=1)
    assert wait_until_dead(int(pid_file.read_text()))


def test_a_stop_ends_a_process_early() -> None:
    stop = Stop()
    threading.Timer(0.3, stop.set, ["SIGTERM"]).start()
    with pytest.raises(RunInterruptedError, match="SIGTERM"):
        run(["sleep", "99"], stop=stop, seconds=90)


def test_a_child_left_behind_does_not_outlive_its_parent(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    run(["sh", "-c", f"sleep 99 > /dev/null 2>&1 & echo $! > {pid_file}"], stop=Stop(), seconds=30)
    assert wait_until_dead(int(pid_file.read_text()))


def test_a_process_dies_with_a_killed_guprace(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom orchestrator.proc import spawn\n"
        "p = spawn(['sleep', '99'])\nprint(p.pid, flush=True)\ntime.sleep(99)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    assert wait_until_dead(child)


def test_signals_set_the_stop_and_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stop = Stop()
    with stop_on_signals(stop):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(RunInterruptedError):
            stop.wait(5)
    assert signal.getsignal(signal.SIGTERM) is before
    assert stop.reason == "SIGTERM"


def test_a_sighup_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = Stop()
        with stop_on_signals(stop):
            os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.is_set
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_log_file_begins_with_the_command(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run(["sh", "-c", "echo hello"], stop=Stop(), seconds=30, log_file=log, cwd=tmp_path)
    assert log.read_text() == f"$ cd {tmp_path} && sh -c 'echo hello'\nhello\n"


def test_grandchildren_die_with_a_killed_guprace_too(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import sys, time\nfrom orchestrator.proc import Stop, run\n"
        f"run(['sh', '-c', 'sleep 99 & echo $! > {pid_file}; wait'], stop=Stop(), seconds=99)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    deadline = Deadline.after(20)
    while not (pid_file.exists() and pid_file.read_text().strip()) and not deadline.expired:
        time.sleep(0.02)
    grandchild = int(pid_file.read_text())
    parent.kill()
    parent.wait()
    assert wait_until_dead(grandchild)


def test_grace_lets_a_process_clean_up(tmp_path: Path) -> None:
    stop = Stop()
    script = (
        f"trap 'echo cleaned > {tmp_path}/done; exit 1' TERM; echo > {tmp_path}/ready; while :; do sleep 0.05; done"
    )
    threading.Thread(target=_stop_when_ready, args=(stop, tmp_path / "ready")).start()
    with pytest.raises(RunInterruptedError):
        run(["sh", "-c", script], stop=stop, seconds=60, grace=20)
    assert (tmp_path / "done").read_text() == "cleaned\n"


def _stop_when_ready(stop: Stop, ready: Path) -> None:
    deadline = Deadline.after(20)
    while not ready.exists() and not deadline.expired:
        time.sleep(0.01)
    stop.set("SIGINT")


def test_no_file_descriptor_is_left_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        run(["true"], stop=Stop(), seconds=30)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
