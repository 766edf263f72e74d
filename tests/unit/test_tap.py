# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel's own selftests print, and what a hostile guest prints instead."""

from __future__ import annotations

import pytest

from orchestrator.race.model import Ending, RaceResult
from orchestrator.race.tap import MAX_LINES, MAX_TEXT, begin_line, end_line, read_upstream

COW = """\
TAP version 13
# [INFO] detected THP size: 2048 KiB
1..4
# [RUN] Basic COW after fork() ... with base page
ok 1 No leak from parent into child
# [RUN] Basic COW after fork() ... with swapped out base page
ok 2 # SKIP MADV_PAGEOUT did not work, is swap enabled?
# [RUN] vmsplice() ... with hugetlb (2048 kB)
ok 3 # XFAIL Leak from parent into child
# [RUN] vmsplice() ... with base page
not ok 4 Leak from parent into child
Bail out! 1 out of 4 tests failed
# Totals: pass:1 fail:1 xfail:1 xpass:0 skip:1 error:0
"""
HARNESS = """\
TAP version 13
1..2
# Starting 2 tests from 1 test cases.
#  RUN           migration.private_anon ...
#      SKIP      Needs two nodes
#            OK  migration.private_anon
ok 1 migration.private_anon # SKIP Needs two nodes
#  RUN           migration.shared_anon ...
# migration.c:140:shared_anon:Expected 0 (0) == -2 (-2)
#          FAIL  migration.shared_anon
not ok 2 migration.shared_anon
# FAILED: 1 / 2 tests passed.
# Totals: pass:0 fail:1 xfail:0 xpass:0 skip:1 error:0
"""
KHUGEPAGED = "Save THP and khugepaged settings... OK\n\nRun test: collapse_full (khugepaged:anon)\n{last}\n"
PLAIN = "TAP version 13\n1..1\nok 1 fine\n"


def read(text: str, status: int | None = 0, program: str = "cow", arguments: str = "") -> RaceResult:
    ended = [end_line(status)] if status is not None else []
    return read_upstream("\n".join([begin_line(program, arguments), text.rstrip("\n"), *ended]) + "\n", program)


def endings(result: RaceResult) -> list[tuple[str, Ending]]:
    return [(test.name, test.ending) for test in result.subtests]


def test_a_test_is_named_by_its_number_and_what_it_announced_not_by_how_it_ended() -> None:
    result = read(COW, 1)
    assert endings(result) == [
        ("cow #1 Basic COW after fork() ... with base page", Ending.PASS),
        ("cow #2 Basic COW after fork() ... with swapped out base page", Ending.SKIP),
        ("cow #3 vmsplice() ... with hugetlb (2048 kB)", Ending.PASS),
        ("cow #4 vmsplice() ... with base page", Ending.FAIL),
    ]
    assert result.subtests[3].detail == "Leak from parent into child"
    assert (result.problem, result.upstream, result.total("checks")) == ("", "cow", 3)


def test_the_harness_of_fixtures_is_read() -> None:
    result = read(HARNESS, 1, "migration")
    assert endings(result) == [
        ("migration #1 migration.private_anon", Ending.SKIP),
        ("migration #2 migration.shared_anon", Ending.FAIL),
    ]
    assert result.subtests[0].detail == "Needs two nodes"
    assert result.problem == ""


@pytest.mark.parametrize(
    ("status", "ending", "detail"),
    [
        (0, Ending.PASS, "last words"),
        (1, Ending.FAIL, "exit status 1: last words"),
        (4, Ending.SKIP, "last words"),
        (139, Ending.FAIL, "exit status 139: last words"),
    ],
)
def test_without_tap_the_exit_status_counts(status: int, ending: Ending, detail: str) -> None:
    result = read(KHUGEPAGED.format(last="last words"), status, "khugepaged", "-s 2")
    assert [(t.name, t.ending, t.detail) for t in result.subtests] == [("khugepaged -s 2", ending, detail)]
    assert result.problem == ""


def test_several_runs_are_one_result_with_names_of_their_own() -> None:
    text = "".join(f"{begin_line('gup_test', run)}\n{PLAIN}{end_line(0)}\n" for run in ("-u", "-a"))
    assert endings(read_upstream(text, "gup_test")) == [
        ("gup_test -u #1", Ending.PASS),
        ("gup_test -a #1", Ending.PASS),
    ]


def test_a_program_that_skips_the_rest_is_whole() -> None:
    result = read("TAP version 13\n1..6\nok 1 # SKIP memfd_secret is not supported\n", 4, "memfd_secret")
    assert endings(result) == [("memfd_secret #1", Ending.SKIP)]
    assert result.problem == ""
    whole = read("TAP version 13\n1..0 # SKIP no gup_test\n", 4)
    assert [(t.ending, t.detail) for t in whole.subtests] == [(Ending.SKIP, "no gup_test")]
    assert whole.problem == ""


def test_a_text_without_its_newline_does_not_swallow_the_next_test() -> None:
    glued = "TAP version 13\n1..2\n# [RUN] one\nnot ok 1 Merging memory failed# [RUN] two\nok 2 fine\n"
    assert endings(read(glued, 1)) == [("cow #1 one", Ending.FAIL), ("cow #2 two", Ending.PASS)]


KSM = """\
TAP version 13
1..3
# [RUN] test_prctl
ok 1 works
# [RUN] test_prctl_fork_exec
# [RUN] test_prctl_unmerge
{child}
# Planned tests != run tests (3 != 2)
# Totals: pass:2 fail:0 xfail:0 xpass:0 skip:0 error:0
ok 2 inherited
# [RUN] test_prctl_unmerge
ok 3 Pages were unmerged
# Totals: pass:{passed} fail:{failed} xfail:0 xpass:0 skip:0 error:0
"""


def test_a_child_that_goes_on_with_its_parents_tests_is_seen_through() -> None:
    result = read(KSM.format(child="ok 2 Pages were unmerged", passed=3, failed=0))
    assert ([test.ending for test in result.subtests], result.problem) == ([Ending.PASS] * 3, "")
    worse = read(KSM.format(child="not ok 2 Pages were not unmerged", passed=3, failed=0))
    assert [test.ending for test in worse.subtests] == [Ending.PASS, Ending.FAIL, Ending.PASS]


@pytest.mark.parametrize(
    ("text", "status", "problem"),
    [
        (PLAIN, None, "it did not end"),
        ("TAP version 13\n1..3\nok 1 fine\n", 0, "1 of 3 planned tests reported"),
        ("TAP version 13\n1..3\nok 1 fine\nBail out! mmap: no memory\n", 1, "bail out: mmap: no memory"),
        ("TAP version 13\nok 1 fine\n", 0, "no plan line"),
        ("TAP version 13\n1..2\nok 1 fine\nok 3 fine\n", 0, "test 3 where 2 is due"),
        (f"{PLAIN}# Totals: pass:0 fail:1 xfail:0 xpass:0 skip:0 error:0\n", 0, "the totals line says 0 pass"),
        (PLAIN, 139, "exit status 139"),
        (PLAIN, 1, "exit status 1 though no test failed"),
    ],
)
def test_what_is_no_complete_result_says_why(text: str, status: int | None, problem: str) -> None:
    assert problem in read(text, status).problem


def test_nothing_at_all_is_a_problem_and_no_pass() -> None:
    for text in ("", "\n", "ok 1 before any run\n"):
        result = read_upstream(text, "cow")
        assert (result.subtests, result.problem) == ((), "cow was not run")
    assert "it did not end" in read("", None).problem


def test_a_hostile_guest_gets_neither_control_characters_nor_endless_text_through() -> None:
    evil = f"TAP version 13\n1..1\n# [RUN] \x1b[31m{'x' * 5000}\u202e\nok 1 {'y' * 5000}\0\x07<script>\n"
    test = read(evil).subtests[0]
    assert test.name.isprintable()
    assert test.detail.isprintable()
    assert len(test.name) <= MAX_TEXT + 10
    assert len(test.detail) <= MAX_TEXT


def test_a_hostile_guest_that_writes_our_lines_only_harms_its_own_result() -> None:
    forged = f"TAP version 13\n1..1\nnot ok 1 bad\n{end_line(0)}\n{begin_line('cow', '')}\n{PLAIN}"
    result = read(forged, 1)
    assert Ending.FAIL in [test.ending for test in result.subtests]
    assert result.problem


def test_a_flood_is_cut_and_said() -> None:
    assert f"more than {MAX_LINES} lines" in read(PLAIN + "x\n" * MAX_LINES).problem


def test_four_failures_of_a_program_that_counts_them_are_no_skip() -> None:
    said = "Swapout one page... \x1b[31mFail\x1b[0m\nRestore THP and khugepaged settings... \x1b[32mOK\x1b[0m"
    (result,) = read(KHUGEPAGED.format(last=said), 4, "khugepaged", "-s 2").subtests
    assert (result.ending, result.detail) == (Ending.FAIL, "exit status 4: Swapout one page... Fail")


def test_what_children_print_once_more_is_said_once() -> None:
    first = "page_size: 4096\nTAP version 13\n1..2\nok 1 file IO is blocked\n"
    result = read(f"{first}{first}ok 2 ptrace is blocked\n# Totals: pass:2 fail:0 xfail:0 xpass:0 skip:0 error:0\n")
    assert [s.ending for s in result.subtests] == [Ending.PASS, Ending.PASS]
    assert result.problem == ""


def test_a_second_tap_that_says_something_else_is_a_problem() -> None:
    result = read("TAP version 13\n1..1\nnot ok 1 leak\nTAP version 13\n1..1\nok 1 leak\n")
    assert "a second TAP begins, and says something else" in result.problem
