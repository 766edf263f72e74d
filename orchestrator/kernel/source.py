# SPDX-License-Identifier: GPL-2.0-only
"""Where a tree comes from: each kind of source knows its identity cheaply and can be unpacked or checked out."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import assert_never

from orchestrator import records
from orchestrator.errors import HostError, UsageError
from orchestrator.kernel.aptroot import AptRoot, GoneError
from orchestrator.kernel.apttext import Candidate, NotOfferedError
from orchestrator.kernel.cache import digest_of, file_digest
from orchestrator.kernel.gitsource import CHECKOUT, ROOT_FILES, GitTree, commit_of, worktree_files, worktree_identity
from orchestrator.kernel.lock import Waits, locked, say_in_log
from orchestrator.matrix.plan import DebSource, GitSource, PrebuiltSource, Source, TarballSource, TreeSource
from orchestrator.proc import Completed, Stop, failure, run

log = logging.getLogger("guprace.source")

UNPACK_SECONDS = 900.0
# tar's words (LC_ALL=C) for what the host lacks: a program that decompresses, a disk that can be read.
_TAR_CANNOT = re.compile(r"Cannot (?:exec|open|read|stat|fork)")


@dataclass(frozen=True, slots=True)
class Workplace:
    """What every source needs to do its work: the cache, the environment, and the request to stop.

    `waits` is told when another guprace must be waited for. `resolved` has what each source was when it was first
    asked for: the rows of a run are of one source, whatever becomes of it meanwhile.
    """

    cache: Path
    environ: Mapping[str, str]
    stop: Stop
    waits: Waits = say_in_log
    resolved: dict[Source, ArchiveTree | UserTree | GitTree] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class ArchiveTree:
    """A source archive, unpacked once into the cache."""

    identity: str
    label: str
    archive: Path | None = None
    deb: Candidate | None = None
    apt: AptRoot | None = None

    def pristine(self, place: Workplace) -> Path:
        """Unpack unless done before. Raises HostError on a full disk, a failed download, a bad archive."""
        where = place.cache / "sources" / f"{self.label}-{self.identity[:12]}"
        if (where / "Makefile").is_file():
            return where
        what = f"unpacking {where.name}"
        with locked(where.parent / f".{where.name}.lock", what, place.stop, place.waits):
            if not (where / "Makefile").is_file():
                self._unpack(where, place)
        return where

    def _unpack(self, where: Path, place: Workplace) -> None:
        new = where.parent / f".{where.name}.new"
        for old in (where, new):
            shutil.rmtree(old, ignore_errors=True)
        try:
            new.mkdir(parents=True)
            archive = self.archive or self._from_package(new, place)
            tree = new / "tree"
            tree.mkdir()
            done = self._tar(["-C", str(tree), "--strip-components=1", "-xf", str(archive)], place)
            if done.returncode != 0:
                raise self._unreadable(done, place)
            if not _is_linux(tree):
                raise UsageError("no Linux source in this archive (no Makefile and Kconfig)", where=str(archive))
            if self.archive and file_digest(self.archive) != self.identity:
                hint = "leave it alone and run the same command again"
                raise UsageError("this archive was changed while it was being read", where=str(archive), hint=hint)
            tree.rename(where)
        except OSError as error:
            raise records.disk_error(error, where) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)

    @staticmethod
    def _tar(arguments: list[str], place: Workplace) -> Completed:
        environ = {**place.environ, "LC_ALL": "C"}
        return run(["tar", *arguments], stop=place.stop, seconds=UNPACK_SECONDS, env=environ, check=False)

    def _unreadable(self, done: Completed, place: Workplace) -> UsageError | HostError:
        """Say whose fault it is that tar failed: an archive of the user's that cannot even be listed is none."""
        listed = self._tar(["-tf", str(self.archive)], place) if self.archive else None
        if listed is None or listed.returncode == 0 or _TAR_CANNOT.search(listed.stderr):
            return failure(done)
        why = (listed.stderr.strip().splitlines() or ["tar does not say why"])[0]
        return UsageError(f"is no tar archive, or not a whole one: {why}", where=str(self.archive))

    def _from_package(self, new: Path, place: Workplace) -> Path:
        if self.deb is None or self.apt is None:
            raise HostError("neither an archive nor a package", where=self.label)
        log.info("downloading %s %s", self.deb.package, self.deb.version)
        package = _download(self.apt, self.deb, new)
        run(["dpkg", "-x", str(package), str(new / "deb")], stop=place.stop, seconds=120, env=place.environ)
        found = sorted((new / "deb" / "usr" / "src").glob("linux-source-*.tar.*"))
        if len(found) != 1:
            raise UsageError("not a linux-source package: no /usr/src/linux-source-*.tar.*", where=self.deb.package)
        return found[0]


def _download(apt: AptRoot, wanted: Candidate, into: Path) -> Path:
    """Download a package; the archive may have dropped a version that our lists still name."""
    try:
        return apt.with_fresh_lists(lambda: apt.download(wanted, into))
    except GoneError as error:
        fresh = apt.candidate(wanted.package)
        if fresh.version == wanted.version:
            raise
        raise HostError(
            f"{wanted.package} {wanted.version} is gone from the archive, which has {fresh.version} now",
            hint="run the same command again: it will take the new version",
        ) from error


@dataclass(frozen=True, slots=True)
class UserTree:
    """A tree of the user's, read only: what is built is a lane's copy of it."""

    identity: str
    label: str
    path: Path

    def pristine(self, place: Workplace) -> Path:
        """Return the user's tree itself; refuses one that was built in place, which O= builds cannot use."""
        del place
        for leftover in (".config", "include/config"):
            if (self.path / leftover).exists():
                raise UsageError(
                    f"this tree was configured in place ({leftover} is there), so it cannot be built out of tree",
                    where=str(self.path),
                    hint=f"make -C {self.path} mrproper",
                )
        return self.path

    def files(self, place: Workplace) -> tuple[str, ...] | None:
        """Return the files that `identity` names, relative to the tree; None: all of them.

        What git ignores (other builds' objects, gigabytes of them) is no part of a checkout's identity, so it must
        not be of what is built either.
        """
        return worktree_files(self.path, place.environ, place.stop) if self.identity.startswith(CHECKOUT) else None

    def check(self, place: Workplace) -> None:
        """Raise UsageError if the tree is not what `identity` names any more: a copy made meanwhile has no name."""
        if _identity(self.path, place) != self.identity:
            raise UsageError(
                "this tree was changed while it was being read",
                where=str(self.path),
                hint="leave it alone and run the same command again; or name a commit (`git:`), which nobody changes",
            )


def resolve(source: Source, place: Workplace) -> ArchiveTree | UserTree | GitTree:
    """Find out what a source is now, or was when this workplace was first asked, without unpacking it.

    Raises:
        UsageError: the user named something that is not there or not what it should be.
        HostError: apt or git failed.
    """
    tree = place.resolved.get(source) or place.resolved.setdefault(source, _resolve(source, place))
    if isinstance(tree, ArchiveTree) and tree.apt:
        # Who is told of a wait is who waits now.
        return replace(tree, apt=tree.apt.telling(place.waits))
    return tree


def _resolve(source: Source, place: Workplace) -> ArchiveTree | UserTree | GitTree:
    match source:
        case DebSource():
            return _resolve_deb(source, place)
        case TarballSource():
            return _resolve_tarball(source)
        case GitSource():
            commit = commit_of(source.git, source.ref, place.environ, place.stop)
            return GitTree(f"git:{commit}", _label(source.git.resolve().name), source.git.resolve(), commit)
        case TreeSource():
            return _resolve_tree(source, place)
        case PrebuiltSource():
            raise UsageError("a prebuilt image has no source tree", where=str(source.image))
        case _:
            assert_never(source)


def _resolve_deb(source: DebSource, place: Workplace) -> ArchiveTree:
    root = place.cache / "apt" / f"{source.suite or 'host'}-amd64"
    apt = AptRoot(root, source.suite, ("amd64",), place.stop, place.environ, place.waits)
    try:
        candidate = _candidate(source, apt)
    except NotOfferedError as error:
        # The archive has answered: it is for who named it to name another.
        raise UsageError(error.what, where=error.where, hint=error.hint) from error
    return ArchiveTree(candidate.sha256, f"{source.package}-{candidate.version}", deb=candidate, apt=apt)


def _candidate(source: DebSource, apt: AptRoot) -> Candidate:
    apt.ensure()
    # Asking apt costs most of a second; the answer cannot change while its lists do not.
    key = digest_of([apt.identity(), source.package, source.version])
    memo = apt.directory / "candidates" / f"{key}.json"
    candidate = records.recall(memo, Candidate)
    if candidate is None:
        candidate = apt.candidate(source.package, source.version)
        records.save(memo, candidate)
    return candidate


def _resolve_tarball(source: TarballSource) -> ArchiveTree:
    if not source.tarball.is_file():
        raise UsageError("no such tarball", where=str(source.tarball))
    got = file_digest(source.tarball)
    if got != source.sha256.lower():
        raise UsageError(
            f"SHA-256 differs: the matrix says {source.sha256}, the file has {got}",
            where=str(source.tarball),
            hint="download it again, or correct the sum",
        )
    return ArchiveTree(got, _label(source.tarball.name.split(".tar")[0]), archive=source.tarball)


def _resolve_tree(source: TreeSource, place: Workplace) -> UserTree:
    path = source.tree.resolve()
    if not _is_linux(path):
        raise UsageError(f"not a Linux source tree (no {' and '.join(ROOT_FILES)})", where=str(source.tree))
    return UserTree(_identity(path, place), f"{_label(path.name)}-{digest_of(str(path))[:8]}", path)


def _is_linux(tree: Path) -> bool:
    return all((tree / name).is_file() for name in ROOT_FILES)


def _label(name: str) -> str:
    """Return a file's name as it may be part of a path that make is told."""
    return re.sub(r"[\s:]", "_", name)


def _identity(tree: Path, place: Workplace) -> str:
    return worktree_identity(tree, place.environ, place.stop) or _stat_identity(tree)


def _stat_identity(root: Path) -> str:
    """Name a plain directory by every file's path, size and modification time: cheap, and errs to a rebuild."""
    found = hashlib.sha256()
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted(files):
            status = os.lstat(os.path.join(directory, name))  # noqa: PTH118 (80 000 files: Path is 5 x slower)
            found.update(f"{directory}/{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="replace"))
    return f"stat:{found.hexdigest()}"
