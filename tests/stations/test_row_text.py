"""Messages as text and arrays: everything that can be sent comes back from plain JSON and bytes."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pipeline import Message
from stations.recording import SegmentFormatError
from stations.recording.row_text import decode_message, encode_message

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.complex_numbers(allow_nan=False)
    | st.datetimes(timezones=st.just(UTC))
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
)
KEYS = (
    st.text(max_size=6)
    | st.sampled_from(["__array__", "__map__", "__x"])
    | st.integers(-5, 5)
    | st.tuples(st.integers(-5, 5), st.text(max_size=2))
)
SETS = st.sets(KEYS, max_size=3) | st.frozensets(
    KEYS | st.frozensets(st.integers(-(2**63), 2**64 - 1), max_size=2), max_size=3
)
VALUES = st.recursive(
    SCALARS | SETS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)
DTYPES = st.one_of(
    npst.integer_dtypes(),
    npst.floating_dtypes(),
    npst.complex_number_dtypes(),
    npst.byte_string_dtypes(min_len=1),
    npst.unicode_string_dtypes(min_len=1),
    npst.array_dtypes(npst.scalar_dtypes(), max_size=3, allow_subarrays=True),
)
ARRAYS = npst.arrays(DTYPES, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))


def through_a_file(value: Any, **extra: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Send a value, store it, read it; return the row, and its text as any program reads it."""
    sent = Message(id="1", to="T", sender="pilot1.task", key="DATA", value=value, **extra)
    text, arrays = encode_message(tuple(sent.serialize()))
    return decode_message(text, arrays), json.loads(text)


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_every_plain_value_comes_back(value: Any) -> None:
    """Also special floats, bytes, times, and dicts whose keys look like our marks."""
    arrived = Message(Message(id="1", to="T", sender="p", key="DATA", value=value).serialize()).value

    row, _ = through_a_file(value)

    assert arrived == row["value"]
    assert repr(arrived) == repr(row["value"]) or "{" in repr(arrived)  # types too; sets have no order


@settings(max_examples=150, deadline=None)
@given(st.lists(ARRAYS, max_size=3))
def test_every_array_comes_back_bit_for_bit(arrays: list[np.ndarray[Any, Any]]) -> None:
    """Any dtype, structured and big-endian too, and any shape, empty and 0-d too."""
    row, _ = through_a_file({"arrays": arrays})

    assert len(arrays) == len(row["value"]["arrays"])
    for expected, found in zip(arrays, row["value"]["arrays"], strict=True):
        assert (expected.dtype, expected.shape) == (found.dtype, found.shape)
        assert expected.tobytes() == found.tobytes()


def test_the_text_is_what_readme_says() -> None:
    """Sender, timestamp, value, and what else the message had, as JSON; arrays are where the text says."""
    image = np.arange(6, dtype=">i2").reshape(2, 3)
    row, text = through_a_file({"rt": 0.5, "image": image, "trace": image[0]}, subject="m1", trial=3)

    assert {"sender", "timestamp", "value", "extra"} == text.keys()
    assert {"subject": "m1", "trial": 3} == text["extra"] == row["extra"]
    assert {"dtype": ">i2", "shape": [2, 3], "at": 0, "bytes": 12} == text["value"]["image"]["__array__"]
    assert {"dtype": ">i2", "shape": [3], "at": 12, "bytes": 6} == text["value"]["trace"]["__array__"]
    assert "pilot1.task" == row["sender"]
    assert datetime.fromisoformat(row["timestamp"]).tzinfo is not None


def test_not_a_number_is_kept() -> None:
    """JSON has no nan; it is not made null."""
    row, text = through_a_file([math.nan, math.inf, complex(math.nan, 1)])

    assert [{"__float__": "nan"}, {"__float__": "inf"}] == text["value"][:2]
    assert math.isnan(row["value"][0])
    assert math.isnan(row["value"][2].real)


def test_what_cannot_be_read_is_kept_as_it_came() -> None:
    """Frames that are no message are stored with the reason, not lost."""
    text, arrays = encode_message((b"\xc1no message", b"buffer"))
    row = decode_message(text, arrays)

    assert b"\xc1no messagebuffer" == row["bytes"]
    assert [11, 6] == row["frames"]
    assert row["undecoded"]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.sampled_from([b"[]", b"{}", b'{"value":{"__array__":{}}}', b'{"value":{"__x":1}}']))
def test_text_of_others_is_refused_and_never_more(text: bytes) -> None:
    """A damaged text raises the one error that readers expect."""
    with pytest.raises(SegmentFormatError):
        decode_message(text, b"")
