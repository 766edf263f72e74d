# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's monitor: the qemu.qmp library on a unix socket of ours, for callers that are not asynchronous."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import re
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from qemu.qmp import EventListener, ExecInterruptedError, ExecuteError, Message, QMPClient, QMPError, Runstate

from orchestrator.errors import HostError
from orchestrator.guest.argv import GUEST_SSH_PORT
from orchestrator.proc import Deadline

T = TypeVar("T")

ANSWER_SECONDS = 10.0
HANDSHAKE_SECONDS = 0.5
POLL_SECONDS = 0.02
_FORWARD = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+" + str(GUEST_SSH_PORT) + r"\b")


class QmpError(Exception):
    """QEMU closed its monitor, does not answer, or refused a command."""


class Qmp:
    """One monitor connection; its event loop runs in a thread of its own.

    `shutdown_reason` is the reason of the SHUTDOWN event (`guest-reset`, `guest-shutdown`, `host-signal` ...), empty
    while there was none.
    """

    def __init__(self, path: Path) -> None:
        self.shutdown_reason = ""
        self._client = QMPClient("guprace")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="guprace-qmp", daemon=True)
        self._thread.start()
        # Noted in the filter: no event waits in a queue that nobody empties.
        self._client.register_listener(EventListener("SHUTDOWN", self._note))
        self._submit(self._client.start_server(str(path))).result(ANSWER_SECONDS)
        self._accepting = self._submit(self._client.accept())

    def accepted(self, seconds: float) -> bool:
        """Wait up to `seconds` for QEMU to connect; True once it has and capabilities are negotiated.

        Raises:
            QmpError: what connected does not speak QMP.
        """
        try:
            self._accepting.result(seconds)
        except concurrent.futures.TimeoutError:
            return False
        except (QMPError, OSError, EOFError, AssertionError) as error:
            # The library asserts that the session it has just made still runs: not if QEMU ended meanwhile.
            raise QmpError(f"QMP handshake failed: {error!r}") from error
        return True

    def execute(self, command: str, arguments: dict[str, object] | None = None) -> Any:
        """Run a QMP command and return its result.

        Raises:
            QmpError: QEMU refused, died or does not answer.
        """
        try:
            return self._submit(self._client.execute(command, arguments)).result(ANSWER_SECONDS)
        except concurrent.futures.TimeoutError as error:
            raise QmpError(f"no answer to {command} in {ANSWER_SECONDS:.0f} s") from error
        except (QMPError, ExecuteError, ExecInterruptedError, OSError, EOFError) as error:
            raise QmpError(f"{command}: {error}") from error

    def human(self, line: str) -> str:
        """Run a human monitor command and return its text. Raises QmpError."""
        return str(self.execute("human-monitor-command", {"command-line": line}))

    def ssh_port(self) -> int:
        """Return the loopback port that QEMU chose for the guest's SSH.

        Raises:
            HostError: QEMU's user network does not say.
            QmpError: QEMU is gone.
        """
        said = self.human("info usernet")
        match = _FORWARD.search(said)
        if not match:
            raise HostError(f"QEMU names no forwarded port in `info usernet`: {said.strip()!r}")
        return int(match[1])

    def version(self) -> str:
        """Return QEMU's version as its greeting says it, such as `7.2.22 (Debian ...)`; call once accepted."""
        greeting = self._client.greeting
        said = greeting.QMP.version if greeting else {}
        numbers = said.get("qemu")
        if not isinstance(numbers, dict):
            return "unknown"
        text = ".".join(str(numbers.get(part, "?")) for part in ("major", "minor", "micro"))
        return f"{text} ({said['package']})" if said.get("package") else text

    def kvm_enabled(self) -> bool:
        """Return whether QEMU really runs the guest by KVM. Raises QmpError."""
        answer = self.execute("query-kvm")
        return isinstance(answer, dict) and answer.get("enabled") is True

    def quit(self) -> None:
        """Ask QEMU to end; it may be gone already."""
        with contextlib.suppress(QmpError):
            self.execute("quit")

    def finished(self, seconds: float) -> None:
        """Wait up to `seconds` until a QEMU that is gone has closed the connection: its last event is read."""
        # It may have died before it ever connected.
        concurrent.futures.wait([self._accepting], min(seconds, HANDSHAKE_SECONDS))
        deadline = Deadline.after(seconds)
        while self._client.runstate is Runstate.RUNNING and not deadline.expired:
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Close connection, event loop and thread."""
        with contextlib.suppress(concurrent.futures.TimeoutError):
            self._submit(self._shut()).result(ANSWER_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ANSWER_SECONDS)
        self._loop.close()

    def _note(self, event: Message) -> bool:
        data = event.get("data")
        self.shutdown_reason = str(data.get("reason", "")) if isinstance(data, dict) else ""
        return False

    async def _shut(self) -> None:
        with contextlib.suppress(QMPError, OSError, EOFError):
            await self._client.disconnect()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)
