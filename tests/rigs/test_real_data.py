"""What a rig stores is what its sources hold, bit for bit, read with stock h5py and hdf5plugin."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.media import decode_video, make_video, make_wav, real_file
from support.rigs import RunningRig, pipeline
from support.waiting import eventually

from pipeline.block import Block
from shm import BlobReader, SegmentNotFoundError

h5py = pytest.importorskip("h5py")
pytest.importorskip("hdf5plugin")

RIG = """
[rig]
name = "{name}"

[pilots.p1.streams.bird]
source = "video:{video}"
rate = {video_rate}

[pilots.p1.streams.sleep]
source = "wav:{wav}"
rate = {wav_rate}
"""


def a_wave(path: Path) -> Path:
    """Two seconds of five channels at 5 kHz, every sample another."""
    samples = np.arange(5 * 10_000, dtype="<i4").astype("<i2")
    return make_wav(path, samples.tobytes(), channels=5, sample_bytes=2)


def samples_of(path: Path) -> NDArray[np.int16]:
    """Read a 16-bit WAV file directly, shape (n, channels)."""
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())


def stored(recording: Path, stream: str, dataset: str) -> NDArray[np.generic]:
    parts = sorted(recording.glob(f"{stream}_part-*.h5"))
    found = []
    for part in parts:
        with h5py.File(part, "r") as file:
            found.append(file[dataset][:])
    return np.concatenate(found)


def check_equal(folder: Path, name: str, video: Path, wav: Path, *, wav_rate: str) -> None:
    text = RIG.format(name=name, video=video, wav=wav, video_rate='"max"', wav_rate=wav_rate)
    with RunningRig(folder, text) as rig:
        result = rig.finish()
    assert 0 == rig.process.returncode, rig.said
    images, samples = decode_video(video), samples_of(wav)
    times = stored(rig.recording, "p1.bird", "time_ns").astype(np.int64)

    assert {"p1.bird": len(images), "p1.sleep": len(samples)} == {
        stream: row["stored"] for stream, row in result["streams"].items()
    }
    assert np.array_equal(images, stored(rig.recording, "p1.bird", "data"))
    assert np.array_equal(samples, stored(rig.recording, "p1.sleep", "data"))
    assert np.all(np.diff(times) > 0)
    assert 0 == pipeline("verify", str(rig.recording)).returncode


def test_a_made_film_and_wave_are_stored_bit_equal(tmp_path: Path) -> None:
    """A run without a duration ends by itself, with every image and sample in the files."""
    video = make_video(tmp_path / "film.mp4", count=40)
    wav = a_wave(tmp_path / "wave.wav")

    check_equal(tmp_path, "made", video, wav, wav_rate="5000")


def test_real_recordings_are_stored_bit_equal(tmp_path: Path) -> None:
    """280 images of 1280x720 as fast as they can be decoded, and 79 500 samples of seven channels at 20 kHz."""
    check_equal(tmp_path, "real", real_file("cockatoo_720p.mp4"), real_file("sleep_psg.wav"), wav_rate="20000")


def test_the_chunk_on_disk_is_the_block_on_the_wire(tmp_path: Path) -> None:
    """What the Terminal's ring took from the network is what the file holds, byte for byte."""
    video = make_video(tmp_path / "film.mp4", count=40)
    wav = a_wave(tmp_path / "wave.wav")
    text = RIG.format(name="chunks", video=video, wav=wav, video_rate="20", wav_rate="5000")
    payloads: dict[int, bytes] = {}
    with RunningRig(tmp_path, text) as rig:
        readers: list[BlobReader] = []

        def attached() -> bool:
            try:
                readers.append(BlobReader.attach("chunks/T/p1.bird", policy="drop_oldest", start="oldest"))
            except SegmentNotFoundError:
                return False
            return True

        assert eventually(attached, 60), rig.said
        with readers[0] as reader:
            while (blob := reader.read(30)) is not None:
                block = Block.from_blob(blob.data)
                if block.header.is_end:
                    break
                payloads[block.header.first] = bytes(block.payload)
        rig.finish()

    with h5py.File(rig.recording / "p1.bird_part-000.h5", "r") as file:
        chunks = {
            int(file["seq"][index]): file["data"].id.read_direct_chunk((index, 0, 0, 0))[1] for index in range(40)
        }
    assert payloads
    assert payloads == {sequence: chunks[sequence] for sequence in payloads}
