# SPDX-License-Identifier: GPL-2.0-only
"""Keys of one guest: a fresh client key, and a fresh host key that is known before the guest runs."""

from __future__ import annotations

import io
from dataclasses import dataclass

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

KEY_TYPE = "ssh-ed25519"
HOST_KEY_PATH = "/etc/dropbear/host_key"
AUTHORIZED_KEYS_PATH = "/root/.ssh/authorized_keys"


@dataclass(frozen=True, slots=True)
class GuestKeys:
    """`client` logs in, `host` is the only host key accepted; `overlay` is what the guest gets of both."""

    client: paramiko.PKey
    host: paramiko.PKey
    overlay: dict[str, bytes]


def fresh_keys() -> GuestKeys:
    """Return new ed25519 keys, with the guest's files by absolute path."""
    client, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    client_key = _paramiko_key(client)
    line = f"{KEY_TYPE} {client_key.get_base64()} guprace\n"
    overlay = {HOST_KEY_PATH: dropbear_key(host), AUTHORIZED_KEYS_PATH: line.encode()}
    return GuestKeys(client_key, _paramiko_key(host), overlay)


def dropbear_key(key: Ed25519PrivateKey) -> bytes:
    """Return `key` in dropbear's own host key format: type, then private and public half in one string.

    Every dropbear with ed25519 reads it (2020.79 on, src/ed25519.c: buf_put_ed25519_priv_key); only later ones
    read OpenSSH's.
    """
    halves = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return _string(KEY_TYPE.encode()) + _string(halves)


def _paramiko_key(key: Ed25519PrivateKey) -> paramiko.PKey:
    # paramiko cannot make ed25519 keys, but reads OpenSSH's format.
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return paramiko.Ed25519Key(file_obj=io.StringIO(pem))


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
