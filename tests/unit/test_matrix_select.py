# SPDX-License-Identifier: GPL-2.0-only
"""Choosing cells by glob."""

from __future__ import annotations

import pytest

from orchestrator.errors import UsageError
from orchestrator.matrix.load import load_plan
from orchestrator.matrix.plan import Plan
from orchestrator.matrix.select import select
from orchestrator.paths import Project

X86 = "6.1/x86_64/kcsan/pin_vs_munmap"
PLAIN = "6.1/arm64/plain/pin_vs_munmap"
CONTROL = "6.1+M01/arm64/plain/pin_vs_munmap"
DEBUG = "6.1/arm64/debug/pin_vs_munmap"


@pytest.fixture(scope="module")
def quick() -> Plan:
    return load_plan(Project().configs / "quick.yaml", Project())


@pytest.mark.parametrize(
    ("globs", "ids"),
    [
        ([], [X86, PLAIN, CONTROL, DEBUG]),
        (["*"], [X86, PLAIN, CONTROL, DEBUG]),
        ([PLAIN], [PLAIN]),
        (["arm64/plain/*"], [PLAIN, CONTROL]),
        (["arm64/*"], [PLAIN, CONTROL, DEBUG]),
        (["6.1/arm64/*"], [PLAIN, DEBUG]),
        (["6.1+*"], [CONTROL]),
        (["*/debug/*", X86], [X86, DEBUG]),
        (["pin_vs_*"], [X86, PLAIN, CONTROL, DEBUG]),
    ],
)
def test_a_glob_takes_whole_ids_and_their_ends_in_the_order_of_the_plan(
    globs: list[str], ids: list[str], quick: Plan
) -> None:
    assert [cell.id for cell in select(quick, globs).cells] == ids


def test_selecting_changes_no_kernel(quick: Plan) -> None:
    assert select(quick, [PLAIN]).cells[0] == quick.cells[1]


@pytest.mark.parametrize(
    ("globs", "nearest"),
    [
        (["arm64/plian/pin_vs_munmap"], "did you mean 'arm64/plain/pin_vs_munmap'?"),
        (["*", "arm46/*"], "no cell matches 'arm46/*'"),
        (["rm64/plain/*"], "no cell matches 'rm64/plain/*'"),
        ([""], "no cell matches ''"),
        (["["], "no cell matches '['"),
    ],
)
def test_a_glob_without_a_cell_is_an_error_that_lists_the_cells(globs: list[str], nearest: str, quick: Plan) -> None:
    with pytest.raises(UsageError) as caught:
        select(quick, globs)
    assert nearest in str(caught.value)
    assert all(cell.id in str(caught.value) for cell in quick.cells)
    assert str(caught.value).startswith(f"{quick.matrix}: no cell matches ")
