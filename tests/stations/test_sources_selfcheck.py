"""Synthetic items prove themselves: any changed byte is found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stations.errors import SourceError
from stations.sources import check_items, item_numbers, open_source

Items = NDArray[np.generic]


def read(text: str, count: int, **options: object) -> Items:
    """Read so many items, in as many calls as it takes."""
    source = open_source(text, options)
    out = np.zeros((count, *source.spec.shape), source.spec.dtype)
    done = 0
    while done < count:
        got = source.read_into(out[done:])
        assert isinstance(got, int)
        done += got
    source.close()
    return out


CAMERA = read("synthetic:camera", 70, shape=[6, 8, 3])
SIGNAL = read("synthetic:signal", 40_000, channels=8)


@pytest.mark.parametrize(("items", "kind"), [(CAMERA, "camera"), (SIGNAL, "signal")])
def test_untouched_items_are_good_and_numbered(items: Items, kind: str) -> None:
    """Numbers go on past the end of the pool and of 16 bits."""
    assert [] == check_items(items, kind)
    assert list(range(len(items))) == item_numbers(items, kind).tolist()


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["camera", "signal"]), st.data())
def test_any_changed_byte_is_found(kind: str, data: st.DataObject) -> None:
    """Wherever it is, whatever it becomes."""
    items = (CAMERA if kind == "camera" else SIGNAL)[:10].copy()
    content = items.view(np.uint8).reshape(len(items), -1)
    item, byte = data.draw(st.integers(0, 9)), data.draw(st.integers(0, content.shape[1] - 1))
    content[item, byte] ^= data.draw(st.integers(1, 255))
    assert [item] == check_items(items, kind)


def test_zeros_and_swapped_channels_are_found() -> None:
    """What a torn or shifted copy looks like."""
    swapped = SIGNAL[:50].copy()
    swapped[7, [0, 1]] = swapped[7, [1, 0]]
    assert [7] == check_items(swapped, "signal")
    assert [0, 1] == check_items(np.zeros((2, 8), "<i2"), "signal")
    assert [0] == check_items(np.zeros((1, 6, 8, 3), "u1"), "camera")


def test_images_move_and_differ() -> None:
    """A stuck page can be told from a live one."""
    assert not np.array_equal(CAMERA[0, 2:], CAMERA[1, 2:])


def test_signal_waves_have_no_seam() -> None:
    """Where the pool begins again the first wave goes on."""
    wave = SIGNAL[32_768 - 50 : 32_768 + 50, 0].astype(int)
    assert np.abs(np.diff(wave)).max() < 200


def test_synthetic_source_at_full_speed_waits_for_readers() -> None:
    """With rate = "max" it gives as fast as lossless readers take."""
    source = open_source("synthetic:camera", {"rate": "max", "shape": [4, 5]})
    assert (True, False) == (source.spec.can_wait, source.spec.paced)
    source.close()


def test_image_without_room_for_its_check_is_refused() -> None:
    """12 bytes go into the stamp."""
    with pytest.raises(SourceError, match="no room"):
        open_source("synthetic:camera", {"shape": [3, 4]})


def test_unknown_kind_of_check_is_an_error() -> None:
    """It is never taken for good."""
    with pytest.raises(ValueError, match="no self-check of kind 'lidar'"):
        check_items(SIGNAL[:1], "lidar")


def test_host_reads_real_sensors() -> None:
    """One value per label: percentages within 0 and 100, network not negative."""
    source = open_source("host")
    out = np.full((4, *source.spec.shape), np.nan)
    assert 1 == source.read_into(out)
    values = dict(zip(source.spec.labels, out[0].tolist(), strict=True))
    assert 0 < values["memory %"] < 100
    assert all(0 <= value <= 100 for label, value in values.items() if label.startswith("cpu"))
    assert values["net sent B/s"] >= 0
    assert (20.0, False) == (source.spec.rate, source.spec.regular)
    source.close()
