"""Messages: the seed's attributes and dict-style access, and what values come back as."""

from __future__ import annotations

import dataclasses
import enum
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pipeline import MalformedError, Message, PackedArray, UnsendableError, deserialize_array, serialize_array


def sent(value: Any, **fields: Any) -> Message:
    """Return a message as its recipient gets it."""
    message = Message(id="a_1", to="b", sender="a", key="K", value=value, **fields)
    return Message(message.serialize(), expand_arrays=True)


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: int


MOMENT = datetime(2026, 11, 20, 12, 0, 0, 5, UTC)


@pytest.mark.parametrize(
    ("value", "comes_back"),
    [
        (None, None),
        (True, True),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (1.5, 1.5),
        ("µ", "µ"),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        ([1, [2]], [1, [2]]),
        ((1, 2), [1, 2]),
        ({1}, [1]),
        (frozenset((1,)), [1]),
        ({"a": {"b": 1}, 3: 4}, {"a": {"b": 1}, 3: 4}),
        (1 + 2j, 1 + 2j),
        (MOMENT, MOMENT),
        (MOMENT.astimezone(timezone(timedelta(hours=2))), MOMENT),
        (datetime(2026, 11, 20), "2026-11-20T00:00:00"),  # noqa: DTZ001 - what a time without zone becomes
        (Colour.RED, "red"),
        (Point(1, 2), {"x": 1, "y": 2}),
        (np.float32(2.5), 2.5),
        (np.int16(-3), -3),
        (np.bool_(True), True),
        (np.complex64(1j), 1j),
    ],
)  # fmt: skip
def test_values_come_back_as_the_table_says(value: Any, comes_back: Any) -> None:
    """Each row of the README's table of types."""
    got = sent(value).value
    assert comes_back == got
    assert type(comes_back) is type(got)


arrays = npst.arrays(
    dtype=st.one_of(
        npst.scalar_dtypes(),
        npst.byte_string_dtypes(),
        npst.unicode_string_dtypes(),
        npst.array_dtypes(npst.integer_dtypes() | npst.floating_dtypes(), max_size=3),
    ),
    shape=npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    elements=None,
)


@given(array=arrays, compress=st.booleans(), step=st.sampled_from([1, 2, -1]))
def test_arrays_come_back_equal(array: Any, compress: bool, step: int) -> None:
    """Every dtype and shape: empty, 0-d, strided, structured, big-endian; raw or compressed."""
    given_array = array[::step] if array.ndim else array
    got = sent({"a": [given_array]}, blosc=compress).value["a"][0]
    assert given_array.dtype == got.dtype
    assert given_array.shape == got.shape
    assert given_array.tobytes() == got.tobytes()


def test_a_message_keeps_what_it_was_given() -> None:
    """An array changed after sending does not change the message; a packed one is sent on as it is."""
    array = np.arange(4)
    message = Message(id="a_1", to="b", sender="a", key="K", value=array)
    frames = message.serialize()
    array[:] = 9
    packed = Message(frames)
    assert isinstance(packed.value, PackedArray)
    again = Message(id="b_1", to="c", sender="b", key="K", value=packed.value)
    assert [0, 1, 2, 3] == list(sent(again.value).value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, {"b": object()}]}, "value['a'][1]['b']: a object"),
        (2**64, "value: a int"),
        ([np.array([object()])], "value[0]: arrays of dtype object"),
        (lambda: 0, "value: a function"),
        ("\ud800", "value: a str"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_path(value: Any, path: str) -> None:
    """The error names the place, not only the type."""
    with pytest.raises(UnsendableError, match=re.escape(path)):
        sent(value)
    with pytest.raises(UnsendableError, match="subject"):
        sent(1, subject=object())


def test_extra_keywords_become_attributes_and_travel() -> None:
    """`subject`, `pilot` and whatever else somebody wants."""
    got = sent(1, subject="ann", continuous=True, samples=np.arange(2))
    assert ("ann", True) == (got.subject, got["continuous"])
    assert [0, 1] == list(got.samples)
    with pytest.raises(AttributeError, match=r"has no 'weight'; it has id, to"):
        _ = got.weight


def test_a_message_can_be_used_as_a_dict() -> None:
    """Get, set, delete, `in`, len; deleting a required attribute makes it invalid."""
    message = Message(id="a_1", to="b", sender="a", key="K")
    message["subject"] = "ann"
    assert "subject" in message
    assert "ann" == message.subject
    del message["subject"]
    assert "subject" not in message
    assert message.validate()
    assert {"id", "to", "sender", "key", "value", "flags", "timestamp", "ttl"} == set(message)
    assert 8 == len(message)
    del message["key"]
    assert not message.validate()
    with pytest.raises(MalformedError, match="no key"):
        message.serialize()


def test_serialized_is_made_anew_after_a_change_only() -> None:
    """A resend costs nothing; setting an attribute is noticed."""
    message = Message(id="a_1", to="b", sender="a", key="K", value=1)
    frames = message.serialize()
    assert frames is message.serialize()
    message.value = 2
    assert message.changed
    assert 2 == Message(message.serialize()).value
    assert not message.changed


def test_timestamps_have_a_zone() -> None:
    """ISO 8601, UTC."""
    stamp = Message().get_timestamp()
    assert timedelta(0) == datetime.fromisoformat(stamp).utcoffset()


@pytest.mark.parametrize("array", [np.arange(12).reshape(3, 4), np.zeros((0, 3), ">f4"), np.array(1.5)])
def test_serialize_array_round_trips_without_pickle(array: Any) -> None:
    """The seed's function: blosc-compressed `.npy` in base64."""
    packed = serialize_array(array)
    assert ["NUMPY_ARRAY"] == list(packed)
    got = deserialize_array(packed)
    assert array.dtype == got.dtype
    np.testing.assert_array_equal(array, got)
    with pytest.raises(MalformedError):
        deserialize_array({"NUMPY_ARRAY": "gASVAAAA"})


def test_status_line() -> None:
    """Who, to whom, what."""
    assert "<Message a_1 a -> b K>" == repr(Message(id="a_1", to="b", sender="a", key="K", value=1))
