"""No decoder raises anything but its documented error, takes more memory than its bound, or hangs."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.decoders import DECODERS, Decoder, mend_crc
from support.mutations import mutate

CORPUS = Path(__file__).parent / "corpus"
"""For each decoder a file of cases that once went wrong: a case a line, its frames in hex; `#` begins a comment."""
LONGEST_S = 2.0

every_decoder = pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def feed(decoder: Decoder, frames: list[bytes]) -> None:
    """Decode; fail with the frames, so that they can become a line of the corpus."""
    case = " ".join(frame.hex() or "-" for frame in frames)[:4000]
    tracemalloc.reset_peak()
    before, began = tracemalloc.get_traced_memory()[0], time.perf_counter()
    try:
        decoder.decode(frames)
    except decoder.errors:
        pass
    except Exception as error:
        raise AssertionError(f"{decoder.name} raised {error!r} for {case}") from error
    took = time.perf_counter() - began
    peak = tracemalloc.get_traced_memory()[1] - before
    assert took < LONGEST_S, f"{decoder.name} took {took:.1f} s for {case}"
    bound = decoder.most + 100 * sum(map(len, frames))
    assert peak <= bound, f"{decoder.name} took {peak} bytes, not {bound}, for {case}"


def storm(decoder: Decoder, count: int, seed: int) -> None:
    """Feed mutated seeds; of every other block the CRC of its header is mended."""
    rng = random.Random(seed)
    for number in range(count):
        frames = mutate(rng.choice(decoder.seeds), rng.choice(decoder.seeds), rng)
        if number % 2 and decoder.header is not None and decoder.header < len(frames):
            frames[decoder.header] = mend_crc(frames[decoder.header])
        feed(decoder, frames)


@every_decoder
def test_every_decoder_reads_its_own_seeds(decoder: Decoder) -> None:
    """Else nothing below says anything."""
    for frames in decoder.seeds:
        decoder.decode(frames)


@every_decoder
def test_what_once_went_wrong_does_not_again(decoder: Decoder, traced: None) -> None:
    """The corpus."""
    path = CORPUS / f"{decoder.name}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines:
        if line and not line.startswith("#"):
            feed(decoder, [bytes.fromhex(frame) if frame != "-" else b"" for frame in line.split()])


@every_decoder
def test_mutated_frames_raise_the_documented_error_or_none(decoder: Decoder, traced: None) -> None:
    """Flips, cuts, splices, claims of 4 GiB, nesting; the same ones each time."""
    storm(decoder, 1500, seed=1)


@pytest.mark.stress
@pytest.mark.timeout(900)
@every_decoder
def test_a_hundred_thousand_mutations_of_each(decoder: Decoder, traced: None) -> None:
    """Others each time; the seed is in the failure."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    storm(decoder, 100_000, seed)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
@every_decoder
def test_any_bytes_raise_the_documented_error_or_none(decoder: Decoder, data: st.DataObject) -> None:
    """Bytes of hypothesis, alone and in the place of a part of a seed: it shrinks what it finds."""
    frames = [bytes(frame) for frame in data.draw(st.sampled_from(decoder.seeds))]
    if frames and data.draw(st.booleans()):
        index = data.draw(st.integers(0, len(frames) - 1))
        at = data.draw(st.integers(0, len(frames[index])))
        junk = data.draw(st.binary(max_size=12))
        frames[index] = frames[index][:at] + junk + frames[index][at + data.draw(st.integers(0, 12)) :]
    else:
        frames = data.draw(st.lists(st.binary(max_size=60), max_size=5))
    with suppress(*decoder.errors):
        decoder.decode(frames)
