# SPDX-License-Identifier: GPL-2.0-only
"""How the kernel's make is called, and whose fault it is that it failed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.errors import BuildError, HostError
from orchestrator.kernel.make import KernelMake, build_failure
from orchestrator.kernel.source import Workplace
from orchestrator.kernel.toolchain import Tools
from orchestrator.proc import Stop

AUTOGROUP = Path("/proc/self/autogroup")


def make_in(root: Path, makefile: str) -> KernelMake:
    (root / "Makefile").write_text(makefile)
    place = Workplace(root / "cache", os.environ, Stop())
    return KernelMake(root, root / "objects", Tools((), ("cc",), ""), root / "build.log", 1, place)


def test_a_build_gives_way_to_the_races_beside_it(tmp_path: Path) -> None:
    make = make_in(tmp_path, "all:\n\t@nice >$(O)/nice\n\t@cat /proc/self/autogroup >$(O)/group || true\n")
    make("all")
    assert int((make.objects / "nice").read_text()) == min(os.nice(0) + 10, 19)
    if AUTOGROUP.exists():
        assert (make.objects / "group").read_text().endswith(" nice 10\n")


FAILED = "make[3]: *** [scripts/Makefile.build:250: mm/gup.o] Error 1"


@pytest.mark.parametrize(
    "said",
    [
        "fatal error: error writing to /tmp/x.s: No space left on device",
        "{standard input}: Fatal error: can't write 12 bytes to section .text of mm/gup.o: 'No space left on device'",
        "aarch64-linux-gnu-as: mm/gup.o: unable to write: Disk quota exceeded",
        "sh: 1: echo: echo: I/O error",
        "OSError: [Errno 28] No space left on device: '.vmlinux.objs'",
        "cannot write x.h: No space left on device at ./scripts/x.pl line 12.",
        "error: could not write output: No space left on device (os error 28)",
        "gcc: fatal error: Killed signal terminated program cc1",
        "gcc: internal compiler error: Killed (program cc1)",
        "clang: error: unable to execute command: Killed",
        "collect2: fatal error: ld terminated with signal 9 [Killed]",
        "make[3]: *** [scripts/Makefile.build:250: mm/gup.o] Killed",
        "make[1]: *** [/linux/Makefile:1239: vmlinux] Error 137",
        "cc1: out of memory allocating 65536 bytes after a total of 1 bytes",
        "ld: final link failed: memory exhausted",
        "make[2]: fork: Resource temporarily unavailable",
        "sh: 0: Cannot fork",
        "ld: cannot open mm/gup.o: Too many open files",
    ],
)
def test_what_the_host_failed_at_is_not_the_kernels_fault(tmp_path: Path, said: str) -> None:
    log = tmp_path / "build.log"
    log.write_text(f"  CC      mm/gup.o\n{said}\ncompilation terminated.\n{FAILED}\n")
    error = build_failure(log, 0, ["Image"], tmp_path)
    assert isinstance(error, HostError)
    assert said in str(error)


@pytest.mark.parametrize(
    "said",
    [
        "mm/gup.c:7:2: error: expected ';' before '}' token",
        'include/errno.h:30: error: "ENOSPC" redefined\n   30 | #define ENOSPC 28 /* out: No space left on device',
        'mm/oom.c:9:5: error: format  \n    9 | pr_err("cc1: Killed signal terminated program");',
        "ld: mm/gup.o: in function `killed':\ngup.c:(.text+0x8): undefined reference to `Cannot_fork'",
        "gcc: internal compiler error: Segmentation fault signal terminated program cc1",
    ],
)
def test_what_the_kernel_is_to_blame_for_is_not_the_hosts_fault(tmp_path: Path, said: str) -> None:
    log = tmp_path / "build.log"
    log.write_text(f"  CC      mm/gup.o\n{said}\n{FAILED}\n")
    assert isinstance(build_failure(log, 0, ["Image"], tmp_path), BuildError)


def test_a_make_that_somebody_killed_is_not_the_kernels_fault(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="ended by signal 9"):
        make_in(tmp_path, "all:\n\t@kill -KILL $$PPID\n")("all")


def test_an_error_names_the_users_file_not_that_of_the_copy(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    log.write_text(f"{tmp_path}/src/mm/gup.c:7:2: error: expected ';'\n")
    assert "\n    mm/gup.c:7:2: error" in str(build_failure(log, 0, ["Image"], tmp_path / "src"))
