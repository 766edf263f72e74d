# SPDX-License-Identifier: GPL-2.0-only
"""lib/spare.c: RAM that nobody uses. Whoever takes what is not spare writes over somebody's memory."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.test_selftest_lib import KSELFTESTS

FAKE = Path(__file__).parents[1] / "fakes" / "spare_ram.c"
LIB = [KSELFTESTS / "lib" / f"{name}.c" for name in ("spare", "setting", "check", "ktap")]
MIB = 1 << 20

Spare = Callable[[], str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a machine that was told to use 1088 MiB."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cmdline").write_text("console=ttyS0 mem=1088M quiet\n")
    return tmp_path


@pytest.fixture
def spare(root: Path) -> Spare:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc on the host")
    program = root / "spare"
    define = f'-DSPARE_ROOT="{root}"'
    subprocess.run(
        ["gcc", "-Wall", "-Werror", define, f"-I{KSELFTESTS / 'lib'}", "-o", str(program), str(FAKE), *map(str, LIB)],
        check=True,
        timeout=600,
    )
    return lambda: subprocess.run(
        [str(program)], capture_output=True, text=True, timeout=60, check=True
    ).stdout.strip()


def firmware(root: Path, *entries: tuple[int, int, str]) -> None:
    for number, (start, end, kind) in enumerate(entries):
        entry = root / f"sys/firmware/memmap/{number}"
        entry.mkdir(parents=True)
        (entry / "start").write_text(f"{start:#x}\n")
        (entry / "end").write_text(f"{end - 1:#x}\n")
        (entry / "type").write_text(f"{kind}\n")


def node(root: Path, name: str, *ranges: tuple[int, int]) -> None:
    where = root / "proc/device-tree" / name
    where.mkdir(parents=True)
    (where / "reg").write_bytes(b"".join(struct.pack(">QQ", start, size) for start, size in ranges))


def iomem(root: Path, *ranges: tuple[int, int, str]) -> None:
    lines = [f"{start:08x}-{end - 1:08x} : {name}\n" for start, end, name in ranges]
    (root / "proc/iomem").write_text("".join(lines))


def pc(root: Path, used: int = 1088 * MIB) -> None:
    top = 1152 * MIB - 0x20000
    firmware(root, (0, 0x9FC00, "System RAM"), (MIB, top, "System RAM"), (top, 1152 * MIB, "Reserved"))
    iomem(
        root,
        (0x1000, 0x9FC00, "System RAM"),
        (MIB, used, "System RAM"),
        (16 * MIB, 30 * MIB, "  Kernel code"),
        (top, 1152 * MIB, "Reserved"),
        (1152 * MIB, 4080 * MIB, "PCI Bus 0000:00"),
    )


def virt(root: Path) -> None:
    node(root, "memory@40000000", (0x40000000, 576 * MIB))
    node(root, "memory@64000000", (0x64000000, 576 * MIB))
    iomem(
        root,
        (0x9000000, 0x9001000, "pl011"),
        (0x40000000, 0x64000000, "System RAM"),
        (0x64000000, 0x84000000, "System RAM"),
    )


def test_of_a_pc_it_is_what_its_firmware_tells_of_and_the_kernel_does_not_use(root: Path, spare: Spare) -> None:
    pc(root)
    assert spare() == "44000000-47fe0000"


def test_of_a_machine_with_a_device_tree_too(root: Path, spare: Spare) -> None:
    virt(root)
    assert spare() == "84000000-88000000"


def test_what_the_tree_reserves_is_left_alone(root: Path, spare: Spare) -> None:
    virt(root)
    node(root, "reserved-memory/secure@85000000", (0x85000000, 16 * MIB))
    assert spare() == "86000000-88000000"


def test_what_reaches_to_the_end_leaves_nothing(root: Path, spare: Spare) -> None:
    virt(root)
    node(root, "reserved-memory/secure@85000000", (0x85000000, 64 * MIB))
    assert spare() == "none"


def test_a_kernel_that_uses_all_leaves_nothing(root: Path, spare: Spare) -> None:
    pc(root, used=1152 * MIB - 0x20000)
    assert spare() == "none"


def test_a_kernel_that_was_not_told_to_leave_any_left_none(root: Path, spare: Spare) -> None:
    pc(root)
    (root / "proc/cmdline").write_text("console=ttyS0 crashkernel_mem=64M\n")
    assert spare() == "none"


def test_who_is_not_told_addresses_finds_nothing(root: Path, spare: Spare) -> None:
    pc(root)
    (root / "proc/iomem").write_text("00000000-00000000 : System RAM\n" * 3)
    assert spare() == "none"


def test_a_machine_that_tells_nothing_has_nothing(root: Path, spare: Spare) -> None:
    iomem(root, (MIB, 1088 * MIB, "System RAM"))
    assert spare() == "none"
