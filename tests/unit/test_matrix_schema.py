# SPDX-License-Identifier: GPL-2.0-only
"""The published JSON Schema: current, complete, and of one mind with the loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from orchestrator.matrix.document import parse, read
from orchestrator.matrix.schema import json_schema, schema_bytes, schema_file
from orchestrator.paths import Project
from tests.unit.matrix_project import example_matrices

SCHEMA = json_schema(Project())
KERNEL = '"6.1": {deb: linux-source-6.1}'
LANE = '{kernel: "6.1", arch: arm64, flavour: plain}'


def matrix(kernel: str = KERNEL, lane: str = LANE, more: str = "") -> Any:
    text = f"name: x\nkernels: {{{kernel}}}\nlanes: [{lane}]\nscenarios: pin_vs_munmap\n{more}"
    return parse(text, Path("m.yaml")).data


def test_the_published_schema_is_current() -> None:
    message = "run: python -m orchestrator.matrix.schema"
    assert schema_file(Project()).read_bytes() == schema_bytes(Project()), message


def test_the_published_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", example_matrices(), ids=lambda path: path.name)
def test_every_example_matrix_is_valid_and_names_the_schema_for_editors(path: Any) -> None:
    jsonschema.validate(read(path).data, SCHEMA)
    relative = schema_file(Project()).relative_to(path.parent)
    assert path.read_text().startswith(f"# yaml-language-server: $schema={relative}\n")


def test_editors_are_offered_architectures_and_flavours() -> None:
    flavours = SCHEMA["$defs"]["Lane"]["properties"]["flavour"]["anyOf"][0]["enum"]
    assert {"plain", "debug", "kasan", "kcsan"} <= set(flavours)
    assert not {"base", "arm64", "x86_64"} & set(flavours)
    assert SCHEMA["$defs"]["Arch"]["enum"] == ["x86_64", "arm64"]


def test_every_section_tells_editors_what_it_is_for() -> None:
    assert SCHEMA["description"]
    for name, section in SCHEMA["$defs"].items():
        assert section["description"], name


@pytest.mark.parametrize(
    "good",
    [
        matrix(),
        matrix(kernel='"6.1": {deb: {package: linux-source-7.2, suite: sid}}'),
        matrix(kernel='"6.1": {tree: linux, patches: [a.patch], series: "6.1", toolchain: clang}'),
        matrix(kernel='"6.1": {image: {path: bzImage}}'),
        matrix(
            lane='{kernel: ["6.1"], arch: [arm64, x86_64], flavour: [plain], guest: {vcpus: 2}, race: {seed: 0xff}}'
        ),
        matrix(more='controls: [{mutant: [M01], kernel: "6.1", arch: arm64, flavour: plain}]'),
    ],
)
def test_what_the_loader_takes_is_valid(good: Any) -> None:
    jsonschema.validate(good, SCHEMA)


@pytest.mark.parametrize(
    "bad",
    [
        matrix(kernel='"6.1": {}'),
        matrix(kernel='"6.1": {deb: linux-source-6.1, tree: linux}'),
        matrix(kernel='"6/1": {deb: linux-source-6.1}'),
        matrix(lane='{kernel: "6.1", arch: arm46, flavour: plain}'),
        matrix(lane='{kernel: "6.1", arch: arm64, flavour: plian}'),
        matrix(lane="{kernel: 6.1, arch: arm64, flavour: plain}"),
        matrix(lane='{kernel: "6.1", arch: [], flavour: plain}'),
        matrix(more="guest: {memroy: 1024}"),
        matrix(more="race: {seconds: 0}"),
    ],
)
def test_what_the_loader_refuses_is_not_valid(bad: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, SCHEMA)
