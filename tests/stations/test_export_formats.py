"""What is in an export, read by the packages that others read it with: bit for bit, with times, gaps, events, rows."""

from __future__ import annotations

import csv
import json
import wave
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.exports import CAM, EPHYS, GREY, HOST, end_zarr_threads, recording
from support.recordings import MadeStream

from stations.export import export
from stations.recording import Recording, SessionRecorder
from stations.sources.wav import WavSource

STREAMS = (CAM, GREY, EPHYS, HOST)
ROWS = 4

__all__ = ["end_zarr_threads", "recording"]


def exported(recording: Path, folder: Path, name: str) -> Path:
    """Export everything; return where it is."""
    assert export(recording, name, folder / f"out.{name}").ok
    return folder / f"out.{name}"


def gaps(lines: list[str], stream: str) -> list[tuple[int, int, str]]:
    """Return (first, count, reason) of a stream's gaps."""
    found = [json.loads(line) for line in lines]
    return [(gap["first"], gap["count"], gap["reason"]) for gap in found if gap["stream"] == stream]


def assert_told(lines: dict[str, list[str]], recording: Path) -> None:
    """Gaps, events and rows are those of the recording."""
    with Recording(recording) as source:
        for stream in STREAMS:
            told = [(gap.first, gap.count, gap.reason) for gap in source[stream].gaps]
            assert told == gaps(lines["gaps"], stream)
            assert 2 == len(told)
        assert [event.kind for event in source.events] == [json.loads(line)["kind"] for line in lines["events"]]
    assert "ein Zeichen: ü" in lines["events"][-2] + lines["events"][-1] + "".join(lines["events"])
    rows = [json.loads(line) for line in lines["rows/DATA"]]
    assert list(range(ROWS)) == [row["sequence"] for row in rows]
    assert ({"trial": 1}, "ü") == (rows[0]["message"]["value"], rows[1]["message"]["value"])
    assert "pilot1.task" == rows[0]["message"]["sender"]


def test_hdf5_is_plain_and_holds_everything(recording: Path, tmp_path: Path) -> None:
    """No filter, no chunk: what MATLAB's h5read and any old library read."""
    with h5py.File(exported(recording, tmp_path, "hdf5")) as file, Recording(recording) as source:
        for name in STREAMS:
            stream, group = source[name], file[name]
            assert (None, None, ()) == (group["data"].chunks, group["data"].compression, tuple(group["data"]._filters))
            np.testing.assert_array_equal(stream[:], group["data"][:])
            assert stream.dtype == group["data"].dtype
            for column in ("sequence", "time_ns", "utc_ns"):
                wanted = {"sequence": stream.sequence, "time_ns": stream.time, "utc_ns": stream.utc}[column]
                np.testing.assert_array_equal(wanted, group[column][:])
            births = json.loads(group.attrs["births"])
            found = [births[index] for index in group["birth"][:]]
            assert [f"{item.birth:016x}" for item in stream.items()] == found
            assert "V" == group.attrs["unit"]
        assert_told({name: list(file[name].asstr()[:]) for name in ("gaps", "events", "rows/DATA")}, recording)


def test_zarr_reads_it(recording: Path, tmp_path: Path) -> None:
    """Format 3, by the zarr package."""
    zarr = pytest.importorskip("zarr")
    root = zarr.open_group(exported(recording, tmp_path, "zarr"), mode="r")
    with Recording(recording) as source:
        for name in STREAMS:
            assert 3 == root[name].metadata.zarr_format
            np.testing.assert_array_equal(source[name][:], root[f"{name}/data"][:])
            np.testing.assert_array_equal(source[name].time, root[f"{name}/time_ns"][:])
            np.testing.assert_array_equal(source[name].sequence, root[f"{name}/sequence"][:])
            assert ["a", "ü"] == json.loads(root[name].attrs["labels"])
    names = ("gaps", "events", "rows/DATA")
    assert_told({name: bytes(root[name][:]).decode().split("\n") for name in names}, recording)


def test_nwb_is_valid_and_pynwb_reads_it(recording: Path, tmp_path: Path) -> None:
    """Images are ImageSeries, samples TimeSeries; seconds as NWB wants them, raw stamps beside them."""
    pynwb = pytest.importorskip("pynwb")
    path = exported(recording, tmp_path, "nwb")
    assert [] == list(pynwb.validate(path=str(path)))
    with pynwb.NWBHDF5IO(path, "r") as io, Recording(recording) as source:
        file = io.read()
        for name in STREAMS:
            series, stream = file.acquisition[name], source[name]
            assert ("ImageSeries" if name in (CAM, GREY) else "TimeSeries") == series.neurodata_type
            np.testing.assert_array_equal(stream[:], series.data[:])
            assert stream.dtype == series.data.dtype
            np.testing.assert_array_equal(stream.time, file.acquisition[f"{name}_time_ns"].data[:])
            np.testing.assert_array_equal(stream.sequence, file.acquisition[f"{name}_sequence"].data[:])
            seconds = series.timestamps[:] + file.session_start_time.timestamp()
            np.testing.assert_allclose(seconds, stream.utc[:] / 1e9, atol=1e-6, rtol=0)
        names = {"gaps": "gaps", "events": "events", "rows/DATA": "rows_DATA"}
        lines = {name: list(file.events[table]["annotation"][:]) for name, table in names.items()}
        assert_told(lines, recording)


def test_the_mcap_package_reads_it_with_schemas_that_foxglove_knows(recording: Path, tmp_path: Path) -> None:
    """Images are foxglove.RawImage, decoded by the schema in the file; other messages are as they say."""
    reader = pytest.importorskip("mcap.reader")
    raw = pytest.importorskip("foxglove_schemas_protobuf.RawImage_pb2")
    found: dict[str, list[Any]] = {}
    with exported(recording, tmp_path, "mcap").open("rb") as file:
        opened = reader.make_reader(file, validate_crcs=True)
        summary = opened.get_summary()
        for schema, channel, message in opened.iter_messages(log_time_order=False):
            found.setdefault(channel.topic, []).append((schema, channel, message))
    assert summary.statistics.message_count == sum(map(len, found.values()))
    with Recording(recording) as source:
        for name, encoding in ((CAM, "rgb8"), (GREY, "mono16")):
            (schema, channel, _), stream = found[f"/{name}"][0], source[name]
            assert ("foxglove.RawImage", "protobuf", "protobuf") == (
                schema.name, schema.encoding, channel.message_encoding
            )  # fmt: skip
            images = [raw.RawImage.FromString(message.data) for _, _, message in found[f"/{name}"]]
            assert {encoding} == {image.encoding for image in images}
            shape = (images[0].height, images[0].width, *stream.head.shape[2:])
            assert stream.head.shape == shape
            pixels = [np.frombuffer(image.data, stream.dtype).reshape(shape) for image in images]
            np.testing.assert_array_equal(stream[:], np.stack(pixels))
            assert list(stream.utc) == [message.log_time for _, _, message in found[f"/{name}"]]
            stamps = [json.loads(message.data) for _, _, message in found[f"/{name}/stamps"]]
            assert list(stream.sequence) == [stamp["sequence"] for stamp in stamps]
            assert list(stream.time) == [stamp["time_ns"] for stamp in stamps]
        for name, member in ((EPHYS, "integers"), (HOST, "floats")):
            schema = found[f"/{name}"][0][0]
            assert ("pipeline.Samples", "protobuf") == (schema.name, schema.encoding)
            blocks = [by_schema(schema).FromString(message.data) for _, _, message in found[f"/{name}"]]
            values = np.concatenate([np.array(getattr(block, member)) for block in blocks])
            np.testing.assert_array_equal(source[name][:].reshape(-1), values)
    names = ("gaps", "events", "rows/DATA")
    assert_told({name: [m.data.decode() for _, _, m in found[f"/{name}"]] for name in names}, recording)


def by_schema(schema: Any) -> Any:
    """Return the class of messages that a schema in a file describes, as a reader makes it who knows nothing of us."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    files = {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(schema.data).file}
    for name in sorted(files, key=lambda name: len(files[name].dependency)):
        pool.Add(files[name])
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(schema.name))


def test_csv_gives_back_the_same_bits(recording: Path, tmp_path: Path) -> None:
    """A line per item: stamps, birth, a column per channel, named where the source named them."""
    path = exported(recording, tmp_path, "csv")
    with Recording(recording) as source:
        for name in (EPHYS, HOST):
            with (path / f"{name}.csv").open(newline="") as file:
                lines = list(csv.DictReader(file))
            stream = source[name]
            channels = ["a", "ü"] if name == HOST else ["ch0", "ch1", "ch2", "ch3"]
            values = np.array([[float(line[channel]) for channel in channels] for line in lines])
            assert stream[:].tobytes() == values.astype(stream.dtype).tobytes()
            assert stream.time[:].tolist() == [int(line["time_ns"]) for line in lines]
            assert [f"{item.birth:016x}" for item in stream.items()] == [line["birth"] for line in lines]
    names = ("events", "rows/DATA")
    assert all((path / f"{name}.jsonl").read_text().endswith("\n") for name in names)


def test_wav_is_read_by_the_standard_library_and_by_ourselves(recording: Path, tmp_path: Path) -> None:
    """The very values; when they were acquired stands beside them."""
    path = exported(recording, tmp_path, "wav")
    with Recording(recording) as source, wave.open(str(path / f"{EPHYS}.wav")) as sound:
        stream = source[EPHYS]
        assert (4, 2, 3000, len(stream)) == sound.getparams()[:4]
        assert stream[:].tobytes() == sound.readframes(len(stream))
        floats = WavSource(path / f"{HOST}.wav")
        floats.open()
        out = np.empty((len(source[HOST]), 2), "<f4")
        assert len(out) == floats.read_into(out)
        floats.close()
        np.testing.assert_array_equal(source[HOST][:], out)
    with (path / f"{EPHYS}_stamps.csv").open(newline="") as file:
        runs = list(csv.DictReader(file))
    assert len(stream) == sum(int(run["count"]) for run in runs)
    assert [int(stream.sequence[int(run["position"])]) for run in runs] == [int(run["sequence"]) for run in runs]


def test_mp4_plays_with_the_recorded_times(tmp_path: Path) -> None:
    """Colour and grey, odd lengths too; a gap is a gap in the film; pixels are near, not equal."""
    av = pytest.importorskip("av")
    made = {name: MadeStream(name, shape=shape, rate=50) for name, shape in ((CAM, (64, 49, 3)), (GREY, (64, 64)))}
    session = SessionRecorder(tmp_path / "rec", "demo")
    for one in made.values():
        for block in (*one.blocks(0, 10), one.block(20, lost=10, lost_reason="link"), *one.blocks(21, 30)):
            session.store(block, one.spec)
    session.close()
    assert export(tmp_path / "rec", "mp4", verify=True).ok
    for name, one in made.items():
        with av.open(tmp_path / "rec-mp4" / f"{name}.mp4") as film:
            frames = list(film.decode(video=0))
        assert [at / 50 for at in (*range(10), *range(20, 30))] == [round(frame.time, 4) for frame in frames]
        height, width = one.spec.shape[:2]
        image = frames[15].to_ndarray(format="rgb24" if name == CAM else "gray")[:height, :width]
        assert np.abs(image.astype(int) - one.items(25, 1)[0]).mean() < 30


def test_a_wav_file_beyond_4_gib_is_rf64(tmp_path: Path) -> None:
    """Its header is what our own reader finds the samples by."""
    from stations.export.as_wav import WavSink
    from stations.sources.riff import read_header

    class Long:
        """As many samples as no test records."""

        head = MadeStream(EPHYS, shape=(4,), dtype="<i2", block_items=64).spec
        dtype, rate = np.dtype("<i2"), 30_000.0

        def __len__(self) -> int:
            return 2**30

    path = tmp_path / "long.wav"
    path.write_bytes(WavSink.head(object.__new__(WavSink), Long()))  # type: ignore[arg-type]  # what it asks of a stream
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + 2**30 * 8)
        header = read_header(file)
    assert (2**30, 4, 2, 80) == (header.count, header.channels, header.sample_bytes, header.start)
