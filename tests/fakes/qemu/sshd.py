# SPDX-License-Identifier: GPL-2.0-only
"""The fake guest's SSH server: paramiko, with the very keys that guprace put into the initramfs."""

from __future__ import annotations

import io
import os
import socket
import threading

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from tests.fakes.qemu.answers import answer
from tests.fakes.qemu.guest import FakeGuest

HOST_KEY = "etc/dropbear/host_key"
AUTHORIZED_KEYS = "root/.ssh/authorized_keys"


def archive_files(data: bytes) -> dict[str, bytes]:
    """Return the files of concatenated, uncompressed newc archives by path; later ones win."""
    files: dict[str, bytes] = {}
    at = 0
    while (at := data.find(b"070701", at)) >= 0:
        size, name_size = int(data[at + 54 : at + 62], 16), int(data[at + 94 : at + 102], 16)
        body = (at + 110 + name_size + 3) & ~3
        files[data[at + 110 : at + 110 + name_size - 1].decode()] = data[body : body + size]
        at = (body + size + 3) & ~3
    return files


def host_key(dropbear: bytes) -> paramiko.PKey:
    """Read a host key in dropbear's format."""
    assert dropbear.startswith(b"\0\0\0\x0bssh-ed25519\0\0\0\x40"), "no ed25519 key in dropbear's format"
    key = Ed25519PrivateKey.from_private_bytes(dropbear[19:51])
    assert key.public_key().public_bytes_raw() == dropbear[51:83], "the key's halves do not fit"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return paramiko.Ed25519Key(file_obj=io.StringIO(pem))


class FakeSshd:
    """Serves root's login with the authorized key: commands by the answers table."""

    def __init__(self, guest: FakeGuest) -> None:
        files = archive_files(guest.options.initramfs.read_bytes())
        self._carried = {f"/{path}" for path in files}
        self.guest = guest
        self.raced: list[float] = []
        self.authorized = files[AUTHORIZED_KEYS].split()[1].decode()
        self._key = host_key(files[HOST_KEY])
        if guest.does("wrong-host-key"):
            self._key = paramiko.ECDSAKey.generate()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def has(self, path: str) -> bool:
        """Whether the guest has this file, from its start."""
        return path in self._carried

    def serve(self) -> None:
        """Accept connections for ever, in a thread."""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            peer, _ = self._listener.accept()
            # As dropbear and QEMU's user network do.
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport = paramiko.Transport(peer)
            transport.add_server_key(self._key)
            threading.Thread(target=self._session, args=(transport,), daemon=True).start()

    def _session(self, transport: paramiko.Transport) -> None:
        try:
            transport.start_server(server=_Server(self))
        except (paramiko.SSHException, EOFError, OSError):
            transport.close()
            return
        channels = []
        while transport.is_active():
            # Channels close when nobody refers to them.
            channels.append(transport.accept(1.0))


class _Server(paramiko.ServerInterface):
    def __init__(self, sshd: FakeSshd) -> None:
        self._sshd = sshd

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        good = username == "root" and key.get_base64() == self._sshd.authorized
        return AUTH_SUCCESSFUL if good else AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._run, args=(channel, command.decode(errors="replace")), daemon=True).start()
        return True

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        self._tell(f"subsystem {name}")
        return super().check_channel_subsystem_request(channel, name)

    def check_channel_pty_request(self, *args: object) -> bool:
        return True

    def check_channel_window_change_request(self, *args: object) -> bool:
        return True

    def check_channel_shell_request(self, channel: paramiko.Channel) -> bool:
        threading.Thread(target=self._shell, args=(channel,), daemon=True).start()
        return True

    def _run(self, channel: paramiko.Channel, command: str) -> None:
        guest = self._sshd.guest
        self._tell(command.splitlines()[0])
        if guest.silent.is_set():
            return
        # The reply to the exec request leaves after the server's check returned; this answer comes after that.
        channel.get_transport().global_request("sync@fakeqemu", wait=True)
        status = answer(
            guest,
            command,
            lambda text: channel.sendall(text.encode(errors="surrogateescape")),
            lambda text: channel.sendall_stderr(text.encode()),
            self._sshd.raced,
            self._sshd.has,
        )
        channel.send_exit_status(status)
        channel.close()

    def _tell(self, what: str) -> None:
        if self._sshd.guest.does("log-ssh"):
            os.write(2, f"{what}\n".encode())

    def _shell(self, channel: paramiko.Channel) -> None:
        channel.sendall(b"guprace:~# ")
        typed = b""
        while not typed.endswith((b"exit\r", b"exit\n", b"\x04")):
            data = channel.recv(1024)
            if not data:
                break
            typed += data
            channel.sendall(data)
        channel.send_exit_status(0)
        channel.close()
