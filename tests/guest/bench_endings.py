# SPDX-License-Identifier: GPL-2.0-only
"""Measure: from a guest's panic to the verdict, and from Ctrl-C to the prompt.

.venv/bin/python -m tests.guest.bench_endings --runs 5
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CELL = "6.1/arm64/plain/pin_vs_munmap"
# The race's command is replaced by a panic: everything around it is the product.
PANIC = """
import sys
from orchestrator.race import session
session.Order.command = property(lambda self: "sleep 1; echo c > /proc/sysrq-trigger; sleep 99")
from orchestrator.cli.main import main
main()
"""


def start(code: list[str], runs: Path) -> subprocess.Popen[bytes]:
    """Start `guprace run` of the one cell."""
    matrix = str(ROOT / "configs" / "quick.yaml")
    argv = [sys.executable, *code, "run", matrix, "--only", CELL, "--runs", str(runs)]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_for(pattern: str, runs: Path, text: bytes, process: subprocess.Popen[bytes]) -> float:
    """Return the moment at which a file matching `pattern` below `runs` contains `text`."""
    while process.poll() is None:
        if any(text in path.read_bytes() for path in runs.glob(pattern)):
            return time.time()
        time.sleep(0.01)
    raise SystemExit(f"guprace ended before {text!r} came")


def panic_to_verdict(runs: Path) -> float:
    """Return seconds from the panic on the console to verdict.json."""
    process = start(["-c", PANIC], runs)
    panicked = wait_for(f"*/{CELL}/console.log", runs, b"Kernel panic - not syncing", process)
    process.wait()
    (verdict,) = runs.glob(f"*/{CELL}/verdict.json")
    if b'"LOST"' not in verdict.read_bytes():
        raise SystemExit(f"not LOST: {verdict.read_text()}")
    return verdict.stat().st_mtime - panicked


def interrupt_to_prompt(runs: Path) -> float:
    """Return seconds from SIGINT during the race to the end of guprace; checks that no QEMU is left."""
    process = start(["-m", "orchestrator"], runs)
    wait_for("*/events.ndjson", runs, b'"stage":"race","state":"started"', process)
    started = time.time()
    os.kill(process.pid, signal.SIGINT)
    process.wait()
    took = time.time() - started
    if process.returncode != 130:
        raise SystemExit(f"exit code {process.returncode}, not 130")
    left = subprocess.run(["pgrep", "-f", f"qemu-system.*{runs}"], capture_output=True, check=False)
    if left.returncode == 0:
        raise SystemExit("a QEMU is left")
    return took


def main() -> None:
    """Measure each as often as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    for what in (panic_to_verdict, interrupt_to_prompt):
        taken = []
        for _ in range(asked.runs):
            with tempfile.TemporaryDirectory(prefix="guprace-bench-") as temporary:
                taken.append(what(Path(temporary)))
        print(f"{what.__name__}: worst {max(taken):.2f} s of {', '.join(f'{t:.2f}' for t in taken)}")


if __name__ == "__main__":
    main()
