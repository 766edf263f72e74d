# SPDX-License-Identifier: GPL-2.0-only
"""Archives for the kernel: their bytes, and what the real cpio reads from them."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from orchestrator.errors import HostError
from orchestrator.image import cpio
from orchestrator.proc import Stop, run

ENTRIES = (
    cpio.file("/init", b"#!/bin/sh\n", 0o755),
    cpio.directory("/dev"),
    cpio.character_device("/dev/console", 5, 1),
    cpio.symlink("/bin", "usr/bin"),
    cpio.file("/etc/motd", b"odd length"),
)


def test_the_order_of_entries_does_not_change_a_byte() -> None:
    assert cpio.archive(ENTRIES) == cpio.archive(reversed(ENTRIES))


def test_an_archive_has_only_aligned_records_and_a_trailer() -> None:
    data = cpio.archive(ENTRIES)
    assert data.startswith(b"070701")
    assert len(data) % 4 == 0
    assert b"TRAILER!!!" in data[-20:]


@pytest.mark.skipif(shutil.which("cpio") is None, reason="needs the program cpio")
def test_the_real_cpio_lists_what_was_put_in(tmp_path: Path) -> None:
    data = cpio.archive(cpio.with_parents(ENTRIES))
    listing = run(["cpio", "-tv", "--quiet"], stop=Stop(), seconds=10, input_bytes=data).stdout.splitlines()
    names = [line.split()[8] if "->" not in line else line.split()[-3] for line in listing if "console" not in line]
    assert names == ["bin", "dev", "etc", "etc/motd", "init"]
    assert any(line.startswith("crw-------") and "5,   1" in line for line in listing)
    assert all(line.split()[2:4] == ["root", "root"] for line in listing)


@pytest.mark.parametrize("path", ["relative", "/", ""])
def test_a_path_that_is_not_absolute_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not an absolute path"):
        cpio.archive([cpio.file(path, b"")])


def test_the_same_path_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice in one archive: '/init'"):
        cpio.archive([*ENTRIES, cpio.file("/init", b"other")])


def test_missing_parents_become_directories_and_given_ones_keep_their_mode() -> None:
    made = cpio.with_parents([cpio.file("/root/.ssh/keys", b""), cpio.directory("/root", 0o700)])
    modes = {entry.path: entry.mode & 0o7777 for entry in made}
    assert modes == {"/root": 0o700, "/root/.ssh": 0o755, "/root/.ssh/keys": 0o644}


def test_overlay_files_are_private_unless_told_otherwise() -> None:
    data = cpio.overlay_cpio({"/key": b"secret", "/open": cpio.OverlayFile(b"x", 0o644)})
    assert data[14:22] == b"00008180"
    assert b"000081A4" in data


def test_archives_are_joined_at_multiples_of_four_bytes() -> None:
    joined = cpio.concatenate(b"12345", b"abcd")
    assert joined == b"12345\0\0\0abcd"


def test_a_compressed_initramfs_is_unpacked_and_a_plain_one_left_alone(tmp_path: Path) -> None:
    plain = cpio.archive(ENTRIES)
    for name, data in (("plain", plain), ("packed", gzip.compress(plain))):
        (tmp_path / name).write_bytes(data)
        assert cpio.decompressed(tmp_path / name) == plain


def test_an_initramfs_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "initramfs.cpio.gz"
    path.write_bytes(gzip.compress(cpio.archive(ENTRIES))[:-9])
    with pytest.raises(HostError, match=r"initramfs\.cpio\.gz: not a whole gzip file"):
        cpio.decompressed(path)
