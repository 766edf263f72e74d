# SPDX-License-Identifier: GPL-2.0-only
"""The plan: what a matrix file asks for, expanded into cells and lanes. Pure values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from orchestrator.matrix.upstream import program_of


class Arch(StrEnum):
    """Guest architectures."""

    X86_64 = "x86_64"
    ARM64 = "arm64"


class Toolchain(StrEnum):
    """Compilers a kernel can be built with."""

    GCC = "gcc"
    CLANG = "clang"


class Accel(StrEnum):
    """How QEMU runs the guest; `auto` times KVM against TCG."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


class Expectation(StrEnum):
    """What a cell must end with: a stock kernel is clean, a mutant is caught."""

    CLEAN = "clean"
    CAUGHT = "caught"


@dataclass(frozen=True, slots=True)
class DebSource:
    """A Debian source package such as `linux-source-6.1`, from this machine's apt or another suite."""

    package: str
    version: str | None = None
    suite: str | None = None


@dataclass(frozen=True, slots=True)
class GitSource:
    """A commit of a git repository that the user has; the user's checkout is never touched."""

    git: Path
    ref: str


@dataclass(frozen=True, slots=True)
class TarballSource:
    """A source archive with its SHA-256 (hexadecimal)."""

    tarball: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class TreeSource:
    """An unpacked tree, used read-only with objects elsewhere."""

    tree: Path


@dataclass(frozen=True, slots=True)
class PrebuiltSource:
    """A bzImage or Image that is booted as it is; `config` is its .config, if the user has it."""

    image: Path
    config: Path | None = None


Source = DebSource | GitSource | TarballSource | TreeSource | PrebuiltSource


@dataclass(frozen=True, slots=True)
class Fragment:
    """A Kconfig fragment, and what it is for (base, architecture, flavour, scenario, user)."""

    path: Path
    role: str


@dataclass(frozen=True, slots=True)
class KernelSpec:
    """Everything that decides a kernel: the value whose digest names it. `series` (6.1) chooses a mutant's patch."""

    name: str
    source: Source
    arch: Arch
    flavour: str
    patches: tuple[Path, ...]
    fragments: tuple[Fragment, ...]
    toolchain: Toolchain = Toolchain.GCC
    mutant: str | None = None
    series: str | None = None


@dataclass(frozen=True, slots=True)
class GuestSettings:
    """What the matrix says of the machine; None means: let the guest room decide. Memory in MiB."""

    accel: Accel = Accel.AUTO
    vcpus: int | None = None
    memory: int = 1024


@dataclass(frozen=True, slots=True)
class RaceSettings:
    """What the matrix says of the race: seconds of racing, and the seed (None: a fresh one).

    `first_hit`: end with the first hit, or when the kernel taints itself; for measuring how soon that is.
    """

    seconds: float = 10.0
    seed: int | None = None
    first_hit: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """Kernel x architecture x flavour x scenario. `id` is stable, and its directory below the run.

    `attempt` counts from 1 where one run races the same several times.
    """

    id: str
    kernel: KernelSpec
    scenario: str
    guest: GuestSettings
    race: RaceSettings
    expect: Expectation = Expectation.CLEAN
    attempt: int = 1

    @property
    def name(self) -> str:
        """The last part of the id: the scenario, and which attempt at it."""
        return self.id.rsplit("/", 1)[1]

    @property
    def lane(self) -> str:
        """The id of the lane: cells of one lane share a kernel."""
        return self.id.rsplit("/", 1)[0]

    @property
    def program(self) -> str | None:
        """The program of the kernel's own selftests that is run instead of a race; None for a race of ours."""
        return program_of(self.scenario)


@dataclass(frozen=True, slots=True)
class Plan:
    """A matrix, expanded. `matrix` is the file it came from, for the command that repeats it.

    `controlled`: each scenario is to have a control. `confidence`: race until a fault that shows as often as the
    controls' would be missed with less than this probability. `seconds` are those of the command line, if it
    had some: the cells have them, the matrix has not.
    """

    name: str
    matrix: Path
    cells: tuple[Cell, ...]
    controlled: bool = False
    confidence: float | None = None
    seconds: float | None = None


def cell_id(kernel: KernelSpec, scenario: str, attempt: int = 1) -> str:
    """Return the id: `6.1/arm64/plain/pin_vs_munmap` or, second attempt, `6.1+M01/arm64/plain/pin_vs_munmap.2`."""
    name = f"{kernel.name}+{kernel.mutant}" if kernel.mutant else kernel.name
    again = f".{attempt}" if attempt > 1 else ""
    return f"{name}/{kernel.arch}/{kernel.flavour}/{scenario}{again}"


def stock_id(cell: Cell) -> str:
    """Return the id of the cell that races the same, for the first time, on the unbroken kernel."""
    return cell_id(replace(cell.kernel, mutant=None), cell.scenario)
