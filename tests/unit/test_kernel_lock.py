# SPDX-License-Identifier: GPL-2.0-only
"""Who must wait for another guprace says for what and for whom, and stops when told to."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import HostError, RunInterruptedError
from orchestrator.kernel import lock
from orchestrator.kernel.lock import locked
from orchestrator.proc import Stop

HOLDER = """\
import sys
from pathlib import Path
from orchestrator.kernel.lock import locked
from orchestrator.proc import Stop
with locked(Path(sys.argv[1]), "lane x", Stop()):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its stdin ends."""
    argv = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_wait_is_told_at_once_with_what_and_whose_pid(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    told: list[str] = []

    def waits(text: str) -> None:
        told.append(text)
        assert holder.stdin is not None
        holder.stdin.close()

    with locked(tmp_path / "lock", "lane x", Stop(), waits):
        assert told == [f"waits for lane x, which another guprace (pid {holder.pid}) holds"]
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    assert (tmp_path / "lock").read_text() == "", "nobody may be sent to a process that holds nothing"


def test_a_wait_that_goes_on_is_told_again(
    tmp_path: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "AGAIN_SECONDS", 1.1)
    told: list[str] = []
    stop = Stop()

    def waits(text: str) -> None:
        told.append(text)
        if len(told) == 2:
            stop.set("SIGINT")

    with pytest.raises(RunInterruptedError), locked(tmp_path / "lock", "lane x", stop, waits):
        pytest.fail("the lock is another's")
    assert told[1].startswith(told[0] + ", for ")


def test_a_wait_has_an_end_where_one_is_asked_for(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(HostError) as error, locked(tmp_path / "lock", "run 1", Stop(), seconds=0.0):
        pytest.fail("the lock is another's")
    assert f"another guprace (pid {holder.pid}) holds run 1" in str(error.value)
    assert str(tmp_path / "lock") in str(error.value)


def test_nobody_is_told_of_a_lock_that_is_free(tmp_path: Path) -> None:
    with locked(tmp_path / "new" / "lock", "lane x", Stop(), pytest.fail):
        pass


def test_a_lane_of_the_same_process_is_called_so(tmp_path: Path) -> None:
    told: list[str] = []
    first = threading.Event()

    def hold() -> None:
        with locked(tmp_path / "lock", "lane x", Stop()):
            first.set()
            while not told:
                time.sleep(0.01)

    thread = threading.Thread(target=hold)
    thread.start()
    assert first.wait(10)
    with locked(tmp_path / "lock", "lane x", Stop(), told.append):
        thread.join()
    assert told == ["waits for lane x, which another lane of this guprace holds"]


def test_a_holder_that_has_not_said_its_pid_yet_is_still_waited_for(tmp_path: Path) -> None:
    told: list[str] = []
    with (tmp_path / "lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)

        def waits(text: str) -> None:
            told.append(text)
            fcntl.flock(stream, fcntl.LOCK_UN)

        with locked(tmp_path / "lock", "lane x", Stop(), waits):
            assert told == ["waits for lane x, which another guprace holds"]


def test_without_a_listener_a_wait_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lock.say_in_log("waits for lane x")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("WARNING", "waits for lane x")]
