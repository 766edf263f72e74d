# SPDX-License-Identifier: GPL-2.0-only
"""YAML text to data with places, and every way in which a file can be no YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.matrix.document import MAX_BYTES, parse, read
from orchestrator.matrix.problems import Mark

FILE = Path("m.yaml")

SCALARS = [
    ("on", "on"),
    ("yes", "yes"),
    ("true", True),
    ("2024-01-01", "2024-01-01"),
    ("1:30", "1:30"),
    ("010", 10),
    ("0x1f", 31),
    ("0o17", 15),
    ("6.10", 6.1),
    ("'6.10'", "6.10"),
    ("1e3", 1000.0),
    ("~", None),
    ("'two  words'", "two  words"),
]

BAD = [
    ("", "m.yaml: the file is empty"),
    ("# nothing\n", "m.yaml: the file is empty"),
    ("a: 1\nb: 2\na: 3\n", "key 'a' twice, first at 1:1 (m.yaml:3:1)"),
    ("x:\n  - {a: 1, a: 2}\n", "key 'a' twice, first at 2:6 (m.yaml:2:12: x[0])"),
    ("6.1: 1\n'6.1': 2\n", "key '6.1' twice, first at 1:1 (m.yaml:2:1)"),
    ("a:\n\t- b\n", "cannot start any token (m.yaml:2:1); indent with spaces"),
    ("a: [1\n", "not YAML: while parsing a flow sequence"),
    ("a: *b\n", "not YAML: found undefined alias 'b' (m.yaml:1:4)"),
    ("--- 1\n--- 2\n", "but found another document (m.yaml:2:1)"),
    ("? [a]\n: 1\n", "a key must be plain text (m.yaml:1:3)"),
    (
        "a: !!python/object/apply:os.system [x]\n",
        "tag !!python/object/apply:os.system is not supported (m.yaml:1:4: a)",
    ),
    ("a: !local 1\n", "tag !local is not supported (m.yaml:1:4: a)"),
    ("a: !!int x\n", "not a number, or one too long to read (m.yaml:1:4: a)"),
    (f"a: {'9' * 5000}\n", "not a number, or one too long to read (m.yaml:1:4: a)"),
    ("&a [*a]\n", "an alias inside of its own anchor (m.yaml:1:1: [0])"),
    ("<<: 3\n", "'<<' takes a mapping or a list of mappings (m.yaml:1:5)"),
    ('a: "\\UFFFFFFFF"\n', "an escape names no character"),
    ('a: "\\uD800"\n', "character U+D800 is not allowed in text (m.yaml:1:4: a)"),
    ('a: "\\0"\n', "character U+0000 is not allowed in text (m.yaml:1:4: a)"),
    ('"\\e[31m": 1\n', "character U+001B is not allowed in text (m.yaml:1:1)"),
    ("ab: 1\ncd: \x07\n", "character U+0007 is not allowed (m.yaml:2:5)"),
    ("[" * 5000, "nested deeper than 32 levels (m.yaml:1:3"),
    ("- " * 5000, "nested deeper than 32 levels (m.yaml:1:6"),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_plain_scalars_mean_what_the_core_schema_of_yaml_1_2_says(text: str, value: object) -> None:
    data = parse(f"a: {text}\n", FILE).data
    assert data == {"a": value}
    assert type(data["a"]) is type(value)


@pytest.mark.parametrize(("text", "message"), BAD)
def test_what_is_no_yaml_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, FILE)
    assert message in str(caught.value)


def test_all_problems_are_told_in_the_order_of_the_lines() -> None:
    with pytest.raises(UsageError) as caught:
        parse("a: !x 1\nb: {c: 1, c: 2}\na: 2\n", FILE)
    lines = str(caught.value).splitlines()
    assert lines[0] == "3 problems in m.yaml:"
    assert [line.split("m.yaml:")[1].split(":")[0] for line in lines[1:]] == ["1", "2", "3"]


def test_keys_and_values_keep_their_places() -> None:
    document = parse("lanes:\n  - {arch: arm64}\n", FILE)
    assert document.keys[("lanes", 0, "arch")] == Mark(2, 6)
    assert document.values[("lanes", 0, "arch")] == Mark(2, 12)
    assert document.texts[("lanes", 0, "arch")] == "arm64"
    assert document.mark(("lanes", 0, "nothing", 7)) == document.values[("lanes", 0)] == Mark(2, 5)


def test_merge_keys_fill_in_what_is_not_there() -> None:
    text = "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\nuse:\n  y: 9\n  <<: [*b, *m]\n"
    document = parse(text, FILE)
    assert document.data["use"] == {"y": 9, "x": 1, "z": 4}
    assert document.values[("use", "z")] == Mark(2, 20), "a merged value stands where it is written"


@pytest.mark.timeout(60)  # a guard against exponential time
def test_an_alias_bomb_is_refused_at_once() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(UsageError, match="more than 20000 values when aliases are followed") as caught:
        parse("\n".join(levels), FILE)
    assert str(caught.value).count("more than") == 1


@pytest.mark.timeout(60)  # a guard against exponential time
def test_a_bomb_of_merge_keys_costs_nothing() -> None:
    levels = ["a0: &a0 {x: 1}"]
    levels += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 30)]
    assert parse("\n".join(levels), FILE).data["a29"] == {"x": 1}


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(path).data == {"a": 1}


def test_bytes_that_are_not_utf_8_are_told_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(UsageError, match=r"byte 0xff is not UTF-8 \(.*m\.yaml:2:4\)"):
        read(path)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    cases = {
        tmp_path / "none.yaml": "no such file",
        tmp_path: "a directory, not a YAML file",
        large: "larger than 256 KiB",
        tmp_path / ("x" * 300): "cannot be read: File name too long",
        tmp_path / "nul\0": "cannot be read: embedded null byte",
        large / "below": "cannot be read: Not a directory",
    }
    for path, message in cases.items():
        with pytest.raises(UsageError, match=message):
            read(path)
