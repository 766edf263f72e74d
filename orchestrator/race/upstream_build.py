# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own mm selftests: built static from that kernel's tree, with that tree's uapi headers.

Upstream's Makefile builds in its own directory and writes there; the tree is the cache's or the user's, and nobody
may. So it is given a tree of links in which only its own directory is a copy.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator import records
from orchestrator.errors import HostError, UsageError
from orchestrator.image.recipe import load_recipe
from orchestrator.kernel import patches as patching
from orchestrator.kernel.aptroot import AptRoot
from orchestrator.kernel.apttext import Candidate
from orchestrator.kernel.build import lane_label
from orchestrator.kernel.cache import Entry, Store, digest_of, file_digest
from orchestrator.kernel.gitsource import GitTree
from orchestrator.kernel.lane import LaneTree, prepare
from orchestrator.kernel.lock import locked
from orchestrator.kernel.make import KernelMake, host_trouble
from orchestrator.kernel.source import ArchiveTree, UserTree, Workplace, resolve
from orchestrator.kernel.toolchain import KERNEL_ARCHES, Tools, cross_prefix, identify
from orchestrator.matrix.plan import Arch, KernelSpec, PrebuiltSource, Toolchain
from orchestrator.matrix.upstream import PROGRAMS, Program
from orchestrator.paths import Project
from orchestrator.proc import run

# Part of the digest: raise it when the same tree gives other programs than before.
FORMAT = 1
SELFTESTS = Path("tools", "testing", "selftests")
# What it is called since v6.3, and before.
DIRECTORIES = ("mm", "vm")
# What the programs are linked with, static; without liburing cow and gup_longterm do less.
LIBRARIES = ("libcap-dev", "libnuma-dev", "liburing-dev")
# tools/testing/selftests/kselftest/runner.sh: kselftest_default_timeout.
DEFAULT_TIMEOUT = 45.0
MAKE_SECONDS = 300.0
# What of a kernel decides its selftests; a patch elsewhere (a mutant's) leaves them as they are.
_DECIDING = ("tools/", "usr/", "scripts/", "include/uapi/", "mm/gup_test.h", "Makefile")
_KEPT = ("PATH", "HOME", "TMPDIR")
_RUN = r"run_test \./{name}((?: [\w.:=+-]+)*)[ \t]*$"
_ERROR = re.compile(r"\berror: |undefined reference|cannot find -l")
_TIMEOUT = re.compile(r"^\s*timeout\s*=\s*(\d{1,6})\s*$", re.MULTILINE)


class NotApplicableError(UsageError):
    """This kernel has no such test: a verdict (SKIP) that needs no guest, with its reason."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """One built program: the arguments of each of its runs, and how long one may take on real hardware (seconds)."""

    program: Program
    binary: Path
    arguments: tuple[str, ...]
    timeout: float


@dataclass(frozen=True, slots=True)
class _Job:
    arch: Arch
    tree: ArchiveTree | UserTree | GitTree
    patches: tuple[Path, ...]
    tools: Tools
    libraries: tuple[Candidate, ...]
    apt: AptRoot

    @property
    def digest(self) -> str:
        parts = [FORMAT, self.arch, self.tree.identity, self.tools.identity, [repr(p) for p in PROGRAMS.values()]]
        packages = [one.sha256 for one in self.libraries]
        return digest_of([*parts, [file_digest(patch) for patch in self.patches], packages])


def build_upstream(
    spec: KernelSpec, name: str, project: Project, place: Workplace, report: Callable[[str], None]
) -> Upstream:
    """Return the program `name` of the tree of `spec`, from the cache or built together with its neighbours.

    Raises:
        NotApplicableError: the tree has no such program, it does not compile there, or there is no tree.
        UsageError, HostError, BuildError: as for the kernel itself.
    """
    if isinstance(spec.source, PrebuiltSource):
        raise NotApplicableError(f"a prebuilt image has no tree to build {name} from")
    job = _job(spec, project, place)
    store, digest = Store(place.cache / "upstream"), job.digest
    found = store.find(digest)
    if not found:
        what = f"the selftests of {job.tree.label}"
        with locked(store.root / f".{digest}.lock", what, place.stop, place.waits):
            found = store.find(digest) or _build(job, digest, store, place, report)
    where, entry = found
    if name not in entry.files:
        raise NotApplicableError(entry.facts.get(f"no {name}", f"this kernel's tree has no {name}"))
    arguments = tuple(entry.facts[f"runs {name}"].split("\n"))
    return Upstream(PROGRAMS[name], where / name, arguments, float(entry.facts["timeout"]))


def _job(spec: KernelSpec, project: Project, place: Workplace) -> _Job:
    tree = resolve(spec.source, place)
    deciding = (*_DECIDING, f"arch/{KERNEL_ARCHES[spec.arch].srcarch}/include/uapi/")
    patches = tuple(
        patch
        for patch in spec.patches
        if any(name.startswith(deciding) for name in patching.touched(patch, place.stop, dict(place.environ)))
    )
    tools = identify(spec.arch, Toolchain.GCC, place.stop, place.environ)
    debian = load_recipe(project.images)[0].architectures
    root, architectures = place.cache / "apt" / "images", tuple(sorted(debian.values()))
    apt = AptRoot(root, None, architectures, place.stop, place.environ, place.waits)
    apt.ensure()
    return _Job(spec.arch, tree, patches, tools, _candidates(apt, debian[spec.arch]), apt)


def _candidates(apt: AptRoot, architecture: str) -> tuple[Candidate, ...]:
    """Return the libraries' packages; asking apt costs a second, and its answer stays while its lists do."""
    wanted = [f"{name}:{architecture}" for name in LIBRARIES]
    memo = apt.directory / "candidates" / f"{digest_of([apt.identity(), wanted])}.json"
    found = records.recall(memo, tuple[Candidate, ...])
    if found is None:
        found = apt.candidates(wanted)
        records.save(memo, found)
    return found


def _build(
    job: _Job, digest: str, store: Store, place: Workplace, report: Callable[[str], None]
) -> tuple[Path, Entry]:
    report(f"the selftests of {job.tree.label}")
    source = _source(job, place)
    directory = next((name for name in DIRECTORIES if (source / SELFTESTS / name / "Makefile").is_file()), "")
    with tempfile.TemporaryDirectory(prefix="guprace-upstream-") as temporary:
        room = Path(temporary)
        facts = {"source": job.tree.label, "toolchain": job.tools.identity}
        facts |= {f"library {one.package}": one.version for one in job.libraries}
        files: dict[str, Path] = {}
        present = [name for name in PROGRAMS if (source / SELFTESTS / directory / f"{name}.c").is_file()]
        if directory and present:
            facts |= _settings(source / SELFTESTS / directory, present)
            KernelMake(source, room / "obj", job.tools, room / "log", os.cpu_count() or 1, place)("headers")
            _unpack(job, room / "lib", place)
            _link_tree(source, SELFTESTS / directory, room / "tree")
            for name in present:
                report(f"selftest {name}")
                if why := _compile(job, name, room, room / "tree" / SELFTESTS / directory, place):
                    facts[f"no {name}"] = why
                else:
                    files[name] = room / "out" / name
        if isinstance(job.tree, UserTree):
            job.tree.check(place)
        if job.digest != digest:
            what, hint = (
                "a patch was changed while it was being used",
                "leave it alone and run the same command again",
            )
            raise UsageError(what, where=", ".join(str(patch) for patch in job.patches), hint=hint)
        store.add(digest, files, facts)
    found = store.find(digest)
    if not found:
        raise HostError(f"selftests {digest[:12]} vanished from the cache", where=str(store.root))
    return found


def _source(job: _Job, place: Workplace) -> Path:
    """Return a tree to read: the source's own, or where it is patched or checked out a lane's for selftests."""
    if isinstance(job.tree, GitTree) or job.patches:
        lane = LaneTree(place.cache / "lanes" / f"{lane_label(job.tree)}-{job.arch}-selftests")
        with locked(lane.root / "lock", f"lane {lane.root.name}", place.stop, place.waits):
            return prepare(lane, job.tree, job.patches, place)
    return job.tree.pristine(place)


def _settings(directory: Path, programs: list[str]) -> dict[str, str]:
    """Return what the tree says of running `programs`: the time limit, and the arguments of each run."""
    path, script = directory / "settings", directory / "run_vmtests.sh"
    limit = _TIMEOUT.search(path.read_text(errors="replace")) if path.is_file() else None
    text = script.read_text(errors="replace") if script.is_file() else ""
    return {"timeout": limit[1] if limit else f"{DEFAULT_TIMEOUT:g}"} | {
        f"runs {name}": "\n".join(arguments_of(name, text)) for name in programs
    }


def arguments_of(name: str, script: str) -> tuple[str, ...]:
    """Return the arguments of each run of a program in run_vmtests.sh; one run without any if it has none there.

    What its shell would have to expand (the matrix of `-a`, a file system it made) is left out.
    """
    found = re.findall(_RUN.format(name=re.escape(name)), script, re.MULTILINE)
    return tuple(dict.fromkeys(text.strip() for text in found)) or ("",)


def _unpack(job: _Job, into: Path, place: Workplace) -> None:
    for one in job.libraries:
        deb = job.apt.download(one, into)
        run(["dpkg-deb", "--extract", str(deb), str(into)], stop=place.stop, seconds=MAKE_SECONDS, env=place.environ)


def _link_tree(source: Path, copied: Path, into: Path) -> None:
    """Make `into` look like `source`: links all the way, but for the directory `copied` and those above it."""
    into.mkdir()
    head, *rest = copied.parts
    for entry in source.iterdir():
        if entry.name == head and rest:
            _link_tree(entry, Path(*rest), into / head)
        elif entry.name == head:
            shutil.copytree(entry, into / head)
        elif not entry.name.startswith("."):
            (into / entry.name).symlink_to(entry.absolute())


def _compile(job: _Job, name: str, room: Path, directory: Path, place: Workplace) -> str:
    """Build one program to `room`/out; return why it does not build, empty when it does."""
    out = room / "out"
    out.mkdir(exist_ok=True)
    machine = KERNEL_ARCHES[job.arch]
    libraries = room / "lib" / "usr" / "lib" / machine.gnu_prefix.rstrip("-")
    variables = {
        "ARCH": machine.make_arch,
        # What the Makefile calls it before v6.3, where it would ask `uname`.
        "MACHINE": machine.make_arch,
        "CROSS_COMPILE": cross_prefix(job.arch),
        "OUTPUT": str(out),
        "KHDR_INCLUDES": f"-isystem {room / 'obj' / 'usr' / 'include'}",
        "USERCFLAGS": " ".join(PROGRAMS[name].cflags),
        "USERLDFLAGS": f"-static -L{libraries}",
    }
    argv = ["make", "-C", str(directory), *(f"{key}={value}" for key, value in variables.items()), str(out / name)]
    done = run(argv, stop=place.stop, seconds=MAKE_SECONDS, env=_environment(place.environ, room), check=False)
    if done.returncode == 0 and (out / name).is_file():
        return ""
    lines = [line.strip().replace(f"{room}/", "") for line in done.stderr.splitlines()]
    first = next((line for line in lines if _ERROR.search(line)), "")
    said = host_trouble(done.stderr)
    if said or not first:
        # Not the tree's fault, so nothing to remember of it: a full disk, a compiler that was killed.
        raise HostError(f"{name} was not built: {(said or '; '.join(lines[-3:]))[:500]}", where=str(directory))
    return f"{name} does not compile in this kernel's tree: {first[:300]}"


def _environment(environ: Mapping[str, str], room: Path) -> dict[str, str]:
    # upstream's check_config.sh looks for liburing with the bare compiler: only the environment reaches it.
    include = str(room / "lib" / "usr" / "include")
    return {**{name: environ[name] for name in _KEPT if name in environ}, "LC_ALL": "C", "C_INCLUDE_PATH": include}
