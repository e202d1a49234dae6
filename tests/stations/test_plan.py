"""What a rig will need, computed before it runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.media import make_wav
from support.recordings import MadeStream

from shm import RingWriter, SpaceError, counters_bytes, ring_size
from stations.config import Rig, parse_rig
from stations.errors import OutputError, SourceError
from stations.ledger import RECORDER_COUNTERS
from stations.plan import Finding, Machine, Needs, judge, need_of, needs_of
from stations.plan_probe import measure_disk, probe_machine, probe_streams
from stations.recording import SessionRecorder
from stations.sources import SourceSpec

GB = 10**9
LARGE = Machine(shm_total=64 * GB, shm_free=64 * GB, disk_free=10**15, disk_mb_s=1e6, folder="out")
CAMERA = """
[pilots.p1.streams.cam]
source = "synthetic:camera"
shape = [480, 640, 3]
rate = 60
"""


def rig_of(streams: str, folder: Path = Path(), **section: Any) -> Rig:
    extra = "".join(f"{key} = {value}\n" for key, value in section.items())
    return parse_rig(f'[rig]\nname = "planned"\n{extra}{streams}', folder=folder)


def needs(streams: str, folder: Path = Path(), **section: Any) -> Needs:
    rig = rig_of(streams, folder, **section)
    return needs_of(rig, "both", probe_streams(rig))


def texts(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.text) for finding in findings]


def test_a_camera_s_numbers_follow_from_shape_rate_and_seconds() -> None:
    """640x480x3 at 60/s for 3 s: 180 slots; raw bytes a second; files of an hour by the sample's compression."""
    (cam,) = needs(CAMERA).streams
    item = 480 * 640 * 3
    assert (3.0, 3.0, 60.0) == (cam.ring_s, cam.terminal_s, cam.rate)
    assert ring_size(item, 180).total_bytes == cam.ring_bytes
    assert item * 60 / 1e6 == cam.raw_mb_s
    assert cam.ratio is not None
    assert cam.wire_mb_s is not None
    assert cam.file_gb_h is not None
    assert 1.2 < cam.ratio < 2.5
    assert abs(cam.raw_mb_s / cam.ratio - cam.wire_mb_s) < 1e-9
    assert abs(cam.file_gb_h - cam.wire_mb_s * 3.6) < 0.02


def test_a_ring_is_as_large_as_was_planned() -> None:
    """To the byte: a machine that has just that much free takes it, one byte less is refused."""
    planned = ring_size(5 * 8, 61)
    with RingWriter.create("planned-ring", shape=(5,), dtype="<f8", slots=61) as ring:
        assert (planned.slots, planned.total_bytes) == (ring.slots, ring_segment_bytes())


def ring_segment_bytes() -> int:
    from shm import list_segments

    (found,) = [info for info in list_segments() if info.full_name == "planned-ring"]
    return found.bytes


@pytest.mark.parametrize(
    ("codec", "values", "low", "high"),
    [("auto", "noise", 1.0, 1.0), ("auto", "flat", 20.0, 1e4), ("raw", "flat", 1.0, 1.0)],
)
def test_compression_is_that_of_the_source_s_own_items(
    tmp_path: Path, codec: str, values: str, low: float, high: float
) -> None:
    """Noise does not shrink, silence does, and a stream that is to travel raw travels raw."""
    random = np.random.default_rng(3)
    content = random.bytes(80_000) if values == "noise" else bytes(80_000)
    make_wav(tmp_path / "a.wav", content, channels=4, sample_bytes=2, rate=10_000)
    text = f'[pilots.p.streams.mic]\nsource = "wav:a.wav"\ncodec = "{codec}"\n'
    (mic,) = needs(text, tmp_path).streams
    assert mic.ratio is not None
    assert low <= mic.ratio <= high


def test_a_stream_without_a_rate_has_rings_and_no_figures_of_time() -> None:
    """Unknown is unknown, not 0."""
    spec = SourceSpec(shape=(4,), dtype="<u2", rate=None)
    section = next(rig_of('[pilots.p.streams.s]\nsource = "python:m:C"\nslots = 100\n').streams())[2]
    need = need_of("p", "p.s", section, spec)
    assert need.ring_bytes
    assert need.terminal_bytes
    assert [None] * 5 == [need.ring_s, need.terminal_s, need.raw_mb_s, need.wire_mb_s, need.file_gb_h]


def test_a_machine_that_has_it_all_gets_no_word() -> None:
    """Nothing is found where everything fits."""
    assert [] == judge(needs(CAMERA), LARGE)


def test_too_little_shared_memory_is_refused_with_the_numbers() -> None:
    """What is needed and what is free; close to it is a warning."""
    need = needs(CAMERA)
    full = msgspec.structs.replace(need, shm_bytes=345_000_000, backfill_bytes=5_000_000)
    none, tight = (Machine(shm_total=GB, shm_free=free, disk_free=10**15) for free in (64_000_000, 400_000_000))
    ((level, text),) = texts(judge(full, none))
    assert "refused" == level
    assert "needs 350.0 MB of /dev/shm (with 5.0 MB while spools empty), 64.0 of 1000.0 MB are free" in text
    ((level, text),) = texts(judge(full, tight))
    assert ("warning", True) == (level, "350.0 MB" in text)


def test_the_rings_of_backfills_are_planned_where_there_are_spools() -> None:
    """They come and go; a stream that drops, and a Pilot without a spool, have none."""
    assert 0 < needs(CAMERA).backfill_bytes < needs(CAMERA).streams[0].terminal_bytes  # type: ignore[operator]
    assert 0 == needs(CAMERA + "lossless = false\n").backfill_bytes
    assert 0 == needs("[pilots.p1]\nspool_bytes = 0\n" + CAMERA).backfill_bytes
    assert 0 == needs_of(rig_of(CAMERA), "pilot", needs(CAMERA).streams).backfill_bytes


def test_too_slow_a_disk_is_refused_and_a_barely_fast_one_told() -> None:
    """With what was measured beside what is needed; not measured is no finding."""
    need = msgspec.structs.replace(needs(CAMERA), disk_mb_s=40.0)

    def found(speed: float | None) -> list[tuple[str, str]]:
        machine = Machine(shm_total=GB, shm_free=64 * GB, disk_free=10**15, disk_mb_s=speed, folder="/d")
        return texts(judge(need, machine))

    assert [("refused", True)] == [(level, "writes 40.0 MB/s, /d took 30.0 MB/s" in text) for level, text in found(30)]
    assert ["warning"] == [level for level, _ in found(70)]
    assert [] == found(90) == found(None)


def test_a_disk_that_fills_within_the_hour_is_told() -> None:
    """In minutes, with the free space."""
    need = msgspec.structs.replace(needs(CAMERA), file_gb_h=120.0)
    machine = Machine(shm_total=GB, shm_free=64 * GB, disk_free=60 * GB, folder="/d")
    assert [("warning", "60.0 GB are free in /d: full after 30 minutes at 120.0 GB/h")] == texts(judge(need, machine))


def test_a_ring_that_is_lapped_before_a_recorder_is_back_is_told() -> None:
    """Seconds of the ring by max_loss_s, for the Pilot's ring and for the Terminal's."""
    found = texts(judge(needs(CAMERA + "seconds = 0.5\n", max_loss_s=1.0), LARGE))
    assert ["warning", "warning"] == [level for level, _ in found]
    assert "p1.cam: its ring is lapped after 0.5 s, 0.5 times max_loss_s = 1" in found[0][1]
    assert "the Terminal's ring is lapped" in found[1][1]


def test_more_than_a_gigabit_link_carries_is_told() -> None:
    """The sum of a Pilot's streams."""
    need = needs(CAMERA)
    streams = [msgspec.structs.replace(need.streams[0], wire_mb_s=80.0)] * 2
    found = texts(judge(msgspec.structs.replace(need, streams=streams), LARGE))
    assert [("warning", "p1 sends 160.0 MB/s; a link of 1 Gbit/s carries 110")] == found


def test_each_machine_needs_its_own_rings() -> None:
    """A Pilot's and a Terminal's share make up the whole; only the Terminal writes to a disk."""
    rig = rig_of(CAMERA)
    streams = probe_streams(rig)
    pilot, terminal, both = (needs_of(rig, role, streams) for role in ("pilot", "terminal", "both"))  # type: ignore[arg-type]
    assert both.shm_bytes == pilot.shm_bytes + terminal.shm_bytes
    assert 0 == pilot.disk_mb_s < terminal.disk_mb_s == both.disk_mb_s


def test_each_recording_takes_its_part_of_its_machine_s_disk() -> None:
    """A Pilot that records writes as much as the Terminal; on one machine both do; none is spooled for nobody."""
    streams = probe_streams(rig_of(CAMERA))
    once = needs_of(rig_of(CAMERA), "terminal", streams).disk_mb_s
    own = "[pilots.p1]\nrecord = true\n" + CAMERA
    for text, expected in ((own, (1, 1, 2)), ("[terminal]\nrecord = false\n" + own, (1, 0, 1))):
        rig = rig_of(text)
        found = [needs_of(rig, role, streams) for role in ("pilot", "terminal", "both")]  # type: ignore[arg-type]
        assert [times * once for times in expected] == [needs.disk_mb_s for needs in found]
        assert (found[2].backfill_bytes > 0) == rig.terminal.record
    plain = needs_of(rig_of(CAMERA), "pilot", streams)
    assert counters_bytes(RECORDER_COUNTERS) == needs_of(rig_of(own), "pilot", streams).shm_bytes - plain.shm_bytes


def test_a_class_of_a_user_s_is_not_opened(tmp_path: Path) -> None:
    """Its spec is taken if it tells it; compression is not known, and is taken as none."""
    (tmp_path / "planned_devices.py").write_text(
        "from stations.sources import SourceSpec\n"
        "class Told:\n"
        "    spec = SourceSpec(shape=(3,), dtype='f4', rate=200.0)\n"
        "    def open(self): raise RuntimeError('opened')\n"
        "    def read_into(self, out): raise RuntimeError('read')\n"
        "    def close(self): pass\n"
        "class Silent(Told):\n"
        "    @property\n"
        "    def spec(self): raise RuntimeError('not open')\n"
    )
    text = "".join(
        f'[pilots.p.streams.{name}]\nsource = "python:planned_devices:{name}"\n' for name in ("Told", "Silent")
    )
    need = needs(text, tmp_path)
    told, silent = need.streams
    assert (2400 / 1e6, None) == (told.raw_mb_s, told.ratio)
    assert told.raw_mb_s == told.wire_mb_s
    assert (None, None) == (silent.ring_bytes, silent.raw_mb_s)
    assert [("warning", True), ("warning", True)] == [
        (level, "opened" in text) for level, text in texts(judge(need, LARGE))
    ]


def test_a_ring_of_another_program_is_looked_at_where_it_is() -> None:
    """Its own memory is not counted again; one that is not there is told."""
    text = '[pilots.p.streams.own]\nring = "planned-own"\n'
    (absent,) = needs(text).streams
    assert "ring planned-own is not there" in absent.note
    meta = {"rate": 100.0}
    with RingWriter.create("planned-own", shape=(8, 8), dtype="u1", slots=300, meta=meta):
        (there,) = needs(text).streams
    assert (0, 6400 / 1e6) == (there.ring_bytes, there.raw_mb_s)
    assert there.terminal_bytes


def test_a_replay_is_planned_from_its_recording(tmp_path: Path) -> None:
    """Four times as fast, four times the bytes."""
    made = MadeStream("p.sig", shape=(8,), dtype="<i2", block_items=64, rate=4000)
    session = SessionRecorder(tmp_path / "rec", "demo")
    for block in made.blocks(0, 6400):
        session.store(block, made.spec)
    session.close()
    (need,) = needs('[pilots.p.streams.s]\nsource = "replay:rec"\nrate = 4\n', tmp_path).streams
    assert 4 * 4000 * 16 / 1e6 == need.raw_mb_s
    (free,) = needs('[pilots.p.streams.s]\nsource = "replay:rec"\nrate = "max"\n', tmp_path).streams
    assert (False, True) == (need.as_fast_as_stored, free.as_fast_as_stored)


def test_a_source_that_a_run_would_refuse_is_refused() -> None:
    """In the same words."""
    with pytest.raises(SourceError, match=r"^p\.v: no file .*nowhere.wav"):
        needs('[pilots.p.streams.v]\nsource = "wav:nowhere.wav"\n')


def test_the_disk_is_measured_without_a_trace(tmp_path: Path) -> None:
    """Some megabytes a second, within the time, beneath a folder that is still to be made; the file has no name."""
    machine = probe_machine(tmp_path / "to" / "come", 0.2)
    assert str(tmp_path) == machine.folder
    assert machine.disk_mb_s is not None
    assert machine.disk_mb_s > 1
    assert [] == list(tmp_path.iterdir())
    assert measure_disk(tmp_path, 0.1, limit=8 * 1024 * 1024) > 1e6
    assert probe_machine(tmp_path, 0).disk_mb_s is None


def test_a_folder_that_takes_nothing_is_named() -> None:
    """As at a run."""
    with pytest.raises(OutputError, match="/proc: cannot hold recordings"):
        probe_machine(Path("/proc"), 0.1)


def test_what_does_not_fit_is_what_a_run_would_be_refused_for() -> None:
    """The ring that plan calls too large is too large."""
    need = needs(
        '[pilots.p.streams.s]\nsource = "synthetic:camera"\nshape = [4000, 4000]\nrate = 1000\nseconds = 3600\n'
    )
    machine = probe_machine(Path(), 0)
    assert "refused" == judge(need, machine)[0].level
    with pytest.raises(SpaceError):
        RingWriter.create("planned-large", shape=(4000, 4000), dtype="u1", slots=3_600_000)
