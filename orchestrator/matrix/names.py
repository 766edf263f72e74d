# SPDX-License-Identifier: GPL-2.0-only
"""The names a matrix may use: what lies in the project's directories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from orchestrator.matrix.plan import Arch, Fragment
from orchestrator.matrix.upstream import program_of, upstream_scenarios
from orchestrator.paths import Project

BASE = "base"


@dataclass(frozen=True, slots=True)
class Names:
    """Flavours, scenarios and mutants that exist, sorted, and the kernels that the matrix at hand defines."""

    flavours: tuple[str, ...]
    scenarios: tuple[str, ...]
    mutants: tuple[str, ...]
    kernels: tuple[str, ...] = ()


def names_of(project: Project, kernels: tuple[str, ...] = ()) -> Names:
    """Return the names: flavours are fragments, mutants YAML records, scenarios C files of `project`, and the
    kernel's own selftests."""
    not_flavours = {BASE, *Arch}
    return Names(
        flavours=tuple(name for name in _stems(project.fragments, "*.config") if name not in not_flavours),
        scenarios=(*_stems(project.selftests / "scenarios", "*.c"), *upstream_scenarios()),
        mutants=_stems(project.mutants, "*.yaml"),
        kernels=kernels,
    )


def matching(pattern: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of `known` that are `pattern`, or match it where it is a glob (* and ?).

    A glob stays within its kind: `*` is every race of ours, `kselftest:*` every selftest of the kernel's.
    """
    kind = program_of(pattern) is not None
    own = (name for name in known if (program_of(name) is not None) is kind)
    return tuple(name for name in own if name == pattern or fnmatchcase(name, pattern))


def fragments_of(project: Project, arch: Arch, flavour: str, scenarios: Iterable[str]) -> tuple[Fragment, ...]:
    """Return the Kconfig fragments of a lane in merge order: base, architecture, flavour, then its scenarios'.

    The kernel's own selftests have none: a lane that races them too has the kernel that it had without.
    """
    wanted = [(BASE, BASE), (arch.value, "architecture"), (flavour, "flavour")]
    fragments = [Fragment(project.fragments / f"{name}.config", role) for name, role in wanted]
    for scenario in sorted(name for name in scenarios if program_of(name) is None):
        path = project.selftests / "scenarios" / f"{scenario}.config"
        if path.is_file():
            fragments.append(Fragment(path, "scenario"))
    return tuple(fragments)


def _stems(directory: Path, pattern: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in directory.glob(pattern)))
