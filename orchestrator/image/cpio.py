# SPDX-License-Identifier: GPL-2.0-only
"""Archives in the kernel's initramfs format, byte for byte reproducible and made without root.

Format "newc": kernel documentation driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import gzip
import stat
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import HostError
from orchestrator.records import disk_error

_GZIP_MAGIC = b"\x1f\x8b"
_ALIGN = 4
_TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: absolute path in the guest, full mode (type and permissions), content or link target."""

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class OverlayFile:
    """A file of a per-guest archive: content, and permission bits."""

    data: bytes
    mode: int = 0o600


def file(path: str, data: bytes, mode: int = 0o644) -> Entry:
    """Return a regular file."""
    return Entry(path, stat.S_IFREG | mode, data)


def directory(path: str, mode: int = 0o755) -> Entry:
    """Return a directory."""
    return Entry(path, stat.S_IFDIR | mode)


def symlink(path: str, target: str) -> Entry:
    """Return a symbolic link."""
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def character_device(path: str, major: int, minor: int, mode: int = 0o600) -> Entry:
    """Return a character device node."""
    return Entry(path, stat.S_IFCHR | mode, b"", (major, minor))


def archive(entries: Iterable[Entry]) -> bytes:
    """Return the archive of `entries`: sorted by path (so directories come before what is in them), owner
    root, time 0, inode numbers in order.

    Raises:
        ValueError: a path is not absolute, or occurs twice.
    """
    ordered = sorted(entries, key=lambda entry: entry.path)
    paths = [entry.path for entry in ordered]
    if bad := [path for path in paths if not path.startswith("/") or path == "/"]:
        raise ValueError(f"not an absolute path: {bad[0]!r}")
    if len(set(paths)) != len(paths):
        raise ValueError(f"twice in one archive: {next(p for p in paths if paths.count(p) > 1)!r}")
    parts = [_record(number, entry.path[1:], entry) for number, entry in enumerate(ordered, start=1)]
    parts.append(_record(0, _TRAILER, Entry("", 0)))
    return b"".join(parts)


def with_parents(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return `entries` and a 0755 directory for each parent that is not among them."""
    known = {entry.path: entry for entry in entries}
    for path in tuple(known):
        parent = path.rpartition("/")[0]
        while parent and parent not in known:
            known[parent] = directory(parent)
            parent = parent.rpartition("/")[0]
    return tuple(known.values())


def overlay_cpio(files: Mapping[str, bytes | OverlayFile]) -> bytes:
    """Return an archive of `files` (absolute path to content) to append to an initramfs.

    The kernel unpacks archives one behind the other; their directories must exist in the first one.  Plain
    bytes get mode 0600, since what differs from guest to guest is keys.
    """
    return archive(
        file(path, what.data, what.mode) if isinstance(what, OverlayFile) else file(path, what, 0o600)
        for path, what in files.items()
    )


def concatenate(*archives: bytes) -> bytes:
    """Return `archives` (compressed or not) one behind the other, each at a multiple of four bytes.

    init/initramfs.c looks for an uncompressed header only at such offsets and skips zeros between archives.
    """
    return b"".join(part + bytes(-len(part) % _ALIGN) for part in archives)


def decompressed(initramfs: Path) -> bytes:
    """Return the archive in `initramfs` without its compression.

    Raises:
        HostError: it cannot be read, or is cut short.
    """
    try:
        data = initramfs.read_bytes()
        return gzip.decompress(data) if data.startswith(_GZIP_MAGIC) else data
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise HostError(f"not a whole gzip file: {error}", where=str(initramfs)) from error
    except OSError as error:
        raise disk_error(error, initramfs) from error


def _record(number: int, name: str, entry: Entry) -> bytes:
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (
        number, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(encoded), 0
    )  # fmt: skip
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    head = header + encoded
    return head + bytes(-len(head) % _ALIGN) + entry.data + bytes(-len(entry.data) % _ALIGN)
