# SPDX-License-Identifier: GPL-2.0-only
"""Disturb consoles at random and read them: `python -m tests.fuzz_triage [SECONDS] [SEED]`.

Looked for: an exception, an answer that depends on how the input was cut, and a console that takes far longer than
others of its size. The first that is found is printed with its seed, and written to fuzz-triage.bin.
"""

from __future__ import annotations

import io
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.splat.present import as_dict
from orchestrator.splat.scan import Scanner, scan

DATA = Path(__file__).parent / "data" / "splat"
WORDS = (
    b"BUG: ",
    b"WARNING: ",
    b"\x1b[31m",
    b"\0",
    b"\r",
    b"=" * 66,
    b"[   41.000001][   T77] ",
    b" at: ",
    b"+0x1/0x2",
)
# A second for half a megabyte is far from any real speed, and far below what quadratic time would take.
SECONDS_PER_BYTE = 2e-6
PATIENCE = 1.0

Mutation = Callable[[random.Random, bytes], bytes]


def swap_lines(dice: random.Random, text: bytes) -> bytes:
    """Put some lines elsewhere."""
    lines = text.splitlines(keepends=True)
    for _ in range(dice.randint(1, 30)):
        lines.insert(dice.randrange(len(lines) + 1), lines.pop(dice.randrange(len(lines))))
    return b"".join(lines)


def repeat(dice: random.Random, text: bytes) -> bytes:
    """Say a piece again and again: what takes quadratic time shows here."""
    start = dice.randrange(len(text))
    piece = text[start : start + dice.choice((1, 7, 60, 400))]
    return text[:start] + piece * dice.randint(1, 100_000 // max(len(piece), 1)) + text[start:]


def flip(dice: random.Random, text: bytes) -> bytes:
    """Change some bytes."""
    changed = bytearray(text)
    for _ in range(dice.randint(1, 200)):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


def cut(dice: random.Random, text: bytes) -> bytes:
    """Leave out a piece."""
    start = dice.randrange(len(text))
    return text[:start] + text[start + dice.randint(1, 2000) :] or b"\n"


def insert(dice: random.Random, text: bytes) -> bytes:
    """Put words of reports where they do not belong."""
    for _ in range(dice.randint(1, 20)):
        start = dice.randrange(len(text))
        text = text[:start] + dice.choice(WORDS) + text[start:]
    return text


def join(dice: random.Random, text: bytes) -> bytes:
    """Lose newlines."""
    return text.replace(b"\n", b"", dice.randint(1, 100))


MUTATIONS: tuple[Mutation, ...] = (swap_lines, repeat, flip, cut, insert, join)


def seeds() -> list[bytes]:
    """Return what is disturbed: the recorded consoles, and one of every form."""
    forms = (DATA / "forms.txt").read_bytes()
    stamped = b"".join(b"[   41.%06d][   T%d] %s\n" % (n, n % 3, line) for n, line in enumerate(forms.split(b"\n")))
    return [*(log.read_bytes() for log in sorted(DATA.glob("*.log"))), forms, stamped]


def wrong(dice: random.Random, text: bytes) -> str:
    """Return what is wrong with how `text` is read, or an empty string."""
    started = time.process_time()
    whole = scan(io.BytesIO(text))
    seconds = time.process_time() - started
    as_dict(whole)
    if seconds > PATIENCE + len(text) * SECONDS_PER_BYTE:
        return f"{seconds:.2f} s for {len(text)} bytes"
    scanner, at = Scanner(), 0
    while at < len(text):
        size = dice.randint(1, 5000)
        scanner.feed(text[at : at + size])
        at += size
    return "" if scanner.finish() == whole else "the answer depends on how the input is cut"


def main() -> int:
    """Disturb and read until the time is over; 1 when something was found."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    dice, originals, done = random.Random(seed), seeds(), 0
    end, slowest = time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        text = dice.choice(originals)
        for _ in range(dice.randint(1, 6)):
            text = dice.choice(MUTATIONS)(dice, text)
        began = time.process_time()
        try:
            fault = wrong(dice, text)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
            fault = repr(error)
        slowest, done = max(slowest, time.process_time() - began), done + 1
        if fault:
            Path("fuzz-triage.bin").write_bytes(text)
            print(f"seed {seed}, console {done}: {fault} (fuzz-triage.bin)")
            return 1
    print(f"seed {seed}: {done} consoles in {seconds:.0f} s, nothing found; the slowest took {slowest:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
