# SPDX-License-Identifier: GPL-2.0-only
"""What is read around a race: one exec before and one after it, and a hostile guest's answers do no harm."""

from __future__ import annotations

import base64
import gzip
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from orchestrator.errors import GuestUnfitError
from orchestrator.guest.model import CommandResult
from orchestrator.proc import Stop
from orchestrator.race import collect
from orchestrator.race.steps import Said, Step
from tests.fakes.qemu.answers import STEP

CONFIG = "CONFIG_SMP=y\nCONFIG_KSM=y\n"
ANSWERS = {
    "uname": Said(0, "Linux guprace 6.1.0\n"),
    "config": Said(0, base64.b64encode(gzip.compress(CONFIG.encode())).decode()),
    "refresh": Said(0, ""),
    "tainted": Said(0, "4096\n"),
    "vmstat": Said(0, "pgfault 12\nnr_free_pages 7\n"),
    "kcsan": Said(0, "enabled: 1\ndata_races: 3\n"),
    "mark": Said(0, ""),
    "rearm": Said(1, "can't create /sys/kernel/debug/clear_warn_once\n"),
    "dmesg": Said(0, "[    0.0] Linux\n"),
}


class FakeGuest:
    """A guest that answers by a table, whose console shows the marks unless it is `blind`."""

    def __init__(self, room: Path, said: Mapping[str, Said] = {}, blind: bool = False) -> None:
        self.said = {**ANSWERS, **said}
        self.blind = blind
        self.console_log = room / "console.log"
        self.console_log.write_bytes(b"x" * 100)
        self.built = room / "config"
        self.built.write_text(CONFIG)
        self.done: list[list[str]] = []

    def run(self, command: str, seconds: float, on_line: Callable[[str], None] | None = None) -> CommandResult:
        text = ""
        self.done.append([])
        for step in STEP.finditer(command.partition("\n")[2] + "\n"):
            name = step["fence"].split()[1]
            self.done[-1].append(name)
            if name == "mark" and not self.blind:
                with self.console_log.open("a") as stream:
                    stream.write(step["command"].split("'")[1] + "\n" + "y" * 3_000_000)
            said = self.said.get(name, Said(0, ""))
            text += f"{said.text}\n{step['fence']} {said.status}\n"
        return CommandResult(0, text, "", 0.0)


def test_all_that_comes_before_a_race_is_one_exec_in_this_order(tmp_path: Path) -> None:
    guest = FakeGuest(tmp_path)
    before = collect.before(guest, (Step("insmod", "insmod x", must="no probe"),), guest.built, Stop())
    assert guest.done == [
        ["insmod", "uname", "config", "refresh", "tainted", "vmstat", "kcsan", "mark", "rearm"],
    ]
    assert (before.uname, before.config_lost, before.blind) == ("Linux guprace 6.1.0", (), "")
    assert before.counters == collect.Snapshot(
        4096, {"pgfault": 12, "nr_free_pages": 7}, {"enabled": 1, "data_races": 3}
    )
    assert before.mark.text in guest.console_log.read_text()


def test_all_that_comes_behind_a_race_is_one_exec_whose_counters_are_behind_the_mark(tmp_path: Path) -> None:
    guest = FakeGuest(tmp_path)
    after = collect.after(guest, Stop())
    assert guest.done == [["mark", "refresh", "tainted", "vmstat", "kcsan", "dmesg"]]
    assert (after.dmesg, after.blind, after.counters.taint) == ("[    0.0] Linux\n", "", 4096)


def test_a_kernel_whose_config_nobody_knows_is_not_asked_for_it(tmp_path: Path) -> None:
    guest = FakeGuest(tmp_path)
    assert collect.before(guest, (), None, Stop()).config_lost == ()
    assert "config" not in guest.done[0]


def test_a_kernel_without_kcsan_has_no_counters_of_it(tmp_path: Path) -> None:
    guest = FakeGuest(tmp_path, {"kcsan": Said(1, "cat: can't open it\n")})
    assert collect.after(guest, Stop()).counters.kcsan is None


@pytest.mark.parametrize(
    "said",
    [
        {"tainted": Said(0, "")},
        {"tainted": Said(0, "many\n")},
        {"tainted": Said(0, "²\n")},
        {"tainted": Said(0, "9" * 5000)},
        {"tainted": Said(1, "cat: can't open '/proc/sys/kernel/tainted'\n")},
        {"vmstat": Said(0, "")},
        {"vmstat": Said(1, "pgfault 12\n")},
    ],
)
def test_a_guest_without_a_readable_proc_is_unfit(tmp_path: Path, said: Mapping[str, Said]) -> None:
    with pytest.raises(GuestUnfitError, match="no taint or no vmstat"):
        collect.after(FakeGuest(tmp_path, said), Stop())


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (Said(0, base64.b64encode(gzip.compress(b"CONFIG_SMP=y\n")).decode()), "CONFIG_KSM: built y, booted n"),
        (Said(1, "base64: /proc/config.gz: No such file or directory\n"), "cannot be read"),
        (Said(0, "bm8gZ3ppcA=="), "no gzip file"),
        (Said(0, "\ufffd\u20ac"), "no gzip file"),
        (Said(0, "A"), "no gzip file"),
    ],
)
def test_a_configuration_that_is_not_the_one_built_is_told(tmp_path: Path, said: Said, told: str) -> None:
    guest = FakeGuest(tmp_path, {"config": said})
    (difference,) = collect.before(guest, (), guest.built, Stop()).config_lost
    assert told in difference


def test_a_console_that_does_not_show_the_mark_is_blind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "MARK_SECONDS", 0.1)
    assert "did not reach it" in collect.before(FakeGuest(tmp_path, blind=True), (), None, Stop()).blind
    refused = FakeGuest(tmp_path, {"mark": Said(1, "sh: can't create /dev/kmsg\n")})
    assert "/dev/kmsg cannot be written: sh: can't create" in collect.after(refused, Stop()).blind


def test_counters_are_read_and_what_is_none_is_left_out_quickly() -> None:
    hostile = "a" + " " * 1_000_000 + "x"
    text = f"pgfault 12\nassert failures: 0\nreport races: -3\nnot one\n{hostile}\nhuge {'9' * 5000}\n"
    started = time.monotonic()
    assert collect.counters(text) == {"pgfault": 12, "assert failures": 0, "report races": -3}
    assert time.monotonic() - started < 5
