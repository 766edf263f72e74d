# SPDX-License-Identifier: GPL-2.0-only
"""The kinds of value in a matrix: names that must exist, paths, one-or-many; each checked where it stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from orchestrator.matrix.names import Names, matching
from orchestrator.matrix.plan import Accel, Arch, Toolchain
from orchestrator.matrix.problems import suggestion

T = TypeVar("T")
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


@dataclass(frozen=True, slots=True)
class Context:
    """What a value is checked against: the directory that relative paths start from, and the names there are."""

    base: Path
    names: Names


def wrong(what: str, hint: str = "") -> PydanticCustomError:
    """Return the error for a value; `hint` comes behind its place."""
    return PydanticCustomError("matrix", "{what}", {"what": what, "hint": hint})


def context(info: ValidationInfo) -> Context:
    """Return the context that the validation was called with."""
    if not isinstance(info.context, Context):
        raise TypeError("validate matrix models with a Context")
    return info.context


@dataclass(frozen=True, slots=True)
class Matching:
    """Text of one pattern, which `words` explain to people."""

    pattern: str
    words: str

    def check(self, value: str) -> str:
        if not re.fullmatch(self.pattern.removesuffix("$"), value):
            raise wrong(f"{value!r} is no {self.words}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": self.pattern}


class OneOrMany:
    """A field that takes one value or a list of different ones; the model always has a tuple."""

    @staticmethod
    def spread(value: Any) -> tuple[Any, ...]:
        return tuple(value) if isinstance(value, list) else (value,)

    @staticmethod
    def different(values: tuple[T, ...]) -> tuple[T, ...]:
        if not values:
            raise wrong("must not be empty")
        for index, value in enumerate(values):
            if value in values[:index]:
                raise wrong(f"{str(value)!r} twice in one list")
        return values

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = core_schema.no_info_after_validator_function(self.different, handler(source))
        return core_schema.no_info_before_validator_function(self.spread, inner)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        many = handler(schema)
        return {"anyOf": [many["items"], {**many, "minItems": 1, "uniqueItems": True}]}


@dataclass(frozen=True, slots=True)
class Short:
    """A mapping that may be written as one plain value: that of its key `key`."""

    key: str

    def spell_out(self, value: Any) -> Any:
        return value if isinstance(value, dict | None) else {self.key: value}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.spell_out, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        long = handler(schema)
        short = handler.resolve_ref_schema(long)["properties"][self.key]
        return {"anyOf": [short, long]}


def _known(kind: str, names: Callable[[Names], tuple[str, ...]], *, globs: bool = False) -> AfterValidator:
    def check(value: str, info: ValidationInfo) -> str:
        known = names(context(info).names)
        if value not in known and not (globs and matching(value, known)):
            if not globs and ("*" in value or "?" in value):
                raise wrong(f"no globs here: {value!r}", f"; name each {kind}")
            raise wrong(f"unknown {kind} {value!r}", suggestion(value, known))
        return value

    return AfterValidator(check)


def _one_each(value: str) -> str:
    """Refuse a glob where each scenario stands for something that was measured: the next file to match was not."""
    if "*" in value or "?" in value:
        raise wrong(f"{value!r} is a glob", "; name each scenario that it stands for")
    return value


def member(kind: str, members: type[StrEnum]) -> BeforeValidator:
    """Return the validator that turns text into a member of an enum."""

    def check(value: Any) -> Any:
        if isinstance(value, str):
            if value not in list(members):
                raise wrong(f"unknown {kind} {value!r}", suggestion(value, [each.value for each in members]))
            return members(value)
        return value

    return BeforeValidator(check)


def _path(kind: str, exists: Callable[[Path], bool]) -> BeforeValidator:
    def check(value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            return value
        try:
            path = context(info).base / Path(value).expanduser()
            there = exists(path)
        except (OSError, RuntimeError, ValueError) as error:  # a name too long, no such user's home
            raise wrong(f"cannot look for {value!r}: {error}") from error
        if not there:
            raise wrong(f"no {kind} {value!r}", f"; looked for {path}")
        return path.absolute()

    return BeforeValidator(check)


Name = Annotated[str, Matching(NAME, "name: letters, digits, '.', '_' and '-', the first a letter or digit")]
ArchName = Annotated[Arch, member("architecture", Arch)]
AccelName = Annotated[Accel, member("accelerator", Accel)]
ToolchainName = Annotated[Toolchain, member("toolchain", Toolchain)]
KernelRef = Annotated[
    str, _known("kernel", lambda names: names.kernels), Field(description="A key of `kernels`.", examples=["6.1"])
]
Flavour = Annotated[
    str,
    _known("flavour", lambda names: names.flavours),
    Field(description="A named set of Kconfig fragments: configs/fragments/<flavour>.config."),
]
Scenario = Annotated[
    str,
    _known("scenario", lambda names: names.scenarios, globs=True),
    Field(
        description="A race: kselftests/scenarios/<scenario>.c; or kselftest:<program>, the kernel's own mm "
        "selftest. With * and ? all of that kind whose name matches.",
        examples=["pin_vs_munmap", "pin_vs_*", "kselftest:cow"],
    ),
]
ScenarioName = Annotated[str, AfterValidator(_one_each), _known("scenario", lambda names: names.scenarios)]
MutantId = Annotated[
    str,
    _known("mutant", lambda names: names.mutants),
    Field(description="A kernel broken on purpose: configs/mutants/<mutant>.yaml.", examples=["M01"]),
]
FilePath = Annotated[Path, _path("file", Path.is_file), Field(description="A file, relative to this one.")]
DirectoryPath = Annotated[
    Path, _path("directory", Path.is_dir), Field(description="A directory, relative to this file.")
]
Series = Annotated[str, Matching(r"^[0-9]{1,3}\.[0-9]{1,4}$", "kernel series such as '6.1'")]
