# SPDX-License-Identifier: GPL-2.0-only
"""A document against its model: pydantic judges, the document says where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.errors import nearest
from orchestrator.matrix.document import Document
from orchestrator.matrix.problems import Mark, Problem, Where, refuse
from orchestrator.matrix.values import Context

M = TypeVar("M", bound=BaseModel)

EXPECTED: Mapping[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "is_instance_of": "text",
    "path_type": "text",
    "enum": "text",
}

_WHOLE = r"[+-]?[0-9]+|0x[0-9a-fA-F]+"
_NUMBER = rf"{_WHOLE}|[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"


def validate(document: Document, model: type[M], context: Context) -> M:
    """Return what `document` says as a `model`.

    Raises:
        UsageError: it says something else; every problem with line, column and keys.
    """
    try:
        return model.model_validate(document.data, context=context)
    except ValidationError as error:
        problems = [_problem(document, model, details) for details in error.errors(include_url=False)]
        raise refuse(document.path, problems) from error


def _problem(document: Document, model: type[BaseModel], error: ErrorDetails) -> Problem:
    where = _where(document.data, error["loc"])
    kind = error["type"]
    limits = error.get("ctx", {})
    if kind == "extra_forbidden":
        key = str(where[-1])
        hint = nearest(key, _keys(model, where[:-1])) or f"; known: {', '.join(_keys(model, where[:-1]))}"
        return Problem(f"unknown key {key!r}", document.keys.get(where, document.mark(where)), where[:-1], hint)
    if kind == "missing":
        return Problem(f"missing key {str(error['loc'][-1])!r}", document.mark(where), where)
    mark = _key_mark(document, where) if error["loc"][-1:] == ("[key]",) else document.mark(where)
    if kind == "matrix":
        return Problem(limits["what"], mark, where, limits["hint"])
    if kind in EXPECTED:
        return _mistyped(document, where, EXPECTED[kind], mark)
    if kind in ("too_short", "too_long"):
        return Problem("must not be empty" if kind == "too_short" else "too many", mark, where)
    message = error["msg"].replace("Input should", "must")
    return Problem(f"{document.texts.get(where, 'this')} {message}", mark, where)


def _mistyped(document: Document, where: Where, expected: str, mark: Mark) -> Problem:
    value = document.data
    for part in where:
        value = value[part]
    text = document.texts.get(where, "")
    match value:
        case bool() | int() | float() if expected == "text":
            return Problem(f"{text} is a {_kind(value)} here", mark, where, f'; quote it to mean text: "{text}"')
        case None:
            return Problem(f"nothing here, expected {expected}", mark, where)
        case str() if _reads_as(value, expected):
            return Problem(
                f'"{value}" is text here', mark, where, f"; leave the quotes out to mean the number: {value}"
            )
        case dict() | list():
            return Problem(f"expected {expected}, not a {_kind(value)}", mark, where)
    return Problem(f"expected {expected}, not {text!r}", mark, where)


def _reads_as(text: str, expected: str) -> bool:
    """Return whether a number that was quoted is what is expected."""
    pattern = {"a whole number": _WHOLE, "a number": _NUMBER}.get(expected)
    return pattern is not None and re.fullmatch(pattern, text) is not None


def _kind(value: Any) -> str:
    names = {bool: "truth value", int: "number", float: "number", dict: "mapping", list: "list"}
    return names.get(type(value), "value")


def _key_mark(document: Document, where: Where) -> Mark:
    return document.keys.get(where, document.mark(where))


def _where(data: Any, loc: tuple[str | int, ...]) -> Where:
    """Return the part of pydantic's location that the document has; a short form's inner key it has not."""
    where: Where = ()
    for part in loc:
        match data:
            case dict() if part in data:
                data = data[part]
            case list() if isinstance(part, int):
                data = data[part]
            case _:
                continue
        where = (*where, part)
    return where


def _keys(model: type[BaseModel], where: Where) -> tuple[str, ...]:
    """Return the keys that the model knows at `where`."""
    for part in where:
        if part in model.model_fields:
            model = _model_in(model.model_fields[str(part)].annotation) or model
    return tuple(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
