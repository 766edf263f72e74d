# SPDX-License-Identifier: GPL-2.0-only
"""The KTAP reader: what a selftest said, and what it failed to say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.race.ktap import read_ktap
from orchestrator.race.model import Ending

DATA = Path(__file__).parents[1] / "data" / "ktap"
PASS = (DATA / "pass.ktap").read_text()
FAIL = (DATA / "fail.ktap").read_text()


def test_a_complete_pass_is_read_whole() -> None:
    result = read_ktap(PASS, status=0)
    assert result.problem == ""
    assert [(s.name, s.ending) for s in result.subtests] == [
        ("probe.munmap", Ending.PASS),
        ("vmsplice.munmap", Ending.PASS),
        ("direct.munmap", Ending.SKIP),
    ]
    assert result.subtests[2].detail == "no block device"
    assert result.params == {"scenario": "pin_vs_munmap", "seed": "0x0123456789abcdef", "seconds": "10"}
    assert result.total("trials") == 400
    assert result.floors == {"probe.munmap.unmaps": 100}


def test_a_hit_is_read_with_its_words() -> None:
    result = read_ktap(FAIL, status=1)
    assert result.problem == ""
    (hit,) = result.hits
    assert (hit.subtest, hit.oracle) == ("vmsplice.munmap", "foreign_stamp")
    assert hit.text.startswith("expected mapping 3")
    assert result.subtests[1].ending is Ending.FAIL


def test_carriage_returns_and_foreign_lines_do_not_matter() -> None:
    noisy = PASS.replace("\n", "\r\n").replace("1..3", "hello from libc\r\n1..3")
    assert read_ktap(noisy, 0) == read_ktap(PASS, 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "said nothing"),
        (PASS.replace("KTAP version 1\n", ""), "no KTAP version line"),
        (PASS.replace("KTAP version 1", "KTAP version 7"), "unknown"),
        (PASS + PASS, "a second KTAP begins"),
        (PASS.replace("1..3\n", ""), "no plan line"),
        (PASS.replace("1..3", "1..0"), "announces no test"),
        (PASS.replace("1..3", "1..3\n1..3"), "a second plan line"),
        (PASS.replace("1..3", "1..4"), "3 of 4 planned tests"),
        (PASS.replace("ok 1 probe.munmap\n", ""), "test 2 where 1 is due"),
        (PASS.replace("ok 2 vmsplice.munmap", "ok 2 probe.munmap"), "a second result for probe.munmap"),
        (PASS.replace("ok 1 probe.munmap", "ok one"), "malformed"),
        (PASS.replace("trials 150", "trials many"), "malformed"),
        (PASS.replace("trials 150", "trials -1"), "malformed"),
        (PASS.replace("probe.munmap.pins 2891", "probe.munmap.trials 1"), "malformed"),
        (PASS.replace("pass:2", "pass:3"), "the totals line says"),
        (PASS[: PASS.index("# totals")], "no totals line"),
        (PASS[:-1], "the last line is cut short"),
        (PASS + "Bail out! mmap: Cannot allocate memory\n", "bail out: mmap"),
        (PASS.replace("# floor", "# hit probe.munmap foreign_stamp x\n# floor"), "passed in spite of a hit"),
        (PASS.replace("# scenario", "# scenario " + "x" * 3000), "longer than"),
        (PASS + "\n" * 30_000, "more than 20000 lines"),
    ],
)
def test_what_is_missing_or_wrong_is_said(text: str, says: str) -> None:
    assert says in read_ktap(text).problem


@pytest.mark.parametrize(("text", "status"), [(PASS, 1), (FAIL, 0), (PASS, 139), (PASS, -9), (PASS, 4)])
def test_an_exit_status_that_contradicts_the_results_is_a_problem(text: str, status: int) -> None:
    assert "exit status" in read_ktap(text, status).problem


def test_everything_skipped_asks_for_status_4() -> None:
    text = "KTAP version 1\n1..0 # SKIP no /dev/guprace_probe\n"
    result = read_ktap(text, 4)
    assert result.problem == ""
    assert result.subtests[0].ending is Ending.SKIP
    assert "exit status" in read_ktap(text, 0).problem


def test_output_cut_in_the_middle_keeps_the_hits_and_says_what_is_missing() -> None:
    cut = read_ktap(FAIL[: FAIL.index("not ok")])
    assert len(cut.hits) == 1
    assert "1 of 2 planned tests" in cut.problem


@given(st.text(max_size=400))
def test_no_text_makes_the_reader_raise(text: str) -> None:
    read_ktap(text)
    read_ktap(PASS + text)


@given(st.integers(min_value=0, max_value=len(PASS) - 1))
def test_no_part_of_an_output_passes_for_the_whole(cut: int) -> None:
    assert read_ktap(PASS[:cut]).problem
