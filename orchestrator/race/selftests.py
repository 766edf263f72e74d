# SPDX-License-Identifier: GPL-2.0-only
"""Scenario binaries: static, built once per architecture, compiler and source."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import HostError
from orchestrator.kernel.cache import Store, digest_of, tree_digest
from orchestrator.kernel.source import Workplace
from orchestrator.kernel.toolchain import KERNEL_ARCHES, cross_prefix, identify
from orchestrator.matrix.plan import Arch, Toolchain
from orchestrator.paths import Project
from orchestrator.proc import run

SYNC_TEST = "sync_test"


@dataclass(frozen=True, slots=True)
class Selftests:
    """The static programs of one architecture in `directory`: one per scenario, and the synchroniser's self-test."""

    digest: str
    directory: Path

    @property
    def sync_test(self) -> Path:
        """The self-test that each guest has to pass before it races."""
        return self.directory / SYNC_TEST


def build_selftests(arch: Arch, project: Project, place: Workplace) -> Selftests:
    """Build all scenarios for `arch`, or take them from the cache.

    Raises:
        HostError: no compiler, or they do not compile; holds the compiler's words.
    """
    tools = identify(arch, Toolchain.GCC, place.stop, place.environ)
    sources = tree_digest(project.selftests, leave_out=("build",))
    digest = digest_of([arch, tools.identity, sources])
    store = Store(place.cache / "selftests")
    if found := store.find(digest):
        return Selftests(digest, found[0])
    programs = [*sorted(path.stem for path in (project.selftests / "scenarios").glob("*.c")), SYNC_TEST]
    with tempfile.TemporaryDirectory(prefix="guprace-selftests-") as temporary:
        out = Path(temporary)
        argv = ["make", "-C", str(project.selftests), f"ARCH={KERNEL_ARCHES[arch].make_arch}", f"OUT={out}"]
        if prefix := cross_prefix(arch):
            argv.append(f"CROSS_COMPILE={prefix}")
        # Not the outer make's jobserver and variables.
        env = {name: value for name, value in place.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        run(argv, stop=place.stop, seconds=600, env=env)
        missing = [name for name in programs if not (out / name).is_file()]
        if missing:
            raise HostError(f"the selftests' make left no {', '.join(missing)}", where=str(project.selftests))
        where = store.add(digest, {name: out / name for name in programs}, {"toolchain": tools.identity})
    return Selftests(digest, where)
