# SPDX-License-Identifier: GPL-2.0-only
"""The fake's QMP monitor: greeting, the commands that guprace sends, and the SHUTDOWN event."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

USERNET = """\
Hub -1 (net):\r
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r
  TCP[HOST_FORWARD]  14       127.0.0.1 {port:5}       10.0.2.15    22     0     0\r
"""


class FakeMonitor:
    """Connects to guprace's socket and answers in a thread."""

    def __init__(self, path: Path, kvm: bool, port: Callable[[], int], quit_: Callable[[], None]) -> None:
        self._kvm = kvm
        self._port = port
        self._quit = quit_
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        version = {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": "fake"}
        self._send({"QMP": {"version": version, "capabilities": ["oob"]}})

    def serve(self) -> None:
        """Answer commands for ever, in a thread."""
        threading.Thread(target=self._serve, daemon=True).start()

    def shutdown(self, reason: str) -> None:
        """Send the SHUTDOWN event."""
        stamp = {"seconds": 0, "microseconds": 0}
        self._send({"timestamp": stamp, "event": "SHUTDOWN", "data": {"guest": True, "reason": reason}})

    def _serve(self) -> None:
        decoder, pending = json.JSONDecoder(), ""
        while data := self._socket.recv(65536):
            pending = (pending + data.decode()).lstrip()
            while pending:
                try:
                    asked, end = decoder.raw_decode(pending)
                except json.JSONDecodeError:
                    break
                pending = pending[end:].lstrip()
                self._reply(asked)

    def _reply(self, asked: dict[str, Any]) -> None:
        result = self._answer(asked["execute"], asked.get("arguments", {}))
        refusal = {"error": {"class": "CommandNotFound", "desc": "no"}}
        reply = refusal if result is None else {"return": result}
        self._send({**reply, **({"id": asked["id"]} if "id" in asked else {})})
        if asked["execute"] == "quit":
            self._quit()

    def _answer(self, command: str, arguments: dict[str, str]) -> object:
        match command:
            case "qmp_capabilities" | "quit":
                return {}
            case "query-kvm":
                return {"enabled": self._kvm, "present": True}
            case "human-monitor-command" if arguments["command-line"] == "info usernet":
                return USERNET.format(port=self._port())
        return None

    def _send(self, message: dict[str, object]) -> None:
        with self._lock:
            self._socket.sendall(json.dumps(message).encode() + b"\r\n")
