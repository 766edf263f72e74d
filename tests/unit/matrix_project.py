# SPDX-License-Identifier: GPL-2.0-only
"""A small project to load matrices against: two scenarios, of which one has a Kconfig fragment, and two mutants."""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.matrix.load import load_plan
from orchestrator.matrix.plan import Plan
from orchestrator.paths import Project

M01 = """\
id: M01
principle: P4
title: no re-read
patches: {"6.1": M01-6.1.patch, "6.12": M01-6.12.patch}
scenarios: [a_vs_b, c_vs_d]
expect: {arm64: caught, x86_64: silent}
why: x86_64 waits for the walker
"""
M02 = M01.replace("M01", "M02").replace(', "6.12": M02-6.12.patch', "").replace("x86_64: silent", "x86_64: caught")
MATRIX = """\
name: small
kernels: {"6.1": {deb: linux-source-6.1}, "6.12": {deb: linux-source-6.12}}
scenarios: a_vs_b
"""


def make_project(root: Path) -> Project:
    """Write the project below `root`."""
    files = {f"configs/fragments/{name}.config": "" for name in ("base", "x86_64", "arm64", "plain", "kcsan")}
    files |= {"kselftests/scenarios/a_vs_b.c": "", "kselftests/scenarios/c_vs_d.c": ""}
    files |= {"kselftests/scenarios/c_vs_d.config": ""}
    files |= {"configs/mutants/M01.yaml": M01, "configs/mutants/M02.yaml": M02}
    files |= {f"configs/mutants/{name}.patch": "" for name in ("M01-6.1", "M01-6.12", "M02-6.1")}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Project(root)


def load(text: str, project: Project) -> Plan:
    """Load `text` as the matrix `matrix.yaml` of `project`."""
    path = project.root / "matrix.yaml"
    path.write_text(text)
    return load_plan(path, project)


def refusal(text: str, project: Project) -> str:
    """Return what the error says that `text` gets, without the directory; a plan is returned as text instead."""
    try:
        return str(load(text, project))
    except UsageError as error:
        return str(error).replace(f"{project.root}/", "")


def example_matrices() -> list[Path]:
    """Return the matrices of the real project: what names the matrix schema in its first line."""
    files = sorted(Project().configs.glob("*.yaml"))
    return [path for path in files if "matrix.schema.json" in path.read_text().partition("\n")[0]]
