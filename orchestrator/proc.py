# SPDX-License-Identifier: GPL-2.0-only
"""Every process that guprace starts: argv lists, own process group, dies with guprace, always a deadline."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from orchestrator.errors import HostError, RunInterruptedError

log = logging.getLogger("guprace.proc")

TAIL_BYTES = 4096
POLL_SECONDS = 0.05
TICK_SECONDS = 1.0
# A watchdog in the process group waits for the end of a pipe that only guprace holds open: however guprace ends
# (kill -9 too, and before the program even started), the whole group goes. A death signal (prctl) would end make
# and leave its compilers writing into an object tree that the next guprace takes for its own.
_LEASHED = """
leash=$0
exec -a guprace-watchdog bash -c 'read -r _ <&$0; kill -KILL 0' "$leash" </dev/null >/dev/null 2>&1 &
exec {leash}<&-
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic time by which something must be done."""

    at: float
    seconds: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline `seconds` from now."""
        return cls(time.monotonic() + seconds, seconds)

    def later(self, seconds: float) -> Deadline:
        """Return the deadline that is `seconds` later."""
        return Deadline(self.at + seconds, self.seconds)

    @property
    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.at - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.at


class Stop:
    """Asked of every stage: has the user (Ctrl-C, SIGTERM) had enough? Set once, never cleared."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""

    def set(self, reason: str) -> None:
        """Ask every stage to stop."""
        self.reason = self.reason or reason
        self._event.set()

    @property
    def is_set(self) -> bool:
        """Whether somebody asked to stop."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise RunInterruptedError if somebody asked to stop."""
        if self._event.is_set():
            raise RunInterruptedError(f"interrupted ({self.reason})")

    def wait(self, seconds: float) -> None:
        """Sleep for `seconds`, waking early with RunInterruptedError if somebody asks to stop."""
        self._event.wait(seconds)
        self.check()


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished process: its output is text with undecodable bytes replaced."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float


class Leashed(subprocess.Popen[bytes]):
    """A process that `spawn` started; `leash` is our end of the pipe that its watchdog reads."""

    leash: int = -1

    def let_go(self) -> None:
        """Close our end; safe to repeat."""
        if self.leash >= 0:
            os.close(self.leash)
            self.leash = -1


def command_line(argv: Sequence[str], cwd: Path | None = None) -> str:
    """Return the process as a line that can be pasted into a shell."""
    line = shlex.join(argv)
    return f"cd {shlex.quote(str(cwd))} && {line}" if cwd else line


def spawn(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
) -> Leashed:
    """Start a process in a group of its own that ends when guprace does, whatever way; end it with `kill_group`.

    Raises:
        HostError: the program is not there or cannot be run.
    """
    search = (env if env is not None else os.environ).get("PATH")
    if not shutil.which(argv[0], path=search):
        raise HostError(f"no program {argv[0]!r} on this host", hint="run 'guprace doctor'")
    theirs, ours = os.pipe()
    wrapped = ["bash", "-c", _LEASHED, str(theirs), *argv]
    try:
        process = Leashed(
            wrapped,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=(*pass_fds, theirs),
            start_new_session=True,
        )
    except OSError as error:
        os.close(ours)
        raise HostError(f"cannot run {argv[0]}: {error.strerror}", hint="run 'guprace doctor'") from error
    finally:
        os.close(theirs)
    process.leash = ours
    return process


def kill_group(process: Leashed, grace: float = 0.0) -> None:
    """End a process and its group, with SIGTERM and `grace` seconds first if asked, and reap it."""
    steps = [(signal.SIGTERM, grace)] if grace > 0 else []
    for number, patience in [*steps, (signal.SIGKILL, 10.0)]:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    process.let_go()


def run(
    argv: Sequence[str],
    *,
    stop: Stop,
    seconds: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input_bytes: bytes = b"",
    log_file: Path | None = None,
    check: bool = True,
    tick: Callable[[], None] | None = None,
    grace: float = 0.0,
) -> Completed:
    """Run a process to its end and return its output.

    With `log_file`, stdout and stderr both go to the end of that file instead, and are returned as an
    empty `stdout` and the file's tail in `stderr`.  `tick` is called about once a second while it runs.  A process
    that must end early has `grace` seconds from SIGTERM to SIGKILL.

    Raises:
        HostError: it is not there, took longer than `seconds`, or (`check`) ended with another code than 0.
        RunInterruptedError: somebody asked to stop; the process group is dead by then.
    """
    started = time.monotonic()
    deadline = Deadline.after(seconds)
    with contextlib.ExitStack() as files:
        source = files.enter_context(tempfile.TemporaryFile())
        source.write(input_bytes)
        source.seek(0)
        if log_file:
            sink: IO[bytes] = files.enter_context(log_file.open("ab"))
            sink.write(f"$ {command_line(argv, cwd)}\n".encode())
            sink.flush()
            out, err = sink, sink
        else:
            out = files.enter_context(tempfile.TemporaryFile())
            err = files.enter_context(tempfile.TemporaryFile())
        log.debug("%s", command_line(argv, cwd))
        process = spawn(argv, cwd=cwd, env=env, stdin=source, stdout=out, stderr=err)
        _wait(process, argv, deadline, stop, tick, grace)
        stdout, stderr = ("", _tail(log_file)) if log_file else (_all(out), _all(err))
    done = Completed(tuple(argv), process.returncode, stdout, stderr, time.monotonic() - started)
    if check and done.returncode != 0:
        raise failure(done, cwd)
    return done


def failure(done: Completed, cwd: Path | None = None) -> HostError:
    """Describe a process that failed: the line to paste, its code and the tail of what it said."""
    said = (done.stderr or done.stdout).strip()[-TAIL_BYTES:]
    how = f"ended by signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return HostError(f"command failed with {how}: {command_line(done.argv, cwd)}\n{said}")


def _wait(
    process: Leashed,
    argv: Sequence[str],
    deadline: Deadline,
    stop: Stop,
    tick: Callable[[], None] | None,
    grace: float,
) -> None:
    next_tick = time.monotonic() + TICK_SECONDS
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
                return
            stop.check()
            if tick and time.monotonic() >= next_tick:
                next_tick = time.monotonic() + TICK_SECONDS
                tick()
            if deadline.expired:
                raise HostError(f"no end after {deadline.seconds:.0f} s: {command_line(argv)}")
    finally:
        # Also after a normal end: a child that outlived its parent must not outlive us.
        kill_group(process, grace if process.returncode is None else 0.0)


def _all(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")


def _tail(path: Path) -> str:
    with path.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - TAIL_BYTES))
        return stream.read().decode(errors="replace")


@contextlib.contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """While inside, SIGINT, SIGTERM and SIGHUP set `stop`; call from the main thread.

    A SIGHUP that is ignored stays so: that is what nohup(1) is for.
    """

    def handler(number: int, _frame: object) -> None:
        stop.set(signal.Signals(number).name)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
