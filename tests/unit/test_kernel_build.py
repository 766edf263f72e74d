# SPDX-License-Identifier: GPL-2.0-only
"""Building, caching and explaining kernels: real make and git on a fake tree."""

from __future__ import annotations

import concurrent.futures
import errno
import gzip
import hashlib
import logging
import os
import shutil
import subprocess
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import records
from orchestrator.errors import BuildError, HostError, RunInterruptedError, UsageError
from orchestrator.kernel import source as source_room
from orchestrator.kernel.lane import follow
from orchestrator.kernel.prebuilt import kind_of
from orchestrator.matrix.plan import Arch, GitSource, PrebuiltSource, TarballSource, TreeSource
from orchestrator.paths import Project
from orchestrator.proc import Completed
from tests.unit.kernel_room import M01, PROJECT, Room, make_room, manifest

pytestmark = pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="no arm64 cross compiler")


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return make_room(tmp_path)


def compiled(room: Room) -> list[str]:
    """Return what the last build compiled."""
    (log,) = room.cache.glob("lanes/*/build.log")
    return [line.split()[1] for line in log.read_text().splitlines() if line.startswith("  CC ")]


def git(path: Path, *arguments: str) -> str:
    names = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(path), *names, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def repository(room: Room) -> Path:
    git(room.tree, "init", "-q", "-b", "main")
    git(room.tree, "add", "-A")
    git(room.tree, "commit", "-qm", "one")
    return room.tree


def test_a_kernel_is_built_once_and_then_comes_from_the_cache(room: Room) -> None:
    first, second = room.builder.build(room.spec()), room.builder.build(room.spec())
    assert not first.cached
    assert second.cached
    assert first.digest == second.digest
    assert first.version == "6.1.0-fake"
    assert first.probe is not None
    assert first.probe.read_bytes() == b"fake module\n"


def test_the_users_tree_is_only_read(room: Room) -> None:
    before = manifest(room.tree)
    room.builder.build(room.spec())
    room.builder.build(room.spec(patches=(M01,)))
    assert manifest(room.tree) == before


def test_a_patched_kernel_rebuilds_only_what_the_patch_touches(room: Room) -> None:
    source = TarballSource(*tarball(room))
    stock = room.builder.build(room.spec(source))
    assert compiled(room) == ["mm/gup.o", "mm/mmap.o"]
    mutant = room.builder.build(room.spec(source, patches=(M01,)))
    assert compiled(room) == ["mm/gup.o"]
    assert mutant.digest != stock.digest
    assert "re-read: no" in mutant.image.read_text()
    assert "re-read: yes" in stock.image.read_text()


def test_going_back_to_the_unpatched_tree_restores_every_file(room: Room) -> None:
    source = TarballSource(*tarball(room))
    room.builder.build(room.spec(source, patches=(M01,)))
    stock = room.builder.build(room.spec(source))
    assert "re-read: yes" in stock.image.read_text()
    (work,) = room.cache.glob("lanes/*/src")
    assert (work / "mm/gup.c").read_bytes() == (room.tree / "mm/gup.c").read_bytes()


def test_patching_a_lane_does_not_write_through_its_hard_links(room: Room) -> None:
    room.builder.build(room.spec(TarballSource(*tarball(room)), patches=(M01,)))
    (pristine,) = room.cache.glob("sources/*/mm/gup.c")
    assert pristine.read_bytes() == (room.tree / "mm/gup.c").read_bytes()


def tarball(room: Room) -> tuple[Path, str]:
    path = room.root / "linux-fake.tar.gz"
    if not path.exists():
        with tarfile.open(path, "w:gz") as archive:
            archive.add(room.tree, "linux-fake")
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_tarball_with_another_sum_is_refused(room: Room) -> None:
    path, _ = tarball(room)
    with pytest.raises(UsageError, match="SHA-256 differs"):
        room.builder.build(room.spec(TarballSource(path, "0" * 64)))


def test_what_is_no_tar_archive_is_the_users_and_told_by_name(room: Room) -> None:
    path, _ = tarball(room)
    whole = path.read_bytes()
    for broken in (b"<html>not found</html>", whole[: len(whole) // 2]):
        path.write_bytes(broken)
        with pytest.raises(UsageError, match=rf"{path}: is no tar archive, or not a whole one: "):
            room.builder.build(room.spec(TarballSource(*tarball(room))))


def test_a_tarball_for_which_there_is_no_room_is_the_hosts_trouble(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = TarballSource(*tarball(room))
    real = source_room.run

    def full(argv: list[str], **options: Any) -> Completed:
        done = real(argv, **options)
        return replace(done, returncode=2, stderr="tar: x: No space left on device") if "-xf" in argv else done

    monkeypatch.setattr(source_room, "run", full)
    with pytest.raises(HostError, match="No space left on device"):
        room.builder.build(room.spec(source))


def test_a_git_ref_is_built_in_a_worktree_of_the_cache(room: Room) -> None:
    repo = repository(room)
    (repo / "mm/mmap.c").write_text("/* not committed: must not be built */\n#error\n")
    before = manifest(repo)
    kernel = room.builder.build(room.spec(GitSource(repo, "main")))
    assert "re-read: yes" in kernel.image.read_text()
    after = {name: state for name, state in manifest(repo).items() if not name.startswith(".git/worktrees")}
    assert after == before
    assert git(repo, "rev-parse", "--abbrev-ref", "HEAD") == "main"


def test_the_next_commit_rebuilds_only_what_it_changed(room: Room) -> None:
    repo = repository(room)
    room.builder.build(room.spec(GitSource(repo, "main")))
    (repo / "mm/mmap.c").write_text("/* changed */\n")
    git(repo, "commit", "-qam", "two")
    room.builder.build(room.spec(GitSource(repo, "main")))
    assert compiled(room) == ["mm/mmap.o"]


def test_an_unknown_ref_says_so(room: Room) -> None:
    with pytest.raises(UsageError, match="no commit 'v9'"):
        room.builder.build(room.spec(GitSource(repository(room), "v9")))


def test_a_directory_that_is_no_repository_and_a_commit_without_a_kernel_say_so(room: Room, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not a git repository") as caught:
        room.builder.build(room.spec(GitSource(room.tree, "main")))
    assert "fetch" not in str(caught.value)
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q", "-b", "main")
    (other / "Makefile").write_text("all:\n")
    git(other, "add", "-A")
    git(other, "commit", "-qm", "one")
    for ask in (room.builder.build, room.builder.why):
        with pytest.raises(UsageError, match=r"not a Linux source tree \(no Makefile and Kconfig\) at 'main'"):
            ask(room.spec(GitSource(other, "main")))


def test_a_checkout_at_the_same_commit_is_a_hit_whatever_its_times(room: Room) -> None:
    repo = repository(room)
    room.builder.build(room.spec(TreeSource(repo)))
    (repo / "mm/gup.c").touch()
    assert room.builder.build(room.spec(TreeSource(repo))).cached


def test_an_edit_in_a_checkout_is_another_kernel(room: Room) -> None:
    repo = repository(room)
    first = room.builder.build(room.spec(TreeSource(repo)))
    (repo / "mm/gup.c").write_text("/* gone */\n")
    second = room.builder.build(room.spec(TreeSource(repo)))
    assert not second.cached
    assert first.digest != second.digest


def test_an_edit_is_one_however_the_user_likes_to_be_shown_edits(room: Room) -> None:
    repo = repository(room)
    git(repo, "config", "diff.external", "true")
    first = room.builder.build(room.spec(TreeSource(repo)))
    (repo / "mm/gup.c").write_text("/* gone */\n")
    assert room.builder.build(room.spec(TreeSource(repo))).digest != first.digest


def test_a_tree_configured_in_place_is_refused_with_the_way_out(room: Room) -> None:
    (room.tree / ".config").write_text("")
    with pytest.raises(UsageError, match="mrproper"):
        room.builder.build(room.spec())


def test_the_users_tree_and_its_patched_kernels_share_one_lane(room: Room) -> None:
    room.builder.build(room.spec())
    room.builder.build(room.spec(patches=(M01,)))
    assert compiled(room) == ["mm/gup.o"]
    (room.tree / "mm/mmap.c").write_text("/* edited */\n")
    assert "re-read: yes" in room.builder.build(room.spec()).image.read_text()
    assert compiled(room) == ["mm/gup.o", "mm/mmap.o"]


def test_no_object_survives_that_is_newer_than_the_file_which_comes_back(room: Room) -> None:
    """make would keep the edited file's object: `mv gup.c.orig gup.c` brings an older time than that has."""
    gup, whole = room.tree / "mm/gup.c", room.root / "gup.c.orig"
    gup.rename(whole)
    gup.write_text("/* gone */\n")
    assert "re-read: no" in room.builder.build(room.spec()).image.read_text()
    whole.replace(gup)
    assert "re-read: yes" in room.builder.build(room.spec()).image.read_text()


def test_no_object_survives_another_release_that_is_unpacked_in_the_same_place(room: Room) -> None:
    new = room.root / "new"
    shutil.copytree(room.tree, new)
    (new / "mm/gup.c").write_text("/* gone */\n")
    for path in new.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    assert "re-read: yes" in room.builder.build(room.spec()).image.read_text()
    shutil.rmtree(room.tree)
    new.rename(room.tree)
    assert "re-read: no" in room.builder.build(room.spec()).image.read_text()


def test_of_a_checkout_only_that_is_built_which_names_it(room: Room) -> None:
    (room.tree / ".gitignore").write_text("/objects/\n*.orig\n")
    (room.tree / "mm/new.c").write_text("/* not committed */\n")
    repo = repository(room)
    (repo / "mm/gup.c.orig").write_text("ignored\n")
    (repo / "objects").mkdir()
    (repo / "objects/vmlinux").write_text("gigabytes of another build\n")
    (repo / "mm/mmap.c").unlink()
    (repo / "mm/later.c").write_text("/* not added */\n")
    room.builder.build(room.spec(TreeSource(repo)))
    assert compiled(room) == ["mm/gup.o", "mm/later.o", "mm/new.o"]
    (work,) = room.cache.glob("lanes/*/src")
    assert not (work / "objects").exists()
    assert not (work / "mm/gup.c.orig").exists()
    (repo / "mm/later.c").rename(repo / "mm/last.c")
    room.builder.build(room.spec(TreeSource(repo)))
    assert compiled(room) == ["mm/last.o"]
    assert {path.name for path in (work / "mm").iterdir()} == {"gup.c", "last.c", "new.c"}


def test_a_tree_may_lie_where_no_make_could_build_it(room: Room) -> None:
    room.tree = room.tree.rename(room.root / "my tree: 2")
    assert "re-read: yes" in room.builder.build(room.spec()).image.read_text()
    assert compiled(room) == ["mm/gup.o", "mm/mmap.o"]


def test_a_cache_where_no_make_can_build_is_refused(room: Room) -> None:
    room = Room(room.root / "two words", room.tree)
    with pytest.raises(UsageError, match=r"no path with blanks or colons(?s:.*)GUPRACE_CACHE"):
        room.builder.build(room.spec())


def test_an_edit_of_a_tree_rebuilds_of_its_patched_copy_what_it_changed(room: Room) -> None:
    room.builder.build(room.spec(patches=(M01,)))
    (room.tree / "mm/mmap.c").write_text("/* edited */\n")
    (room.tree / "mm/new.c").write_text("/* new */\n")
    assert "re-read: no" in room.builder.build(room.spec(patches=(M01,))).image.read_text()
    assert compiled(room) == ["mm/mmap.o", "mm/new.o"], "not the patched mm/gup.o"
    (room.tree / "mm/new.c").unlink()
    room.builder.build(room.spec(patches=(M01,)))
    (work,) = room.cache.glob("lanes/*/src")
    assert not (work / "mm/new.c").exists()


def test_no_object_of_another_patch_survives_an_edit_of_the_tree(room: Room, tmp_path: Path) -> None:
    """A copy of an old time beside an object of the file as it was patched: make would keep the object."""
    room.builder.build(room.spec(patches=(M01,)))
    (room.tree / "mm/mmap.c").write_text("/* edited */\n")
    other = tmp_path / "other.patch"
    other.write_text("--- a/mm/mmap.c\n+++ b/mm/mmap.c\n@@ -1 +1 @@\n-/* edited */\n+/* patched */\n")
    assert "re-read: yes" in room.builder.build(room.spec(patches=(other,))).image.read_text()


@pytest.mark.parametrize("lost", ["lane.json", "src"])
def test_no_object_survives_a_lane_of_which_nobody_knows_what_it_held(room: Room, lost: str) -> None:
    source = TarballSource(*tarball(room))
    room.builder.build(room.spec(source, patches=(M01,)))
    (path,) = room.cache.glob(f"lanes/*/{lost}")
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert "re-read: yes" in room.builder.build(room.spec(source)).image.read_text()


def test_links_and_directories_of_a_tree_are_followed(tmp_path: Path) -> None:
    tree, copy = tmp_path / "tree", tmp_path / "copy"
    for root, other in ((tree, "new"), (copy, "old")):
        (root / "kept").mkdir(parents=True)
        (root / "kept/file").write_text("same\n")
        (root / other).mkdir()
        (root / other / "x").write_text(other)
        (root / "link").symlink_to(other)
        (root / ".git").mkdir()
        (root / ".git/HEAD").write_text(root.name)
    (copy / "turned").mkdir()
    (copy / "turned/into").write_text("")
    (tree / "turned").write_text("a file\n")
    (tree / "script").write_text("")
    (tree / "script").chmod(0o755)
    kept = (copy / "kept/file").stat().st_mtime_ns
    follow(tree, copy)
    assert {name for name in manifest(copy) if not name.startswith(".git")} == {
        name for name in manifest(tree) if not name.startswith(".git")
    }
    assert (copy / "link").readlink() == Path("new")
    assert (copy / "script").stat().st_mode & 0o777 == 0o755
    assert (copy / "kept/file").stat().st_mtime_ns == kept
    assert not (copy / "old").exists()


@pytest.mark.parametrize("patches", [(), (M01,)])
def test_a_tree_that_is_edited_while_it_is_copied_gives_no_kernel(room: Room, patches: tuple[Path, ...]) -> None:
    edited = room.tree / "mm/mmap.c"
    before = edited.read_bytes()

    def edit(text: str) -> None:
        if text.startswith("preparing"):
            edited.write_text("/* edited meanwhile, and longer */\n")

    with pytest.raises(UsageError, match="changed while it was being read"):
        room.builder.build(room.spec(patches=patches), edit)
    edited.write_bytes(before)
    assert not room.builder.build(room.spec(patches=patches)).cached
    (built,) = room.cache.glob("lanes/*/obj/mm/mmap.o")
    assert built.read_bytes() == before


def test_a_tree_may_be_edited_while_its_copy_is_compiled(room: Room) -> None:
    def edit(text: str) -> None:
        if text == "olddefconfig":
            (room.tree / "mm/gup.c").write_text("/* gone */\n")

    first = room.builder.build(room.spec(), edit)
    assert "re-read: yes" in first.image.read_text()
    second = room.builder.build(room.spec())
    assert second.digest != first.digest
    assert "re-read: no" in second.image.read_text()


def test_a_file_that_vanishes_while_the_tree_is_copied_is_told_as_an_edit(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    cp = room.root / "bin/cp"
    cp.parent.mkdir()
    cp.write_text(f'#!/bin/sh\nrm -f "{room.tree}/mm/mmap.c"\nPATH="{os.environ["PATH"]}" exec cp "$@"\n')
    cp.chmod(0o755)
    monkeypatch.setenv("PATH", str(cp.parent), prepend=os.pathsep)
    with pytest.raises(UsageError, match="changed while it was being read"):
        room.builder.build(room.spec(TreeSource(repository(room))))


def test_a_file_that_does_not_compile_is_named(room: Room) -> None:
    (room.tree / "mm/mmap.c").write_text("int x;\n#error broken here\n")
    with pytest.raises(BuildError, match=r"mm/mmap\.c:2:2: error: #error broken here") as caught:
        room.builder.build(room.spec())
    (room.tree / "mm/mmap.c").write_text("/* mended, and the lane's log begins anew */\n")
    room.builder.build(room.spec())
    assert b"mm/mmap.c:2:2: error: #error broken here" in caught.value.log
    assert b"olddefconfig" in caught.value.log, "all of it"


def test_a_lost_option_is_named_with_its_fragment_line_and_dependency(tmp_path: Path) -> None:
    room = make_room(tmp_path, unmet=("KSM",))
    lines = (PROJECT.fragments / "base.config").read_text().splitlines()
    number = lines.index("CONFIG_KSM=y") + 1
    with pytest.raises(BuildError, match=rf"CONFIG_KSM=y \(.*base\.config:{number}\): depends on NEVER"):
        room.builder.build(room.spec())


def test_a_patch_that_does_not_apply_names_the_hunk(room: Room, tmp_path: Path) -> None:
    patch = tmp_path / "bad.patch"
    patch.write_text("--- a/mm/mmap.c\n+++ b/mm/mmap.c\n@@ -1,1 +1,1 @@\n-int nowhere;\n+int here;\n")
    with pytest.raises(BuildError, match=r"bad\.patch:3: hunk 1 of mm/mmap\.c does not apply(?s:.*)int nowhere;"):
        room.builder.build(room.spec(patches=(patch,)))


def test_a_patch_that_failed_leaves_the_lane_as_it_was(room: Room, tmp_path: Path) -> None:
    source = TarballSource(*tarball(room))
    room.builder.build(room.spec(source))
    patch = tmp_path / "bad.patch"
    patch.write_text("--- a/mm/mmap.c\n+++ b/mm/mmap.c\n@@ -1,1 +1,1 @@\n-int nowhere;\n+int here;\n")
    with pytest.raises(BuildError):
        room.builder.build(room.spec(source, patches=(patch,)))
    assert room.builder.build(room.spec(source)).cached


def test_a_patch_s_file_modes_are_kept_and_taken_back(room: Room, tmp_path: Path) -> None:
    patch = tmp_path / "modes.patch"
    patch.write_text(
        "diff --git a/scripts/new.sh b/scripts/new.sh\nnew file mode 100755\n--- /dev/null\n+++ b/scripts/new.sh\n"
        "@@ -0,0 +1 @@\n+#!/bin/sh\n"
        "diff --git a/scripts/needle b/scripts/needle\nold mode 100644\nnew mode 100755\n"
    )
    (room.tree / "scripts/needle").chmod(0o640)
    source = TarballSource(*tarball(room))
    room.builder.build(room.spec(source, patches=(patch,)))
    (work,) = room.cache.glob("lanes/*/src/scripts")
    assert oct((work / "new.sh").stat().st_mode & 0o777) == "0o755"
    assert oct((work / "needle").stat().st_mode & 0o777) == "0o750"
    room.builder.build(room.spec(source))
    assert not (work / "new.sh").exists()
    assert oct((work / "needle").stat().st_mode & 0o777) == "0o640"
    (pristine,) = room.cache.glob("sources/*/scripts/needle")
    assert oct(pristine.stat().st_mode & 0o777) == "0o640"


@pytest.mark.parametrize("name", ["../outside.c", "/etc/passwd"])
def test_a_patch_cannot_reach_outside_the_tree(room: Room, tmp_path: Path, name: str) -> None:
    patch = tmp_path / "evil.patch"
    patch.write_text(f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+x\n")
    with pytest.raises((UsageError, BuildError)):
        room.builder.build(room.spec(patches=(patch,)))
    assert not (room.root / "outside.c").exists()


def test_why_names_what_differs_from_the_nearest_kernel(room: Room) -> None:
    assert room.builder.why(room.spec()) == (False, ("nothing was ever built here",))
    room.builder.build(room.spec())
    assert room.builder.why(room.spec())[0]
    hit, reasons = room.builder.why(room.spec(patches=(M01,)))
    assert not hit
    assert reasons == ("patch 1 M01-6.1.patch: added",)


def test_why_tells_a_kernel_that_lacks_its_probe_module(room: Room) -> None:
    kernel = room.builder.build(room.spec())
    shutil.rmtree(room.cache / "probes")
    hit, reasons = room.builder.why(room.spec())
    assert not hit
    assert reasons == (f"kernel {kernel.digest[:12]} is there, but no probe module of today's sources for it",)
    room.builder.build(room.spec())
    assert room.builder.why(room.spec())[0]


def test_fragments_of_one_name_are_each_part_of_the_kernel(room: Room) -> None:
    for name in ("mm", "net"):
        (room.root / name).mkdir()
    two = (
        room.fragment("CONFIG_DEBUG_VM=y\n", "mm/extra.config"),
        room.fragment("CONFIG_DEBUG_LIST=y\n", "net/extra.config"),
    )
    first = room.builder.build(room.spec(extra=two))
    room.fragment("CONFIG_DEBUG_VM=y\nCONFIG_DEBUG_ATOMIC_SLEEP=y\n", "mm/extra.config")
    assert [line.split(":")[0] for line in room.builder.why(room.spec(extra=two))[1]] == [
        "fragment user extra.config"
    ]
    second = room.builder.build(room.spec(extra=two))
    assert second.digest != first.digest
    assert not room.builder.why(room.spec(extra=two[1:]))[0]


@pytest.mark.parametrize("which", ["extra.config", "mine.patch"])
def test_what_is_edited_while_a_kernel_waits_for_its_lane_gives_none(room: Room, which: str) -> None:
    mine = room.root / "mine.patch"
    shutil.copy(M01, mine)
    spec = room.spec(patches=(mine,), extra=(room.fragment("CONFIG_DEBUG_VM=y\n"),))
    edited = room.root / which
    before = edited.read_text()

    def edit(text: str) -> None:
        if text.startswith("preparing"):
            edited.write_text({"extra.config": "CONFIG_DEBUG_LIST=y\n"}.get(which, f"Edited.\n\n{before}"))

    with pytest.raises(UsageError, match=f"changed while a kernel was being made of it: .*{which}"):
        room.builder.build(spec, edit)
    edited.write_text(before)
    kernel = room.builder.build(spec)
    assert not kernel.cached
    assert "CONFIG_DEBUG_VM=y" in (kernel.config or Path()).read_text()


def test_a_probe_module_is_named_by_what_it_was_built_of(room: Room, tmp_path: Path) -> None:
    project = Project(tmp_path / "checkout")
    shutil.copytree(PROJECT.selftests / "probe", project.selftests / "probe")
    builder, source = replace(room.builder, project=project), project.selftests / "probe/map.c"
    before = source.read_bytes()
    # An M= build is the last thing that make is asked for.
    (room.tree / "Makefile").write_text((room.tree / "Makefile").read_text() + f"\t@test -z '$(M)' || : >{source}\n")
    with pytest.raises(UsageError, match="the probe module was changed"):
        builder.build(room.spec())
    (named,) = builder.probes.root.iterdir()
    source.write_bytes(before)
    kernel = builder.build(room.spec())
    assert (kernel.probe or Path()).parent == named


def test_a_corrupt_entry_is_rebuilt_and_said(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    kernel = room.builder.build(room.spec())
    good = kernel.image.read_bytes()
    kernel.image.write_bytes(b"rot")
    with caplog.at_level(logging.WARNING, "guprace"):
        again = room.builder.build(room.spec())
    assert "corrupt cache entry" in caplog.text
    assert not again.cached
    assert again.image.read_bytes() == good
    assert again.digest == kernel.digest


def test_two_runs_at_once_share_the_cache(room: Room) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        kernels = list(pool.map(lambda _: room.builder.build(room.spec()), range(2)))
    assert kernels[0].digest == kernels[1].digest
    assert sorted(kernel.cached for kernel in kernels) == [False, True]


def test_a_stop_ends_the_build_and_its_processes(room: Room) -> None:
    (room.tree / "Makefile").write_text("%:\n\t@sleep 97\n")
    threading.Timer(0.5, room.stop.set, ["SIGINT"]).start()
    with pytest.raises(RunInterruptedError):
        room.builder.build(room.spec())
    assert subprocess.run(["pgrep", "-f", "^sleep 97$"], capture_output=True, check=False).returncode == 1


X86 = bytes(0x202) + b"HdrS" + bytes(64)
ARM64 = bytes(0x38) + b"ARMd" + bytes(64)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (X86, Arch.X86_64),
        (ARM64, Arch.ARM64),
        (gzip.compress(ARM64 * 999, mtime=0), Arch.ARM64),
        (gzip.compress(X86, mtime=0), None),
        (b"\x1f\x8b\x08garbage", None),
        (b"\x7fELF" + bytes(999), None),
        (bytes(range(256)) * 16, None),
        (b"", None),
    ],
)
def test_an_image_is_known_by_its_magic(head: bytes, found: Arch | None) -> None:
    assert kind_of(head) is found


def test_a_prebuilt_image_needs_no_build(tmp_path: Path) -> None:
    room = make_room(tmp_path)
    image = tmp_path / "bzImage"
    image.write_bytes(ARM64)
    kernel = room.builder.build(room.spec(PrebuiltSource(image)))
    assert kernel.image.read_bytes() == ARM64
    assert kernel.probe is None
    assert room.builder.why(room.spec(PrebuiltSource(image))) == (True, ("prebuilt image: nothing to build",))
    image.write_bytes(X86)
    for ask in (room.builder.build, room.builder.why):
        with pytest.raises(UsageError, match="this is an image for x86_64, and arm64 boots an Image"):
            ask(room.spec(PrebuiltSource(image)))
    with pytest.raises(UsageError, match="no such file"):
        room.builder.build(room.spec(PrebuiltSource(tmp_path / "none")))


def test_a_lane_whose_build_was_killed_makes_its_objects_anew(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    room.builder.build(room.spec())
    (lane,) = room.cache.glob("lanes/*")
    (lane / "building").touch()
    (lane / "obj/mm/gup.o").write_text("half-written")
    shutil.rmtree(room.cache / "kernels")
    with caplog.at_level(logging.WARNING, "guprace"):
        kernel = room.builder.build(room.spec())
    assert "was killed" in caplog.text
    assert "re-read: yes" in kernel.image.read_text()
    assert not (lane / "building").exists()


def test_a_lane_whose_clock_was_set_back_makes_its_objects_anew(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    stock = room.builder.build(room.spec())
    (lane,) = room.cache.glob("lanes/*")
    for path in lane.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() + 3600,) * 2)
    broken = room.builder.build(room.spec(patches=(M01,)))
    assert "the clock was set back" in caplog.text
    assert broken.image.read_bytes() != stock.image.read_bytes()


def test_the_kernels_of_a_run_are_of_one_source(room: Room) -> None:
    builder = room.builder
    builder.build(room.spec())
    (room.tree / "mm/mmap.c").write_text("int another;\n")
    with pytest.raises(UsageError, match="changed while"):
        builder.build(room.spec(patches=(M01,)))
    assert not room.builder.build(room.spec(patches=(M01,))).cached


def test_a_prebuilt_image_is_the_one_that_was_digested(tmp_path: Path) -> None:
    room = make_room(tmp_path)
    image = tmp_path / "Image"
    image.write_bytes(b"\0" * 56 + b"ARM\x64" + b"one")
    kernel = room.builder.build(room.spec(PrebuiltSource(image)))
    image.write_bytes(b"\0" * 56 + b"ARM\x64" + b"two")
    assert kernel.image.read_bytes().endswith(b"one")
    assert hashlib.sha256(kernel.image.read_bytes()).hexdigest() == kernel.digest


def test_an_entry_that_cannot_be_read_just_now_stays(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = room.builder.build(room.spec())

    def busy(path: Path) -> str:
        raise records.disk_error(OSError(errno.EMFILE, "Too many open files"), path) from OSError(
            errno.EMFILE, "many"
        )

    monkeypatch.setattr("orchestrator.kernel.cache.file_digest", busy)
    with pytest.raises(HostError, match="Too many open files"):
        room.builder.kernels.find(kernel.digest)
    assert kernel.image.is_file()
