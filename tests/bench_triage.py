# SPDX-License-Identifier: GPL-2.0-only
"""Measure how fast consoles are read: `python -m tests.bench_triage [MB]`.

Two consoles are made up of recorded lines: a quiet one (boot and driver chatter, no report) and one that is nothing
but reports. Time is the CPU's, so that a busy machine does not matter; memory is the process's peak.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from orchestrator.splat.lines import CHUNK
from orchestrator.splat.model import Scan
from orchestrator.splat.scan import Scanner, scan

DATA = Path(__file__).parent / "data" / "splat"


def quiet() -> bytes:
    """Return a console's lines without any report."""
    lines = (DATA / "x86_64-6.1-kcsan-pin_vs_munmap.log").read_bytes().splitlines(keepends=True)
    found = scan(DATA / "x86_64-6.1-kcsan-pin_vs_munmap.log")
    inside = {number for s in found.splats for number in range(s.start_line, s.end_line + 1)}
    rest = [line for number, line in enumerate(lines, 1) if number not in inside and b"=====" not in line]
    return b"".join(line for line in rest if not any(word in line for word in (b"BUG", b"Linux version", b"mark")))


def noisy() -> bytes:
    """Return a console's lines that are nothing but reports."""
    found = scan(DATA / "x86_64-6.1-kcsan-pin_vs_munmap.log")
    lines = (DATA / "x86_64-6.1-kcsan-pin_vs_munmap.log").read_bytes().splitlines(keepends=True)
    return b"".join(b"".join(lines[s.start_line - 1 : s.end_line]) for s in found.splats)


def chunks(piece: bytes, total: int) -> Iterator[bytes]:
    """Yield `piece` again and again, in chunks as a file gives them, until `total` bytes came."""
    block = piece * (CHUNK // len(piece) + 2)
    sent = at = 0
    while sent < total:
        yield block[at : at + CHUNK]
        sent += CHUNK
        at = (at + CHUNK) % len(piece)


def measure(name: str, piece: bytes, total: int) -> Scan:
    """Read `total` bytes and print the rate and the peak memory."""
    scanner, started = Scanner(), time.process_time()
    for chunk in chunks(piece, total):
        scanner.feed(chunk)
    found = scanner.finish()
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    reports = sum(splat.count for splat in found.splats)
    print(f"{name:<6} {total / 1e6:7.0f} MB  {total / 1e6 / seconds:6.1f} MB/s  {reports:7d} reports  peak {peak} MB")
    return found


def main() -> None:
    """Run both."""
    total = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 100_000_000
    measure("quiet", quiet(), total)
    measure("noisy", noisy(), total // 4)


if __name__ == "__main__":
    main()
