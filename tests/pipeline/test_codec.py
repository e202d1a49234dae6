"""Codecs: one contract for all, and the choice between them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from pipeline.codec import BloscCodec, BloscSettings, codec_names, codec_of, register_codec
from pipeline.codec_choice import AutoCodec, default_filter, encoder_of
from pipeline.errors import BlockError, UnknownCodecError

RNG = np.random.default_rng(7)
NOISE = RNG.integers(0, 256, 100_000, dtype=np.uint8)
SMOOTH = (np.arange(50_000) // 7).astype("<u2").view(np.uint8)


@pytest.mark.parametrize("name", codec_names())
class TestContract:
    """What every codec promises."""

    @pytest.mark.parametrize("block", [NOISE, SMOOTH, NOISE[:1]])
    def test_gives_back_what_it_took(self, name: str, block: np.ndarray) -> None:
        """Bit for bit, from read-only memory too."""
        block = block.copy()
        block.setflags(write=False)
        out = np.zeros_like(block)
        codec_of(name).decode_into(codec_of(name).encode(block, 2), out)
        assert np.array_equal(block, out)

    def test_payload_is_memory_of_its_own_but_for_raw(self, name: str) -> None:
        """The ring may go round before zmq has sent it; raw is copied by who knows that it may."""
        block = NOISE.copy()
        payload = codec_of(name).encode(block, 1)
        before = bytes(payload)
        block[:] = 0
        assert (name == "raw") == (before != bytes(payload))

    @pytest.mark.parametrize("size", [99_999, 100_001, 1])
    def test_never_writes_beyond_out(self, name: str, size: int) -> None:
        """A payload of another size is refused before a byte is written."""
        memory = np.zeros(200_000, np.uint8)
        with pytest.raises(BlockError):
            codec_of(name).decode_into(codec_of(name).encode(NOISE, 1), memory[:size])
        assert not memory.any()

    @pytest.mark.parametrize("cut", [0, 3, 15, 16, 1000])
    def test_cut_payload_is_refused(self, name: str, cut: int) -> None:
        """Whatever arrives short is an error, not a crash."""
        payload = bytes(codec_of(name).encode(NOISE, 1))[:cut]
        with pytest.raises(BlockError):
            codec_of(name).decode_into(payload, np.zeros_like(NOISE))

    def test_payload_is_let_go_after_decoding(self, name: str) -> None:
        """A reader that decodes for days keeps nothing of it."""
        payload = bytes(codec_of(name).encode(NOISE, 1))
        before = sys.getrefcount(payload)
        codec_of(name).decode_into(payload, np.zeros_like(NOISE))
        assert before == sys.getrefcount(payload)


def test_blosc_does_not_believe_its_own_header() -> None:
    """A header that promises the right size over garbage is an error, not a crash."""
    payload = bytearray(bytes(codec_of("blosc").encode(SMOOTH, 2)))
    payload[16:40] = bytes(RNG.integers(0, 256, 24, dtype=np.uint8))
    out = np.zeros_like(SMOOTH)
    with pytest.raises(BlockError):
        codec_of("blosc").decode_into(bytes(payload), out)


def test_noise_is_bypassed_and_tried_again_ever_more_rarely() -> None:
    """After three useless blocks raw ones follow, with a probe now and then."""
    auto = AutoCodec(BloscCodec())
    codecs = []
    bypassed = []
    for _ in range(200):
        codecs.append(auto.encode(NOISE, 1).codec)
        bypassed.append(auto.is_bypassed)
    assert {"raw"} == set(codecs)
    assert [False, False, True] == bypassed[:3]
    assert "raw" in repr(auto)


def test_compression_comes_back_when_it_pays() -> None:
    """The next probe finds it; a ratio between the two bounds does not make it flutter."""
    auto = AutoCodec(BloscCodec())
    for _ in range(3):
        auto.encode(NOISE, 1)
    tries = [auto.encode(SMOOTH, 2).codec for _ in range(AutoCodec.FIRST_PAUSE + 1)]
    assert ["raw"] * AutoCodec.FIRST_PAUSE + ["blosc"] == tries
    assert "blosc" == auto.encode(SMOOTH, 2).codec


def test_one_poor_block_changes_nothing() -> None:
    """A single image of noise is sent raw, the stream stays compressed."""
    auto = AutoCodec(BloscCodec())
    assert ["blosc", "raw", "blosc"] == [auto.encode(b, 2).codec for b in (SMOOTH, NOISE, SMOOTH)]
    assert not auto.is_bypassed


def test_unknown_codec_is_refused_by_name() -> None:
    """The message says what is known."""
    with pytest.raises(UnknownCodecError, match="'gzip' is not known here; known are raw, blosc"):
        encoder_of("gzip")


def test_registered_codec_is_found() -> None:
    """The registry is open."""
    register_codec(codec_of("raw"))
    assert codec_of("raw").name == "raw"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("blosc", BloscSettings("lz4", 5, "bitshuffle")),
        ("blosc:zstd", BloscSettings("zstd", 5, "bitshuffle")),
        ("blosc:zstd:1:shuffle", BloscSettings("zstd", 1, "shuffle")),
        ("blosc::9", BloscSettings("lz4", 9, "bitshuffle")),
        ("auto:lz4hc:3:noshuffle", BloscSettings("lz4hc", 3, "noshuffle")),
    ],
)
def test_a_rig_file_says_how_blosc_is_set(choice: str, expected: BloscSettings) -> None:
    """What it leaves out is the default; the payload is what these settings make, and any blosc reads it."""
    encoded = encoder_of(choice).encode(SMOOTH, 2)
    assert ("blosc", BloscCodec(expected).encode(SMOOTH, 2)) == (encoded.codec, encoded.payload)
    out = np.empty_like(SMOOTH)
    codec_of("blosc").decode_into(encoded.payload, out)
    assert np.array_equal(SMOOTH, out)


@pytest.mark.parametrize(
    "choice", ["blosc:lzma", "blosc:lz4:10", "blosc:lz4:-1", "blosc:lz4:5:shake", "blosc:lz4:5:shuffle:1", "raw:lz4"]
)
def test_settings_that_there_are_not_are_refused_with_those_there_are(choice: str) -> None:
    """In one line."""
    with pytest.raises(UnknownCodecError, match=r"codec '[^']+': (expected blosc:COMPRESSOR:LEVEL:FILTER|raw has no)"):
        encoder_of(choice)


@pytest.mark.parametrize(("dtype", "name"), [("u1", "bitshuffle"), ("<f4", "bitshuffle"), ("<c8", "shuffle")])
def test_the_default_filter_is_chosen_by_dtype(dtype: str, name: str) -> None:
    """Numbers that are made of several are not cut into bits."""
    assert name == default_filter(np.dtype(dtype))
    assert "shuffle" == default_filter(np.dtype([("x", "<f4"), ("n", "u1")]))
