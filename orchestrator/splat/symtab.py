# SPDX-License-Identifier: GPL-2.0-only
"""The functions of an image by name and by address, told apart by size as kallsyms counts it.

kallsyms knows no sizes: what a console prints behind the slash is the distance to the next symbol, alignment
included (kernel/kallsyms.c, get_symbol_pos()). Which symbols are "next" depends on the configuration, so every
plausible reading of an ELF file's symbols is accepted, the exact ones first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass

from orchestrator.splat.elfimage import ElfImage, Symbol

# Padding in front of functions (CONFIG_FUNCTION_PADDING_BYTES), which newer kallsyms leave out.
_PADDING = ("__pfx_", "__cfi_")


@dataclass(frozen=True, slots=True)
class Named:
    """The symbols that a frame's name and size lead to, and those of that name that its size rules out."""

    fitting: tuple[Symbol, ...]
    others: tuple[Symbol, ...]


class SymbolTable:
    """An index over an image's symbols, made once."""

    def __init__(self, image: ElfImage) -> None:
        symbols = image.symbols()
        self._named: dict[str, list[Symbol]] = defaultdict(list)
        for symbol in symbols:
            self._named[symbol.name].append(symbol)
            # with LTO, kallsyms cuts what the compiler added (cleanup_symbol_name())
            plain, added, _ = symbol.name.partition(".llvm.")
            if added:
                self._named[plain].append(symbol)
        ends = image.code_ends()
        self._all = sorted({symbol.address for symbol in symbols}.union(ends))
        plain_functions = {s.address for s in symbols if s.function and not s.name.startswith(_PADDING)}
        self._functions = sorted(plain_functions.union(ends))
        self._by_address = sorted(symbols, key=lambda s: (s.address, s.function, s.size))
        self._addresses = [symbol.address for symbol in self._by_address]
        self._last = max(ends, default=0)

    def __len__(self) -> int:
        """Return the number of symbols."""
        return len(self._by_address)

    def named(self, name: str, size: int) -> Named:
        """Return the symbols called `name` whose size may be `size` (0: not known, any will do)."""
        symbols = tuple(dict.fromkeys(self._named.get(name, ())))
        if not size:
            return Named(symbols, ())
        exact = tuple(symbol for symbol in symbols if size in self.sizes(symbol))
        fitting = exact or tuple(s for s in symbols if min(self.sizes(s)) <= size <= max(self.sizes(s)))
        return Named(fitting, tuple(symbol for symbol in symbols if symbol not in fitting))

    def sizes(self, symbol: Symbol) -> tuple[int, ...]:
        """Return the sizes that may be printed for `symbol`, the likeliest first."""
        following = (_after(self._all, symbol.address), _after(self._functions, symbol.address))
        distances = [end - symbol.address for end in following if end > symbol.address]
        return tuple(dict.fromkeys([*distances, *([symbol.size] if symbol.size else [])])) or (0,)

    def at(self, address: int) -> Symbol | None:
        """Return the function that `address` is in, None when it is outside of the code."""
        if address >= self._last:
            return None
        index = bisect_right(self._addresses, address) - 1
        if index < 0:
            return None
        best = self._by_address[index]
        return best if address - best.address < max(self.sizes(best)) else None


def _after(addresses: list[int], address: int) -> int:
    index = bisect_right(addresses, address)
    return addresses[index] if index < len(addresses) else 0
