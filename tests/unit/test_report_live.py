# SPDX-License-Identifier: GPL-2.0-only
"""What people see: the live lines while a run works, and the table at its end."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.report.live import LiveLines, PlainLines, plain_line, watcher
from orchestrator.report.terminal import show
from orchestrator.report.view import view
from orchestrator.runner.events import Event, State, event, held_up
from orchestrator.splat.model import Standing
from orchestrator.verdict.finding import Finding
from orchestrator.verdict.model import Outcome, Verdict
from tests.fakes.rundir import FakeRun, every_ending, race_result, splat

CELL = "6.1/arm64/plain/pin_vs_munmap"


def terminal(width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=20, color_system=None)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (event(CELL, "boot", State.STARTED), f"[{CELL}] boot ..."),
        (event(CELL, "boot", State.FINISHED, "", 3.21), f"[{CELL}] boot finished 3.2 s"),
        (
            event("x", "race", State.FAILED, "guest\nlost \x1b[2J", 130.0),
            "[x] race failed guest lost \ufffd[2J 2 min 10 s",
        ),
        (event(CELL, "judge", State.VERDICT, "PASS"), f"[{CELL}] verdict PASS"),
        (event("", "run", State.NOTE, "4 cells"), "[run] run note 4 cells"),
    ],
)
def test_an_event_is_one_plain_line(what: Event, line: str) -> None:
    assert plain_line(what) == line


def test_plain_lines_go_anywhere_but_a_terminal() -> None:
    console = Console(file=io.StringIO())
    watching = watcher(console)
    assert isinstance(watching, PlainLines)
    with watching:
        watching(event(CELL, "boot", State.STARTED))
        watching(event(CELL, "boot", State.WAITING, "the SSH banner"))
    assert shown(console) == f"[{CELL}] boot ...\n"


def test_that_another_guprace_must_be_waited_for_is_always_said() -> None:
    """A wait for another process is no progress: half a minute of silence is what it must not be."""
    console = Console(file=io.StringIO(), width=200)
    lines = PlainLines(console)
    lines(event(CELL, "build", State.STARTED))
    lines(held_up(CELL, "waits for lane x, which another guprace (pid 7) holds"))
    said = shown(console).splitlines()
    assert said[1] == f"[{CELL}] lock note waits for lane x, which another guprace (pid 7) holds"


def test_a_wait_for_another_guprace_shows_in_the_cells_live_line_and_its_stage_goes_on() -> None:
    console = terminal(120)
    live = LiveLines(console, clock=lambda: 112.5)
    live(Event(100.0, CELL, "build", State.STARTED))
    live(Event(110.0, CELL, "lock", State.NOTE, "waits for lane x"))
    console.print(live)
    assert f"{CELL}  build 12.5 s  waits for lane x\n" in shown(console)


def test_on_a_terminal_each_cell_at_work_has_one_line() -> None:
    console = terminal()
    live = LiveLines(console, clock=lambda: 112.5)
    live(Event(100.0, CELL, "boot", State.STARTED))
    live(Event(101.0, CELL, "boot", State.WAITING, "the SSH banner"))
    live(Event(90.0, "other", "build", State.STARTED))
    console.print(live)
    assert f"{CELL}  boot 12.5 s  the SSH banner\n" in shown(console)
    assert "other  build 22.5 s\n" in shown(console)


def test_a_finished_cell_gives_its_line_up() -> None:
    console = terminal()
    live = LiveLines(console)
    live(Event(100.0, CELL, "boot", State.STARTED))
    live(Event(101.0, CELL, "judge", State.VERDICT, "PASS"))
    console.print(live)
    assert "verdict PASS" in shown(console)
    assert "1 of 1 cell done" in shown(console)
    assert "boot" not in shown(console)


def test_a_narrow_terminal_cuts_lines_instead_of_wrapping_them() -> None:
    console = terminal(40)
    live = LiveLines(console, clock=lambda: 1.0)
    live(Event(0.0, CELL, "race", State.WAITING, "x" * 200))
    console.print(live)
    assert all(len(line) <= 40 for line in shown(console).splitlines())


@pytest.mark.parametrize("width", [60, 90, 200])
def test_the_final_table_fits_the_terminal(tmp_path: Path, width: int) -> None:
    console = terminal(width)
    show(view(every_ending(tmp_path)), console)
    table = shown(console).split("\nFAIL ")[0]
    assert all(len(line.rstrip()) <= width for line in table.splitlines())
    assert "82 000" in table


def test_every_cell_that_needs_attention_says_why_where_and_how_again(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=80)
    show(view(every_ending(tmp_path)), console)
    text = shown(console)
    assert "\x1b" not in text
    for cell in ("6.1/x86_64/kcsan/pin_vs_munmap", "6.1/arm64/debug/pin_vs_munmap", "6.12/arm64/plain/pin_vs_munmap"):
        assert f"again:    guprace run configs/quick.yaml --only '{cell}' --seed 0x2a" in text
        assert f"{cell}/" in text
    assert "Kernel panic - not syncing: sysrq triggered crash" in text
    assert "again:    guprace run configs/quick.yaml --only '6.1/arm64/plain/pin_vs_munmap'" not in text


def test_the_evidence_that_is_named_is_what_the_reason_speaks_of(tmp_path: Path) -> None:
    files = dict.fromkeys(("console.log", "sync.ktap", "race.ktap"), b"x")
    run = FakeRun(tmp_path, "SIGINT")
    run.add(
        Verdict(
            Outcome.FAIL, "refused", hits=2, splats=("WARNING in f",), found=Finding("refused", "probe.x", 3.0, 1.0)
        ),
        scenario="a",
        race=race_result(hits=2),
        splats=(splat(Standing.NEW),),
        files=files,
    )
    run.add(Verdict(Outcome.BROKEN, "sync.ktap: the synchroniser's self-test failed"), scenario="b", files=files)
    never_began = [run.add(None, scenario=name) for name in "cd"]
    done = run.done()
    for cell in never_began:
        shutil.rmtree(done.cell_dir(cell))
    console = Console(file=io.StringIO(), width=200)
    show(view(done), console)
    text = shown(console)
    assert "a/race.ktap" in text
    assert "found:    refused after 3.0 s of racing, 1.0 s into probe.x" in text
    assert "b/sync.ktap" in text
    (idle,) = (line for line in text.splitlines() if line.startswith("NOT FINISHED, and nothing"))
    assert idle.endswith("of 6.1/arm64/plain/c, 6.1/arm64/plain/d")


def test_a_log_of_a_long_wait_says_now_and_then_what_it_waits_for() -> None:
    out = io.StringIO()
    lines = PlainLines(Console(file=out, width=200))
    lines(Event(100.0, CELL, "build", State.STARTED))
    for second in range(101, 200):
        lines(Event(float(second), CELL, "build", State.WAITING, f"CC mm/{second}.o"))
    assert [line.split("mm/")[1] for line in out.getvalue().splitlines()[1:]] == ["130.o", "160.o", "190.o"]
