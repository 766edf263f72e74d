# SPDX-License-Identifier: GPL-2.0-only
"""The whole command line on fakes: a fake kernel tree, a fake QEMU, the real everything else."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.image.build import build_image
from orchestrator.matrix.plan import Arch
from orchestrator.paths import cache_root
from orchestrator.proc import Stop
from orchestrator.runner.rundir import CellResult, RunDir, open_run
from orchestrator.verdict.model import Verdict
from tests.unit.kernel_room import PROJECT, make_room

MATRIX = """\
name: fakes
kernels:
  "6.1": {{tree: {tree}}}
lanes:
  - {{kernel: "6.1", arch: x86_64, flavour: kcsan}}
  - {{kernel: "6.1", arch: arm64, flavour: plain}}
scenarios: [pin_vs_munmap]
controls:
  - {{mutant: M01, kernel: "6.1", arch: arm64, flavour: plain, scenario: pin_vs_munmap}}
guest: {{accel: tcg}}
race: {{seconds: 1}}
"""
STOCK = "6.1/arm64/plain/pin_vs_munmap"
KCSAN = "6.1/x86_64/kcsan/pin_vs_munmap"
CONTROL = "6.1+M01/arm64/plain/pin_vs_munmap"


@dataclass(frozen=True)
class House:
    """A place to run guprace in; its cache shares images and selftests (content-addressed) with the user's."""

    root: Path
    tree: Path
    bin: Path
    temporary: Path

    @property
    def matrix(self) -> Path:
        return self.root / "matrix.yaml"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def environ(self, fake: str = "") -> dict[str, str]:
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        return {
            **os.environ,
            "PATH": path,
            "PYTHONPATH": str(PROJECT.root),
            "GUPRACE_CACHE": str(self.cache),
            "FAKEQEMU": fake,
            "TMPDIR": str(self.temporary),
            "COLUMNS": "200",
        }

    def start(self, *arguments: str, fake: str = "", cwd: Path | None = None) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "orchestrator", *arguments]
        return subprocess.Popen(
            argv,
            cwd=cwd or self.root,
            env=self.environ(fake),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def guprace(self, *arguments: str, fake: str = "", cwd: Path | None = None) -> tuple[int, str]:
        """Run a verb to its end: exit code and what the terminal showed."""
        process = self.start(*arguments, fake=fake, cwd=cwd)
        said, _ = process.communicate(timeout=300)
        return process.returncode, said

    def race(self, *arguments: str, fake: str = "") -> tuple[int, str]:
        return self.guprace("run", str(self.matrix), *arguments, fake=fake)

    @property
    def run(self) -> RunDir:
        """The newest run."""
        return open_run(max(self.runs.iterdir(), key=lambda path: path.stat().st_mtime_ns))

    def results(self) -> dict[str, CellResult]:
        return {result.record.cell.id: result for result in self.run.results()}

    def verdict(self, cell: str = STOCK) -> Verdict:
        verdict = self.results()[cell].verdict
        assert verdict is not None
        return verdict

    def leftovers(self) -> list[str]:
        """Return processes and temporary files that a run of this house left."""
        listed = subprocess.run(["pgrep", "-af", str(self.root)], capture_output=True, text=True, check=False).stdout
        processes = [line for line in listed.splitlines() if "qemu" in line or "make" in line]
        return processes + [str(path) for path in self.temporary.iterdir()]


@contextlib.contextmanager
def furnished(root: Path, fake_qemu: Path) -> Iterator[House]:
    """Give a house at `root`. Its TMPDIR is a short path: a longer one would not be used for QEMU's sockets."""
    with tempfile.TemporaryDirectory(prefix="gh-", dir="/tmp") as temporary:
        yield _house(root, fake_qemu, Path(temporary))


@dataclass(frozen=True)
class Raced:
    """A house whose plain cells were raced to their ends: as it was then, each time that somebody asks for it.

    Its path stays the same, since run directories, and what a plain tree is known by, hold it.
    """

    house: House
    kept: Path

    def again(self) -> House:
        shutil.rmtree(self.house.root, ignore_errors=True)
        shutil.copytree(self.kept, self.house.root, symlinks=True)
        return self.house


def raced(house: House, kept: Path, fake: str = "") -> Raced:
    """Race both plain cells in a house, anew if they were, and move what that leaves to `kept`."""
    shutil.rmtree(house.runs, ignore_errors=True)
    code, said = house.race("--only", "*plain*", fake=fake)
    assert code in (0, 1), said
    house.root.rename(kept)
    return Raced(house, kept)


def _house(root: Path, fake_qemu: Path, temporary: Path) -> House:
    room = make_room(root)
    house = House(root, room.tree, fake_qemu, temporary)
    house.matrix.write_text(MATRIX.format(tree=room.tree))
    share_cache(house.cache)
    return house


@functools.cache
def make_images(cache: Path) -> None:
    """Have the images built before anybody uses them: some tests have an apt-get of their own on PATH."""
    for arch in Arch:
        build_image(arch, cache=cache, project=PROJECT, stop=Stop(), environ=os.environ)


def share_cache(cache: Path) -> None:
    """Make a cache that has its own kernels, and the user's packages, images and selftests."""
    real = cache_root(os.environ)
    make_images(real)
    cache.mkdir()
    for shared in ("apt", "images", "selftests"):
        (real / shared).mkdir(parents=True, exist_ok=True)
        (cache / shared).symlink_to(real / shared)
