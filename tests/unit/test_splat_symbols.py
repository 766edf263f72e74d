# SPDX-License-Identifier: GPL-2.0-only
"""Frames to lines: against binutils where it can say the same, against known programs where it cannot."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.splat.dwarfforms import MAX_LEB, DwarfError, sleb, uleb
from orchestrator.splat.elfimage import opened
from orchestrator.splat.model import Splat, SplatKind
from orchestrator.splat.sources import frame_data, locate
from orchestrator.splat.stackframe import Frame, frames_in, kernel_slide
from orchestrator.splat.symbols import Resolved, Symbolizer
from orchestrator.splat.symtab import SymbolTable
from tests.unit.symbols_house import SOURCES, addr2line, command, compiled

BUILDS = [
    ("gcc", "addr2line", ("-gdwarf-5",)),
    ("gcc", "addr2line", ("-gdwarf-4",)),
    ("gcc", "addr2line", ("-gdwarf-5", "-gz=zlib")),
    ("gcc", "addr2line", ("-gdwarf-4", "-femit-struct-debug-baseonly", "-ffunction-sections")),
    ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-addr2line", ("-gdwarf-5",)),
    ("clang", "addr2line", ("-gdwarf-5",)),
    ("clang", "addr2line", ("-gdwarf-4",)),
]


def line_of(file: str, text: str) -> str:
    """Return `file:line` of the first line of a source that has `text`."""
    lines = SOURCES[file].splitlines()
    return f"{file}:{next(number for number, line in enumerate(lines, 1) if text in line)}"


def sizes_of(program: Path) -> dict[str, list[int]]:
    """Return the sizes that kallsyms would print, by function name."""
    found: dict[str, list[int]] = {}
    with opened(program) as image:
        table = SymbolTable(image)
        for symbol in image.symbols():
            if symbol.function:
                found.setdefault(symbol.name, []).append(table.sizes(symbol)[0])
    return found


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("program"), "gcc", "-gdwarf-5")


@pytest.fixture
def symbols(program: Path) -> Iterator[Symbolizer]:
    with Symbolizer(program) as symbols:
        yield symbols


@pytest.mark.parametrize(("compiler", "tool", "flags"), BUILDS)
def test_every_instruction_has_the_lines_that_addr2line_says(
    tmp_path: Path, compiler: str, tool: str, flags: tuple[str, ...]
) -> None:
    program = compiled(tmp_path, compiler, *flags)
    with opened(program) as image:
        functions = [symbol for symbol in image.symbols() if symbol.function]
        table = SymbolTable(image)
    frames = [
        Frame(s.name, offset, table.sizes(s)[0], exact=True)
        for s in functions
        for offset in range(0, s.size, 4 if compiler.startswith("aarch64") else 1)
        if s.name != "same"
    ]
    with Symbolizer(program) as symbols:
        resolved = symbols.resolve(frames)
    assert {each.problem for each in resolved} == {""}
    theirs = addr2line(tool, program, [each.places[0].address for each in resolved])
    for each, expected in zip(resolved, theirs, strict=True):
        ours = [(where.function, where.place.rpartition("/")[2]) for where in each.places[0].locations]
        assert ours == expected, each.frame.text
    assert any(len(each.functions) == 3 for each in resolved), "inlines of inlines were met"


def test_an_inlined_function_comes_with_its_callers(symbols: Symbolizer, program: Path) -> None:
    (size,) = sizes_of(program)["walk"]
    chains = {r.functions for r in symbols.resolve(Frame("walk", at, size, exact=True) for at in range(size))}
    assert ("head", "grab", "walk") in chains
    inner = next(
        r for r in symbols.resolve(Frame("walk", at, size, exact=True) for at in range(size)) if len(r.functions) == 3
    )
    places = [each.place for each in inner.places[0].locations]
    assert places[1:] == [line_of("walk.h", "head(page);"), line_of("walk.c", "grab(&pages")]
    assert [each.inlined for each in inner.places[0].locations] == [True, True, False]


def test_a_return_address_is_the_line_of_the_call(symbols: Symbolizer, program: Path) -> None:
    text = command(program.parent, "objdump", "-d", "--no-show-raw-insn", program.name)
    (size,) = sizes_of(program)["twin_b"]
    body = text.partition("<twin_b>:")[2].split("\n\n")[0].splitlines()
    numbers = [int(line.partition(":")[0], 16) for line in body if ":" in line]
    call = next(number for number, line in enumerate(line for line in body if ":" in line) if "call" in line)
    frame = Frame("twin_b", numbers[call + 1] - numbers[0], size)
    assert symbols.resolve([frame])[0].source == line_of("third.c", "twin_b")


def test_static_functions_of_one_name_are_told_apart_by_size(symbols: Symbolizer, program: Path) -> None:
    sizes = sizes_of(program)["helper"]
    assert len(set(sizes)) == 2
    files = {each.source.partition(":")[0] for each in symbols.resolve(Frame("helper", 1, size) for size in sizes)}
    assert files == {"walk.c", "other.c"}


def test_functions_that_size_does_not_tell_apart_are_all_given(symbols: Symbolizer, program: Path) -> None:
    sizes = sizes_of(program)["same"]
    (resolved,) = symbols.resolve([Frame("same", 1, 0)])
    assert len(sizes) == len(resolved.places) == 2
    assert "2 functions have this name and size" in resolved.problem
    assert resolved.source == f"{line_of('other.c', 'int same')} or {line_of('third.c', 'int same')}"


def test_another_kernel_s_frames_are_refused(symbols: Symbolizer, program: Path) -> None:
    strangers = [Frame(name, 1, 0x7770) for name in ("walk", "entry", "twin_a", "twin_b")]
    with pytest.raises(UsageError, match="this vmlinux is not the kernel that printed this: walk has size"):
        symbols.resolve(strangers)
    (size,) = sizes_of(program)["walk"]
    known = [Frame("walk", at, size) for at in range(1, 5)]
    resolved = symbols.resolve([*strangers, *known])
    assert resolved[0].problem == f"walk has size {size:#x} in program, not 0x7770"
    assert resolved[-1].source


def test_what_is_not_there_says_why(symbols: Symbolizer) -> None:
    frames = [Frame("nothing", 1, 2), Frame("walk", 1, 2, module="xfs"), Frame("", address=0xFFFFFFFF81000010)]
    problems = [each.problem for each in symbols.resolve(frames)]
    assert problems[0] == "no function nothing in program"
    assert problems[1] == "module xfs: its .ko was not given"
    assert "not in the kernel's code" in problems[2]


def test_a_bare_address_is_found_when_the_slide_is_known(symbols: Symbolizer, program: Path) -> None:
    (size,) = sizes_of(program)["walk"]
    (named,) = symbols.resolve([Frame("walk", 4, size, exact=True)])
    moved = named.places[0].address + 0x1E000000
    (bare,) = symbols.resolve([Frame("", address=moved, exact=True)], slide=0x1E000000)
    assert bare.places == named.places


@pytest.mark.parametrize("compiler", ["gcc", "aarch64-linux-gnu-gcc", "clang"])
def test_a_module_s_frames_are_looked_up_in_its_ko(tmp_path: Path, compiler: str) -> None:
    program = compiled(tmp_path / "vmlinux", compiler, "-g")
    module = compiled(tmp_path / "module", compiler, "-g", module=True)
    sizes = sizes_of(module)
    frames = [Frame(name, 1, sizes[name][0], module="guprace_probe") for name in ("walk", "twin_b", "entry")]
    with Symbolizer(program, {"guprace-probe": module}) as symbols:
        walk, init, entry = symbols.resolve(frames)
    assert [each.problem for each in (walk, init, entry)] == ["", "", ""]
    assert (walk.functions[-1], init.functions, entry.functions[-1]) == ("walk", ("twin_b",), "entry")
    assert walk.source.partition(":")[0] in ("walk.c", "walk.h")
    assert init.source == line_of("third.c", "twin_b"), ".text and .init.text both begin at 0"


def test_assembler_without_debug_information_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.s").write_text(
        ".text\n.globl stub\n.type stub,@function\nstub: nop\nnop\nret\n.size stub,.-stub\n"
    )
    command(tmp_path, "gcc", "-c", "x.s", "-o", "x.o")
    program = compiled(tmp_path, "gcc", "-g", str(tmp_path / "x.o"))
    with Symbolizer(program) as symbols:
        (resolved,) = symbols.resolve([Frame("stub", 1, 0)])
    assert resolved.places[0].symbol == "stub"
    assert "no debug information for 0x" in resolved.problem


def test_without_debug_information_sizes_can_still_be_checked(tmp_path: Path) -> None:
    program = compiled(tmp_path, "gcc")
    with pytest.raises(UsageError, match=r"program: no debug information \(DWARF\) in it\n.*CONFIG_DEBUG_INFO"):
        Symbolizer(program)
    with Symbolizer(program, lines=False) as symbols:
        (resolved,) = symbols.resolve([Frame("walk", 1, sizes_of(program)["walk"][0])])
    assert resolved.places[0].symbol == "walk"
    assert resolved.problem == "no debug information (DWARF)"


def test_files_that_are_no_kernel_say_what_they_are(tmp_path: Path, program: Path) -> None:
    cases: dict[str, bytes] = {"empty": b"", "text": b"hello\n" * 100, "cut": program.read_bytes()[:2000]}
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UsageError, match=r"not an ELF file|no symbol"):
            Symbolizer(tmp_path / name)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        Symbolizer(tmp_path / "absent")
    with pytest.raises(UsageError, match="for x86_64, but the report is from arm64"):
        Symbolizer(program, arch="arm64")
    stripped = tmp_path / "stripped"
    stripped.write_bytes(program.read_bytes())
    command(tmp_path, "strip", "stripped")
    with pytest.raises(UsageError, match="no symbol table"):
        Symbolizer(stripped)


def test_damaged_debug_information_is_an_answer_and_no_crash(tmp_path: Path, program: Path) -> None:
    data = program.read_bytes()
    frames = [Frame(name, 1, size) for name, sizes in sizes_of(program).items() for size in sizes]
    chance = random.Random(1)
    start, end = _debug_span(program)
    for number in range(150):
        hurt = bytearray(data)
        for _ in range(chance.randrange(1, 40)):
            hurt[chance.randrange(start, end)] = chance.randrange(256)
        path = tmp_path / f"{number}"
        path.write_bytes(hurt)
        with contextlib.suppress(UsageError), Symbolizer(path) as symbols:
            assert len(symbols.resolve(frames)) == len(frames)
        path.unlink()


@pytest.mark.parametrize("section", ["info", "aranges"])
def test_a_section_that_ends_within_a_header_is_an_answer_and_no_crash(
    tmp_path: Path, program: Path, section: str
) -> None:
    # a header of 64-bit DWARF, cut behind its version
    (tmp_path / "cut").write_bytes(b"\xff" * 4 + struct.pack("<QH", 2, 5))
    command(tmp_path, "objcopy", "--update-section", f".debug_{section}=cut", str(program), "hurt")
    with Symbolizer(tmp_path / "hurt") as symbols:
        (resolved,) = symbols.resolve([Frame("walk", 1, sizes_of(program)["walk"][0])])
    assert resolved.places[0].symbol == "walk"


def test_a_unit_whose_strings_are_long_and_stand_inline_is_read(tmp_path: Path) -> None:
    program = compiled(tmp_path / ("long" * 60), "gcc", "-gdwarf-4", "-fno-merge-debug-strings")
    with Symbolizer(program) as symbols:
        (resolved,) = symbols.resolve([Frame("walk", 1, 0)])
    assert (resolved.problem, resolved.source.partition(":")[0]) == ("", "walk.c")


def test_numbers_may_be_padded_but_not_without_end() -> None:
    assert uleb(b"\xe5\x8e\x26", 0) == (624485, 3)
    assert uleb(b"\x81" + b"\x80" * (MAX_LEB - 2) + b"\0rest", 0) == (1, MAX_LEB)
    assert sleb(b"\xff" * 9 + b"\x7f", 0) == (-1, 10)
    with pytest.raises(DwarfError, match="more than 16 bytes"):
        uleb(b"\x80" * 1_000_000 + b"\0", 0)
    with pytest.raises(IndexError):
        uleb(b"\x80\x80", 0)


@pytest.mark.parametrize("field", [0, 12])
def test_a_module_whose_relocations_lead_nowhere_is_refused(tmp_path: Path, program: Path, field: int) -> None:
    module = compiled(tmp_path, "gcc", "-gdwarf-5", module=True)
    rows = command(tmp_path, "readelf", "-SW", module.name).splitlines()
    (row,) = (row.partition("] ")[2].split() for row in rows if " .rela.debug_info " in row)
    at = int(row[3], 16) + field
    hurt = bytearray(module.read_bytes())
    hurt[at : at + 4] = struct.pack("<I", 0x7FFF_FFFF)
    module.write_bytes(hurt)
    with (
        Symbolizer(program, {"program": module}) as symbols,
        pytest.raises(UsageError, match="leads out of the file"),
    ):
        symbols.resolve([Frame("walk", 1, 0, "program")])


def _debug_span(program: Path) -> tuple[int, int]:
    """Return the first and last byte of the debug sections in the file."""
    out = command(program.parent, "readelf", "-SW", program.name)
    rows = [line.partition("] ")[2].split() for line in out.splitlines() if ".debug_" in line]
    starts = [int(row[3], 16) for row in rows]
    return min(starts), max(int(row[3], 16) + int(row[4], 16) for row in rows)


TEXT = """BUG: KASAN: use-after-free in gup_pte_range+0x12c/0x3a0
Call Trace:
 <TASK>
 ? asm_exc_page_fault+0x26/0x30
RIP: 0010:try_get_folio.part.0+0x1d/0x120
 probe_ioctl+0x1f4/0x520 [guprace_probe]
 xfs_x+0x1/0x2 [xfs 0f8aa1e3]
 [<ffffffff81234567>] do_syscall_64+0x2d/0x40
 [<ffffffff81234568>]
pc : [<ffff800008123456>] lr : [<ffff800008123460>]
pc : gup_pte_range+0x120/0x3a0
WARNING: CPU: 0 PID: 1 at mm/gup.c:100 try_grab_folio+0x77/0x90
"""


def test_frames_are_read_in_all_their_forms() -> None:
    found = frames_in(TEXT)
    assert [each.text for each in found] == [
        "gup_pte_range+0x12c/0x3a0",
        "asm_exc_page_fault+0x26/0x30",
        "try_get_folio.part.0+0x1d/0x120",
        "probe_ioctl+0x1f4/0x520 [guprace_probe]",
        "xfs_x+0x1/0x2 [xfs]",
        "do_syscall_64+0x2d/0x40",
        "0xffffffff81234568",
        "0xffff800008123456",
        "0xffff800008123460",
        "gup_pte_range+0x120/0x3a0",
        "try_grab_folio+0x77/0x90",
    ]
    assert [each.function for each in found if each.unsure] == ["asm_exc_page_fault"]
    assert [each.offset for each in found if each.exact and each.function] == [0x1D, 0x120, 0x77]


def test_the_slide_is_what_the_panic_says() -> None:
    said = (
        "Kernel Offset: 0x1e000000 from 0xffffffff81000000 (relocation range: 0xffffffff80000000-0xffffffffbfffffff)"
    )
    assert kernel_slide(said) == 0x1E000000
    assert kernel_slide("Kernel Offset: disabled") == 0
    assert kernel_slide("nothing") is None


def test_reports_say_where_their_blame_lies(symbols: Symbolizer, program: Path) -> None:
    sizes = sizes_of(program)
    text = f"header\n walk+0x1/{sizes['walk'][0]:#x}\n entry+0x4/{sizes['entry'][0]:#x}\n"
    reports = [
        Splat(SplatKind.KASAN, "KASAN: x in entry", 1, 3, text, functions=("entry",)),
        Splat(SplatKind.KCSAN, "KCSAN: data-race in entry / walk", 1, 3, text, functions=("entry", "walk")),
        Splat(SplatKind.PANIC, "kernel panic: x", 1, 3, "no frame"),
    ]
    first, second, third = locate(reports, symbols)
    assert first.source.startswith("walk.c:")
    assert second.source.startswith(f"{first.source} / walk.")
    assert (third.source, third.frames, third.problem) == ("", (), "")
    data = frame_data(first.frames[0])
    assert data["frame"] == f"walk+0x1/{sizes['walk'][0]:#x}"
    assert data["problem"] == ""


def test_an_elf_file_of_32_bits_is_refused(tmp_path: Path) -> None:
    header = (
        b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0, 0, 0, 0, 52, 0, 0, 40, 0, 0)
    )
    (tmp_path / "small").write_bytes(header)
    with pytest.raises(UsageError, match="32-bit"):
        opened(tmp_path / "small")


def test_nothing_resolved_is_nothing(symbols: Symbolizer) -> None:
    assert symbols.resolve([]) == ()
    assert Resolved(Frame("x"), ()).functions == ()
    assert symbols.arch == "x86_64"


def test_a_section_whose_compression_is_damaged_is_refused(tmp_path: Path) -> None:
    names = b"\0.debug_info\0.shstrtab\0"
    # ELFCOMPRESS_ZLIB, 64 bytes once decompressed; what follows is no zlib
    packed = struct.pack("<IIQQ", 1, 0, 64, 1) + b"no zlib at all"
    at = 64 + len(packed)
    table = at + len(names)
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2)
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 1, 1, 0x800, 0, 64, len(packed), 0, 0, 1, 0)
    sections += struct.pack("<IIQQQQIIQQ", 13, 3, 0, 0, at, len(names), 0, 0, 1, 0)
    file = tmp_path / "vmlinux"
    file.write_bytes(head + packed + names + sections)
    with opened(file) as image, pytest.raises(UsageError, match="debug_info cannot be decompressed"):
        image.section(".debug_info")
