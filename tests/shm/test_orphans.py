"""Segments whose name is taken away while they are in use, as systemd's RemoveIPC does at logout."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from shm import Counters, RingObserver, RingReader, RingWriter, clean, list_orphans, list_segments

ITEM = np.zeros(512, "<i8")


def create(name: str) -> RingWriter:
    return RingWriter.create(name, shape=ITEM.shape, dtype=ITEM.dtype, slots=4)


def take_name_away(ring: RingWriter) -> None:
    Path("/dev/shm", ring.segment_name[1:]).unlink()  # noqa: S108


def test_a_ring_that_lost_its_name_says_so_and_goes_on(ring_name: str) -> None:
    """The writer and those attached lose nothing; everybody who looks is told."""
    with create(ring_name) as ring, RingReader.attach(ring_name, policy="drop_oldest") as reader:
        with RingObserver.attach(ring_name) as look:
            assert [False] * 3 == [ring.is_orphaned, ring.statistics().is_orphaned, look.statistics().is_orphaned]
            take_name_away(ring)
            assert ring.is_orphaned
            assert look.statistics().is_orphaned
        assert " orphaned " in repr(ring)
        assert ring.write(ITEM) == 0
        assert reader.read(0) is not None
        assert reader.is_superseded


def test_the_registry_finds_what_has_no_name(ring_name: str) -> None:
    """Name, size and process of it, also after another ring has taken the name; `clean` reports and removes nothing."""
    rig = ring_name.partition("/")[0]
    with create(ring_name) as ring:
        assert list_orphans(rig) == []
        take_name_away(ring)
        (orphan,) = list_orphans(rig)
        assert (orphan.kind, orphan.full_name, orphan.segment_name) == ("ring", ring_name, ring.segment_name)
        assert (orphan.pids, orphan.successor) == ((os.getpid(),), False)
        assert f"is gone (RemoveIPC, or removed by hand) while its writer lives (open in pid {os.getpid()})" in str(
            orphan
        )
        assert list_segments(rig) == []
        report = clean(rig=rig)
        assert (report.removed, report.kept, report.orphans) == ((), (), (orphan,))
        with create(ring_name) as second:
            assert (ring.is_orphaned, second.is_orphaned) == (True, False)
            assert [True] == [found.successor for found in list_orphans(rig)]
            ring.close()
            assert not second.is_orphaned
        assert list_orphans(rig) == []


def test_a_superseded_ring_is_no_orphan(ring_name: str) -> None:
    """Readers that still hold a ring without a name and without a writer are told by `is_superseded`."""
    rig = ring_name.partition("/")[0]
    with create(ring_name) as ring:
        reader = RingReader.attach(ring_name)
        ring.close()
        assert list_orphans(rig) == []
        reader.close()


def test_pages_of_counters_are_found_too(ring_name: str) -> None:
    """The same for counters."""
    rig = ring_name.partition("/")[0]
    with Counters.create(ring_name):
        name = next(info.segment_name for info in list_segments(rig))
        Path("/dev/shm", name[1:]).unlink()  # noqa: S108
        assert [("counters", ring_name)] == [(found.kind, found.full_name) for found in list_orphans(rig)]
