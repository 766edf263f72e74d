# SPDX-License-Identifier: GPL-2.0-only
"""The matrix language as pydantic models, and the JSON Schema that editors complete it with.

`python -m orchestrator.matrix.schema` writes configs/schema/matrix.schema.json from them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from orchestrator.matrix.names import names_of
from orchestrator.matrix.plan import Accel, Toolchain
from orchestrator.matrix.values import (
    AccelName,
    ArchName,
    DirectoryPath,
    FilePath,
    Flavour,
    KernelRef,
    Matching,
    MutantId,
    Name,
    OneOrMany,
    Scenario,
    Series,
    Short,
    ToolchainName,
    wrong,
)
from orchestrator.paths import Project
from orchestrator.records import write_atomically

SOURCES = ("deb", "git", "tarball", "tree", "image")
BUILDING = ("patches", "fragments", "toolchain", "series")


class Node(BaseModel):
    """A mapping of the matrix: no other keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Deb(Node):
    """A Debian source package, from this machine's apt or, through a private apt root, from another suite."""

    package: Annotated[str, Matching(r"^[a-z0-9][a-z0-9+.-]+$", "Debian package name")] = Field(
        description="The package that holds the source archive.", examples=["linux-source-6.1", "linux-source-7.2"]
    )
    suite: Annotated[str, Matching(r"^[a-z][a-z0-9/-]*$", "Debian suite")] | None = Field(
        default=None, description="The suite, when it is not this machine's own.", examples=["sid", "bullseye"]
    )
    version: Annotated[str, Matching(r"^[0-9][A-Za-z0-9.+:~-]*$", "Debian version")] | None = Field(
        default=None, description="The exact version; left out: the newest.", examples=["6.1.192-2"]
    )


class Git(Node):
    """A commit of a git repository that you have; your checkout is never touched."""

    path: DirectoryPath
    ref: Annotated[str, Matching(r"^[^\s:?*\[\\^~-][^\s:?*\[\\]*$", "git revision")] = Field(
        description="Commit, tag or branch.", examples=["v6.1", "HEAD~2"]
    )


class Tarball(Node):
    """A source archive."""

    path: FilePath
    sha256: Annotated[str, Matching(r"^[0-9a-f]{64}$", "SHA-256: 64 hexadecimal digits, lower case")] = Field(
        description="What `sha256sum` says of it."
    )


class PrebuiltImage(Node):
    """A bzImage (x86_64) or Image (arm64) that is booted as it is."""

    path: FilePath
    config: FilePath | None = Field(default=None, description="Its .config, if you have it; relative to this file.")


class Kernel(Node):
    """Where a kernel's source comes from (one of deb, git, tarball, tree, image) and what is changed in it."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [source]} for source in SOURCES]})

    deb: Annotated[Deb, Short("package")] | None = None
    git: Git | None = None
    tarball: Tarball | None = None
    tree: DirectoryPath | None = Field(
        default=None, description="An unpacked source tree, used read-only; relative to this file."
    )
    image: Annotated[PrebuiltImage, Short("path")] | None = None
    patches: tuple[FilePath, ...] = Field(default=(), strict=False, description="Applied in this order with -p1.")
    fragments: tuple[FilePath, ...] = Field(
        default=(), strict=False, description="More Kconfig fragments, merged last; none may contradict another."
    )
    toolchain: ToolchainName = Field(default=Toolchain.GCC, description="The compiler.")
    series: Series | None = Field(
        default=None,
        description="Chooses a mutant's patch when neither package nor kernel name begins with it.",
        examples=["6.1"],
    )

    @model_validator(mode="after")
    def one_source(self) -> Self:
        """Refuse none or several sources, and building instructions for a kernel that is not built."""
        given = [source for source in SOURCES if getattr(self, source) is not None]
        if len(given) != 1:
            what = f"several sources: {', '.join(given)}" if given else "no source"
            raise wrong(what, f"; a kernel has exactly one of {', '.join(SOURCES)}")
        useless = sorted(self.model_fields_set.intersection(BUILDING))
        if self.image and useless:
            raise wrong(f"{useless[0]!r} on a prebuilt image, which is booted as it is")
        return self


class Guest(Node):
    """The machine. What a lane says goes before what the whole matrix says."""

    accel: AccelName = Field(default=Accel.AUTO, description="How QEMU runs it; auto times KVM against TCG.")
    vcpus: Annotated[int, Field(ge=2, le=64)] | None = Field(
        default=None, description="Left out: as many as are worth it, at least 2. More than host cores hurts TCG."
    )
    memory: int = Field(default=1024, ge=512, le=65536, description="MiB; below 512 a guest disables THP.")


class Race(Node):
    """How long to race, and from which seed."""

    seconds: float = Field(default=10.0, gt=0, le=86400, description="Seconds of racing in every cell.")
    seed: Annotated[int, Field(ge=0, lt=2**64)] | None = Field(
        default=None, description="Left out: a fresh one for every run, written into the report."
    )


class Lane(Node):
    """Cells that share a kernel; every list is expanded."""

    kernel: Annotated[tuple[KernelRef, ...], OneOrMany()]
    arch: Annotated[tuple[ArchName, ...], OneOrMany()]
    flavour: Annotated[tuple[Flavour, ...], OneOrMany()]
    scenarios: Annotated[tuple[Scenario, ...], OneOrMany()] | None = Field(
        default=None, description="Instead of the matrix's."
    )
    guest: Guest | None = None
    race: Race | None = None


class Control(Node):
    """A broken kernel that a scenario must catch, with the machine and the race of the lane it stands for."""

    mutant: Annotated[tuple[MutantId, ...], OneOrMany()]
    kernel: Annotated[tuple[KernelRef, ...], OneOrMany()]
    arch: Annotated[tuple[ArchName, ...], OneOrMany()]
    flavour: Annotated[tuple[Flavour, ...], OneOrMany()]
    scenario: Annotated[tuple[Scenario, ...], OneOrMany()] | None = Field(
        default=None, description="Left out: those that the mutant's record names for the architecture."
    )
    guest: Guest | None = None
    race: Race | None = None


class Matrix(Node):
    """What guprace builds, boots and races: kernel x architecture x flavour x scenario."""

    name: Name = Field(description="Names the run and its reports.", examples=["quick"])
    kernels: dict[Name, Kernel] = Field(min_length=1, description="The kernels, by the name their cells carry.")
    lanes: tuple[Lane, ...] = Field(default=(), strict=False, description="Kernels to be raced; must end clean.")
    scenarios: Annotated[tuple[Scenario, ...], OneOrMany()] = Field(description="The races of every lane.")
    controls: tuple[Control, ...] = Field(default=(), strict=False, description="Broken kernels that must be caught.")
    guest: Guest = Guest()
    race: Race = Race()

    @model_validator(mode="after")
    def something_to_do(self) -> Self:
        """Refuse a matrix without a single cell."""
        if not self.lanes and not self.controls:
            raise wrong("neither lanes nor controls: nothing to do")
        return self


def json_schema(project: Project) -> dict[str, Any]:
    """Return the JSON Schema of the matrix language, with the flavours of `project`."""
    schema = Matrix.model_json_schema()
    schema["properties"]["kernels"]["additionalProperties"] = False
    flavours = list(names_of(project).flavours)
    for section in ("Lane", "Control"):
        one, many = schema["$defs"][section]["properties"]["flavour"]["anyOf"]
        one["enum"] = many["items"]["enum"] = flavours
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_file(project: Project) -> Path:
    """Return where the JSON Schema is published."""
    return project.configs / "schema" / "matrix.schema.json"


def schema_bytes(project: Project) -> bytes:
    """Return what the published file must hold."""
    return json.dumps(json_schema(project), indent=2).encode() + b"\n"


if __name__ == "__main__":
    write_atomically(schema_file(Project()), schema_bytes(Project()))
