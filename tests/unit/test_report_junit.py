# SPDX-License-Identifier: GPL-2.0-only
"""JUnit and KTAP of a run: valid whatever a guest printed, complete even when interrupted."""

from __future__ import annotations

import tempfile
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.report.junit import junit_xml
from orchestrator.report.ktap import ktap
from orchestrator.report.text import harmless, shorten, tail
from orchestrator.report.view import view
from orchestrator.report.write import write_reports
from orchestrator.runner.rundir import RunDir
from orchestrator.splat.model import Standing
from orchestrator.verdict.model import Fault, Outcome, Verdict
from tests.fakes.rundir import FakeRun, every_ending, splat

# Records are written with fsync; where there is a memory file system, that costs nothing.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
RESULTS = {"failure", "error", "skipped"}


def parsed(run: RunDir) -> Element:
    root = fromstring(junit_xml(view(run)))
    check_structure(root)
    return root


def check_structure(root: Element) -> None:
    """What Jenkins' JUnit schema asks for: the elements, their order and the sums."""
    assert root.tag == "testsuites"
    assert int(root.attrib["tests"]) == len(root.findall("testsuite/testcase"))
    for suite in root:
        assert suite.tag == "testsuite"
        assert [child.tag for child in suite] == ["properties"] + ["testcase"] * (len(suite) - 1)
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[name]) == len(suite.findall(f"testcase/{tag}"))
        for case in suite.findall("testcase"):
            assert {"classname", "name", "time"} <= set(case.attrib)
            assert [c.tag for c in case if c.tag not in RESULTS] == ["system-out"]
            assert sum(c.tag in RESULTS for c in case) <= 1


def cases(root: Element) -> dict[str, Element]:
    return {f"{c.attrib['classname']}.{c.attrib['name']}": c for c in root.findall("testsuite/testcase")}


def test_every_ending_becomes_what_jenkins_expects(tmp_path: Path) -> None:
    found = cases(parsed(every_ending(tmp_path)))
    assert {name: [c.tag for c in case if c.tag in RESULTS] for name, case in found.items()} == {
        "6_1.arm64.plain.pin_vs_munmap": [],
        "6_1.x86_64.kcsan.pin_vs_munmap": ["failure"],
        "6_1.arm64.debug.pin_vs_munmap": ["error"],
        "6_1.arm64.plain.pin_vs_zap": ["error"],
        "6_1.arm64.plain.pin_vs_fork": ["skipped"],
        "6_12.arm64.plain.pin_vs_munmap": ["error"],
        "6_1+M01.arm64.plain.pin_vs_munmap": [],
        "6_1+M08.arm64.plain.pin_vs_munmap": ["failure"],
        "6_1.arm64.plain.pin_vs_collapse": ["error"],
    }


def test_there_is_one_suite_per_lane_with_its_properties(tmp_path: Path) -> None:
    root = parsed(every_ending(tmp_path))
    names = [suite.attrib["name"] for suite in root]
    assert len(names) == len(set(names)) == 6
    first = {p.attrib["name"]: p.attrib["value"] for p in root[0].findall("properties/property")}
    assert first["kernel.digest"].startswith("3f1c0ffee")
    assert first["accelerator.why"].startswith("KVM took")
    assert first["toolchain"] == "gcc 12.2.0"


def test_a_case_says_how_hard_it_tried_and_names_its_evidence(tmp_path: Path) -> None:
    run = every_ending(tmp_path)
    said = cases(parsed(run))["6_1.arm64.plain.pin_vs_munmap"].findtext("system-out") or ""
    for line in ("trials: 82000", "bound: 3.659e-05", "seed: 0x000000000000002a", "back-offs: 11714"):
        assert line in said.splitlines()
    attached = [line[13:-2] for line in said.splitlines() if line.startswith("[[ATTACHMENT|")]
    assert "6.1/arm64/plain/pin_vs_munmap/console.log" in attached
    assert all((run.root / path).is_file() for path in attached)


def test_a_failure_shows_the_report_the_repeat_command_and_the_console(tmp_path: Path) -> None:
    text = cases(parsed(every_ending(tmp_path)))["6_1.x86_64.kcsan.pin_vs_munmap"].findtext("failure") or ""
    assert "data-race in _compound_head" in text
    assert "repeat: guprace run configs/quick.yaml --only" in text
    assert "guprace-init: ready" in text


def test_only_the_end_of_a_console_is_in_an_error_and_none_where_it_tells_nothing(tmp_path: Path) -> None:
    log = {"console.log": b"".join(b"line %d\n" % n for n in range(300))}
    run = FakeRun(tmp_path)
    run.add(Verdict(Outcome.BROKEN, "odd"), scenario="a", files=log)
    run.add(Verdict(Outcome.VACUOUS, "the race did not happen"), scenario="b", files=log)
    broken, vacuous = (case.findtext("error") or "" for case in parsed(run.done()).iter("testcase"))
    assert [line for line in broken.splitlines() if line.startswith("line")] == [f"line {n}" for n in range(260, 300)]
    assert "line" not in vacuous


def test_an_interrupted_run_says_which_cells_did_not_finish(tmp_path: Path) -> None:
    error = cases(parsed(every_ending(tmp_path, "SIGINT")))["6_1.arm64.plain.pin_vs_collapse"].find("error")
    assert error is not None
    assert "not finished: the run was interrupted (SIGINT)" in error.attrib["message"]


def test_a_damaged_record_is_an_error_and_the_rest_is_reported(tmp_path: Path) -> None:
    run = every_ending(tmp_path)
    (run.root / "6.1/arm64/plain/pin_vs_munmap/verdict.json").write_bytes(b'{"outcome": "PA')
    found = cases(parsed(run))
    error = found["6_1.arm64.plain.pin_vs_munmap"].find("error")
    assert error is not None
    assert "unreadable record" in error.attrib["message"]
    assert len(found) == 9


def test_a_failure_without_words_is_still_a_failure(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    run.add(Verdict(Outcome.FAIL, "", fault=Fault.KERNEL))
    assert parsed(run.done()).attrib["failures"] == "1"


def test_a_long_console_is_cut_to_64_kib(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    run.add(
        Verdict(Outcome.LOST, "silent"), files={"console.log": b"x" * 70 + b"\n" + b"y" * 99 * 10_000 + b"\nend\n"}
    )
    text = parsed(run.done()).findtext("testsuite/testcase/error") or ""
    assert len(text.encode()) <= 64 * 1024
    assert text.endswith("end")


HOSTILE = st.one_of(st.binary(max_size=300), st.text(max_size=100).map(lambda t: t.encode("utf-8", "surrogatepass")))


@settings(max_examples=10, deadline=None)
@given(console=HOSTILE, words=st.text(max_size=80))
def test_whatever_the_guest_printed_the_reports_are_valid(console: bytes, words: str) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as scratch:
        run = FakeRun(Path(scratch))
        words = words.encode("utf-8", "replace").decode()  # a record is JSON: it cannot hold lone surrogates
        files = {"console.log": console, "race.ktap": console}
        shown = (splat(Standing.NEW, words),)
        run.add(Verdict(Outcome.FAIL, words, last_lines=(words,)), splats=shown, files=files)
        run.add(Verdict(Outcome.LOST, "]]> <&\"'" + words), scenario="other", files=files)
        done = run.done()
        parsed(done)
        write_reports(done)
        plan = [line for line in ktap(view(done)).decode().split("\n") if line.startswith("1..")]
        assert plan == ["1..2"]


@given(st.text())
def test_harmless_text_survives_junit_xml_unchanged(text: str) -> None:
    once = harmless(text)
    assert harmless(once) == once
    once.encode("utf-8")


def test_excerpts_keep_both_ends() -> None:
    short = shorten("a" * 1000 + "b" * 1000, 500)
    assert len(short) <= 500
    assert short.startswith("aaa")
    assert short.endswith("bbb")
    assert shorten("äöü", 500) == "äöü"


def test_the_tail_of_no_file_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "absent") == ""


def test_ktap_counts_what_it_lists(tmp_path: Path) -> None:
    lines = ktap(view(every_ending(tmp_path, "SIGTERM"))).decode().splitlines()
    assert lines[0] == "KTAP version 1"
    assert "# interrupted by SIGTERM" in lines
    assert sum(line.startswith("ok ") for line in lines) == 3
    assert sum(line.startswith("not ok ") for line in lines) == 6
    assert lines[-1] == "# totals pass:2 fail:6 skip:1"
    assert any(line.endswith("# SKIP no /dev/guprace_probe") for line in lines)


@pytest.mark.parametrize("name", ["junit.xml", "report.ktap", "index.html"])
def test_reports_can_be_written_again_and_again(tmp_path: Path, name: str) -> None:
    run = every_ending(tmp_path)
    write_reports(run)
    first = (run.root / name).read_bytes()
    write_reports(run)
    assert (run.root / name).read_bytes() == first
