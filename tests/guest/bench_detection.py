# SPDX-License-Identifier: GPL-2.0-only
"""Measure: how surely and how soon the control is caught, and that the stock kernel gives no hit.

    .venv/bin/python -m tests.guest.bench_detection --runs 20

Each run is a fresh guest with a fresh seed, through `guprace run`; the figures come from the run directories.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from orchestrator.runner.rundir import CellResult, open_run

ROOT = Path(__file__).resolve().parents[2]
CELLS = ("6.1+M01/arm64/plain/pin_vs_munmap", "6.1/arm64/plain/pin_vs_munmap")


def one_run(cell: str, runs: Path) -> CellResult:
    """Run one cell in a fresh run directory and return what it left."""
    before = set(runs.iterdir())
    matrix = ROOT / "configs" / "quick.yaml"
    argv = [sys.executable, "-m", "orchestrator", "run", str(matrix), "--only", cell, "--runs", str(runs)]
    subprocess.run(argv, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
    (new,) = set(runs.iterdir()) - before
    return open_run(new).results()[0]


def report(cell: str, results: list[CellResult]) -> None:
    """Print outcomes and distributions for one cell."""
    verdicts = [result.verdict for result in results]
    outcomes = Counter(str(v.outcome) if v else "none" for v in verdicts)
    hits = sum(v.hits for v in verdicts if v)
    trials = [v.trials for v in verdicts if v]
    print(f"{cell}: {len(results)} runs: {dict(outcomes)}, {hits} hits")
    print(f"  trials per run: median {statistics.median(trials):.0f}, all {sum(trials)}")
    firsts = sorted(v.seconds_to_hit for v in verdicts if v and v.seconds_to_hit is not None)
    if firsts:
        print(f"  seconds of racing to the first hit: median {statistics.median(firsts):.3f}, worst {firsts[-1]:.3f}")
    backoffs = [r.evidence.race.total("backoffs") for r in results if r.evidence]
    if backoffs:
        print(f"  back-offs per run: median {statistics.median(backoffs):.0f}, least {min(backoffs)}")


def main() -> None:
    """Run every cell as often as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--cell", action="append", help="default: the M01 control and its stock kernel")
    asked = parser.parse_args()
    for cell in asked.cell or CELLS:
        with tempfile.TemporaryDirectory(prefix="guprace-bench-") as temporary:
            report(cell, [one_run(cell, Path(temporary)) for _ in range(asked.runs)])


if __name__ == "__main__":
    main()
