# SPDX-License-Identifier: GPL-2.0-only
"""Same digest, same bytes: one file of a real kernel, built twice, in two places."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from orchestrator.kernel.configure import configure
from orchestrator.kernel.make import KernelMake
from orchestrator.kernel.source import ArchiveTree, Workplace, resolve
from orchestrator.kernel.toolchain import identify
from orchestrator.matrix.load import load_plan
from orchestrator.paths import Project, cache_root
from orchestrator.proc import Stop

pytestmark = [pytest.mark.guest, pytest.mark.timeout(1800)]


def test_one_file_built_in_two_places_is_the_same() -> None:
    project = Project()
    cells = load_plan(project.configs / "quick.yaml", project).cells
    spec = next(cell.kernel for cell in cells if cell.id.startswith("6.1/arm64/plain/"))
    # Without ccache: the second compilation must be one.
    environ = {**os.environ, "CCACHE_DISABLE": "1"}
    place = Workplace(cache_root(os.environ), environ, Stop())
    tree = resolve(spec.source, place)
    assert isinstance(tree, ArchiveTree)
    pristine = tree.pristine(place)
    tools = identify(spec.arch, spec.toolchain, place.stop, environ)

    def build(root: Path) -> bytes:
        root.mkdir(parents=True)
        # A different path for the source, so that a path in the object would show.
        subprocess.run(["cp", "-al", str(pristine), str(root / "src")], check=True)
        make = KernelMake(root / "src", root / "obj", tools, root / "log", 1, place)
        configure(spec, make, lambda text: None)
        make("mm/gup.o")
        return (make.objects / "mm" / "gup.o").read_bytes()

    with (
        tempfile.TemporaryDirectory(dir=place.cache, prefix="reproducible-") as temporary,
        concurrent.futures.ThreadPoolExecutor(2) as pool,
    ):
        here, elsewhere = pool.map(build, (Path(temporary) / "here", Path(temporary) / "somewhere/else"))
    assert here == elsewhere
