# SPDX-License-Identifier: GPL-2.0-only
"""A booted guest: run, watch. Only `boot` makes one, and only while its context lasts."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence

import paramiko

from orchestrator.guest.console import Console
from orchestrator.guest.model import CommandResult, GuestSpec, LostReason
from orchestrator.guest.shell import interact
from orchestrator.guest.ssh import SSH_ERRORS, SshTimeoutError, run_command
from orchestrator.guest.watch import DRAIN_SECONDS, Watch
from orchestrator.proc import Deadline


class Guest:
    """A guest that answers. Seconds given to its methods are at reference speed, times `slowness`.

    `boot_seconds` is from QEMU's start to init's ready mark, `ssh_seconds` to the first answer over SSH.
    """

    def __init__(
        self,
        spec: GuestSpec,
        console: Console,
        watch: Watch,
        transport: paramiko.Transport,
        *,
        boot_seconds: float,
        ssh_seconds: float,
        slowness: float,
        qemu_version: str,
    ) -> None:
        self.spec = spec
        self.console = console
        self.console_log = spec.directory / "console.log"
        self.boot_seconds = boot_seconds
        self.ssh_seconds = ssh_seconds
        self.slowness = slowness
        self.qemu_version = qemu_version
        self._watch = watch
        self._transport = transport

    def check(self) -> None:
        """Raise GuestLostError with the reason and the last console lines if the guest is lost.

        Raises:
            RunInterruptedError: somebody asked to stop.
        """
        self._watch.check()

    def run(
        self, command: str | Sequence[str], seconds: float, on_line: Callable[[str], None] | None = None
    ) -> CommandResult:
        """Run a command (a shell line, or an argv) as root and return how it ended, whatever its status.

        Raises:
            GuestLostError: the guest is gone, or the command had not ended in time.
            RunInterruptedError: somebody asked to stop.
        """
        with self._guarded(f"running {_name(command)}"):
            deadline = Deadline.after(seconds * self.slowness)
            return run_command(self._transport, command, deadline, self.check, on_line)

    def shell(self) -> int:
        """Give the user's terminal a shell in the guest and return its exit status. Raises as `run`."""
        with self._guarded("the interactive shell"):
            return interact(self._transport, self.check)

    @contextlib.contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        self.check()
        try:
            yield
        except SshTimeoutError as error:
            raise self._watch.unresponsive(str(error)) from error
        except SSH_ERRORS as error:
            self._watch.check_for(DRAIN_SECONDS)
            detail = f"SSH broke while {what}: {error or type(error).__name__}"
            raise self._watch.lost(LostReason.SILENT, detail) from error


def _name(command: str | Sequence[str]) -> str:
    line = command if isinstance(command, str) else shlex.join(command)
    return line.splitlines()[0][:80] if line else "nothing"
