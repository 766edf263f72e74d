# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own mm selftests that a matrix may name as scenarios, `kselftest:<program>`: the table, and its words.

Whether a kernel's tree has a program, its arguments and its time limit are read from that tree (its Makefile,
run_vmtests.sh and settings), never from here: only what the tree does not say is in the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = "kselftest:"


@dataclass(frozen=True, slots=True)
class Program:
    """One program of tools/testing/selftests/mm (vm before v6.3).

    `huge_pages`: its tests want hugetlb pages, which are reserved for it as run_vmtests.sh does for all of them.
    `cflags`: what it does not compile without. `vcpus`: with fewer it skips everything.
    """

    name: str
    huge_pages: bool = False
    cflags: tuple[str, ...] = ()
    vcpus: int = 2


PROGRAMS: Mapping[str, Program] = {
    program.name: program
    for program in (
        Program("cow", huge_pages=True),
        Program("gup_longterm", huge_pages=True),
        Program("gup_test", huge_pages=True),
        # v6.12.y has the use but not the include of kselftest.h, which defines it alike.
        Program("khugepaged", cflags=("-DKSFT_SKIP=4",)),
        Program("ksm_functional_tests"),
        Program("memfd_secret"),
        # A thread for each processor but one, and it wants two.
        Program("migration", huge_pages=True, vcpus=3),
    )
}


def upstream_scenarios() -> tuple[str, ...]:
    """Return the scenario names of all programs, sorted."""
    return tuple(sorted(f"{PREFIX}{name}" for name in PROGRAMS))


def program_of(scenario: str) -> str | None:
    """Return the program that a scenario names, None for a race of ours."""
    return scenario.removeprefix(PREFIX) if scenario.startswith(PREFIX) else None
