# SPDX-License-Identifier: GPL-2.0-only
"""The recipe of the guest's root file system: data in images/guest.yaml, checked at the border."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from orchestrator.errors import HostError
from orchestrator.image import cpio
from orchestrator.matrix.plan import Arch


def _octal(value: object) -> object:
    return int(value, 8) if isinstance(value, str) else value


Mode = Annotated[int, BeforeValidator(_octal)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Directory(_Strict):
    """A directory that init or the races expect; `mode` is written as an octal string."""

    path: str
    mode: Mode = 0o755


class Device(_Strict):
    """A character device that must exist before devtmpfs is mounted."""

    path: str
    major: int
    minor: int
    mode: Mode = 0o600


class Recipe(_Strict):
    """images/guest.yaml: packages, what is taken out of them, and what is written beside it."""

    architectures: dict[Arch, str]
    packages: tuple[str, ...]
    take: tuple[str, ...]
    init: str
    directories: tuple[Directory, ...] = ()
    symlinks: dict[str, str] = {}
    devices: tuple[Device, ...] = ()
    files: dict[str, str] = {}
    applets: str = ""

    def static_entries(self, init: bytes) -> tuple[cpio.Entry, ...]:
        """Return everything that does not come from a package."""
        return (
            cpio.file(self.init, init, 0o755),
            *(cpio.directory(one.path, one.mode) for one in self.directories),
            *(cpio.symlink(path, target) for path, target in self.symlinks.items()),
            *(cpio.character_device(one.path, one.major, one.minor, one.mode) for one in self.devices),
            *(cpio.file(path, text.encode()) for path, text in self.files.items()),
            *(cpio.symlink(f"/usr/bin/{name}", "busybox") for name in self.applets.split()),
        )


def load_recipe(images: Path) -> tuple[Recipe, bytes, str]:
    """Read recipe and init below `images`; return them and their common digest (hexadecimal).

    Raises:
        HostError: a file is missing, or the recipe is not one.
    """
    path = images / "guest.yaml"
    try:
        text = path.read_bytes()
        init = (images / "init").read_bytes()
        recipe = Recipe.model_validate(yaml.safe_load(text))
    except OSError as error:
        raise HostError(f"{error.strerror}", where=str(error.filename), hint="is the checkout complete?") from error
    except yaml.YAMLError as error:
        raise HostError(f"not YAML: {error}", where=str(path)) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise HostError(f"{first['msg']} (at {place or 'top level'})", where=str(path)) from error
    return recipe, init, hashlib.sha256(hashlib.sha256(text).digest() + init).hexdigest()
