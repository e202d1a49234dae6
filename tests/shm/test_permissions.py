"""Who may be lossless, and what modes of a segment allow."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest
from support.children import Child, reader, writer
from support.ring_process import WORDS, expected

from shm import BlobReader, BlobWriter, LosslessRefusedError, RingReader, RingWriter, SpecError

NOBODY = 65534

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user or another pid namespace")


def create(name: str, **options: Any) -> RingWriter:
    return RingWriter.create(name, shape=(WORDS,), dtype="<u8", slots=16, **options)


def test_only_readers_that_are_named_may_be_lossless(ring_name: str) -> None:
    """Others are refused before they take an entry; they may still read by another policy."""
    with create(ring_name, lossless=("recorder", "pilot1")) as ring:
        with pytest.raises(LosslessRefusedError, match="'viewer' may not be lossless here, only pilot1, recorder"):
            RingReader.attach(ring_name, policy="lossless", reader="viewer")
        assert ring.readers() == []
        with RingReader.attach(ring_name, policy="drop_oldest", reader="viewer"):
            pass
        with RingReader.attach(ring_name, policy="lossless", reader="recorder") as reader:
            assert reader.policy == "lossless"


def test_nobody_may_be_lossless_where_nobody_is_named(ring_name: str) -> None:
    """An empty list is not the same as none; rings of blobs have it too."""
    with (
        BlobWriter.create(ring_name, max_bytes=10, slots=4, lossless=()),
        pytest.raises(PermissionError, match="only nobody"),
    ):
        BlobReader.attach(ring_name, policy="lossless", reader="recorder")
    with pytest.raises(SpecError, match="lossless"):
        create(ring_name, lossless="recorder")
    with pytest.raises(SpecError, match="1024"):
        create(ring_name, lossless=[f"reader{n}" for n in range(200)])


def visitor(name: str) -> dict[str, Any]:
    """Let another user, or we ourselves where we may not become one, try all there is."""
    with Child("support.ring_visitor", name, str(NOBODY)) as process:
        return process.line()


def test_a_segment_that_may_only_be_read_can_be_observed_but_not_registered_with(ring_name: str) -> None:
    """Readers write their own entry of the table; observers write nothing."""
    with create(ring_name, mode=0o444) as ring:
        ring.write(expected(0))
        said = visitor(ring_name)
        assert ("right", "SegmentAccessError", "SegmentAccessError") == (said["look"], said["attach"], said["create"])
        assert said["removed"] == []


@needs_root
def test_two_users_share_a_ring_whose_mode_allows_it(ring_name: str) -> None:
    """A reader of another user registers, gates, and is reaped when it is killed."""
    with create(ring_name, mode=0o666, can_wait=True, timeout_s=60.0) as ring:
        with reader(ring_name, policy="lossless", user=NOBODY) as other:
            other.line()
            assert [("lossless", True)] == [(row.state, row.is_alive) for row in ring.readers()]
            other.kill()
        for n in range(20):
            ring.write(expected(n))
        assert (ring.statistics().reaped, ring.statistics().demotions) == (1, 0)


@needs_root
def test_a_ring_is_closed_to_other_users_by_default(ring_name: str) -> None:
    """Mode 0600: not even a look, and `clean` of another user leaves it alone, also when its writer is dead."""
    with writer(ring_name, slots=16) as dead:
        dead.line()
        dead.kill()
    denied = "SegmentAccessError"
    assert {"look": denied, "attach": denied, "create": denied, "removed": []} == visitor(ring_name)
    with create(ring_name) as ring:
        assert ring.epoch == 2


@needs_root
def test_readers_of_another_pid_namespace_live_and_die_like_others(ring_name: str) -> None:
    """Life is told by locks: a pid that means nothing here, or another process, is not looked at."""
    if subprocess.run(["unshare", "--pid", "--fork", "true"], check=False).returncode:
        pytest.skip("this container may not make pid namespaces")
    with create(ring_name, can_wait=True, timeout_s=60.0) as ring:
        with reader(ring_name, policy="lossless", before=("unshare", "--pid", "--fork", "--kill-child")) as other:
            other.line()
            (row,) = ring.readers()
            assert (row.is_alive, row.pid) == (True, 1)
            other.kill()
        for n in range(20):
            ring.write(expected(n))
        assert (ring.statistics().reaped, ring.statistics().demotions, ring.readers()) == (1, 0, [])
