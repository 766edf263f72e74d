# SPDX-License-Identifier: GPL-2.0-only
"""A lane's work tree: the source with its patches, changing only the files that must change.

make decides by modification times, so a file that keeps its content keeps its time: a patched kernel
rebuilds what the patch touched, and nothing else. And one that gets another content gets a new time, even if it had
that content, and an older time, before. So a tree of the user's is copied, too: in it an older file may come back
(`mv gup.c.orig gup.c`, another release unpacked), beside whose object make would see nothing to do.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator import records
from orchestrator.errors import HostError
from orchestrator.kernel import patches as patching
from orchestrator.kernel.gitsource import GitTree
from orchestrator.kernel.source import ArchiveTree, UserTree, Workplace
from orchestrator.proc import run

log = logging.getLogger("guprace.lane")

# Of a checkout: what no build reads, and more than all the rest.
_HISTORY = ".git"
# By so much a file system's times may differ from the clock's.
CLOCK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class LaneState:
    """lane.json: which source the work tree holds, and which of its files patches have changed."""

    identity: str
    patched: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """What a patch makes of a file: its bytes, and whether it may be run (the one mode that git keeps)."""

    data: bytes
    executable: bool


@dataclass(frozen=True, slots=True)
class LaneTree:
    """The directories of one lane."""

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
        take for finished: whoever finds the mark makes the objects anew. So does one who finds that the last build
        ended later than now: the clock was set back, and what make compares are times.
        """
        mark, built = self.root / "building", self.root / "built"
        if mark.exists():
            self._anew("was killed")
        elif built.exists() and built.stat().st_mtime > time.time() + CLOCK_SECONDS:
            self._anew("ended in the future (the clock was set back)")
        records.write_atomically(mark, b"")
        try:
            yield
        finally:
            # Reached in every ending but our own death: make ended too, and removed what it had not finished.
            mark.unlink(missing_ok=True)
            # A full disk keeps the mark of an earlier build: that one says less, and nothing wrong.
            with contextlib.suppress(HostError):
                records.write_atomically(built, b"")

    def _anew(self, why: str) -> None:
        log.warning("the last build in %s %s: its objects are made anew", self.root, why)
        shutil.rmtree(self.objects, ignore_errors=True)

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
        UsageError, HostError: as the source's own; a tree of the user's was changed while it was copied.
    """
    wanted = tuple(patches)
    if isinstance(tree, GitTree):
        lane.state_file.unlink(missing_ok=True)
        tree.checkout(lane.work, place.environ, place.stop)
        _write(lane.work, _stage(lane.work, wanted, place))
        return lane.work
    try:
        staged = _bring(lane, tree, wanted, place)
    except (HostError, OSError):
        # A file that vanished, say: if the user is at work there, that is what to tell.
        _check(tree, place)
        raise
    _check(tree, place)
    # Written before the act: whatever dies in between, the next run knows which files may differ.
    records.save(lane.state_file, LaneState(tree.identity, tuple(sorted(staged))))
    _write(lane.work, staged)
    return lane.work


def _bring(
    lane: LaneTree, tree: ArchiveTree | UserTree, patches: tuple[Path, ...], place: Workplace
) -> dict[str, Content | None]:
    """Make the work tree one of `tree`; return what each file must hold that is patched, or was (None: no file)."""
    pristine, state = tree.pristine(place), lane.state()
    if state is None or not lane.work.is_dir():
        _clone(pristine, lane, tree, place)
        patched: tuple[str, ...] = ()
    else:
        patched = state.patched
        if state.identity != tree.identity:
            # Whatever dies in between, the next run finds the name of no tree, and follows again.
            records.save(lane.state_file, LaneState("", patched))
            follow(pristine, lane.work, patched, _named(tree, place))
    staged = _stage(pristine, patches, place)
    for name in patched:
        staged.setdefault(name, _read(pristine / name))
    return staged


def _named(tree: ArchiveTree | UserTree, place: Workplace) -> tuple[str, ...] | None:
    """Return the files that the tree's identity names; None: all there are."""
    return tree.files(place) if isinstance(tree, UserTree) else None


def _check(tree: ArchiveTree | UserTree, place: Workplace) -> None:
    if isinstance(tree, UserTree):
        tree.check(place)


def _clone(pristine: Path, lane: LaneTree, tree: ArchiveTree | UserTree, place: Workplace) -> None:
    """Copy the tree; by hard links from the cache's own, which nobody edits in place."""
    lane.state_file.unlink(missing_ok=True)
    # A copy has the times of its source: objects of what stood here before would pass for newer.
    for old in (lane.objects, lane.work):
        shutil.rmtree(old, ignore_errors=True)
    lane.work.mkdir(parents=True)
    how = ["-al"] if isinstance(tree, ArchiveTree) else ["-a", "--reflink=auto"]
    names = _named(tree, place)
    if names is None:
        names = tuple(sorted(entry.name for entry in pristine.iterdir() if entry.name != _HISTORY))
    # As its input: 80 000 names are more than a command line holds.
    copy = ["xargs", "-0", "cp", *how, "--parents", "-t", str(lane.work), "--"]
    listed = "\0".join(names).encode()
    run(copy, stop=place.stop, seconds=900, env=place.environ, cwd=pristine, input_bytes=listed)


def follow(pristine: Path, work: Path, leave_out: Container[str] = (), names: Iterable[str] | None = None) -> None:
    """Bring a copy of a tree to what the tree is now, in place, but for the files to `leave_out`: those are patched.

    Of the tree it has the files `names`, by their relative names; None: all.

    Raises:
        OSError: a file cannot be read or written.
    """
    there, here = _files(pristine) if names is None else _states(pristine, names), _files(work)
    for name in here.keys() - there.keys():
        if name not in leave_out:
            (work / name).unlink()
    for directory, _, _ in os.walk(work, topdown=False):
        if not (pristine / Path(directory).relative_to(work)).is_dir() and not any(Path(directory).iterdir()):
            Path(directory).rmdir()
    for name, status in there.items():
        if name in leave_out or (name in here and _same(pristine / name, status, work / name, here[name])):
            continue
        _replace(pristine / name, work / name)


def _files(root: Path) -> dict[str, os.stat_result]:
    """Return all that is no directory below `root`, by its relative name; git's own files aside."""
    found: list[str] = []
    for directory, names, files in os.walk(root):
        links = [name for name in names if Path(directory, name).is_symlink()]
        if Path(directory) == root:
            names[:] = [name for name in names if name != _HISTORY]
        below = Path(directory).relative_to(root)
        found += [str(below / name) for name in (*files, *links) if name != _HISTORY]
    return _states(root, found)


def _states(root: Path, names: Iterable[str]) -> dict[str, os.stat_result]:
    return {name: (root / name).lstat() for name in names}


def _same(ours: Path, status: os.stat_result, theirs: Path, other: os.stat_result) -> bool:
    if status.st_mode != other.st_mode:
        return False
    if stat.S_ISLNK(status.st_mode):
        return ours.readlink() == theirs.readlink()
    if status.st_size != other.st_size:
        return False
    return status.st_mtime_ns == other.st_mtime_ns or ours.read_bytes() == theirs.read_bytes()


def _replace(source: Path, target: Path) -> None:
    """Put a copy of `source`, of this moment, in the place of `target`."""
    target.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target, follow_symlinks=False)


def _stage(base: Path, patches: tuple[Path, ...], place: Workplace) -> dict[str, Content | None]:
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


def _read(path: Path) -> Content | None:
    if not path.is_file():
        return None
    return Content(path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR))


def _write(work: Path, staged: dict[str, Content | None]) -> None:
    for name, content in staged.items():
        path = work / name
        if _read(path) == content:
            continue
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        # Unlinked, not overwritten: the inode is shared with the pristine tree.
        path.unlink(missing_ok=True)
        if content is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.data)
            # Whoever may read a program may run it.
            path.chmod(mode | (mode & 0o444) >> 2 if content.executable else mode & ~0o111)
