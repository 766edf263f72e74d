# SPDX-License-Identifier: GPL-2.0-only
"""What a wrong matrix is told: what, where, what next."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestrator.errors import UsageError
from orchestrator.matrix.load import load_plan
from orchestrator.matrix.schema import Control, Guest, Kernel, Lane, Matrix, Race
from orchestrator.paths import Project
from tests.unit.matrix_project import MATRIX, make_project, refusal

LANE = "lanes: [{kernel: '6.1', arch: arm64, flavour: plain}]\n"
GOOD = MATRIX + LANE

DATA = Path(__file__).parent.parent / "data" / "matrix"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.mark.parametrize(
    "mistake", yaml.safe_load((DATA / "mistakes.yaml").read_text()), ids=lambda case: case["new"]
)
def test_a_mistake_is_told_with_its_place_and_the_nearest_name(mistake: dict[str, str], project: Project) -> None:
    assert mistake["old"] in GOOD
    assert mistake["said"] in refusal(GOOD.replace(mistake["old"], mistake["new"], 1), project)


def test_the_matrix_that_these_mistakes_are_put_into_is_good(project: Project) -> None:
    assert refusal(GOOD, project).startswith("Plan(")


def test_all_mistakes_of_a_file_are_told_at_once(project: Project) -> None:
    text = GOOD.replace("arm64", "arm").replace("plain", "plian").replace("a_vs_b", "x") + "rase: {}\n"
    said = refusal(text, project).splitlines()
    assert said[0] == "4 problems in matrix.yaml:"
    assert [line.split("matrix.yaml:")[1].split(":")[0] for line in said[1:]] == ["3", "4", "4", "5"]


def test_a_thousand_mistakes_do_not_flood_the_terminal(project: Project) -> None:
    said = refusal(GOOD + "".join(f"x{n}: 1\n" for n in range(1000)), project).splitlines()
    assert (said[0], len(said), said[-1]) == ("1000 problems in matrix.yaml:", 22, "  and 980 more")


def test_the_documentation_shows_what_is_really_said(tmp_path: Path) -> None:
    docs = (Project().root / "docs" / "matrix.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```\n(?:```text\n(.*?)```\n)?", docs, re.DOTALL)
    assert len(examples) >= 4
    for text, expected in examples:
        path = tmp_path / "matrix.yaml"
        path.write_text(text)
        if not expected:
            assert load_plan(path, Project()).cells
            continue
        with pytest.raises(UsageError) as caught:
            load_plan(path, Project())
        assert str(caught.value).replace(f"{tmp_path}/", "") == expected.strip()


SECTIONS = (Matrix, Kernel, Lane, Control, Guest, Race)
WORDS = sorted(
    {key for section in SECTIONS for key in section.model_fields} | {"6.1", "arm64", "plain", "a_vs_b", "M01"}
)
MARKS = [*":::,,[]{}--|>&*~'\"\\#?%@`!.", "<<:", "&a", "*a", "!!str", "---", "10", "-1", "1e9", "true", "'6.1'"]
BLANKS = ["\n", "\n  ", "\n    ", "\n  - ", "\t", "\0", "é", "\u2028", "\ufeff"]
TOKENS = st.sampled_from([*WORDS, *MARKS, *BLANKS])
SOUP = st.lists(TOKENS, max_size=60).map(" ".join).map(str.encode)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def load_or_refuse(data: bytes, project: Project) -> None:
    path = project.root / "fuzz.yaml"
    path.write_bytes(data)
    try:
        plan = load_plan(path, project)
    except UsageError as error:
        said = str(error)
    else:
        said = plan.cells[0].id
    assert said.encode().strip()


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(data=b"\xff\xfea\0")
@example(data=b'"\\U00110000"')
def test_any_bytes_are_a_plan_or_a_usage_error(data: bytes, project: Project) -> None:
    load_or_refuse(data, project)


@FUZZ
@given(data=SOUP)
def test_any_soup_of_the_language_is_a_plan_or_a_usage_error(data: bytes, project: Project) -> None:
    load_or_refuse(data, project)


@FUZZ
@given(value=VALUES, spot=st.sampled_from(["small", "arm64", "plain", "a_vs_b", "{deb: linux-source-6.1}", "'6.1'"]))
def test_any_value_in_any_spot_is_a_plan_or_a_usage_error(value: object, spot: str, project: Project) -> None:
    text = GOOD.replace(spot, repr(value).replace("None", "~"), 1)
    load_or_refuse(text.encode("utf-8", "surrogatepass"), project)


@FUZZ
@given(start=st.integers(0, len(GOOD)), length=st.integers(0, 12), new=st.text(max_size=5))
def test_any_edit_of_a_good_matrix_is_a_plan_or_a_usage_error(
    start: int, length: int, new: str, project: Project
) -> None:
    text = GOOD[:start] + new + GOOD[start + length :]
    load_or_refuse(text.encode("utf-8", "surrogatepass"), project)
