# SPDX-License-Identifier: GPL-2.0-only
"""From a matrix file, or from one tree, to a plan."""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.matrix.document import Document, read
from orchestrator.matrix.expand import expand
from orchestrator.matrix.names import fragments_of, names_of
from orchestrator.matrix.plan import (
    Arch,
    Cell,
    GuestSettings,
    KernelSpec,
    Plan,
    RaceSettings,
    TreeSource,
    cell_id,
)
from orchestrator.matrix.problems import suggestion
from orchestrator.matrix.schema import Matrix
from orchestrator.matrix.validate import validate
from orchestrator.matrix.values import Context
from orchestrator.paths import Project

TREE = "tree"


def load_plan(path: Path, project: Project) -> Plan:
    """Read the matrix file `path` and expand it; the plan names the file as the caller did.

    Raises:
        UsageError: the file is missing or wrong; all that is wrong in one message, with line, column and keys.
    """
    document = read(path)
    names = names_of(project, kernels=_kernels(document))
    matrix = validate(document, Matrix, Context(path.parent.absolute(), names))
    return Plan(matrix.name, path, expand(matrix, document, project))


def plan_for_tree(tree: Path, cell: str, project: Project, guest: GuestSettings, race: RaceSettings) -> Plan:
    """Return the plan of one cell of the kernel in `tree`, as `bisect-step` needs it.

    `cell` is architecture/flavour/scenario, such as `arm64/plain/pin_vs_munmap`; the kernel's name is `tree`.

    Raises:
        UsageError: no such directory, or a name in `cell` is unknown.
    """
    if not tree.is_dir():
        raise UsageError("no such directory", where=str(tree), hint="--tree takes a kernel source tree")
    parts = cell.split("/")
    if len(parts) != 3:
        hint = "such as arm64/plain/pin_vs_munmap"
        raise UsageError(f"cell {cell!r} is not architecture/flavour/scenario", hint=hint)
    names = names_of(project)
    known = (("architecture", tuple(Arch)), ("flavour", names.flavours), ("scenario", names.scenarios))
    for part, (kind, choices) in zip(parts, known, strict=True):
        if part not in choices:
            raise UsageError(f"unknown {kind} {part!r} in cell {cell!r}{suggestion(part, map(str, choices))}")
    arch, flavour, scenario = Arch(parts[0]), parts[1], parts[2]
    fragments = fragments_of(project, arch, flavour, (scenario,))
    kernel = KernelSpec(TREE, TreeSource(tree.absolute()), arch, flavour, (), fragments)
    return Plan(TREE, tree, (Cell(cell_id(kernel, scenario), kernel, scenario, guest, race),))


def _kernels(document: Document) -> tuple[str, ...]:
    """Return the names that the file itself defines, before anything of it is known to be right."""
    kernels = document.data.get("kernels") if isinstance(document.data, dict) else None
    return tuple(kernels) if isinstance(kernels, dict) else ()
