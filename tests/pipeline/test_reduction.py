"""Images made smaller for a slow link: of the old shape, of few values, and known by their codec."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.streams import STREAM, eventually, wire

from pipeline.block import Block
from pipeline.codec import codec_of
from pipeline.reduction import SETTINGS, codec_for, is_image, reduced, scale_of
from shm import RingWriter

SHAPE = (48, 64, 3)


@given(
    shape=st.tuples(st.integers(16, 70), st.integers(16, 70)) | st.tuples(st.integers(16, 40), st.just(33), st.just(3)),
    scale=st.sampled_from(sorted(SETTINGS)),
    dtype=st.sampled_from(["u1", "<u2", "<f4"]),
)
def test_every_pixel_is_the_first_of_its_square(shape: tuple[int, ...], scale: int, dtype: str) -> None:
    """Of any height and width, those that no scale divides among them."""
    images = np.arange(2 * np.prod(shape)).reshape(2, *shape).astype(dtype)
    found = reduced(images, scale)
    assert (found.shape, found.dtype) == (images.shape, images.dtype)
    rows, columns = (np.arange(length) // scale * scale for length in shape[:2])
    assert np.array_equal(found, images[:, rows][:, :, columns])


def test_items_that_are_no_images_are_not_taken_for_such() -> None:
    """A signal of many channels, a matrix, a volume."""
    assert [True, True] == [is_image(shape) for shape in ((480, 640), (16, 16, 4))]
    assert not any(is_image(shape) for shape in ((), (32,), (4, 4), (64, 8), (64, 64, 64, 3)))


@pytest.mark.parametrize("scale", SETTINGS)
def test_their_codec_tells_them_and_any_blosc_reads_them(scale: int) -> None:
    """What a file holds is an ordinary blosc buffer."""
    image = np.random.default_rng(1).integers(0, 256, (1, 96, 128), np.uint8)
    small = np.ascontiguousarray(reduced(image, scale)).reshape(-1)
    payload = codec_of(codec_for(scale)).encode(small, 1)
    assert memoryview(payload).nbytes < small.nbytes / scale**2 * 2
    out = np.empty_like(small)
    codec_of("blosc").decode_into(payload, out)
    assert np.array_equal(small, out)
    assert [scale, 1, 1] == [scale_of(name) for name in (codec_for(scale), "blosc", "raw")]


def test_a_stream_over_its_budget_comes_smaller_then_fewer_and_every_item_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Down to thumbnails; the Terminal gets images of the old shape, and of each that it does not get the reason."""
    monkeypatch.setattr("pipeline.ladder.DOWN_S", 0.05)
    random, images = np.random.default_rng(2), {}
    meta = {"rate": 1000.0, "regular": False}
    with (
        wire() as both,
        RingWriter.create(f"{both.rig}/{STREAM}", shape=SHAPE, dtype="u1", slots=64, meta=meta) as ring,
    ):
        both.forwarder.add(STREAM, lossless=False, max_bytes_s=20_000.0, slots=256)
        both.forwarder.start(STREAM)

        def goes_as_thumbnails() -> bool:
            images[ring.published] = random.integers(0, 256, SHAPE, np.uint8)
            ring.write(images[ring.published])
            return both.forwarder.state()[STREAM].rung.name == "thumbnails"

        eventually(goes_as_thumbnails)
        at = ring.published
        eventually(lambda: goes_as_thumbnails() and both.blocks()[-1].header.first >= at)
        both.forwarder.stop(STREAM)
        both.eventually_finished()
        blocks = both.blocks()
        dropped = both.forwarder.state()[STREAM].dropped
    scales = {scale_of(block.header.codec) for block in blocks if block.header.count}
    assert {1, 8} <= scales <= {1, 2, 8}
    for block in blocks:
        _assert_is(block, images)
    assert len(images) == sum(block.header.count + block.header.lost for block in blocks)
    assert {"link": len(images) - sum(block.header.count for block in blocks)} == dropped


def _assert_is(block: Block, images: dict[int, np.ndarray]) -> None:
    for sequence, image in enumerate(block.decode(), block.header.first):
        scale = scale_of(block.header.codec)
        assert np.array_equal(reduced(images[sequence][None], scale)[0] if scale > 1 else images[sequence], image)
