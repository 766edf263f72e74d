# SPDX-License-Identifier: GPL-2.0-only
"""A console that was compressed, read as it comes: gzip, xz and bzip2, told by how they begin.

What is cut short is a console all the same: its end is where a machine died, and what came before says why.
"""

from __future__ import annotations

import bz2
import lzma
import shlex
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from orchestrator.errors import UsageError
from orchestrator.splat.lines import CHUNK

# So little at once that damage costs little of what came before it.
PIECE = 1 << 8
# Of what one dictionary may take; xz -9 takes 65 MiB.
MEMORY = 1 << 28
_DAMAGE = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)


class Readable(Protocol):
    """What gives bytes, as a binary file does; none at the end."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many."""


class _Inner(Protocol):
    """A decompressor of one stream of the standard library's."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


class _Gzip:
    """zlib's decompressor in the terms of the two others, which keep what they have not come to."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


_READ: tuple[tuple[bytes, str, Callable[[], _Inner]], ...] = (
    (b"\x1f\x8b\x08", "gzip", _Gzip),
    (b"\xfd7zXZ\x00", "xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
)
# What the standard library does not read, and what does.
_OTHERS = (
    (b"\x28\xb5\x2f\xfd", "zstd", "zstdcat"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4cat"),
    (b"\x89LZO\x00", "lzop", "lzop -dc"),
    (b"LZIP", "lzip", "lzip -dc"),
    (b"\x1f\x9d", "compress", "zcat"),
    (b"PK\x03\x04", "zip", "unzip -p"),
    (b"7z\xbc\xaf\x27\x1c", "7z", "7z x -so"),
    (b"LPKSHHRH", "a journal of systemd", "journalctl -k -o short-monotonic --file"),
)


class Unpacked:
    """The bytes of `stream`, decompressed if they are compressed; `cut` says in the end that they are not whole."""

    def __init__(self, stream: Readable, name: str) -> None:
        """Look at the beginning; `name` is how a user would name it to another program.

        Raises:
            UsageError: it is compressed in a way that only another program reads.
        """
        self.cut = ""
        first = stream.read(CHUNK)
        for magic, kind, program in _OTHERS:
            if first.startswith(magic):
                hint = f"{program} {shlex.quote(name)} | guprace triage -"
                raise UsageError(f"is {kind}, which only another program reads", where=name, hint=hint)
        known = ((kind, make) for magic, kind, make in _READ if first.startswith(magic))
        kind, make = next(known, ("", None))
        self._pieces = self._unpacked(stream, first, kind, make) if make else _as_they_are(stream, first)

    def read(self, _size: int, /) -> bytes:
        """Return the next bytes, CHUNK of them at most; none at the end."""
        return next(self._pieces, b"")

    def _unpacked(self, stream: Readable, data: bytes, kind: str, make: Callable[[], _Inner]) -> Iterator[bytes]:
        inner, rest = make(), data
        data = b""
        while True:
            try:
                piece = inner.decompress(data, CHUNK)
            except _DAMAGE as error:
                self.cut = f"the {kind} data are damaged ({error}): what came before was read"
                return
            if piece:
                yield piece
            data = b""
            if inner.eof:
                # Another stream may follow (logs are appended), or padding, or nothing.
                rest = (inner.unused_data + rest).lstrip(b"\0")
                while not rest and (more := stream.read(PIECE)):
                    rest = more.lstrip(b"\0")
                if not rest:
                    return
                inner = make()
            elif not piece:
                data, rest = rest[:PIECE], rest[PIECE:]
                data = data or stream.read(PIECE)
                if not data:
                    self.cut = f"the {kind} data end before their end: what came before was read"
                    return


def _as_they_are(stream: Readable, first: bytes) -> Iterator[bytes]:
    while first:
        yield first
        first = stream.read(CHUNK)
