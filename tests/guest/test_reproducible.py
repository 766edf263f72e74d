# SPDX-License-Identifier: GPL-2.0-only
"""Same digest, same bytes: one file of a real kernel, built twice, in two places."""

from __future__ import annotations

import os
import shutil
import subprocess
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


def test_one_file_built_in_two_places_is_the_same(tmp_path: Path) -> None:
    project = Project()
    spec = next(cell.kernel for cell in load_plan(project.configs / "quick.yaml", project).cells
                if cell.id.startswith("6.1/arm64/plain/"))  # fmt: skip
    # Without ccache: the second compilation must be one.
    environ = {**os.environ, "CCACHE_DISABLE": "1"}
    place = Workplace(cache_root(os.environ), environ, Stop())
    tree = resolve(spec.source, place)
    assert isinstance(tree, ArchiveTree)
    tools = identify(spec.arch, spec.toolchain, place.stop, environ)
    built = []
    for name in ("here", "somewhere/else"):
        source = tmp_path / name / "src"
        source.parent.mkdir(parents=True)
        # A different path for the source, so that a path in the object would show.
        subprocess.run(["cp", "-a", "--reflink=auto", str(tree.pristine(place)), str(source)], check=True)
        make = KernelMake(source, tmp_path / name / "obj", tools, tmp_path / name / "log", os.cpu_count() or 1, place)
        make.objects.mkdir()
        configure(spec, make, lambda text: None)
        make("mm/gup.o")
        built.append((make.objects / "mm" / "gup.o").read_bytes())
        shutil.rmtree(source)
    assert built[0] == built[1]
