# SPDX-License-Identifier: GPL-2.0-only
"""A YAML file as plain data that remembers where each key and value stands.

PyYAML's safe loader parses; only its composer is used, so no tag ever constructs an object.  Plain scalars
mean what YAML 1.2's core schema says (as editors with a JSON Schema see them): `on` and `2024-01-01` are text,
`0x1f` is a number.  Keys are the text as written, so `6.10:` is not `6.1:`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orchestrator.errors import UsageError
from orchestrator.matrix.problems import Mark, Problem, Where, refuse
from orchestrator.paths import Project

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_VALUES = 20_000
TAG = "tag:yaml.org,2002:"

CORE_SCHEMA = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+0123456789."),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
)


@dataclass(frozen=True, slots=True)
class Document:
    """A file's data (dict, list, str, int, float, bool, None) with the marks of its values, keys and scalar texts."""

    path: Path
    data: Any
    values: dict[Where, Mark]
    keys: dict[Where, Mark]
    texts: dict[Where, str]

    def mark(self, where: Where) -> Mark:
        """Return the place of the value at `where`, or of the nearest value around it."""
        while where and where not in self.values:
            where = where[:-1]
        return self.values.get(where, Mark(1, 1))


class _Loader(yaml.SafeLoader):
    """Safe loader with YAML 1.2's core schema that refuses deep nesting before Python's stack does."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's protocol)

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=mark)
        node: Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _tag, _pattern, _first in CORE_SCHEMA:
    _Loader.add_implicit_resolver(f"{TAG}{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def read(path: Path) -> Document:
    """Read the YAML file `path`.

    Raises:
        UsageError: it is missing, unreadable, too large, not UTF-8, not YAML, or has keys twice; all that is
            wrong in one message, with line and column.
    """
    return parse(_text(path), path)


def parse(text: str, path: Path) -> Document:
    """Parse `text`, the contents of `path`. Raises UsageError as `read` does."""
    root = _compose(text, path)
    if root is None:
        raise UsageError("the file is empty", where=str(path), hint="docs/matrix.md shows what belongs there")
    walk = _Walk()
    data = walk.value(root, ())
    if walk.problems:
        raise refuse(path, walk.problems)
    return Document(path, data, walk.values, walk.keys, walk.texts)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise UsageError(
            "no such file", where=str(path), hint=f"example matrices are in {Project().configs}"
        ) from error
    except IsADirectoryError as error:
        raise UsageError("a directory, not a YAML file", where=str(path)) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot be read: {reason}", where=repr(str(path))) from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"larger than {MAX_BYTES // 1024} KiB: not a matrix", where=str(path))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line_start = data.rfind(b"\n", 0, error.start) + 1
        mark = Mark(data.count(b"\n", 0, error.start) + 1, error.start - line_start + 1)
        raise refuse(path, [Problem(f"byte 0x{data[error.start]:02x} is not UTF-8", mark)]) from error


def _compose(text: str, path: Path) -> Node | None:
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        mark = Mark(text.count("\n", 0, error.position) + 1, error.position - text.rfind("\n", 0, error.position))
        raise refuse(path, [Problem(f"character U+{ord(text[error.position]):04X} is not allowed", mark)]) from error
    try:
        node: Node | None = loader.get_single_node()
        return node
    except yaml.MarkedYAMLError as error:
        raise refuse(path, [_syntax_problem(error)]) from error
    except (ValueError, OverflowError) as error:  # "\UFFFFFFFF": PyYAML hands it to chr() unseen
        raise refuse(path, [Problem("an escape names no character", _mark(loader.get_mark()))]) from error
    finally:
        loader.dispose()


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    what = ", ".join(part for part in (error.context, error.problem) if part)
    hint = "; indent with spaces" if r"'\t'" in what else ""
    return Problem(f"not YAML: {what}", _mark(mark) if mark else Mark(1, 1), hint=hint)


def _mark(mark: yaml.Mark) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)


Pairs = dict[str, tuple[ScalarNode, Node]]
"""What a mapping holds, by key: merged keys too."""


@dataclass(slots=True)
class _Walk:
    """Turns nodes into data, noting marks and problems on the way; aliases share nodes, so it bounds itself."""

    values: dict[Where, Mark] = field(default_factory=dict)
    keys: dict[Where, Mark] = field(default_factory=dict)
    texts: dict[Where, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    active: set[int] = field(default_factory=set)
    merged: dict[int, Pairs] = field(default_factory=dict)

    def value(self, node: Node, where: Where) -> Any:
        """Return the data of `node`, which stands at `where`."""
        mark = _mark(node.start_mark)
        if len(self.values) >= MAX_VALUES:
            if not any(problem.what.startswith("more than") for problem in self.problems):
                self.problems.append(Problem(f"more than {MAX_VALUES} values when aliases are followed", mark))
            return None
        self.values[where] = mark
        if isinstance(node, ScalarNode):
            return self.scalar(node, where)
        if id(node) in self.active:
            self.problems.append(Problem("an alias inside of its own anchor", mark, where))
            return None
        self.active.add(id(node))
        data = self.sequence(node, where) if isinstance(node, SequenceNode) else self.mapping(node, where)
        self.active.remove(id(node))
        return data

    def sequence(self, node: SequenceNode, where: Where) -> list[Any]:
        self.expect_tag(node, "seq", where)
        return [self.value(item, (*where, index)) for index, item in enumerate(node.value)]

    def mapping(self, node: Node, where: Where) -> dict[str, Any]:
        self.expect_tag(node, "map", where)
        data = {}
        for name, (key, value) in self.pairs(node, where).items():
            self.keys[(*where, name)] = _mark(key.start_mark)
            data[name] = self.value(value, (*where, name))
        return data

    def pairs(self, node: Node, where: Where) -> Pairs:
        """Return the keys and values of a mapping: its own win over merged ones, and earlier merges over later."""
        if id(node) in self.merged:
            return self.merged[id(node)]
        found: Pairs = {}
        self.merged[id(node)] = found
        sources: list[Node] = []
        for key, value in node.value:
            mark = _mark(key.start_mark)
            if not isinstance(key, ScalarNode):
                self.problems.append(Problem("a key must be plain text", mark, where))
            elif key.tag == f"{TAG}merge":
                sources += value.value if isinstance(value, SequenceNode) else [value]
            elif key.value in found:
                first = _mark(found[key.value][0].start_mark)
                what = f"key {key.value!r} twice, first at {first.line}:{first.column}"
                self.problems.append(Problem(what, mark, where))
            else:
                self.check_text(key, where)
                found[key.value] = (key, value)
        for source in sources:
            if isinstance(source, MappingNode):
                found |= {**self.pairs(source, where), **found}
            else:
                mark = _mark(source.start_mark)
                self.problems.append(Problem("'<<' takes a mapping or a list of mappings", mark, where))
        return found

    def scalar(self, node: ScalarNode, where: Where) -> Any:
        text: str = node.value
        self.texts[where] = text
        if node.tag in (f"{TAG}str", f"{TAG}null"):
            self.check_text(node, where)
            return text if node.tag == f"{TAG}str" else None
        if node.tag == f"{TAG}bool":
            return text.lower() == "true"
        if node.tag not in (f"{TAG}int", f"{TAG}float"):
            self.expect_tag(node, "str", where)
            return text
        try:
            if node.tag == f"{TAG}float":
                return float(text)
            return int(text, 0) if text.startswith(("0x", "0o")) else int(text)
        except ValueError:
            self.problems.append(Problem("not a number, or one too long to read", _mark(node.start_mark), where))
            return None

    def check_text(self, node: ScalarNode, where: Where) -> None:
        """Refuse what would not survive in a path, a terminal or XML: control characters, lone surrogates."""
        for character in node.value.replace("\n", ""):
            if not character.isprintable():
                what = f"character U+{ord(character):04X} is not allowed in text"
                self.problems.append(Problem(what, _mark(node.start_mark), where))
                return

    def expect_tag(self, node: Node, kind: str, where: Where) -> None:
        if node.tag not in (f"{TAG}{kind}", "!"):
            tag = node.tag.replace(TAG, "!!")
            self.problems.append(Problem(f"tag {tag} is not supported", _mark(node.start_mark), where))
