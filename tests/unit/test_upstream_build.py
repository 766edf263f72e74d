# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own selftests are built from its own tree, which stays as it is."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import HostError, UsageError
from orchestrator.kernel.apttext import host_codename
from orchestrator.kernel.source import Workplace
from orchestrator.matrix.plan import Accel, Arch, KernelSpec, PrebuiltSource, TreeSource
from orchestrator.matrix.upstream import PROGRAMS
from orchestrator.paths import Project
from orchestrator.proc import Stop
from orchestrator.race.upstream_build import LIBRARIES, NotApplicableError, Upstream, arguments_of, build_upstream
from orchestrator.race.upstream_run import LONGEST_SECONDS, deadline_of
from tests.unit.apt_house import AptHouse
from tests.unit.kernel_room import manifest

pytestmark = pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="no arm64 cross compiler")

TOP = """\
headers:
\t@mkdir -p $(O)/usr/include && echo "$(ARCH)" > $(O)/usr/include/version.h
"""
# As upstream's: it writes into its own directory, and wants what lies around it.
SELFTESTS = """\
include local_config.mk
local_config.mk:
\t@echo "# made" > $@
$(OUTPUT)/%: %.c
\t@grep -q '^#error' $< && { echo "$<:1:2: error: no such thing" >&2; exit 1; } || true
\t@test -f ../lib.mk && test -f ../../../../mm/gup_test.h && test -f $(lastword $(KHDR_INCLUDES))/version.h
\t@test -f $(patsubst -L%,%,$(lastword $(USERLDFLAGS)))/libnuma.a
\t@cat $< ../../../../mm/gup_test.h > $@ && echo "$(ARCH) $(USERCFLAGS)" >> $@
"""
SCRIPT = """\
for test_cmd in -u -U; do CATEGORY="gup_test" run_test ./gup_test $test_cmd; done
    CATEGORY="gup_test" run_test ./gup_test -u
    CATEGORY="gup_test" run_test ./gup_test -a
CATEGORY="gup_test" run_test ./gup_test -ct -F 0x1 0 19 0x1000
CATEGORY="cow" run_test ./cow
CATEGORY="thp" run_test ./khugepaged all:file ${SPLIT_HUGE_PAGE_TEST_XFS_PATH}
CATEGORY="thp" run_test ./khugepaged -s 2; reboot
"""


def make_tree(root: Path, directory: str = "mm") -> Path:
    selftests = f"tools/testing/selftests/{directory}"
    files = {
        "Makefile": TOP,
        "Kconfig": 'mainmenu "fake"\n',
        "mm/gup_test.h": "/* header */\n",
        "tools/testing/selftests/lib.mk": "",
        f"{selftests}/Makefile": SELFTESTS,
        f"{selftests}/run_vmtests.sh": SCRIPT,
        f"{selftests}/settings": "# a comment\ntimeout=180\n",
        f"{selftests}/cow.c": "cow\n",
        f"{selftests}/gup_test.c": "gup_test\n",
        f"{selftests}/khugepaged.c": "khugepaged\n",
        f"{selftests}/migration.c": "#error numa\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    house = AptHouse(tmp_path / "house", host_codename() or "none")
    for name in LIBRARIES:
        for arch, triplet in (("amd64", "x86_64-linux-gnu"), ("arm64", "aarch64-linux-gnu")):
            archive = f"usr/lib/{triplet}/{name.removesuffix('-dev')}.a"
            house.add(name, "1.0", arch, {archive: "archive", "usr/include/x.h": ""})
    return Workplace(tmp_path / "cache", house.environ, Stop())


def spec_of(tree: Path, patches: tuple[Path, ...] = ()) -> KernelSpec:
    return KernelSpec("fake", TreeSource(tree), Arch.ARM64, "plain", patches, ())


def build(spec: KernelSpec, name: str, place: Workplace) -> Upstream:
    return build_upstream(spec, name, Project(), place, lambda _: None)


def test_a_program_is_built_from_the_tree_and_the_tree_is_left_alone(tmp_path: Path, place: Workplace) -> None:
    tree = make_tree(tmp_path / "tree")
    before = manifest(tree)
    cow = build(spec_of(tree), "cow", place)
    assert cow.binary.read_text() == "cow\n/* header */\narm64 \n"
    assert (cow.arguments, cow.timeout) == (("",), 180.0)
    assert build(spec_of(tree), "khugepaged", place).binary.read_text().endswith("-DKSFT_SKIP=4\n")
    assert manifest(tree) == before


def test_the_directory_of_older_trees_is_found(tmp_path: Path, place: Workplace) -> None:
    assert build(spec_of(make_tree(tmp_path / "tree", "vm")), "cow", place).binary.is_file()


def test_a_second_time_it_comes_from_the_cache(tmp_path: Path, place: Workplace) -> None:
    tree = make_tree(tmp_path / "tree")
    first = build(spec_of(tree), "cow", place)
    told: list[str] = []
    assert (
        build_upstream(spec_of(tree), "gup_test", Project(), place, told.append).binary.parent == first.binary.parent
    )
    assert told == []


def test_what_the_tree_lacks_or_does_not_compile_is_a_skip_that_says_so(tmp_path: Path, place: Workplace) -> None:
    tree = make_tree(tmp_path / "tree")
    with pytest.raises(NotApplicableError, match="this kernel's tree has no memfd_secret"):
        build(spec_of(tree), "memfd_secret", place)
    with pytest.raises(NotApplicableError, match=r"migration does not compile .*: migration.c:1:2: error: no such"):
        build(spec_of(tree), "migration", place)


def test_a_build_that_the_host_broke_is_not_remembered_as_the_trees_fault(tmp_path: Path, place: Workplace) -> None:
    tree = make_tree(tmp_path / "tree")
    (tree / "tools/testing/selftests/lib.mk").unlink()
    with pytest.raises(HostError, match="cow was not built"):
        build(spec_of(tree), "cow", place)
    assert not list((place.cache / "upstream").glob("[0-9a-f]*"))


def test_a_compiler_that_was_killed_says_nothing_of_the_tree(tmp_path: Path, place: Workplace) -> None:
    tree = make_tree(tmp_path / "tree")
    makefile = tree / "tools/testing/selftests/mm/Makefile"
    killed = "gcc: fatal error: Killed signal terminated program cc1"
    makefile.write_text(makefile.read_text().replace("\t@cat", f"\t@echo '{killed}' >&2; exit 1\n\t@cat"))
    with pytest.raises(HostError, match=killed):
        build(spec_of(tree), "cow", place)
    assert not list((place.cache / "upstream").glob("[0-9a-f]*"))


def test_a_tree_without_selftests_and_a_prebuilt_image_are_skips(tmp_path: Path, place: Workplace) -> None:
    tree = make_tree(tmp_path / "tree")
    shutil.rmtree(tree / "tools")
    with pytest.raises(NotApplicableError, match="this kernel's tree has no cow"):
        build(spec_of(tree), "cow", place)
    prebuilt = replace(spec_of(tree), source=PrebuiltSource(tree / "Image"))
    with pytest.raises(NotApplicableError, match="a prebuilt image has no tree"):
        build(prebuilt, "cow", place)


def patch_of(path: Path, name: str, lines: Sequence[str]) -> Path:
    path.write_text("\n".join([f"--- a/{name}", f"+++ b/{name}", "@@ -1 +1 @@", *lines]) + "\n")
    return path


def test_a_patch_counts_only_where_it_changes_the_selftests(tmp_path: Path, place: Workplace) -> None:
    tree = make_tree(tmp_path / "tree")
    (tree / "mm/gup.c").write_text("walk\n")
    mutant = patch_of(tmp_path / "mutant.patch", "mm/gup.c", ["-walk", "+run"])
    plain = build(spec_of(tree), "cow", place)
    assert build(spec_of(tree, (mutant,)), "cow", place).binary == plain.binary
    theirs = patch_of(tmp_path / "theirs.patch", "tools/testing/selftests/mm/cow.c", ["-cow", "+calf"])
    patched = build(spec_of(tree, (mutant, theirs)), "cow", place)
    assert patched.binary.read_text().startswith("calf\n")
    assert (tree / "tools/testing/selftests/mm/cow.c").read_text() == "cow\n"


def test_a_patch_that_is_edited_while_it_is_used_gives_no_programs(tmp_path: Path, place: Workplace) -> None:
    tree = make_tree(tmp_path / "tree")
    theirs = patch_of(tmp_path / "theirs.patch", "tools/testing/selftests/mm/cow.c", ["-cow", "+calf"])

    def edit(_: str) -> None:
        patch_of(theirs, "tools/testing/selftests/mm/cow.c", ["-cow", "+bull"])

    with pytest.raises(UsageError, match="a patch was changed"):
        build_upstream(spec_of(tree, (theirs,)), "cow", Project(), place, edit)
    assert build(spec_of(tree, (theirs,)), "cow", place).binary.read_text().startswith("bull\n")


def test_arguments_are_those_of_the_trees_own_runner() -> None:
    assert arguments_of("gup_test", SCRIPT) == ("-u", "-a", "-ct -F 0x1 0 19 0x1000")
    assert arguments_of("cow", SCRIPT) == ("",)
    assert arguments_of("migration", "") == ("",)
    assert arguments_of("khugepaged", SCRIPT) == ("",), "what a shell would expand, or run, is left out"


def test_the_trees_time_limit_is_kept_and_stretched_only_for_an_emulated_processor() -> None:
    cow = Upstream(PROGRAMS["cow"], Path("cow"), ("",), 180.0)
    assert deadline_of(cow, Accel.KVM) == 180.0
    assert deadline_of(cow, Accel.TCG) > 180.0
    assert deadline_of(replace(cow, timeout=0.0), Accel.KVM) == LONGEST_SECONDS


def test_without_settings_the_limit_is_kselftests_own(tmp_path: Path, place: Workplace) -> None:
    tree = make_tree(tmp_path / "tree")
    (tree / "tools/testing/selftests/mm/settings").unlink()
    assert build(spec_of(tree), "cow", place).timeout == 45.0
