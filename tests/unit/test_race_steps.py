# SPDX-License-Identifier: GPL-2.0-only
"""Several commands by one exec: real shells say what they like, and nothing is taken for what it is not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import GuestUnfitError
from orchestrator.guest.model import CommandResult, GuestLostError, LostReason
from orchestrator.race.steps import Said, Step, perform, read_said, script

SHELLS = [["sh", "-c"], ["bash", "-c"], ["busybox", "sh", "-c"]]
TOKEN = "0123456789abcdef" * 2
ONE, TWO = Step("one", "true"), Step("two", "true")


class LocalGuest:
    """A guest whose shell is one of this machine's; `lost` ends it after that line."""

    def __init__(self, shell: Sequence[str] = SHELLS[0], lost: str = "no such line") -> None:
        self.shell = shell
        self.lost = lost
        self.execs = 0
        self.console_log = Path("console.log")

    def run(self, command: str, seconds: float, on_line: Callable[[str], None] | None = None) -> CommandResult:
        self.execs += 1
        done = subprocess.run([*self.shell, command], capture_output=True, check=False, timeout=seconds)
        text = done.stdout.decode(errors="replace")
        for line in text.splitlines():
            if line == self.lost:
                raise GuestLostError(LostReason.SILENT, "it had not ended after 60 s")
            if on_line:
                on_line(line)
        return CommandResult(done.returncode, text, done.stderr.decode(errors="replace"), 0.0)


@pytest.mark.parametrize("shell", SHELLS, ids=[shell[0] for shell in SHELLS])
def test_each_step_has_its_own_output_and_status_by_one_exec(shell: list[str]) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"no {shell[0]} on this machine")
    guest = LocalGuest(shell)
    steps = (
        Step("plain", "echo a; echo b"),
        Step("unended", "printf 'no line feed'"),
        Step("silent", ":"),
        Step("fails", "(exit 4)"),
        Step("missing", "/no/such/program"),
        Step("unwritable", "echo 1 >/no/such/file"),
        Step("bytes", "printf 'x\\000\\377\\342\\202\\n\\r%s' \"'\""),
        Step("lines", '(\nfirst=1\n[ -n "$second" ] || exit 3\n)'),
    )
    said = perform(guest, steps)
    assert guest.execs == 1
    assert list(said) == [step.name for step in steps]
    assert said["plain"] == Said(0, "a\nb\n")
    assert said["unended"] == Said(0, "no line feed")
    assert said["silent"] == Said(0, "")
    assert said["fails"] == Said(4, "")
    assert said["missing"].status == 127
    assert "/no/such/program" in said["missing"].text, "what went wrong is said on stderr"
    assert said["unwritable"].status != 0
    assert said["bytes"] == Said(0, "x\0\ufffd\ufffd\n\r'")
    assert said["lines"].status == 3


def test_nothing_to_do_is_no_exec() -> None:
    guest = LocalGuest()
    assert perform(guest, ()) == {}
    assert guest.execs == 0


def test_a_step_that_must_not_fail_is_an_error_with_its_own_words() -> None:
    must = Step("load", "echo no such module >&2; (exit 1)", must="the probe module does not load")
    with pytest.raises(GuestUnfitError, match=r"^the probe module does not load: no such module$"):
        perform(LocalGuest(), (ONE, must, TWO))
    assert perform(LocalGuest(), (Step("may", "(exit 1)"), TWO))["may"].status == 1


def test_a_shell_that_ends_too_soon_names_the_step_that_has_not_answered() -> None:
    with pytest.raises(GuestUnfitError, match=r"before that of `killed` is whole: half an answer$"):
        perform(LocalGuest(), (ONE, Step("killed", "echo half an answer; kill -9 $$"), TWO))
    with pytest.raises(GuestUnfitError, match=r"before that of `two` is whole: nothing$"):
        perform(LocalGuest(), (ONE, Step("two", "exit 0")))


def test_a_guest_that_is_lost_says_at_which_step() -> None:
    steps = (ONE, Step("hangs", "echo the last it said"), TWO)
    with pytest.raises(GuestLostError, match="it had not ended after 60 s; it was at `hangs`") as caught:
        perform(LocalGuest(lost="the last it said"), steps)
    assert caught.value.reason is LostReason.SILENT


def answer(*said: Said, token: str = TOKEN) -> str:
    return "".join(
        f"{each.text}\n{token} {step.name} {each.status}\n" for step, each in zip((ONE, TWO), said, strict=True)
    )


def test_a_fence_stands_at_the_beginning_of_a_line_and_has_the_steps_name() -> None:
    forged = Said(0, f"{TOKEN} two 0\n x{TOKEN} one 0\n\n0{TOKEN} one 1\n\n{TOKEN[1:]} one 0\n")
    assert read_said(answer(forged, Said(1, "b")), (ONE, TWO), TOKEN) == {"one": forged, "two": Said(1, "b")}


@pytest.mark.parametrize("status", ["", "-1", "1000", "9" * 5000, "x", "\u0661", " 1"])
def test_a_status_that_is_none_is_an_answer_cut_short(status: str) -> None:
    with pytest.raises(GuestUnfitError, match="`one`"):
        read_said(f"text\n{TOKEN} one {status}\n", (ONE,), TOKEN)


@given(st.binary(max_size=80), st.binary(max_size=80), st.integers(0, 255))
def test_any_bytes_come_back_and_any_cut_is_noticed(first: bytes, second: bytes, status: int) -> None:
    texts = [data.decode(errors="replace") for data in (first, second)]
    said = {"one": Said(status, texts[0]), "two": Said(0, texts[1])}
    whole = answer(*said.values())
    assert read_said(whole, (ONE, TWO), TOKEN) == said
    for end in range(0, len(whole), 7):
        with pytest.raises(GuestUnfitError, match=r"`(one|two)`"):
            read_said(whole[:end], (ONE, TWO), TOKEN)


def test_the_first_line_of_the_script_names_its_steps_for_whoever_reads_a_timeout() -> None:
    assert script((ONE, TWO), TOKEN).splitlines()[0] == "exec 2>&1 # one two"
