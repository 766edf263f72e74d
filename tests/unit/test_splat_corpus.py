# SPDX-License-Identifier: GPL-2.0-only
"""The corpus of real consoles that may lie beside this checkout (../shared/corpus): how well they are read."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from orchestrator.splat.present import reports
from orchestrator.splat.scan import scan

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
pytestmark = pytest.mark.skipif(
    not (CORPUS / "score.py").is_file(), reason="no ../shared/corpus beside this checkout"
)
FIELDS = SimpleNamespace(
    title_key="title",
    kind_key="kind",
    start_key="start_line",
    frame_key="frame",
    corrupted_key="corrupted",
    pick="first",
    kind_from_title=False,
)
# Percent of the cases; what the parser reached when this was written is in docs/performance.md.
BARS = {"detect": 99, "kind": 95, "fine": 95, "title": 85, "func": 85, "corrupted": 90}


@pytest.fixture(scope="module")
def score() -> ModuleType:
    spec = importlib.util.spec_from_file_location("score", CORPUS / "score.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judged(score: ModuleType, directory: str, mutation: str | None = None) -> list[dict[str, Any]]:
    change = score.MUTATIONS.get(mutation, lambda log: log)
    cases = score.load_all([str(CORPUS / directory)])
    return [
        score.judge(case, reports(scan(io.BytesIO(change(case.log)))), "", FIELDS, {}) | {"quiet": not case.title}
        for case in cases
    ]


def share(results: list[dict[str, Any]], column: str) -> float:
    values = [result[column] for result in results if result[column] is not None]
    return 100 * sum(values) / len(values)


def test_real_consoles_are_read_as_well_as_we_claim(score: ModuleType) -> None:
    results = judged(score, "console")
    assert {column: share(results, column) >= bar for column, bar in BARS.items()} == dict.fromkeys(BARS, True)
    assert sum(result["quiet"] and not result["detect"] for result in results) <= 1


@pytest.mark.parametrize("mutation", ["crlf", "ansi", "loglevel", "firmware", "nul"])
def test_a_consoles_noise_changes_no_answer(score: ModuleType, mutation: str) -> None:
    plain, noisy = judged(score, "console"), judged(score, "console", mutation)
    assert [case["got"] for case in noisy] == [case["got"] for case in plain]


def test_every_form_of_kcsan_report_is_read_and_counted(score: ModuleType) -> None:
    results = judged(score, "kcsan")
    assert [case["id"] for case in results if not (case["detect"] and case["title"] in (True, None))] == []
    assert [case["id"] for case in results if case["count"] is False] == []
