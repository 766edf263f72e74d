# SPDX-License-Identifier: GPL-2.0-only
"""The event stream: typed, one JSON object a line, from any thread."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from orchestrator.errors import HostError
from orchestrator.runner.events import Event, EventLog, State, event, fan_out


def test_every_event_is_one_line_of_json_whatever_its_text(tmp_path: Path) -> None:
    path = tmp_path / "run" / "events.ndjson"
    with EventLog(path) as log:
        log(event("6.1/arm64/plain/x", "boot", State.WAITING, "a\nb\0 \udcff"))
        log(event("", "run", State.FINISHED, seconds=3.2))
        assert len(path.read_bytes().splitlines()) == 2, "flushed as it happens"
    first, second = (json.loads(line) for line in path.read_bytes().splitlines())
    assert first["state"] == "waiting"
    assert first["text"].startswith("a\nb\0")
    assert second["seconds"] == 3.2


def test_a_line_that_was_cut_off_stays_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b'{"time": 1}\n{"time": 2, "ce')
    for _ in range(2):
        with EventLog(path) as log:
            log(event("", "run", State.STARTED))
    lines = path.read_text().splitlines()
    assert lines[:2] == ['{"time": 1}', '{"time": 2, "ce']
    assert [json.loads(line)["stage"] for line in lines[2:]] == ["run", "run"]


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    with EventLog(path) as log:

        def tell() -> None:
            for _ in range(50):
                log(event("c", "race", State.NOTE, "x" * 5000))

        tellers = [threading.Thread(target=tell) for _ in range(4)]
        for teller in tellers:
            teller.start()
        for teller in tellers:
            teller.join()
    lines = path.read_text().splitlines()
    assert len(lines) == 200
    assert all(json.loads(line)["text"] == "x" * 5000 for line in lines)


def test_an_event_after_the_end_is_ignored(tmp_path: Path) -> None:
    with EventLog(tmp_path / "e") as log:
        pass
    log(event("", "run", State.NOTE))
    assert (tmp_path / "e").read_bytes() == b""


def test_a_log_that_cannot_be_opened_is_the_hosts_fault(tmp_path: Path) -> None:
    with pytest.raises(HostError):
        EventLog(tmp_path)


def test_all_listeners_hear_the_same() -> None:
    first: list[Event] = []
    second: list[Event] = []
    fan_out([first.append, second.append])(event("c", "boot", State.STARTED))
    assert first == second
    assert len(first) == 1


def test_a_full_disk_ends_the_events_and_not_the_run(caplog: pytest.LogCaptureFixture) -> None:
    with EventLog(Path("/dev/full")) as log:
        for _ in range(2):
            log(event("", "run", State.NOTE))
    assert [record.getMessage() for record in caplog.records] == [
        "/dev/full: no more events: No space left on device"
    ]
