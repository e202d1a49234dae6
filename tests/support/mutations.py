"""Bytes gone wrong: what damage, attackers and old programs do to frames, by a seeded generator."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

Frames = list[bytes]

WORDS: Final = (
    *(b"\x00", b"\xff", b"\x7f", b"\x80", b"\xc1", b"\xc0"),
    *(b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\xff" * 8, b"\x7f" + b"\xff" * 7),
    *(b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"),
    *(b"\xc9\xff\xff\xff\xff\x01", b"\xd3\x80" + bytes(7), b"\xcf" + b"\xff" * 8, b"\xcb\x7f\xf8" + bytes(6)),
    *(b"\x91" * 2000, b"\x81\xa1a" * 700, b"\x81" * 1500, b"\xd4\x01\x90", b"\xd4\x03\x90", b"\xc7\x00\x05"),
    *(b"\xd4\x02\x00", b"\xc7\x02\x03\x91\x90", b"\xc7\x03\x04\x91\x81\x01", b"\x80\x04\x95\x00.", b"(" * 300),
)  # fmt: skip
"""Borders of numbers, lengths of 4 GiB, nesting, extensions, the start of a pickle."""


def mutate(seed: Sequence[bytes], other: Sequence[bytes], rng: random.Random) -> Frames:
    """Return frames like `seed`, changed in one to four ways; `other` lends parts."""
    frames = [bytes(frame) for frame in seed]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        if not frames or rng.random() < 0.08:
            frames = _shuffle(frames, other, rng)
            continue
        at = rng.randrange(len(frames))
        frames[at] = _damage(frames[at], rng.choice(other) if other else b"", rng)
    return frames


def _shuffle(frames: Frames, other: Sequence[bytes], rng: random.Random) -> Frames:
    """Lose, double, swap, or borrow whole frames."""
    kind = rng.randrange(5)
    if kind == 0 and frames:
        frames.pop(rng.randrange(len(frames)))
    elif kind == 1 and frames:
        frames += [rng.choice(frames)] * rng.choice((1, 2, 300))
    elif kind == 2:
        rng.shuffle(frames)
    elif kind == 3 and other:
        frames.insert(rng.randrange(len(frames) + 1), bytes(rng.choice(other)))
    else:
        frames.append(rng.randbytes(rng.randrange(40)))
    return frames


def _damage(frame: bytes, other: bytes, rng: random.Random) -> bytes:
    """Replace, cut, splice, overwrite, inflate or flip."""
    at, start = rng.randrange(len(frame) + 1), rng.randrange(len(other) + 1)
    word = rng.choice(WORDS)
    kinds = (
        lambda: rng.randbytes(rng.randrange(80)),
        lambda: frame[:at],
        lambda: frame[:at] + frame[at + rng.randrange(1, 9) :],
        lambda: frame[:at] + other[start : start + rng.choice((4, 16, 400))] + frame[at:],
        lambda: frame[:at] + word + frame[at + len(word) :],
        lambda: frame[:at] + word + frame[at:],
        lambda: _flip(frame, rng),
        lambda: _flip(frame, rng),
    )
    return rng.choice(kinds)()


def _flip(frame: bytes, rng: random.Random) -> bytes:
    changed = bytearray(frame or b"\0")
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(changed))
        changed[at] = rng.choice((changed[at] ^ 1 << rng.randrange(8), rng.randrange(256), changed[at] + 1 & 255))
    return bytes(changed)
