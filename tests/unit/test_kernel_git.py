# SPDX-License-Identifier: GPL-2.0-only
"""Checkouts in worktrees of the cache: real git, and a repository that is the user's."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestrator.kernel.gitsource import GitTree
from orchestrator.proc import Stop


def git(path: Path, *arguments: str) -> str:
    names = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(path), *names, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    repo = tmp_path / "linux"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    for number in range(3):
        (repo / f"file{number}").write_text(f"{number}\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "one")
    return repo


def tree_of(repo: Path) -> GitTree:
    commit = git(repo, "rev-parse", "HEAD")
    return GitTree(f"git:{commit}", "linux", repo, commit)


def checkout(repo: Path, where: Path, stop: Stop | None = None) -> None:
    tree_of(repo).checkout(where, os.environ, stop or Stop())


def test_the_users_worktrees_keep_their_records_while_their_disk_is_away(repo: Path, tmp_path: Path) -> None:
    theirs, unplugged = tmp_path / "disk", tmp_path / "unplugged"
    git(repo, "worktree", "add", "-q", "--detach", str(theirs / "work"))
    theirs.rename(unplugged)
    checkout(repo, tmp_path / "lane/src")
    unplugged.rename(theirs)
    assert git(theirs / "work", "status", "--short") == ""


def test_a_worktree_that_is_gone_is_made_anew_over_its_record(repo: Path, tmp_path: Path) -> None:
    for _ in range(2):
        checkout(repo, tmp_path / "lane/src")
        assert (tmp_path / "lane/src/file2").read_text() == "2\n"
        shutil.rmtree(tmp_path / "lane/src")
