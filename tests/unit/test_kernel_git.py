# SPDX-License-Identifier: GPL-2.0-only
"""Checkouts in worktrees of the cache: real git, and a repository that is the user's."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from orchestrator.errors import HostError, RunInterruptedError
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


def test_a_stop_in_a_checkout_leaves_no_lock_and_the_next_one_goes_through(repo: Path, tmp_path: Path) -> None:
    where, stop = tmp_path / "lane/src", Stop()
    checkout(repo, where)
    (repo / ".gitattributes").write_text("file* filter=slow\n")
    for number in range(3):
        (repo / f"file{number}").write_text("changed\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "two")
    git(repo, "config", "filter.slow.smudge", f"touch {tmp_path}/began; sleep 30; cat")

    def interrupt() -> None:
        while not (tmp_path / "began").exists():
            time.sleep(0.01)
        stop.set("SIGINT")

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(RunInterruptedError):
        checkout(repo, where, stop)
    assert list((repo / ".git").rglob("*.lock")) == []
    git(repo, "config", "--unset", "filter.slow.smudge")
    checkout(repo, where)
    assert (where / "file2").read_text() == "changed\n"


@pytest.mark.parametrize("left", [("index.lock",), ("index.lock", "locked")])
def test_a_worktree_whose_git_was_killed_is_made_anew_and_said(
    repo: Path, tmp_path: Path, left: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    where = tmp_path / "lane/src"
    checkout(repo, where)
    for name in left:
        (repo / ".git/worktrees/src" / name).write_text("")
    with caplog.at_level(logging.WARNING, "guprace"):
        checkout(repo, where)
    assert "index.lock" in caplog.text
    assert "is made anew" in caplog.text
    assert git(where, "status", "--short") == ""


def test_what_git_cannot_make_anew_either_is_an_error(repo: Path, tmp_path: Path) -> None:
    tree = tree_of(repo)
    tree.checkout(tmp_path / "lane/src", os.environ, Stop())
    for path in (repo / ".git/objects").rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(HostError, match="worktree add"):
        tree.checkout(tmp_path / "lane/src", os.environ, Stop())


def test_no_checkout_around_the_cache_is_taken_for_the_lane_s(repo: Path, tmp_path: Path) -> None:
    around = tmp_path / "around"
    git(tmp_path, "clone", "-q", str(repo), str(around))
    (around / "notes").write_text("the user's\n")
    where = around / "cache/lane/src"
    where.mkdir(parents=True)
    checkout(repo, where)
    assert git(where, "rev-parse", "--show-toplevel") == str(where)
    assert (around / "notes").read_text() == "the user's\n"
    assert git(around, "rev-parse", "--abbrev-ref", "HEAD") == "main"
