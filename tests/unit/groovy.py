# SPDX-License-Identifier: GPL-2.0-only
"""A declarative Jenkinsfile as a tree of calls, read from Groovy's syntax tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import tree_sitter_groovy
from tree_sitter import Language, Node, Parser


@dataclass(frozen=True, slots=True)
class Call:
    """`name 'argument', key: 'value' { children }`; texts are unquoted, other values as they are written."""

    name: str
    arguments: tuple[str, ...]
    named: dict[str, str]
    children: tuple[Call, ...]

    def all(self, name: str) -> tuple[Call, ...]:
        """Return the children called `name`."""
        return tuple(child for child in self.children if child.name == name)

    def one(self, name: str) -> Call:
        """Return the only child called `name`."""
        (child,) = self.all(name)
        return child

    def walk(self) -> Iterator[Call]:
        """Yield this call and everything below it, in the order of the file."""
        yield self
        for child in self.children:
            yield from child.walk()


def syntax(text: str) -> Node:
    """Return the root of the syntax tree."""
    return Parser(Language(tree_sitter_groovy.language())).parse(text.encode()).root_node


def errors_in(text: str) -> list[str]:
    """Return where the text is no Groovy: `line:column`."""
    return [
        f"{node.start_point.row + 1}:{node.start_point.column + 1}" for node in _nodes(syntax(text)) if _bad(node)
    ]


def calls_of(text: str) -> tuple[Call, ...]:
    """Return the calls at the top of the text."""
    return _calls(syntax(text))


def _bad(node: Node) -> bool:
    return node.is_error or node.is_missing


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def _calls(node: Node) -> tuple[Call, ...]:
    """Return the calls nearest below `node`, however deep expressions hide them."""
    found: list[Call] = []
    for child in node.named_children:
        if child.type in ("method_invocation", "juxt_function_call"):
            found.append(_call(child))
        elif child.type == "local_variable_declaration":
            # `agent any` reads like a declaration of the variable `any`.
            words = _source(child).split()
            found.append(Call(words[0], tuple(words[1:]), {}, ()))
        else:
            found += _calls(child)
    return tuple(found)


def _call(node: Node) -> Call:
    name = ""
    arguments: list[str] = []
    named: dict[str, str] = {}
    children: tuple[Call, ...] = ()
    for child in node.named_children:
        if child.type == "identifier":
            name = _source(child)
        elif child.type == "closure":
            children += _calls(child)
        elif child.type == "argument_list":
            for value in child.named_children:
                if value.type == "map_item":
                    key, inner = value.named_children
                    named[_source(key)] = _value(inner)
                else:
                    arguments.append(_value(value))
            children += _calls(child)
    return Call(name, tuple(arguments), named, children)


def _value(node: Node) -> str:
    text = _source(node)
    if node.type not in ("string_literal", "character_literal"):
        return text
    if "\\" in text or (text.startswith('"') and "$" in text):
        raise ValueError(
            f"line {node.start_point.row + 1}: Groovy rewrites this, so it is not what the shell sees: {text}"
        )
    for quote in ("'''", '"""', "'", '"'):
        if text.startswith(quote):
            return text[len(quote) : -len(quote)]
    raise ValueError(f"unknown quotes: {text}")


def _source(node: Node) -> str:
    assert node.text is not None
    return node.text.decode()
