# SPDX-License-Identifier: GPL-2.0-only
"""Records: what is written is read back, and a file that exists is complete."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from orchestrator import records
from orchestrator.errors import HostError, UsageError
from orchestrator.matrix.plan import Arch, Cell, DebSource, Fragment, GuestSettings, KernelSpec, Plan, RaceSettings


def plan() -> Plan:
    fragments = (Fragment(Path("base.config"), "base"),)
    kernel = KernelSpec("6.1", DebSource("linux-source-6.1"), Arch.ARM64, "plain", (Path("p.patch"),), fragments)
    return Plan(
        "quick", Path("quick.yaml"), (Cell("6.1/arm64/plain/s", kernel, "s", GuestSettings(), RaceSettings()),)
    )


def test_a_plan_survives_the_round_trip(tmp_path: Path) -> None:
    records.save(tmp_path / "deep" / "plan.json", plan())
    assert records.load(tmp_path / "deep" / "plan.json", Plan) == plan()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name": 3}', b"\xff\xfe"])
def test_a_damaged_record_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(HostError, match="not a whole record: "):
        records.load(path, Plan)


def test_what_can_be_made_again_is_not_there_when_it_is_damaged_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "memo.json"
    assert records.recall(path, Plan) is None
    assert not caplog.records, "what was never made is nothing to tell"
    path.write_text("{")
    assert records.recall(path, Plan) is None
    assert str(path) in caplog.text
    records.save(path, plan())
    assert records.recall(path, Plan) == plan()


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "plan.json"
    records.save(path, plan())
    before = path.read_bytes()

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(HostError, match=r"(?s)No space left on device.*GUPRACE_CACHE"):
        records.write_atomically(path, b"new")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_word_that_is_not_utf8_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written as JSON"):
        records.save(tmp_path / "plan.json", {"argv": ["caf\udce9.yaml"]})
    assert not (tmp_path / "plan.json").exists()
