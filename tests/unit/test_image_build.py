# SPDX-License-Identifier: GPL-2.0-only
"""The guest's initramfs: the same from the same packages, kept, checked, and built again when corrupt."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from orchestrator.errors import HostError
from orchestrator.image.build import build_image
from orchestrator.image.cpio import decompressed
from orchestrator.image.model import Image
from orchestrator.image.recipe import load_recipe
from orchestrator.kernel.apttext import host_codename
from orchestrator.matrix.plan import Arch
from orchestrator.paths import Project
from orchestrator.proc import Stop, run
from tests.fakes.qemu.sshd import archive_files
from tests.unit.apt_house import AptHouse

RECIPE = """\
architectures: {x86_64: amd64, arm64: arm64}
packages: [busybox-static, libc6]
take:
  - usr/bin/busybox
  - usr/lib/*-linux-gnu/libc.so.6
  - usr/lib/ld-*.so.1
init: /init
directories:
  - {path: /root, mode: "0700"}
symlinks: {/bin: usr/bin}
devices:
  - {path: /dev/console, major: 5, minor: 1}
files: {/etc/passwd: "root\\n"}
applets: sh ls
"""


@pytest.fixture
def house(tmp_path: Path) -> AptHouse:
    house = AptHouse(tmp_path / "house", host_codename() or "none")
    for arch, triplet in (("amd64", "x86_64-linux-gnu"), ("arm64", "aarch64-linux-gnu")):
        house.add("busybox-static", "1:1.35", arch, {"bin/busybox": f"busybox {arch}", "usr/share/doc/x": "no"})
        libc = {f"lib/{triplet}/libc.so.6": "libc", f"lib/ld-{arch}.so.1": f"->{triplet}/ld.so", "lib/x.a": "no"}
        house.add("libc6", "2.36", arch, libc)
    return house


@pytest.fixture
def project(tmp_path: Path) -> Project:
    images = tmp_path / "project" / "images"
    images.mkdir(parents=True)
    (images / "guest.yaml").write_text(RECIPE)
    (images / "init").write_text("#!/bin/sh\n")
    return Project(tmp_path / "project")


def build(house: AptHouse, project: Project, cache: Path, arch: Arch = Arch.ARM64) -> Image:
    return build_image(arch, cache=cache, project=project, stop=Stop(), environ=house.environ)


def test_an_image_holds_what_the_recipe_takes_and_nothing_else(
    house: AptHouse, project: Project, tmp_path: Path
) -> None:
    files = archive_files(decompressed(build(house, project, tmp_path / "cache").initramfs))
    assert files["usr/bin/busybox"] == b"busybox arm64"
    assert files["usr/lib/ld-arm64.so.1"] == b"aarch64-linux-gnu/ld.so"
    assert files["usr/bin/ls"] == b"busybox"
    assert {"init", "etc/passwd", "dev/console", "usr/lib/aarch64-linux-gnu/libc.so.6"} <= files.keys()
    assert not [name for name in files if "doc" in name or name.endswith(".a")]


@pytest.mark.parametrize("arch", list(Arch))
def test_two_caches_get_identical_bytes(arch: Arch, house: AptHouse, project: Project, tmp_path: Path) -> None:
    one, other = (build(house, project, tmp_path / name, arch) for name in ("a", "b"))
    assert one.digest == other.digest
    assert one.initramfs.read_bytes() == other.initramfs.read_bytes()


def test_lists_that_name_a_file_which_is_gone_are_refreshed_and_that_is_said(
    house: AptHouse, project: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (house.root / "gone").touch()
    assert build(house, project, tmp_path / "cache").initramfs.is_file()
    assert house.calls("apt-get update") == 2
    assert "refreshing the package lists" in caplog.text


def test_a_hit_asks_apt_nothing(house: AptHouse, project: Project, tmp_path: Path) -> None:
    first = build(house, project, tmp_path / "cache")
    asked = house.calls("apt-")
    assert build(house, project, tmp_path / "cache") == first
    assert house.calls("apt-") == asked


def test_another_init_is_another_image_and_the_old_one_stays(
    house: AptHouse, project: Project, tmp_path: Path
) -> None:
    first = build(house, project, tmp_path / "cache")
    (project.images / "init").write_text("#!/bin/sh\necho other\n")
    second = build(house, project, tmp_path / "cache")
    assert second.initramfs != first.initramfs
    assert first.initramfs.is_file()


def test_newer_lists_with_the_same_packages_build_nothing(house: AptHouse, project: Project, tmp_path: Path) -> None:
    first = build(house, project, tmp_path / "cache")
    (tmp_path / "cache" / "apt" / "images" / "complete").unlink()
    house.newer()
    downloads = house.calls("apt-get download")
    assert build(house, project, tmp_path / "cache") == first
    assert house.calls("apt-get download") == downloads


@pytest.mark.parametrize("harm", ["truncate", "no record", "bad record", "bad memo"])
def test_a_corrupt_entry_is_built_again_and_said(
    harm: str, house: AptHouse, project: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = build(house, project, tmp_path / "cache")
    record = first.initramfs.parent / "image.json"
    match harm:
        case "truncate":
            first.initramfs.write_bytes(first.initramfs.read_bytes()[:-1])
        case "no record":
            record.unlink()
        case "bad record":
            record.write_text("{")
        case "bad memo":
            (first.initramfs.parents[1] / "memo.json").write_text("[]")
    with caplog.at_level(logging.WARNING, "guprace"):
        assert build(house, project, tmp_path / "cache") == first
    assert "again" in caplog.text


def test_a_build_that_fails_leaves_no_entry(house: AptHouse, project: Project, tmp_path: Path) -> None:
    recipe = project.images / "guest.yaml"
    recipe.write_text(recipe.read_text().replace("  - usr/bin/busybox", "  - usr/bin/nosuch"))
    with pytest.raises(HostError, match=r"no file 'usr/bin/nosuch' in the guest's packages"):
        build(house, project, tmp_path / "cache")
    assert list((tmp_path / "cache" / "images" / "arm64").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("packages:", "pakages:"), r"guest\.yaml: .*\(at "),
        (("init: /init", "init: [1]"), r"valid string \(at init\)"),
        (("{x86_64: amd64, arm64: arm64}", "{riscv: x}"), r"\(at architectures"),
        (("init: /init", "init: [unclosed"), "not YAML"),
    ],
)
def test_a_bad_recipe_is_an_error_with_its_place(change: tuple[str, str], text: str, project: Project) -> None:
    recipe = project.images / "guest.yaml"
    recipe.write_text(recipe.read_text().replace(*change))
    with pytest.raises(HostError, match=text):
        load_recipe(project.images)


def test_a_missing_init_is_named(project: Project) -> None:
    (project.images / "init").unlink()
    with pytest.raises(HostError, match=r"images/init: No such file"):
        load_recipe(project.images)


def test_the_projects_own_recipe_is_valid_and_knows_every_architecture() -> None:
    recipe, init, _ = load_recipe(Project().images)
    assert set(recipe.architectures) == set(Arch)
    assert init.startswith(b"#!/bin/busybox sh\n")
    paths = [entry.path for entry in recipe.static_entries(init)]
    assert len(paths) == len(set(paths))
    # Mount points that init expects before it can make any.
    assert {"/dev", "/proc", "/sys", "/tmp", "/run", "/root/.ssh", "/etc/dropbear", "/guprace"} <= set(paths)


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox to read init as the guest's shell does")
def test_init_is_a_script_that_busybox_can_read() -> None:
    run(["busybox", "sh", "-n", str(Project().images / "init")], stop=Stop(), seconds=10)


def test_every_program_that_init_calls_is_in_the_image() -> None:
    recipe, init, _ = load_recipe(Project().images)
    applets = set(recipe.applets.split())
    called = {"mount", "mkdir", "sleep", "ifconfig", "tail", "reboot", "poweroff"}
    assert called <= applets
    assert all(name in init.decode() for name in called)
