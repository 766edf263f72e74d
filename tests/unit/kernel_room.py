# SPDX-License-Identifier: GPL-2.0-only
"""A kernel room on fakes: a fake tree, a cache of its own, real make and git."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.kernel.build import KernelBuilder
from orchestrator.kernel.source import Workplace
from orchestrator.matrix.plan import Arch, Fragment, KernelSpec, Source, TreeSource
from orchestrator.paths import Project
from orchestrator.proc import Stop
from tests.fakes.kernel_tree import make_kernel_tree

PROJECT = Project()
M01 = PROJECT.mutants / "M01-6.1.patch"


@dataclass
class Room:
    """Where a test builds kernels."""

    root: Path
    tree: Path
    stop: Stop = field(default_factory=Stop)

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def builder(self) -> KernelBuilder:
        return KernelBuilder(Workplace(self.cache, dict(os.environ), self.stop), PROJECT, 2)

    def fragment(self, text: str, name: str = "extra.config") -> Fragment:
        path = self.root / name
        path.write_text(text)
        return Fragment(path, "user")

    def spec(
        self,
        source: Source | None = None,
        patches: tuple[Path, ...] = (),
        extra: tuple[Fragment, ...] = (),
        flavour: str = "plain",
    ) -> KernelSpec:
        names = (("base", "base"), ("arm64", "arch"), (flavour, "flavour"))
        fragments = tuple(Fragment(PROJECT.fragments / f"{name}.config", role) for name, role in names)
        return KernelSpec("fake", source or TreeSource(self.tree), Arch.ARM64, flavour, patches, (*fragments, *extra))


def all_fragments() -> list[Path]:
    """Return every Kconfig fragment of the project, the scenarios' included."""
    return [*PROJECT.fragments.glob("*.config"), *(PROJECT.selftests / "scenarios").glob("*.config")]


def make_room(root: Path, unmet: tuple[str, ...] = ()) -> Room:
    return Room(root, make_kernel_tree(root / "tree", all_fragments(), M01, unmet))


def manifest(root: Path) -> dict[str, tuple[int, int]]:
    """Return size and modification time of every file below `root`."""
    return {
        str(path.relative_to(root)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }
