# SPDX-License-Identifier: GPL-2.0-only
"""What a console tells about a guest that does not answer, however it is cut, and whatever it contains."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.guest.model import LostReason
from orchestrator.guest.scanner import TAIL_BYTES, ConsoleScanner, clean
from orchestrator.guest.watch import ended

DATA = Path(__file__).parents[1] / "data" / "guest"


def scan(data: bytes, piece: int = 65536) -> ConsoleScanner:
    scanner = ConsoleScanner()
    for at in range(0, len(data), piece):
        scanner.feed(data[at : at + piece])
    scanner.finish()
    return scanner


@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_a_recorded_panic_is_found_however_the_bytes_come(piece: int) -> None:
    scanner = scan((DATA / "panic.log").read_bytes(), piece)
    assert scanner.panic is not None
    assert scanner.panic.endswith("Kernel panic - not syncing: sysrq triggered crash")
    assert scanner.boots == 1
    assert "sysrq: Trigger a crash" in " ".join(scanner.last_lines())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[   52.1][   C1] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [x:88]", LostReason.SOFT_LOCKUP),
        (b"[   52.1][   T9] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", LostReason.RCU_STALL),
        (b"[   52.1][   C0] rcu: INFO: rcu_preempt self-detected stall on CPU", LostReason.RCU_STALL),
        (b"[   52.1][   T9] rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks:", LostReason.RCU_STALL),
        (b"[   52.1] INFO: task kworker/0:1:12 blocked for more than 120 seconds.", LostReason.HUNG_TASK),
    ],
)
def test_a_report_of_a_lockup_is_remembered_with_its_line(line: bytes, reason: LostReason) -> None:
    scanner = scan(b"[    0.0] Linux version 6.1\r\n" + line + b"\r\n")
    assert scanner.report is not None
    assert (scanner.report.reason, scanner.report.line) == (reason, line.decode())


def test_the_last_report_counts() -> None:
    scanner = scan(
        b"[1.0] INFO: task a:1 blocked for more than 120 seconds.\n[2.0] watchdog: BUG: soft lockup - CPU#0\n"
    )
    assert scanner.report is not None
    assert scanner.report.reason is LostReason.SOFT_LOCKUP


def test_a_quoted_panic_is_no_panic() -> None:
    scanner = scan(
        b"[    1.0][   T9] guprace: the last run said Kernel panic - not syncing: x\necho Linux version 6\n"
    )
    assert scanner.panic is None
    assert scanner.boots == 0


def test_a_second_boot_is_counted() -> None:
    assert scan(b"[    0.000000] Linux version 6.1.0 (x)\r\n" * 2).boots == 2


def test_a_flood_of_200_mb_costs_no_memory() -> None:
    scanner = ConsoleScanner()
    chunk = b"[    9.0][   T71] printk: the same line again and again and again\r\n" * 1000
    for _ in range(200_000_000 // len(chunk)):
        scanner.feed(chunk)
    assert scanner.total > 199_000_000
    assert len(scanner._tail) <= TAIL_BYTES


def test_a_line_without_end_is_bounded() -> None:
    scanner = ConsoleScanner()
    for _ in range(100):
        scanner.feed(b"x" * 100_000)
    assert len(scanner._partial) <= 4096


@given(st.binary(max_size=3000), st.integers(1, 700))
def test_any_bytes_in_any_pieces_give_printable_last_lines(data: bytes, piece: int) -> None:
    for line in scan(data, piece).last_lines():
        assert line.isprintable() or all(c.isprintable() or c in " \u00a0" or not c.isascii() for c in line)


def test_escape_sequences_and_control_characters_are_removed() -> None:
    assert clean(b"\x1b[31mred\x1b[0m\x00 tab\there\x07\xff\r") == "red tab here\ufffd"


@pytest.mark.parametrize(
    ("console", "shutdown", "code", "reason", "detail"),
    [
        (b"[1.0] Kernel panic - not syncing: x\n", "guest-reset", 0, LostReason.PANIC, "not syncing: x"),
        (b"", "guest-reset", 0, LostReason.REBOOT, "the guest reset itself"),
        (b"", "guest-shutdown", 0, LostReason.REBOOT, "powered itself off"),
        (b"[1.0][    T1] guprace-init: cannot find eth0\n", "guest-reset", 0, LostReason.BOOT_FAILED, "eth0"),
        (b"", "", 0, LostReason.REBOOT, "reset itself or powered"),
        (b"", "host-signal", 0, LostReason.QEMU_DIED, "ended by the host (host-signal)"),
        (b"", "", -9, LostReason.QEMU_DIED, "signal 9"),
        (b"", "", 1, LostReason.QEMU_DIED, "exit code 1: out of memory"),
    ],
)
def test_the_end_of_qemu_is_told_by_console_event_and_code(
    console: bytes, shutdown: str, code: int, reason: LostReason, detail: str
) -> None:
    got, text = ended(code, shutdown, scan(console), "out of memory" if code == 1 else "")
    assert got is reason
    assert detail in text
