# SPDX-License-Identifier: GPL-2.0-only
"""The shape of the house: imports point one way along the flow, processes have one door, nothing grows too long."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.paths import Project

PACKAGE = Project().root / "orchestrator"
# What stands left may be imported by what stands right of it; the first group is the floor of all rooms.
FLOW = ("floor", "matrix", "kernel", "image", "guest", "race", "splat", "verdict", "runner", "report", "cli")
FLOOR = ("errors", "proc", "paths", "records", "words")
MODULE_LINES = 400
FUNCTION_LINES = 60

STARTER = re.compile(
    r"subprocess\.|os\.(system|popen|exec|spawn|posix_spawn|fork)|pexpect\.spawn|.*create_subprocess_"
)

# Three tests read each module's tree.
parsed = functools.cache(ast.parse)
Import = tuple[int, str]
"""Line, and the dotted name that is imported."""


def imports_of(tree: ast.AST, package: tuple[str, ...]) -> Iterator[Import]:
    """Yield every import, at any depth, with relative ones made absolute; `package` is the module's own package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            yield from ((node.lineno, text) for text in texts if isinstance(text, str))


def room_of(name: str) -> str | None:
    """Return the room that a dotted name leads to, None outside of the package."""
    parts = name.split(".")
    if parts[0] != "orchestrator" or len(parts) < 2:
        return None
    return "floor" if parts[1] in FLOOR else parts[1]


def wrong_imports(text: str, where: str) -> list[str]:
    """Return the imports of a module, called `where` below the package, that point to the right."""
    parts = Path(where).with_suffix("").parts
    own = "cli" if where in ("__main__.py", "__init__.py") else room_of(".".join(("orchestrator", *parts)))
    assert own in FLOW, f"{where}: a room that the flow does not know"
    found = []
    for line, name in imports_of(parsed(text), ("orchestrator", *parts[:-1])):
        room = room_of(name)
        if room is not None and (room not in FLOW or FLOW.index(room) > FLOW.index(own)):
            found.append(f"{where}:{line}: {own} imports {name}")
    return found


def long_functions(text: str, where: str) -> list[str]:
    """Return the functions of a module that are too long, with their length."""
    functions = [node for node in ast.walk(parsed(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = [(node, (node.end_lineno or node.lineno) - node.lineno + 1) for node in functions]
    return [f"{where}:{node.lineno}: {node.name}, {lines} lines" for node, lines in lengths if lines > FUNCTION_LINES]


def modules() -> list[tuple[str, str]]:
    """Return every module of the package: its path below the package, and its text."""
    return [(str(path.relative_to(PACKAGE)), path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))]


def test_imports_point_only_to_the_left() -> None:
    assert [line for where, text in modules() for line in wrong_imports(text, where)] == []


@pytest.mark.parametrize(
    ("where", "text", "right"),
    [
        ("matrix/plan.py", "from orchestrator.kernel.model import Kernel", False),
        ("matrix/plan.py", "def f():\n    import orchestrator.cli.main", False),
        ("matrix/plan.py", "from orchestrator import runner", False),
        ("matrix/plan.py", "from ..guest import model", False),
        ("matrix/plan.py", "import importlib\nimportlib.import_module('orchestrator.report.live')", False),
        ("errors.py", "from orchestrator.matrix import plan", False),
        ("kernel/x.py", "from orchestrator.attic import x", False),
        ("kernel/x.py", "from orchestrator.matrix.plan import Plan", True),
        ("kernel/x.py", "from orchestrator import records", True),
        ("kernel/x.py", "from . import model", True),
        ("errors.py", "from orchestrator.proc import run", True),
        ("cli/run.py", "import orchestrator.report.live, json", True),
    ],
)
def test_an_import_to_the_right_is_seen_in_whatever_form(where: str, text: str, right: bool) -> None:
    assert (wrong_imports(text, where) == []) is right


def starts_of(text: str) -> list[str]:
    """Return what in a module starts a process itself; naming a type of subprocess does not."""
    tree = parsed(text)
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    smuggled = [
        name for _, name in imports_of(tree, ()) if name.startswith(("subprocess.", "multiprocessing", "pty"))
    ]
    return [call for call in calls if STARTER.match(call)] + smuggled


def test_only_proc_starts_processes() -> None:
    found = {where: starts_of(text) for where, text in modules() if where != "proc.py"}
    assert {where: starts for where, starts in found.items() if starts} == {}


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("import subprocess\nsubprocess.run(['true'])", True),
        ("import subprocess\nsubprocess.Popen(['true'])", True),
        ("from subprocess import run", True),
        ("import os\nos.system('true')", True),
        ("import asyncio\nasyncio.create_subprocess_exec('true')", True),
        ("import pexpect\npexpect.spawn('true')", True),
        ("import subprocess\ndef f(p: subprocess.Popen[bytes]) -> None: ...", False),
        ("from orchestrator.proc import run\nrun(['true'])", False),
    ],
)
def test_a_process_that_proc_does_not_start_is_seen(text: str, seen: bool) -> None:
    assert bool(starts_of(text)) is seen


def test_no_module_and_no_function_is_too_long() -> None:
    counts = [(where, text.count("\n")) for where, text in modules()]
    assert [f"{where}: {lines} lines" for where, lines in counts if lines > MODULE_LINES] == []
    assert [line for where, text in modules() for line in long_functions(text, where)] == []


def test_a_long_function_is_seen() -> None:
    text = "class A:\n    async def long(self):\n" + "        pass\n" * FUNCTION_LINES
    assert long_functions(text, "x.py") == [f"x.py:2: long, {FUNCTION_LINES + 1} lines"]


def test_every_module_names_its_licence_and_its_purpose() -> None:
    for where, text in modules():
        if text.strip():
            assert text.startswith("# SPDX-License-Identifier: GPL-2.0-only\n"), where
            assert ast.get_docstring(parsed(text)), where
