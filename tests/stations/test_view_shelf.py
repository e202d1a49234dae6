"""The shelf over real rings: what it finds, what it lets go, what it says of each stream."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from support.terminal_rings import TerminalRings, moving_image, wave

from shm import Counters, list_segments
from stations.view.chronicle import Chronicle
from stations.view.frames import Frame, Image, Lines
from stations.view.losses import losses_of
from stations.view.shelf import Shelf

RIG = f"shelftest{os.getpid()}"


class Look:
    """Looks at a shelf and remembers the newest frame of each stream."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.frames: dict[int, Frame] = {}

    def until(self, holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Draw until something holds."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.frames.update(self.shelf.news())
            if holds():
                return
            assert time.monotonic() < deadline, f"never seen: {self.shelf}, {self.streams()}"
            time.sleep(0.02)

    def streams(self) -> dict[str, dict[str, Any]]:
        """Return the status of each stream by name."""
        return {row["name"]: row for row in self.shelf.status().streams}


@pytest.fixture
def look() -> Iterator[Look]:
    """A shelf, closed at the end."""
    shelf = Shelf(RIG, "T", Chronicle())
    yield Look(shelf)
    shelf.close()


def test_images_and_lines_are_drawn_of_what_is_found(look: Look) -> None:
    """A camera becomes images, channels become lines, with their age; rates are measured."""
    rings = TerminalRings(RIG)
    rings.add("pilot1.cam0", (120, 160, 3), "u1", 30.0, moving_image)
    rings.add("pilot2.ephys", (4,), "<i2", 5000.0, wave(4, 5000.0), block_items=256, unit="µV")
    with rings:
        look.until(lambda: all(row["rate"] for row in look.streams().values()) and len(look.frames) == 2)
        camera, signal = look.streams()["pilot1.cam0"], look.streams()["pilot2.ephys"]

    image, lines = look.frames[camera["id"]], look.frames[signal["id"]]
    assert isinstance(image, Image)
    assert isinstance(lines, Lines)
    assert (160, 120) == (image.width, image.height)
    assert image.payload.startswith(b"\xff\xd8")
    assert (4, 2.0) == (lines.channels, round(lines.span_s))
    levels = np.frombuffer(lines.payload, "<i2").reshape(4, lines.buckets, 2)
    assert np.ptp(levels[0].astype(int)) > 0
    assert ("live", "live") == (camera["state"], signal["state"])
    assert 0 <= image.age_ms < 1000  # type: ignore[operator]
    assert ("uint8", 30.0, "µV") == (camera["dtype"], camera["target"], signal["unit"])


def test_stream_is_asked_again_only_when_it_has_news(look: Look) -> None:
    """What was drawn is not drawn twice."""
    rings = TerminalRings(RIG)
    rings.add("pilot1.cam0", (16, 16), "u1", 100.0, lambda n: np.zeros((len(n), 16, 16)))
    with rings:
        look.until(lambda: bool(look.frames))
        rings.paused.add("pilot1.cam0")
        look.until(lambda: not look.shelf.news())


def test_replaced_ring_gets_a_new_number_and_a_gone_one_none(look: Look) -> None:
    """A page never mixes two generations, and nothing of a stream that ended its ring is kept."""
    numbers = []
    for shape in ((16, 16), (32, 32)):
        rings = TerminalRings(RIG)
        rings.add("pilot1.cam0", shape, "u1", 50.0, lambda n, shape=shape: np.zeros((len(n), *shape)))  # type: ignore[misc]
        with rings:
            look.until(lambda shape=shape: look.streams().get("pilot1.cam0", {}).get("shape") == shape)  # type: ignore[misc]
            numbers.append(look.streams()["pilot1.cam0"]["id"])
    look.until(lambda: look.streams() == {})

    assert [1, 2] == numbers
    assert [] == list_segments(f"{RIG}/T/")


def test_losses_are_told_by_reason_from_the_counters_of_all(look: Look) -> None:
    """What Pilots, Terminal and recorder count is added up once."""
    rings = TerminalRings(RIG)
    rings.add("pilot1.cam0", (16, 16), "u1", 50.0, lambda n: np.zeros((len(n), 16, 16)))
    with rings, Counters.create(f"{RIG}/pilot1") as pilot, Counters.create(f"{RIG}/T") as terminal:
        pilot.counter("pilot1.cam0.dropped.link").add(64)
        terminal.counter("pilot1.cam0.received_lost").add(70)
        look.until(lambda: look.streams().get("pilot1.cam0", {}).get("drops") == {"link": 64, "upstream": 6})


@pytest.mark.parametrize(
    ("counts", "losses"),
    [
        ({}, {}),
        ({"a.received_lost": 5}, {"upstream": 5}),
        ({"a.dropped.link": 5, "a.dropped.lapped": 2, "a.received_lost": 7}, {"link": 5, "lapped": 2}),
        ({"a.dropped.link": 9, "a.received_lost": 7}, {"link": 9}),
        ({"a.lapped": 3, "ab.dropped.link": 1}, {"unstored": 3}),
    ],
)
def test_terminal_s_word_fills_in_for_pilots_out_of_sight(counts: dict[str, int], losses: dict[str, int]) -> None:
    """No loss is told twice, none is kept back."""
    assert losses == losses_of(counts, "a")
