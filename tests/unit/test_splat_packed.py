# SPDX-License-Identifier: GPL-2.0-only
"""Compressed consoles: read as they come, told where they are cut, and never in more memory than a piece takes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.splat.lines import CHUNK
from orchestrator.splat.packed import Unpacked
from orchestrator.splat.scan import scan

LOG = (Path(__file__).parents[1] / "data" / "splat" / "x86_64-6.1-kcsan-pin_vs_munmap.log").read_bytes()
LONG = LOG + b"".join(b"[%5d.%06d] line %d of many\n" % (n, n, n * n) for n in range(40_000))
PACKERS = pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
Pack = Callable[[bytes], bytes]


class Dribble(io.RawIOBase):
    """Gives few bytes at once, as a pipe does, once the beginning is told."""

    def __init__(self, data: bytes) -> None:
        self.left = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        return self.left.read(16 if self.left.tell() < 16 else min(size, 777))


def unpacked(data: bytes) -> tuple[bytes, str]:
    stream = Unpacked(io.BytesIO(data), "LOG")
    pieces = list(iter(lambda: stream.read(CHUNK), b""))
    assert max(map(len, pieces), default=0) <= CHUNK
    return b"".join(pieces), stream.cut


@PACKERS
def test_a_compressed_console_is_read_as_the_plain_one(pack: Pack) -> None:
    assert unpacked(pack(LONG)) == (LONG, "")
    assert scan(Unpacked(io.BytesIO(pack(LOG)), "LOG")) == scan(io.BytesIO(LOG))
    stream = Unpacked(Dribble(pack(LONG)), "LOG")
    assert b"".join(iter(lambda: stream.read(CHUNK), b"")) == LONG


@PACKERS
def test_logs_that_were_appended_and_padded_are_all_read(pack: Pack) -> None:
    assert unpacked(pack(LOG) + pack(b"") + b"\0" * 512 + pack(b"more\n")) == (LOG + b"more\n", "")


@PACKERS
def test_what_came_before_the_cut_is_not_lost(pack: Pack) -> None:
    whole = pack(LONG)
    read, cut = unpacked(whole[: len(whole) * 9 // 10])
    assert LONG.startswith(read)
    assert len(read) > (len(LONG) // 2 if pack is not bz2.compress else 0), "bzip2 has blocks of 900 kB"
    assert cut.endswith(" data end before their end: what came before was read")


@PACKERS
def test_what_came_before_the_damage_is_not_lost(pack: Pack) -> None:
    whole = bytearray(pack(LONG))
    whole[-len(whole) // 8 :] = b"\xff" * (len(whole) // 8)
    read, cut = unpacked(bytes(whole))
    assert len(read) > len(LONG) // 2
    assert LONG.startswith(read[: len(LONG) // 2])
    assert cut.endswith(": what came before was read"), "bzip2 takes it for a block that goes on"


@PACKERS
def test_a_console_of_one_letter_does_not_fill_the_memory(pack: Pack) -> None:
    """What decompresses to 1000 times its size is given in pieces."""
    assert len(unpacked(pack(b"a" * 20_000_000))[0]) == 20_000_000


def test_what_is_not_compressed_is_given_as_it_is() -> None:
    assert unpacked(LONG) == (LONG, "")
    assert unpacked(b"") == (b"", "")
    assert unpacked(b"B\n") == (b"B\n", "")


@pytest.mark.parametrize(
    ("magic", "hint"),
    [
        (b"\x28\xb5\x2f\xfd\x04", "zstdcat 'my log' | guprace triage -"),
        (b"PK\x03\x04", "unzip -p 'my log' | guprace triage -"),
        (b"LPKSHHRH", "journalctl -k -o short-monotonic --file 'my log' | guprace triage -"),
    ],
)
def test_what_only_another_program_reads_is_refused_with_the_command(magic: bytes, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        Unpacked(io.BytesIO(magic + b"\0" * 99), "my log")
    assert refused.value.hint == hint
