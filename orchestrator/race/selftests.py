# SPDX-License-Identifier: GPL-2.0-only
"""Scenario binaries: static, built once per architecture, compiler and source."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import HostError
from orchestrator.kernel.cache import Store, digest_of, tree_digest
from orchestrator.kernel.source import Workplace
from orchestrator.kernel.toolchain import KERNEL_ARCHES, Tools, cross_prefix, identify
from orchestrator.matrix.plan import Arch, Toolchain
from orchestrator.paths import Project
from orchestrator.proc import run

SYNC_TEST = "sync_test"
# What the Makefile builds below its own directory, for whoever calls it by hand.
_BUILT = "build"


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
    store = Store(place.cache / "selftests")
    digest = _digest(arch, tools, project.selftests)
    if found := store.find(digest):
        return Selftests(digest, found[0])
    with tempfile.TemporaryDirectory(prefix="guprace-selftests-") as temporary:
        # A copy, which nobody edits while make reads it: it names what is built of it.
        sources, out = Path(temporary) / "kselftests", Path(temporary) / "out"
        _copy(project.selftests, sources)
        digest = _digest(arch, tools, sources)
        programs = _make(arch, sources, out, place)
        where = store.add(digest, programs, {"toolchain": tools.identity})
    return Selftests(digest, where)


def _digest(arch: Arch, tools: Tools, sources: Path) -> str:
    return digest_of([arch, tools.identity, tree_digest(sources, leave_out=(_BUILT,))])


def _copy(sources: Path, into: Path) -> None:
    def left_out(directory: str, names: list[str]) -> list[str]:
        return [_BUILT] if Path(directory) == sources else []

    try:
        shutil.copytree(sources, into, ignore=left_out)
    except (OSError, shutil.Error) as error:
        raise HostError(f"cannot copy the selftests: {error}", where=str(into)) from error


def _make(arch: Arch, sources: Path, out: Path, place: Workplace) -> dict[str, Path]:
    """Build the programs in `out` and return them by name."""
    programs = [*sorted(path.stem for path in (sources / "scenarios").glob("*.c")), SYNC_TEST]
    argv = ["make", "-C", str(sources), f"ARCH={KERNEL_ARCHES[arch].make_arch}", f"OUT={out}"]
    if prefix := cross_prefix(arch):
        argv.append(f"CROSS_COMPILE={prefix}")
    # Not the outer make's jobserver and variables.
    env = {name: value for name, value in place.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    run(argv, stop=place.stop, seconds=600, env=env)
    missing = [name for name in programs if not (out / name).is_file()]
    if missing:
        raise HostError(f"the selftests' make left no {', '.join(missing)}", where="kselftests")
    return {name: out / name for name in programs}
