# SPDX-License-Identifier: GPL-2.0-only
"""A lane's work tree: the source with its patches, changing only the files that must change.

make decides by modification times, so a file that keeps its content keeps its time: a patched kernel
rebuilds what the patch touched, and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator import records
from orchestrator.kernel import patches as patching
from orchestrator.kernel.gitsource import GitTree
from orchestrator.kernel.source import ArchiveTree, UserTree, Workplace
from orchestrator.proc import run

log = logging.getLogger("guprace.lane")


@dataclass(frozen=True, slots=True)
class LaneState:
    """lane.json: which source the work tree holds, and which of its files patches have changed."""

    identity: str
    patched: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LaneTree:
    """The directories of one lane. `source` is the tree to build: the lane's own, or the user's."""

    root: Path

    @property
    def work(self) -> Path:
        """The lane's own source tree."""
        return self.root / "src"

    @property
    def objects(self) -> Path:
        """The object tree (O=)."""
        return self.root / "obj"

    @property
    def state_file(self) -> Path:
        """What the work tree holds."""
        return self.root / "lane.json"

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """Mark the object tree as being written while inside.

        A guprace that was killed inside leaves the mark, and with it maybe half-written objects that make would
        take for finished: whoever finds the mark makes the objects anew.
        """
        mark = self.root / "building"
        if mark.exists():
            log.warning("the last build in %s was killed: its objects are made anew", self.root)
            shutil.rmtree(self.objects, ignore_errors=True)
        records.write_atomically(mark, b"")
        try:
            yield
        finally:
            # Reached in every ending but our own death: make ended too, and removed what it had not finished.
            mark.unlink(missing_ok=True)

    def state(self) -> LaneState | None:
        """Return what the work tree holds, None if that is unknown (then it is made anew)."""
        return records.recall(self.state_file, LaneState)


def prepare(
    lane: LaneTree, tree: ArchiveTree | UserTree | GitTree, patches: Iterable[Path], place: Workplace
) -> Path:
    """Bring the lane's work tree to `tree` plus `patches` and return the directory to build.

    The caller holds the lane's lock.

    Raises:
        BuildError: a patch does not apply.
        UsageError, HostError: as the source's own.
    """
    wanted = tuple(patches)
    if isinstance(tree, UserTree) and not wanted:
        return tree.pristine(place)
    if isinstance(tree, GitTree):
        lane.state_file.unlink(missing_ok=True)
        tree.checkout(lane.work, place.environ, place.stop)
        staged = _stage(lane.work, wanted, place)
        _write(lane.work, staged)
        return lane.work
    pristine = tree.pristine(place)
    state = lane.state()
    if state is None or state.identity != tree.identity or not lane.work.is_dir():
        _clone(pristine, lane, place, hardlinks=isinstance(tree, ArchiveTree))
        state = LaneState(tree.identity, ())
    staged = _stage(pristine, wanted, place)
    for name in state.patched:
        staged.setdefault(name, _read(pristine / name))
    # Written before the act: whatever dies in between, the next run knows which files may differ.
    records.save(lane.state_file, LaneState(tree.identity, tuple(sorted(staged))))
    _write(lane.work, staged)
    return lane.work


def _clone(pristine: Path, lane: LaneTree, place: Workplace, *, hardlinks: bool) -> None:
    """Copy the tree; by hard links from the cache's own, which nobody edits in place."""
    lane.state_file.unlink(missing_ok=True)
    shutil.rmtree(lane.work, ignore_errors=True)
    lane.root.mkdir(parents=True, exist_ok=True)
    how = ["cp", "-al"] if hardlinks else ["cp", "-a", "--reflink=auto"]
    run([*how, str(pristine), str(lane.work)], stop=place.stop, seconds=900, env=place.environ)


def _stage(base: Path, patches: tuple[Path, ...], place: Workplace) -> dict[str, bytes | None]:
    """Apply patches to copies; return the content each touched file must have (None: no such file)."""
    environ = dict(place.environ)
    names = {name for patch in patches for name in patching.touched(patch, place.stop, environ)}
    with tempfile.TemporaryDirectory(prefix="guprace-patch-") as temporary:
        staging = Path(temporary)
        for name in names:
            if (base / name).is_file():
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(base / name, staging / name)
        patching.apply_all(patches, staging, place.stop, environ)
        return {name: _read(staging / name) for name in names}


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _write(work: Path, staged: dict[str, bytes | None]) -> None:
    for name, content in staged.items():
        path = work / name
        if _read(path) == content:
            continue
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        # Unlinked, not overwritten: the inode is shared with the pristine tree.
        path.unlink(missing_ok=True)
        if content is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)
