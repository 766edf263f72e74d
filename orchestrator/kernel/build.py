# SPDX-License-Identifier: GPL-2.0-only
"""Kernels are values: named by a digest, built once, taken from the cache ever after."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator import records
from orchestrator.errors import HostError, UsageError
from orchestrator.kernel.cache import Entry, Store, digest_of, file_digest, tree_digest
from orchestrator.kernel.configure import configure
from orchestrator.kernel.gitsource import GitTree
from orchestrator.kernel.kept import probe_digest
from orchestrator.kernel.lane import LaneTree, prepare
from orchestrator.kernel.lock import locked
from orchestrator.kernel.make import FLAGS, KernelMake
from orchestrator.kernel.model import Kernel
from orchestrator.kernel.prebuilt import check_image
from orchestrator.kernel.request import Request, Requests, check_unchanged, describe
from orchestrator.kernel.source import ArchiveTree, UserTree, Workplace, resolve
from orchestrator.kernel.toolchain import KERNEL_ARCHES, Tools, identify
from orchestrator.matrix.plan import Arch, KernelSpec, PrebuiltSource
from orchestrator.paths import Project

log = logging.getLogger("guprace.build")

Report = Callable[[str], None]
Asked = Callable[[dict[str, str]], None]
"""Is told what a kernel is made of, by name, before it is built: it may well fail."""


@dataclass(frozen=True, slots=True)
class Job:
    """One kernel to get: what was asked for, resolved."""

    spec: KernelSpec
    tree: ArchiveTree | UserTree | GitTree
    tools: Tools
    request: Request


@dataclass(frozen=True, slots=True)
class KernelBuilder:
    """Gives kernels, from the cache or by building them in their lane."""

    place: Workplace
    project: Project
    jobs: int

    @property
    def kernels(self) -> Store:
        """Built kernels."""
        return Store(self.place.cache / "kernels")

    @property
    def probes(self) -> Store:
        """Probe modules, each for one kernel."""
        return Store(self.place.cache / "probes")

    @property
    def requests(self) -> Requests:
        """What was asked for before."""
        return Requests(self.place.cache / "requests")

    def made_of(self, spec: KernelSpec) -> dict[str, str]:
        """Return what decides the kernel for `spec` and its probe module, by name. Raises as `build`."""
        if isinstance(spec.source, PrebuiltSource):
            named = {"image": spec.source.image, "config": spec.source.config}
            return {name: file_digest(path) for name, path in named.items() if path}
        return self._made_of(self._resolve(spec))

    def check_tools(self, spec: KernelSpec) -> None:
        """Raise HostError unless this host has the toolchain that `spec` is built with; a prebuilt one needs none."""
        if not isinstance(spec.source, PrebuiltSource):
            identify(spec.arch, spec.toolchain, self.place.stop, self.place.environ)

    def _made_of(self, job: Job) -> dict[str, str]:
        return {**job.request.components, "probe module": tree_digest(self._probe_sources)}

    def build(
        self, spec: KernelSpec, report: Report = lambda text: None, asked: Asked = lambda made_of: None
    ) -> Kernel:
        """Return the kernel for `spec`, with its probe module.

        Raises:
            UsageError: source, patch or fragment is not what it should be.
            BuildError: it does not patch, configure or build.
            HostError: missing tools, full disk, failed download.
            RunInterruptedError: somebody asked to stop.
        """
        started = time.monotonic()
        if isinstance(spec.source, PrebuiltSource):
            _check(spec.source, spec.arch)
            asked(self.made_of(spec))
            return self._prebuilt(spec.source, started)
        job = self._resolve(spec)
        asked(self._made_of(job))
        hit = self._from_cache(job, self.requests.answer(job.request), started, built=False)
        if hit:
            return hit
        lane = LaneTree(self.place.cache / "lanes" / job.request.lane)
        what = f"lane {lane.root.name}"
        try:
            with locked(lane.root / "lock", what, self.place.stop, self.place.waits), lane.building():
                digest, built = self._in_lane(job, lane, report)
        except OSError as error:
            raise records.disk_error(error, Path(error.filename or lane.root)) from error
        self.requests.remember(job.request, digest)
        kernel = self._from_cache(job, digest, started, built=built)
        if kernel is None:
            raise HostError(f"kernel {digest} vanished from the cache", where=str(self.kernels.root))
        return kernel

    def _prebuilt(self, source: PrebuiltSource, started: float) -> Kernel:
        """Return the user's image, by a copy: one that is built anew meanwhile is another kernel."""
        files = {"image": source.image} | ({"config": source.config} if source.config else {})
        name = _name_of(files)
        found = self.kernels.find(name)
        where = found[0] if found else self.kernels.add(name, files, {})
        if _name_of({kind: where / kind for kind in files}) != name:
            shutil.rmtree(where, ignore_errors=True)
            hint = "leave it alone and run the same command again"
            raise UsageError("this image was changed while it was being read", where=str(source.image), hint=hint)
        digest, config = file_digest(where / "image"), where / "config" if source.config else None
        seconds = time.monotonic() - started
        return Kernel(digest, where / "image", config, None, None, None, "prebuilt", True, seconds)

    def why(self, spec: KernelSpec) -> tuple[bool, tuple[str, ...]]:
        """Say whether `spec` is in the cache, and else what it lacks or how it differs from the nearest request.

        Raises as `build`.
        """
        if isinstance(spec.source, PrebuiltSource):
            _check(spec.source, spec.arch)
            return True, ("prebuilt image: nothing to build",)
        job = self._resolve(spec)
        digest = self.requests.answer(job.request)
        if digest and self.kernels.find(digest):
            if self.probes.find(self._probe_digest(digest)):
                return True, (f"kernel {digest[:12]} in {self.kernels.root}",)
            return False, (f"kernel {digest[:12]} is there, but no probe module of today's sources for it",)
        if digest:
            return False, (f"kernel {digest[:12]} was built before, but is no longer in {self.kernels.root}",)
        return False, self.requests.differences(job.request)

    def _resolve(self, spec: KernelSpec) -> Job:
        tools = identify(spec.arch, spec.toolchain, self.place.stop, self.place.environ)
        tree = resolve(spec.source, self.place)
        lane = re.sub(r"[^\w.+-]", "_", f"{lane_label(tree)}-{spec.arch}-{spec.flavour}-{spec.toolchain}")
        for patch in spec.patches:
            if not patch.is_file():
                raise UsageError("no such patch", where=str(patch))
        return Job(spec, tree, tools, describe(spec, lane, tree.identity, tools.identity))

    def _from_cache(self, job: Job, digest: str, started: float, *, built: bool) -> Kernel | None:
        found = self.kernels.find(digest) if digest else None
        probe = self.probes.find(self._probe_digest(digest)) if found else None
        if not found or not probe:
            return None
        where, entry = found
        return _kernel(where, entry, probe[0] / "guprace_probe.ko", not built, time.monotonic() - started)

    def _probe_digest(self, kernel: str) -> str:
        return probe_digest(kernel, self._probe_sources)

    @property
    def _probe_sources(self) -> Path:
        return self.project.selftests / "probe"

    def _in_lane(self, job: Job, lane: LaneTree, report: Report) -> tuple[str, bool]:
        """Bring the lane to this kernel; build what the cache lacks. The caller holds the lane's lock."""
        report(f"preparing {job.tree.label}")
        source = prepare(lane, job.tree, job.spec.patches, self.place)
        log_file = lane.root / "build.log"
        log_file.unlink(missing_ok=True)
        make = KernelMake(source, lane.objects, job.tools, log_file, self.jobs, self.place)
        config = configure(job.spec, make, report)
        check_unchanged(job.spec, job.request)
        patches = [value for name, value in job.request.components.items() if name.startswith("patch ")]
        digest = digest_of([job.tree.identity, patches, config, job.tools.identity, FLAGS])
        known = self.kernels.find(digest)
        if known and self.probes.find(self._probe_digest(digest)):
            return digest, False
        target = KERNEL_ARCHES[job.spec.arch].image_target
        make(target, "modules", report=report)
        if not known:
            self.kernels.add(digest, _products(job.spec, lane), _facts(job, lane))
        report("probe module")
        self._probe(lane, make, digest)
        return digest, not known

    def _probe(self, lane: LaneTree, make: KernelMake, digest: str) -> None:
        where = lane.root / "probe"
        shutil.rmtree(where, ignore_errors=True)
        try:
            shutil.copytree(self._probe_sources, where)
        except (OSError, shutil.Error) as error:
            raise HostError(f"cannot copy the probe module: {error}", where=str(where)) from error
        # By what is built, which nobody edits; of the sources themselves nobody knows what they are by then.
        name = probe_digest(digest, where)
        make(f"M={where}", "modules")
        self.probes.add(name, {"guprace_probe.ko": where / "guprace_probe.ko"}, {})
        if name != self._probe_digest(digest):
            raise UsageError(
                "the probe module was changed while it was being built",
                where=str(self._probe_sources),
                hint="leave it alone and run the same command again",
            )


def lane_label(tree: ArchiveTree | UserTree | GitTree) -> str:
    """Name the lane's tree: kernels of one label share work and object tree, one after the other."""
    if isinstance(tree, GitTree):
        return f"{tree.label}-{digest_of(str(tree.repository))[:8]}"
    return tree.label if isinstance(tree, UserTree) else f"{tree.label}-{tree.identity[:8]}"


def _products(spec: KernelSpec, lane: LaneTree) -> dict[str, Path]:
    image = KERNEL_ARCHES[spec.arch].image_path
    return {
        "image": lane.objects / image,
        "vmlinux": lane.objects / "vmlinux",
        "config": lane.objects / ".config",
        "System.map": lane.objects / "System.map",
    }


def _facts(job: Job, lane: LaneTree) -> dict[str, str]:
    release = (lane.objects / "include" / "config" / "kernel.release").read_text().strip()
    return {"version": release, "toolchain": job.tools.identity, "source": f"{job.tree.label} {job.tree.identity}"}


def _kernel(where: Path, entry: Entry, probe: Path, cached: bool, seconds: float) -> Kernel:
    return Kernel(
        digest=where.name,
        image=where / "image",
        config=where / "config",
        vmlinux=where / "vmlinux",
        probe=probe,
        version=entry.facts.get("version"),
        toolchain=entry.facts.get("toolchain", ""),
        cached=cached,
        seconds=seconds,
    )


def _name_of(prebuilt: Mapping[str, Path]) -> str:
    return digest_of(["prebuilt", {kind: file_digest(path) for kind, path in prebuilt.items()}])


def _check(source: PrebuiltSource, arch: Arch) -> None:
    check_image(source.image, arch)
    if source.config and not source.config.is_file():
        raise UsageError("no such file", where=str(source.config))
