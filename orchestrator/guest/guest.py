# SPDX-License-Identifier: GPL-2.0-only
"""A booted guest: run, put, get, watch. Only `boot` makes one, and only while its context lasts."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import paramiko

from orchestrator.errors import HostError
from orchestrator.guest.console import Console
from orchestrator.guest.model import CommandResult, GuestSpec, LostReason
from orchestrator.guest.shell import interact
from orchestrator.guest.ssh import SSH_ERRORS, SshTimeoutError, open_sftp, put_file, run_command
from orchestrator.guest.watch import DRAIN_SECONDS, Watch
from orchestrator.proc import Deadline

TRANSFER_SECONDS = 60.0
KMSG_SECONDS = 20.0
KMSG_CHARACTERS = 900


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
        self._sftp: paramiko.SFTPClient | None = None

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

    def put(self, local: Path, remote: str, mode: int = 0o755) -> None:
        """Copy a file into the guest.

        Raises:
            HostError: the local file cannot be read, or the guest refuses (no such directory, no space).
            GuestLostError, RunInterruptedError: as `run`.
        """
        if not local.is_file():
            raise HostError("no such file to copy into the guest", where=str(local))
        with self._transfer(f"copying {local.name} in") as sftp:
            put_file(sftp, local, remote, mode)

    def get(self, remote: str, local: Path) -> None:
        """Copy a file out of the guest. Raises as `put`."""
        with self._transfer(f"copying {remote} out") as sftp:
            sftp.get(remote, str(local))

    def kmsg(self, text: str) -> None:
        """Write one line into the kernel's log, and so on the console. Raises as `run`."""
        line = " ".join(text.split())[:KMSG_CHARACTERS]
        self.run(f"echo {shlex.quote(line)} >/dev/kmsg", KMSG_SECONDS)

    def shell(self) -> int:
        """Give the user's terminal a shell in the guest and return its exit status. Raises as `run`."""
        with self._guarded("the interactive shell"):
            return interact(self._transport, self.check)

    @contextlib.contextmanager
    def _transfer(self, what: str) -> Iterator[paramiko.SFTPClient]:
        with self._guarded(what):
            # One SFTP session for the guest's life: a new one costs half a second under TCG, and dropbear 2022.83
            # may close the channel that is opened right behind the end of another one's server.
            self._sftp = self._sftp or open_sftp(self._transport, TRANSFER_SECONDS * self.slowness)
            try:
                yield self._sftp
            except TimeoutError as error:
                raise SshTimeoutError(f"{what}: no answer in {TRANSFER_SECONDS * self.slowness:.0f} s") from error
            except OSError as error:
                # An SFTP status, such as "No such file": the connection itself is fine.
                if self._transport.is_active():
                    raise HostError(f"{what}: {error}", where="guest") from error
                raise

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
