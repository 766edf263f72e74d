# SPDX-License-Identifier: GPL-2.0-only
"""The initramfs of one architecture: from Debian packages of that architecture, named by what went in."""

from __future__ import annotations

import gzip
import hashlib
import logging
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator import records
from orchestrator.errors import HostError, UsageError
from orchestrator.image import cpio
from orchestrator.image.model import Image
from orchestrator.image.recipe import Recipe, load_recipe
from orchestrator.kernel.aptroot import AptRoot
from orchestrator.kernel.apttext import Candidate
from orchestrator.kernel.lock import Waits, say_in_log
from orchestrator.matrix.plan import Arch
from orchestrator.paths import Project
from orchestrator.proc import Stop, run

log = logging.getLogger("guprace.image")

FILE_NAME = "initramfs.cpio.gz"
# Part of the key: raise it when the same inputs give other bytes than before.
FORMAT = 1
UNPACK_SECONDS = 120.0
# Directories that Debian merged into /usr (since trixie in the packages themselves, before only on disk).
_MERGED = ("bin", "sbin", "lib", "lib64")


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """image.json beside an initramfs: what went in, and the SHA-256 (hexadecimal) and size of the file."""

    arch: Arch
    sha256: str
    size: int
    packages: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Memo:
    """Where the last image for these lists and this recipe is, so that a hit asks apt nothing."""

    inputs: str
    key: str


def build_image(
    arch: Arch,
    *,
    cache: Path,
    project: Project,
    stop: Stop,
    environ: Mapping[str, str],
    waits: Waits = say_in_log,
) -> Image:
    """Return the initramfs for `arch`, from the cache or built from Debian packages.

    A corrupt cache entry is built again, and said so. `waits` is told when another guprace must be waited for.

    Raises:
        HostError: a package is missing, or the archive cannot be reached.
        UsageError: the recipe knows no such architecture.
    """
    recipe, init, digest = load_recipe(project.images)
    if arch not in recipe.architectures:
        raise UsageError(f"the guest recipe knows no architecture {arch}", where=str(project.images / "guest.yaml"))
    debian = tuple(sorted(recipe.architectures.values()))
    apt = AptRoot(cache / "apt" / "images", None, debian, stop, environ, waits)
    return apt.with_fresh_lists(lambda: _image(cache / "images" / arch, arch, recipe, init, digest, apt, stop))


def _image(room: Path, arch: Arch, recipe: Recipe, init: bytes, digest: str, apt: AptRoot, stop: Stop) -> Image:
    """Return the image of what the archive has now; `digest` is that of recipe and init."""
    inputs = _digest(str(FORMAT), arch, digest, apt.identity())
    if image := _remembered(room, arch, inputs):
        return image
    started = time.monotonic()
    packages = apt.candidates([f"{name}:{recipe.architectures[arch]}" for name in recipe.packages])
    key = _digest(str(FORMAT), arch, digest, *(f"{one.package} {one.version} {one.sha256}" for one in packages))
    image = _entry(room / key, arch)
    if image is None:
        image = _build(room / key, arch, recipe, init, apt, packages, stop)
        log.info("image %s built in %.1f s: %s", arch, time.monotonic() - started, image.initramfs)
    records.save(room / "memo.json", Memo(inputs, key))
    return image


def _remembered(room: Path, arch: Arch, inputs: str) -> Image | None:
    memo = records.recall(room / "memo.json", Memo)
    return _entry(room / memo.key, arch) if memo and memo.inputs == inputs else None


def _entry(directory: Path, arch: Arch) -> Image | None:
    """Return the image in `directory` if it is whole; a corrupt one is removed and reported."""
    path = directory / FILE_NAME
    if not directory.exists():
        return None
    try:
        record = records.load(directory / "image.json", ImageRecord)
        data = path.read_bytes()
    except (HostError, OSError) as error:
        # Not to be read just now is not corrupt: others may be at work with it.
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
            raise records.disk_error(cause, path) from error
        problem = str(error)
    else:
        if hashlib.sha256(data).hexdigest() == record.sha256:
            return Image(arch, record.sha256, path)
        problem = f"{path}: SHA-256 is not {record.sha256}"
    log.warning("corrupt image in the cache, built again: %s", problem)
    shutil.rmtree(directory, ignore_errors=True)
    return None


def _build(
    target: Path, arch: Arch, recipe: Recipe, init: bytes, apt: AptRoot, packages: Sequence[Candidate], stop: Stop
) -> Image:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building.") as scratch:
        staging, room = Path(scratch) / "root", Path(scratch) / "entry"
        staging.mkdir()
        room.mkdir()
        for one in packages:
            deb = apt.download(one, Path(scratch))
            run(["dpkg-deb", "--extract", str(deb), str(staging)], stop=stop, seconds=UNPACK_SECONDS)
        data = pack(recipe, init, staging)
        records.write_atomically(room / FILE_NAME, data)
        record = ImageRecord(arch, hashlib.sha256(data).hexdigest(), len(data), tuple(packages))
        records.save(room / "image.json", record)
        try:
            room.rename(target)
        except OSError as error:
            # Somebody else was faster with the same content, or the disk has a problem: only the first is fine.
            found = _entry(target, arch)
            if found is None:
                raise records.disk_error(error, target) from error
            return found
    return Image(arch, record.sha256, target / FILE_NAME)


def pack(recipe: Recipe, init: bytes, staging: Path) -> bytes:
    """Return the compressed archive of `recipe` over packages unpacked below `staging`.

    The same input gives the same bytes: no times, names or numbers of this host enter.

    Raises:
        HostError: a pattern of the recipe matches nothing, so a package is not what the recipe expects.
    """
    entries = (*recipe.static_entries(init), *taken(recipe.take, staging))
    return gzip.compress(cpio.archive(cpio.with_parents(entries)), compresslevel=9, mtime=0)


def taken(patterns: Sequence[str], staging: Path) -> tuple[cpio.Entry, ...]:
    """Return what `patterns` (relative, after the /usr merge) take from `staging`.

    Raises:
        HostError: a pattern matches nothing.
    """
    merged = {_merge(path.relative_to(staging)): path for path in sorted(staging.rglob("*"))}
    found: dict[str, cpio.Entry] = {}
    for pattern in patterns:
        matches = [name for name in merged if name.match(pattern) and not _is_directory(merged[name])]
        if not matches:
            raise HostError(
                f"no file {pattern!r} in the guest's packages",
                where="images/guest.yaml: take",
                hint="a package changed its layout or its library's version: look with `dpkg-deb --contents`",
            )
        found.update({f"/{name}": _entry_of(f"/{name}", merged[name]) for name in matches})
    return tuple(found.values())


def _merge(path: Path) -> Path:
    return Path("usr", path) if path.parts[0] in _MERGED else path


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _entry_of(name: str, path: Path) -> cpio.Entry:
    if path.is_symlink():
        return cpio.symlink(name, str(path.readlink()))
    executable = path.stat().st_mode & stat.S_IXUSR
    return cpio.file(name, path.read_bytes(), 0o755 if executable else 0o644)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
