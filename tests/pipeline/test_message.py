"""Messages: the seed's attributes and dict-style access, and what values come back as."""

from __future__ import annotations

import base64
import dataclasses
import enum
import io
import pickle
import re
import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import blosc
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pipeline import (
    Hub,
    MalformedError,
    Message,
    NetNode,
    PackedArray,
    RemoteError,
    UnsendableError,
    deserialize_array,
    serialize_array,
)
from pipeline.transport import port_of

README = Path(__file__).parents[2] / "pipeline" / "README.md"


def sent(value: Any, **fields: Any) -> Message:
    """Return a message as its recipient gets it."""
    message = Message(id="a_1", to="b", sender="a", key="K", value=value, **fields)
    return Message(message.serialize(), expand_arrays=True)


class Colour(enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


@dataclasses.dataclass
class Point:
    x: int
    y: Any


class Pixel(msgspec.Struct):
    x: int
    rgb: Any = msgspec.field(name="colour")


MOMENT = datetime(2026, 11, 20, 12, 0, 0, 5, UTC)


ZONE = timezone(timedelta(hours=2))
NAIVE = datetime(2026, 11, 20, 12, 0, 0, 5)  # noqa: DTZ001 - what becomes of one without a zone
IDENTITY = uuid.UUID(int=7)

TABLE: dict[tuple[str, str], list[tuple[Any, Any]]] = {
    ("None, bool, int (-2^63 to 2^64-1), float, str, bytes", "itself"): [
        (same, same) for same in (None, True, 2**64 - 1, -(2**63), 1.5, "µ", b"\x00\xff")
    ],
    ("bytearray, memoryview", "bytes"): [(bytearray(b"ab"), b"ab"), (memoryview(b"ab"), b"ab")],
    ("list", "list"): [([1, [2]], [1, [2]]), ([], [])],
    ("tuple", "list; a tuple as a key of a dict or in a set"): [
        ((1, (2,)), [1, [2]]),
        ({(1, "a"): 3}, {(1, "a"): 3}),
        ({(1, (2,))}, {(1, (2,))}),
    ],
    ("dict: keys None, bool, int, float, str, bytes, or tuples of them", "dict"): [
        ({"a": {"b": 1}, 3: 4, None: 1, 2.5: 2, b"x": 3}, {"a": {"b": 1}, 3: 4, None: 1, 2.5: 2, b"x": 3}),
        ({Colour.RED: np.int8(1), np.int16(3): 2}, {"red": 1, 3: 2}),
    ],
    ("set, frozenset: of single values, tuples, frozensets", "itself"): [
        (same, same) for same in (set(), {1, "a", None, 2j, MOMENT}, frozenset((1,)), {frozenset((b"a",))})
    ],
    ("complex, Decimal, UUID, date, time, timedelta", "itself"): [
        (same, same)
        for same in (
            1 + 2j,
            Decimal("1.50"),
            IDENTITY,
            NAIVE.date(),
            NAIVE.time(),
            MOMENT.timetz(),
            timedelta(-3, 1, 5),
        )
    ],
    ("datetime with a zone", "datetime in UTC"): [(MOMENT, MOMENT), (MOMENT.astimezone(ZONE), MOMENT)],
    ("datetime without a zone", "itself"): [(NAIVE, NAIVE)],
    ("Enum member", "its value"): [(Colour.RED, "red"), ({"a": Colour.RED}, {"a": "red"}), (Number.ONE, 1)],
    ("dataclass, msgspec Struct", "dict"): [
        (Point(1, {2}), {"x": 1, "y": {2}}),
        (Pixel(1, (2, 3)), {"x": 1, "colour": [2, 3]}),
    ],
    ("numpy number, bool, str, bytes", "the Python one"): [
        (np.float32(2.5), 2.5),
        (np.int16(-3), -3),
        (np.bool_(True), True),
        (np.complex64(1j), 1j),
        (np.str_("a"), "a"),
        (np.bytes_(b"a"), b"a"),
    ],
    (
        "numpy array: any shape and layout, any dtype without Python objects",
        "numpy array, read-only, C order (`PackedArray` until expanded)",
    ): [
        (same, same)
        for same in (
            np.asfortranarray(np.arange(6).reshape(2, 3)),
            np.arange(6)[::-2],
            np.array(1.5, ">f8"),
            np.empty((0, 3), "<u2"),
            np.array(["a", "bcd"]),
            np.array([b"a", b""]),
            np.array(["2020", "NaT"], "M8[ns]"),
            np.array([(1, [2.0, 3.0])], [("é", ">i2"), ("b", "<f4", (2,))]),
            np.zeros(2, np.dtype([("a", "u1"), ("b", "<f8")], align=True)),
            np.ndarray(3, "<U0"),
        )
    ],
    ("numpy datetime, timedelta, record, longdouble", "0-d array"): [
        (odd, np.asarray(odd))
        for odd in (np.datetime64("2020"), np.timedelta64(3, "s"), np.longdouble(1.5), np.zeros(1, "u1,u2")[0])
    ],
    ("anything else", "refused by `send`, with the path to it"): [],
}
"""What the README says, row by row, and what shows it: what is sent, what comes back."""


def test_the_readme_says_what_each_type_comes_back_as() -> None:
    """Its table and the one above have the same rows."""
    text = README.read_text().split("### What comes back")[1].split("###")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    assert [("Python type", "comes back as"), *TABLE] == [row for row in rows if "---" not in row[0]]


@pytest.mark.parametrize(
    ("value", "comes_back"), [pytest.param(*pair, id=row[0][:30]) for row, pairs in TABLE.items() for pair in pairs]
)
def test_values_come_back_as_the_table_says(value: Any, comes_back: Any) -> None:
    """Each row of the README's table of types; alone, inside others, and as an attribute."""
    message = sent(value, extra_value=[value])
    for got in (message.value, message.extra_value[0], sent({"a": [value]}, blosc=True).value["a"][0]):
        assert type(comes_back) is type(got)
        if isinstance(got, np.ndarray):
            assert comes_back.dtype == got.dtype
            np.testing.assert_array_equal(comes_back, got)
            assert got.flags.c_contiguous
        else:
            assert comes_back == got


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


def recursive() -> list[Any]:
    value: list[Any] = [1]
    value.append({"a": [value]})
    return value


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


UNSENDABLE: list[tuple[Any, str]] = [
    ({"a": [1, {"b": object()}]}, "value['a'][1]['b']: a object cannot be sent"),
    (2**64, "value: a int of 65 bits"),
    ([0, -(2**63) - 1], "value[1]: a int"),
    ([np.array([object()])], "value[0]: arrays of dtype object"),
    ({"a": np.ma.array([1], mask=[True])}, "value['a']: an array with a mask"),
    (lambda: 0, "value: a function"),
    ({"a": (1, "\ud800")}, "value['a'][1]: a str with a lone surrogate"),
    ({"\ud800": 1}, "value['\\ud800']: a str with a lone surrogate"),
    (recursive(), "value[1]['a'][0]: a list that holds itself"),
    (nested(101), "a list more than 100 deep"),
    ({"a": {1, (2, object())}}, "value['a']{…}[1]: a object"),
    ({Point(1, 2).x: {frozenset((Number,))}}, "value[1]{…}{…}: a EnumType"),
    ({MOMENT: 1}, "a key of type datetime"),
    ({Number.ONE: 1, "red": 2, Colour.RED: 3}, "two keys would come back the same"),
    (Point(1, object()), "value.y: a object"),
    (range(3), "value: a range"),
    ([1j] * 5000, "value[4096]: more than 4096 sets"),
    (Decimal("1" * 2000), "value: a Decimal"),
    (np.zeros(65 * 2**20, np.uint8), "value: an array of 68157440 bytes"),
    ([np.zeros(60 * 2**20, np.uint8)] * 5, "value[4]: arrays of more than 268435456 bytes"),
    ([np.zeros(1)] * 257, "value: 257 arrays"),
    ("x" * (16 * 2**20), "value: 16777"),
]


@pytest.mark.parametrize(("value", "path"), UNSENDABLE, ids=[path[:40] for _, path in UNSENDABLE])
def test_what_cannot_be_sent_is_refused_with_the_path(value: Any, path: str) -> None:
    """The error names the place, not only the type."""
    with pytest.raises(UnsendableError, match=re.escape(path)):
        sent(value)


def test_what_cannot_be_sent_is_refused_in_attributes_too() -> None:
    """An extra attribute, a flag, and the message's own, which a recipient would take for malformed."""
    with pytest.raises(UnsendableError, match=r"subject\['a'\]: a object"):
        sent(1, subject={"a": object()})
    for name, value in (("flags", {1: 2}), ("ttl", "many"), ("ttl", 2**70), ("timestamp", 3), ("flags", {"A": object})):
        with pytest.raises(UnsendableError, match=f"^{name}"):
            sent(1, **{name: value})
    for key in (5, "\ud800"):
        with pytest.raises(UnsendableError, match=r"^key: "):
            Message(id="a_1", to="b", sender="a", key=key).serialize()


def test_what_cannot_be_sent_is_refused_by_send_itself() -> None:
    """At the caller, not later on a thread; what a listen returns is refused to who asked."""
    listens = {"BAD": lambda _: {"a": [lambda: 0]}}
    with (
        Hub("T", listens, listen_endpoint="tcp://127.0.0.1:0") as hub,
        NetNode("n", "T", port_of(hub.endpoint)) as node,
    ):
        with pytest.raises(UnsendableError, match=r"value\['a'\]: a object"):
            node.send("T", "BAD", {"a": object()})
        with pytest.raises(RemoteError, match=r"value\['a'\]\[0\]: a function"):
            node.request("T", "BAD")


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.sets(st.integers() .filter(lambda n: abs(n) < 2**62) | st.text()) | st.complex_numbers(allow_nan=False)
    | st.decimals(allow_nan=False, places=3) | st.uuids() | st.dates() | st.timedeltas() | st.datetimes()
    | st.datetimes(timezones=st.just(UTC)) | st.times(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(-9, 9), inner),
    max_leaves=20,
))  # fmt: skip
def test_any_mixture_of_plain_values_comes_back_equal(value: Any) -> None:
    """Nested in lists and dicts, of any size that a message is."""
    assert value == sent(value).value


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


@pytest.mark.parametrize(
    "array", [np.arange(12).reshape(3, 4), np.zeros((0, 3), ">f4"), np.array(1.5), np.asfortranarray(np.ones((2, 3)))]
)
def test_serialize_array_round_trips_without_pickle(array: Any) -> None:
    """The seed's function: blosc-compressed `.npy` in base64."""
    packed = serialize_array(array)
    assert ["NUMPY_ARRAY"] == list(packed)
    got = deserialize_array(packed)
    assert array.dtype == got.dtype
    np.testing.assert_array_equal(array, got)
    assert array.flags.f_contiguous == got.flags.f_contiguous


def test_deserialize_array_believes_no_size() -> None:
    """A pickle, a zip file, a header that claims 8 TiB, another dtype, a cut one."""

    def packed(npy: bytes) -> dict[str, str]:
        return {"NUMPY_ARRAY": base64.b64encode(blosc.compress(npy, 1)).decode()}

    def npy(header: bytes) -> bytes:
        return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header

    good = npy(b"{'descr': '<u2', 'fortran_order': False, 'shape': (2,)}")
    assert [256, 512] == list(deserialize_array(packed(good + b"\0\1\0\2")))
    wide = npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,)}")
    python = npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}") + bytes(8)
    call = npy(b"{'descr': __import__('os'), 'fortran_order': False, 'shape': (2,)}")
    negative = npy(b"{'descr': '<u2', 'fortran_order': False, 'shape': (-2,)}")
    zipped = io.BytesIO()
    np.savez(zipped, a=np.zeros(3))
    for bad in (wide, python, call, negative, good, good + b"\0", good[:20], b"", zipped.getvalue(), pickle.dumps([1])):
        with pytest.raises(MalformedError):
            deserialize_array(packed(bad))
    with pytest.raises(MalformedError, match="beyond"):
        deserialize_array({"NUMPY_ARRAY": base64.b64encode(b"\2\1\1\1" + b"\xff" * 12).decode()})
    for text in ("gASVAAAA", "\xff", "", 5):
        with pytest.raises(MalformedError):
            deserialize_array({"NUMPY_ARRAY": text})  # type: ignore[dict-item]  # what JSON may hold
    with pytest.raises(UnsendableError):
        serialize_array(np.array([object()]))


def test_status_line() -> None:
    """Who, to whom, what."""
    assert "<Message a_1 a -> b K>" == repr(Message(id="a_1", to="b", sender="a", key="K", value=1))
