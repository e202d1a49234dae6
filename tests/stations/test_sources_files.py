"""Video and sound files come out exactly as they are."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.media import decode_video, make_video, make_wav, real_file

from stations.errors import SourceError
from stations.sources import Source, open_source


def read_all(source: Source, block: int = 7) -> NDArray[np.generic]:
    """Read a source to its end, in small blocks."""
    items: list[NDArray[np.generic]] = []
    while True:
        out = np.empty((block, *source.spec.shape), source.spec.dtype)
        count = source.read_into(out)
        if not count:
            return np.concatenate(items)
        assert isinstance(count, int)
        items.append(out[:count])


def test_video_is_bit_equal_to_a_direct_decode(tmp_path: Path) -> None:
    """Not one pixel differs, and the file's rate is taken."""
    path = make_video(tmp_path / "a.mp4", count=12, rate=25)
    source = open_source(f"video:{path}")
    assert (25.0, True, True, True) == (source.spec.rate, source.spec.paced, source.spec.can_wait, source.spec.finite)
    assert np.array_equal(decode_video(path), read_all(source))
    source.close()


@pytest.mark.parametrize("name", ["cockatoo_720p.mp4", "realshort.mp4"])
def test_real_video_is_bit_equal_to_a_direct_decode(name: str) -> None:
    """The first 40 images of a real file; the rest is the same code."""
    path = real_file(name)
    source = open_source(f"video:{path}", {"rate": "max"})
    assert not source.spec.paced
    av = pytest.importorskip("av")
    out = np.empty((1, *source.spec.shape), np.uint8)
    with av.open(str(path)) as container:
        for _, frame in zip(range(40), container.decode(video=0), strict=False):
            assert 1 == source.read_into(out)
            assert np.array_equal(frame.to_ndarray(format="rgb24"), out[0])
    source.close()


def test_looped_video_begins_again_for_ever(tmp_path: Path) -> None:
    """After the last image comes the first, bit-equal."""
    path = make_video(tmp_path / "a.mp4", count=5)
    source = open_source(f"video:{path}", {"loop": True, "rate": 100})
    out = np.empty((12, *source.spec.shape), np.uint8)
    assert 12 == source.read_into(out)
    assert np.array_equal(out[:5], out[5:10])
    assert (100.0, False) == (source.spec.rate, source.spec.finite)
    source.close()


def test_opened_again_a_video_begins_again(tmp_path: Path) -> None:
    """A source may be closed and opened any number of times."""
    path = make_video(tmp_path / "a.mp4", count=3)
    source = open_source(f"video:{path}")
    first = read_all(source)
    source.close()
    source.open()
    assert np.array_equal(first, read_all(source))
    source.close()


def test_file_that_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    """Missing, undecodable, without images: each in one line that names the file."""
    make_video(tmp_path / "clip.mp4")
    sound = make_wav(tmp_path / "a.wav", bytes(2000), channels=1, sample_bytes=2)
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(b"not a video" * 99)
    for name, message in {
        "clap.mp4": "no file .*clap.mp4; did you mean 'clip.mp4'",
        "sub/clip.mp4": "there is no folder .*sub",
        noise.name: "cannot decode video .*noise.mp4",
        sound.name: "a.wav has no video stream; for sound use 'wav:PATH'",
        ".": "is a folder; name a file in it",
    }.items():
        with pytest.raises(SourceError, match=f"^cam: .*{message}") as refused:
            open_source(f"video:{tmp_path / name}", name="cam")
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("dtype", "kind", "channels"), [("u1", 1, 2), ("<i2", 1, 7), ("<i4", 1, 1), ("<f4", 3, 33), ("<f8", 3, 2)]
)
def test_wav_gives_the_values_of_the_file(tmp_path: Path, dtype: str, kind: int, channels: int) -> None:
    """Any number of channels, integers and floats."""
    random = np.random.default_rng(1)
    values = np.frombuffer(random.bytes(100 * channels * np.dtype(dtype).itemsize), dtype).reshape(100, channels)
    path = make_wav(
        tmp_path / "a.wav", values.tobytes(), channels=channels, sample_bytes=values.itemsize, kind=kind, rate=500
    )
    source = open_source(f"wav:{path}")
    assert ((channels,), 500.0) == (source.spec.shape, source.spec.rate)
    assert values.tobytes() == read_all(source).tobytes()
    source.close()


def test_wav_of_24_bits_keeps_sign_and_value(tmp_path: Path) -> None:
    """int32, not scaled: what the recorder's converter gave."""
    values = [0, 1, -1, 2**23 - 1, -(2**23), 0x123456]
    content = b"".join(value.to_bytes(3, "little", signed=True) for value in values)
    path = make_wav(tmp_path / "a.wav", content, channels=2, sample_bytes=3, kind=0xFFFE)
    source = open_source(f"wav:{path}")
    assert values == read_all(source).ravel().tolist()
    source.close()


def test_wav_as_the_standard_library_reads_it(tmp_path: Path) -> None:
    """Chunks in front of the samples, of odd length too, are passed over; loop and rate are as asked."""
    values = np.arange(60, dtype="<i2").reshape(20, 3)
    path = make_wav(
        tmp_path / "a.wav", values.tobytes(), channels=3, sample_bytes=2, extra=b"LIST\x03\x00\x00\x00abc\x00"
    )
    with wave.open(str(path)) as known:
        assert known.readframes(20) == values.tobytes()
    source = open_source(f"wav:{path}", {"loop": True, "rate": 5000})
    out = np.empty((50, 3), "<i2")
    assert [20, 20] == [source.read_into(out), source.read_into(out)]
    assert (5000.0, False) == (source.spec.rate, source.spec.finite)
    source.close()


@pytest.mark.parametrize("claimed", [0, 0xFFFFFFFF, 7000])
def test_wav_of_a_recorder_that_died_is_read_to_its_end(tmp_path: Path, claimed: int) -> None:
    """A header that was never completed, or claims too much, costs no sample."""
    path = make_wav(tmp_path / "a.wav", bytes(6001), channels=3, sample_bytes=2, size=claimed)
    source = open_source(f"wav:{path}")
    assert 1000 == len(read_all(source))
    source.close()


def test_real_wav_is_read_at_the_rate_asked_for() -> None:
    """A sleep recording whose header says 1 Hz: every sample as the standard library reads it."""
    path = real_file("sleep_psg.wav")
    source = open_source(f"wav:{path}", {"rate": 5000})
    with wave.open(str(path)) as known:
        expected = known.readframes(known.getnframes())
    assert (5000.0, "<i2") == (source.spec.rate, source.spec.dtype)
    assert expected == read_all(source, 500).tobytes()
    source.close()


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"RIFX" + bytes(8), r"big-endian \(RIFX\)"),
        (b"ID3\x03" + bytes(40), "does not begin with RIFF and WAVE"),
        (b"RIFF\x00\x00\x00\x00WAVE", "ends before its samples begin"),
        (b"RIFF\x00\x00\x00\x00WAVEdata\x00\x00\x00\x00", "samples come before their format"),
    ],
)
def test_what_is_no_wav_is_refused(tmp_path: Path, head: bytes, message: str) -> None:
    """The line names the file, what it is, and how to convert it."""
    path = tmp_path / "a.wav"
    path.write_bytes(head)
    with pytest.raises(SourceError, match=f"^mic: cannot read .*a.wav as WAV: .*{message}.*ffmpeg"):
        open_source(f"wav:{path}", name="mic")


def test_compressed_and_empty_wav_are_refused(tmp_path: Path) -> None:
    """They hold no samples that could be read."""
    path = make_wav(tmp_path / "a.wav", bytes(64), channels=1, sample_bytes=1, kind=7)
    with pytest.raises(SourceError, match=r"compressed \(mu-law"):
        open_source(f"wav:{path}")
    make_wav(path, b"", channels=1, sample_bytes=2)
    with pytest.raises(SourceError, match="holds no samples"):
        open_source(f"wav:{path}")
    make_wav(path, bytes(64), channels=1, sample_bytes=8)
    with pytest.raises(SourceError, match="holds 64-bit integers"):
        open_source(f"wav:{path}")
