# SPDX-License-Identifier: GPL-2.0-only
"""The content-addressed cache: entries complete by rename, checked on use, shared by several runs at once.

<cache>/kernels/<digest>/     a built kernel: entry.json and the files it lists
<cache>/requests/<digest>     what was asked for -> the digest of the kernel that answers it
<cache>/sources/<name>/       unpacked trees
<cache>/lanes/<name>/         work tree and object tree of one lane
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator import records
from orchestrator.errors import HostError

log = logging.getLogger("guprace.cache")


def digest_of(value: object) -> str:
    """Return the SHA-256 (hexadecimal) of plain JSON data, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 (hexadecimal) of a file. Raises HostError when it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise records.disk_error(error, path) from error


def tree_digest(root: Path, leave_out: tuple[str, ...] = ()) -> str:
    """Return one SHA-256 over names and contents of the files below `root`, but for the top directories named."""
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.relative_to(root).parts[0] not in leave_out)
    return digest_of([(str(path.relative_to(root)), file_digest(path)) for path in files])


@dataclass(frozen=True, slots=True)
class Entry:
    """entry.json: the files of a cache entry with their SHA-256, and facts about it."""

    files: dict[str, str]
    facts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Store:
    """Entries of one kind below `root`, each a directory named by its digest."""

    root: Path

    def find(self, digest: str) -> tuple[Path, Entry] | None:
        """Return directory and record of a complete entry; a corrupt one is removed, and said.

        Raises:
            HostError: the cache cannot be read.
        """
        where = self.root / digest
        if not where.is_dir():
            return None
        try:
            entry = records.load(where / "entry.json", Entry)
            bad = [name for name, want in entry.files.items() if file_digest(where / name) != want]
        except HostError as error:
            # Not to be read just now is not corrupt: others may be at work with it.
            if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
                raise
            bad = [str(error)]
        if not bad:
            return where, entry
        log.warning("corrupt cache entry %s (%s): removed, to be made again", where, ", ".join(bad))
        shutil.rmtree(where, ignore_errors=True)
        return None

    def add(self, digest: str, files: Mapping[str, Path], facts: Mapping[str, str]) -> Path:
        """Copy `files` (name in the entry to path) into a new entry and return its directory.

        Whoever comes second with the same digest keeps the first one's.

        Raises:
            HostError: the disk is full or the cache not writable.
        """
        where = self.root / digest
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.root, prefix=".new-") as temporary:
                new = Path(temporary) / "entry"
                new.mkdir()
                for name, path in files.items():
                    shutil.copyfile(path, new / name)
                sums = {name: file_digest(new / name) for name in files}
                records.save(new / "entry.json", Entry(sums, dict(facts)))
                if not where.exists():
                    new.rename(where)
        except OSError as error:
            if not (where / "entry.json").exists():
                raise records.disk_error(error, where) from error
        return where
