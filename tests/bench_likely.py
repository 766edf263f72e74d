# SPDX-License-Identifier: GPL-2.0-only
"""Measure: how many scenarios race a patch that nobody knows before one that exposes it has its turn.

    .venv/bin/python -m tests.bench_likely [--series 6.12]

Each patch of the catalogue is taken for an unknown one, its own record left out: beside the alphabet.
"""

from __future__ import annotations

import argparse
from statistics import mean

from orchestrator.matrix.likely import likely_first
from orchestrator.matrix.mutants import MutantExpectation, load_mutants
from orchestrator.matrix.plan import Arch
from orchestrator.paths import Project


def main() -> None:
    """Print the mean place of the first scenario that a record names, by architecture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--series", default="6.12")
    series = parser.parse_args().series
    mutants = load_mutants(Project())
    scenarios = sorted(source.stem for source in (Project().selftests / "scenarios").glob("*.c"))
    for arch in Arch:
        ways: list[tuple[int, int]] = []
        for mutant in mutants:
            own, patch = mutant.scenarios_on(arch), mutant.patches.get(series)
            if patch is None or mutant.expected(arch, series) is not MutantExpectation.CAUGHT:
                continue
            others = [other for other in mutants if other is not mutant]
            likely = likely_first(patch, scenarios, arch, others)
            ways.append((min(map(likely.index, own)), min(map(scenarios.index, own))))
        ours, alphabet = (mean(way) for way in zip(*ways, strict=True))
        first = sum(place == 0 for place, _ in ways)
        print(f"{series}/{arch}: {len(ways)} mutants, {ours:.1f} before it (alphabet: {alphabet:.1f}), {first} first")


if __name__ == "__main__":
    main()
