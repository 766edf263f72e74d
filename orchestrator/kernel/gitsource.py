# SPDX-License-Identifier: GPL-2.0-only
"""Git as a source: a detached worktree per lane in the cache; the user's checkout is only ever read."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import HostError, UsageError
from orchestrator.kernel.cache import digest_of
from orchestrator.proc import Completed, Stop, run

log = logging.getLogger("guprace.git")

GIT_SECONDS = 600.0
INTERRUPT_SECONDS = 3.0
# What every Linux tree has at its root.
ROOT_FILES = ("Makefile", "Kconfig")
# What the identity of a checkout begins with.
CHECKOUT = "tree:"


def git(
    path: Path, *arguments: str, environ: Mapping[str, str], stop: Stop, check: bool = True, index: Path | None = None
) -> Completed:
    """Run git in `path`; GIT_DIR and the like of an enclosing `git bisect run` must not redirect it."""
    env = {name: value for name, value in environ.items() if not name.startswith("GIT_")}
    if index:
        env["GIT_INDEX_FILE"] = str(index)
    argv = ["git", "-C", str(path), *arguments]
    # On SIGTERM git removes its locks and what it has half made, in the user's repository; on SIGKILL both stay.
    return run(argv, stop=stop, seconds=GIT_SECONDS, env=env, check=check, grace=INTERRUPT_SECONDS)


def commit_of(repository: Path, ref: str, environ: Mapping[str, str], stop: Stop) -> str:
    """Return the commit that `ref` names, which holds a kernel.

    Raises:
        UsageError: no repository, no such ref, or no Linux source in it.
    """
    if not repository.is_dir():
        raise UsageError("no such git repository", where=str(repository))
    done = git(
        repository, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}",
        environ=environ, stop=stop, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        said = done.stderr.strip()
        if git(repository, "rev-parse", "--git-dir", environ=environ, stop=stop, check=False).returncode != 0:
            # Git may have another reason, too: an owner whom it does not trust.
            raise UsageError(f"not a git repository: {said}", where=str(repository))
        hint = "git fetch it first; guprace itself fetches nothing"
        raise UsageError(f"no commit {ref!r}: {said}", where=str(repository), hint=hint)
    commit = done.stdout.strip()
    asked = ("ls-tree", "--full-tree", "--name-only", commit, "--", *ROOT_FILES)
    held = git(repository, *asked, environ=environ, stop=stop).stdout.split()
    if not {*ROOT_FILES} <= {*held}:
        what = f"not a Linux source tree (no {' and '.join(ROOT_FILES)}) at {ref!r}"
        raise UsageError(what, where=str(repository))
    return commit


def worktree_identity(path: Path, environ: Mapping[str, str], stop: Stop) -> str | None:
    """Name the content of a checkout by its tree and what differs from it; None when it is no git checkout.

    The same commit checked out again (git bisect does) has the same identity, whatever the times say.
    """
    if not _is_checkout(path, environ, stop):
        return None
    head = git(path, "rev-parse", "HEAD^{tree}", environ=environ, stop=stop, check=False)
    if head.returncode != 0:
        return None
    # --no-optional-locks: reading a user's checkout must not even refresh its index. --no-ext-diff: the user's own
    # way of looking at a change (diff.external, textconv) may show nothing of it.
    asked = ("diff", "--binary", "--no-ext-diff", "--no-textconv", "HEAD")
    changed = git(path, "--no-optional-locks", *asked, environ=environ, stop=stop)
    others = git(path, "ls-files", "--others", "--exclude-standard", "-z", environ=environ, stop=stop)
    fresh = [(name, _content(path / name)) for name in others.stdout.split("\0") if name]
    if not changed.stdout and not fresh:
        return f"{CHECKOUT}{head.stdout.strip()}"
    return f"{CHECKOUT}{head.stdout.strip()}+{digest_of([changed.stdout, fresh])}"


def checked_out(path: Path, environ: Mapping[str, str], stop: Stop) -> str:
    """Return the commit that is checked out in `path`, whatever was changed there since; empty for no checkout."""
    if not _is_checkout(path, environ, stop):
        return ""
    head = git(path, "rev-parse", "--verify", "HEAD^{commit}", environ=environ, stop=stop, check=False)
    return head.stdout.strip() if head.returncode == 0 else ""


def _is_checkout(path: Path, environ: Mapping[str, str], stop: Stop) -> bool:
    top = git(path, "rev-parse", "--show-toplevel", environ=environ, stop=stop, check=False)
    return top.returncode == 0 and Path(top.stdout.strip()).resolve() == path


def worktree_files(path: Path, environ: Mapping[str, str], stop: Stop) -> tuple[str, ...]:
    """Return the files of a checkout that `worktree_identity` names, relative to it: all but what git ignores."""
    asked = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    listed = git(path, *asked, environ=environ, stop=stop).stdout.split("\0")
    # A file that was deleted is listed until that is committed; a conflict lists it three times; a directory is
    # somebody else's repository.
    present = (name for name in sorted({*listed}) if name and os.path.lexists(path / name))
    return tuple(name for name in present if (path / name).is_symlink() or not (path / name).is_dir())


def _content(path: Path) -> str:
    return digest_of(path.read_bytes().hex()) if path.is_file() else ""


@dataclass(frozen=True, slots=True)
class GitTree:
    """A commit of the user's repository, checked out in a worktree of the lane's own."""

    identity: str
    label: str
    repository: Path
    commit: str

    def checkout(self, where: Path, environ: Mapping[str, str], stop: Stop) -> None:
        """Make `where` a detached worktree at the commit; files that do not change keep their times.

        One that git cannot bring there any more is made anew, and the log says so: a git that was killed (a power
        cut, kill -9) leaves its lock, or half an index. The caller holds the lane's lock: no other git works there.

        Raises:
            HostError: git failed.
        """
        # Without a .git of its own git would look for one above, and act on whose that is.
        if (where / ".git").is_file():
            try:
                self._switch(where, environ, stop)
                return
            except HostError as error:
                log.warning("%s\nthe worktree %s is made anew", error.what, where)
        shutil.rmtree(where, ignore_errors=True)
        where.parent.mkdir(parents=True, exist_ok=True)
        # By force: its record may be there still, and locked if that git was making it. `git worktree prune` would
        # clear those of the user's own, too, whose disk is not mounted just now.
        add = ("worktree", "add", "--force", "--force", "--detach", str(where), self.commit)
        git(self.repository, *add, environ=environ, stop=stop)
        self._switch(where, environ, stop)

    def _switch(self, where: Path, environ: Mapping[str, str], stop: Stop) -> None:
        git(where, "checkout", "--quiet", "--force", "--detach", self.commit, environ=environ, stop=stop)
        git(where, "clean", "--quiet", "-fdx", environ=environ, stop=stop)
