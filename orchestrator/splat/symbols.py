# SPDX-License-Identifier: GPL-2.0-only
"""Frames to lines of source with what was inlined there: what scripts/faddr2line answers, for thousands at once.

    with Symbolizer(Path("vmlinux"), modules={"guprace_probe": Path("guprace_probe.ko")}) as symbols:
        for resolved in symbols.resolve(frames_in(splat.text)):
            print(resolved.frame.text, *(place.locations[0].place for place in resolved.places))

A name with an offset needs no KASLR arithmetic. A bare address does: `slide` is by how much the kernel was moved, as
a panic says it (`stackframe.kernel_slide`). Static functions of one name are told apart by the printed size; what
stays ambiguous is given as several places. A return address stands behind its call: the byte before it is looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator.errors import UsageError
from orchestrator.splat.dwarf import DAMAGE, Dwarf, Location
from orchestrator.splat.elfimage import ElfImage, Symbol, opened
from orchestrator.splat.stackframe import Frame
from orchestrator.splat.symtab import SymbolTable

# So many frames whose function is there with another size, and hardly one that fits: it is another kernel.
STRANGERS = 3


@dataclass(frozen=True, slots=True)
class Place:
    """One meaning of a frame: the address in the image, and its lines, innermost first (none: not known)."""

    address: int
    symbol: str
    locations: tuple[Location, ...]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A frame and what it means; several places when name and size are ambiguous; `problem` says why none."""

    frame: Frame
    places: tuple[Place, ...]
    problem: str = ""
    mismatch: bool = False

    @property
    def source(self) -> str:
        """The place of the innermost line, `mm/gup.c:2412`, several joined by ` or `; empty when it is not known."""
        places = dict.fromkeys(p.locations[0].place for p in self.places if p.locations and p.locations[0].place)
        return " or ".join(places)

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions at the first place, innermost first: the inlined ones, then that of the frame."""
        return tuple(each.function for each in self.places[0].locations) if self.places else ()


@dataclass(slots=True)
class _Object:
    """vmlinux or a module, open, with its symbols."""

    image: ElfImage
    table: SymbolTable
    dwarf: Dwarf | None
    cache: dict[int, tuple[tuple[Location, ...], str]] = field(default_factory=dict)

    def locate(self, address: int) -> tuple[tuple[Location, ...], str]:
        """Return the lines of an address, and what went wrong."""
        if address not in self.cache:
            self.cache[address] = self._located(address)
        return self.cache[address]

    def _located(self, address: int) -> tuple[tuple[Location, ...], str]:
        if self.dwarf is None:
            return (), "no debug information (DWARF)"
        try:
            found = self.dwarf.locate(address)
        except DAMAGE as error:
            return (), f"debug information of {address:#x} is damaged: {error}"
        return found, "" if found else f"no debug information for {address:#x}"


class Symbolizer:
    """Looks frames up in a vmlinux and its modules; use it in a `with`.

    `modules` maps names as frames show them to .ko files; `arch` is what the report is from (empty: not known).
    With `lines=False` an image without DWARF is accepted: functions and sizes are checked, lines stay unknown.
    Making one indexes the symbols of vmlinux; modules are opened when a frame needs them.

    Raises:
        UsageError: no readable ELF file, another architecture, stripped, or no DWARF in it.
    """

    def __init__(
        self, vmlinux: Path, modules: Mapping[str, Path] | None = None, *, arch: str = "", lines: bool = True
    ) -> None:
        self._arch, self._lines = arch, lines
        self._paths = {_module_name(name): path for name, path in (modules or {}).items()}
        self._modules: dict[str, _Object] = {}
        self._kernel = self._open(vmlinux)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Close all files."""
        for each in (self._kernel, *self._modules.values()):
            each.image.close()

    @property
    def arch(self) -> str:
        """The architecture of vmlinux, as matrices call it."""
        return self._kernel.image.arch

    def resolve(self, frames: Iterable[Frame], slide: int = 0) -> tuple[Resolved, ...]:
        """Return what each of `frames` means, in their order.

        Raises:
            UsageError: the functions' sizes say that another kernel printed the frames; a module is no good.
        """
        answers: dict[Frame, Resolved] = {}
        wanted = list(frames)
        for frame in wanted:
            if frame not in answers:
                answers[frame] = self._resolve(frame, slide)
        self._check(answers.values())
        return tuple(answers[frame] for frame in wanted)

    def _open(self, path: Path) -> _Object:
        with ExitStack() as on_error:
            image = on_error.enter_context(opened(path, self._arch))
            table = SymbolTable(image)
            if not len(table):
                raise UsageError("no function in it", where=str(path), hint="it was stripped")
            dwarf = Dwarf(image) if self._lines or image.section(".debug_info") else None
            on_error.pop_all()
        return _Object(image, table, dwarf)

    def _object(self, module: str) -> _Object | None:
        if not module:
            return self._kernel
        name = _module_name(module)
        if name not in self._modules and name in self._paths:
            self._modules[name] = self._open(self._paths[name])
        return self._modules.get(name)

    def _resolve(self, frame: Frame, slide: int) -> Resolved:
        if not frame.function:
            return self._by_address(frame, slide)
        where = self._object(frame.module)
        if where is None:
            return Resolved(frame, (), f"module {frame.module}: its .ko was not given")
        named = where.table.named(frame.function, frame.size)
        if not named.fitting:
            return self._unknown(frame, where, named.others)
        if frame.size and frame.offset > frame.size:
            return Resolved(frame, (), f"offset {frame.offset:#x} is beyond the function's end")
        back = 0 if frame.exact or not frame.offset else 1
        return self._placed(
            frame, where, [(symbol, symbol.address + frame.offset - back) for symbol in named.fitting]
        )

    def _by_address(self, frame: Frame, slide: int) -> Resolved:
        address = frame.address - slide
        symbol = self._kernel.table.at(address)
        if symbol is None:
            why = "a module's address, or KASLR moved the kernel and the console does not say how far"
            return Resolved(frame, (), f"{address:#x} is not in the kernel's code: {why}")
        return self._placed(frame, self._kernel, [(symbol, address if frame.exact else address - 1)])

    def _placed(self, frame: Frame, where: _Object, wanted: list[tuple[Symbol, int]]) -> Resolved:
        places, problems = [], []
        for symbol, address in wanted:
            locations, problem = where.locate(address)
            # assembler and aliases: lines, but no function
            locations = tuple(each if each.function else replace(each, function=symbol.name) for each in locations)
            places.append(Place(address, symbol.name, locations))
            problems += [problem] if problem else []
        if len(places) > 1:
            problems.append(f"{len(places)} functions have this name and size")
        return Resolved(frame, tuple(places), "; ".join(dict.fromkeys(problems)))

    def _unknown(self, frame: Frame, where: _Object, others: tuple[Symbol, ...]) -> Resolved:
        if not others:
            return Resolved(frame, (), f"no function {frame.function} in {where.image.path.name}")
        sizes = ", ".join(f"{where.table.sizes(symbol)[0]:#x}" for symbol in others[:4])
        text = f"{frame.function} has size {sizes} in {where.image.path.name}, not {frame.size:#x}"
        return Resolved(frame, (), text, mismatch=True)

    def _check(self, answers: Iterable[Resolved]) -> None:
        known = [each for each in answers if each.frame.size and not each.frame.module]
        strangers = [each for each in known if each.mismatch]
        fitting = sum(1 for each in known if each.places)
        if len(strangers) >= STRANGERS and len(strangers) > fitting:
            path = self._kernel.image.path
            raise UsageError(
                f"this vmlinux is not the kernel that printed this: {strangers[0].problem}"
                f" ({len(strangers)} of {len(strangers) + fitting} functions do not fit)",
                where=str(path),
                hint="take the vmlinux that was built with the kernel that ran",
            )


def _module_name(name: str) -> str:
    """Return a module's name as kallsyms knows it."""
    return name.removesuffix(".ko").replace("-", "_")
