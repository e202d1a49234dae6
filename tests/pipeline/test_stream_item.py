"""Items as they are when they are put in, and as they arrive: keys of every kind stay apart, or are refused."""

from __future__ import annotations

import dataclasses
import enum
import math
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import Message, UnsendableError
from pipeline.arrays import MAX_DEPTH
from pipeline.stream_item import freeze
from pipeline.stream_unpack import StreamUnpacker


class Side(enum.Enum):
    """Enumerations travel as their values."""

    LEFT = 1
    RIGHT = "1"


def carried(*items: Any) -> list[Any]:
    """Return items as the listen of another process gets them."""
    heard: list[Message] = []
    value = {"inner_key": "K", "headers": {}, "payload": [freeze(item)[0] for item in items], "blob": None}
    sent = Message(id="1", to="T", sender="p1.task", key="STREAM", value=value)
    came = Message([bytes(frame) for frame in sent.serialize()])
    came.expand()
    unpacker = StreamUnpacker({"K": heard.append})
    assert unpacker.l_stream(came) == {"failed": 0, "error": ""}
    unpacker.close()
    return [message.value for message in heard]


def as_python(key: Any) -> Any:
    """Return a key as the README says it arrives."""
    if isinstance(key, enum.Enum):
        return as_python(key.value)
    if isinstance(key, tuple):
        return tuple(as_python(part) for part in key)
    return key.item() if isinstance(key, np.generic) else key


def exactly(key: Any) -> Any:
    """Return a key with its types: ``1 == True == 1.0``, but they are not the same."""
    if isinstance(key, tuple):
        return ("tuple", *map(exactly, key))
    return type(key).__name__, key


ATOMS = (
    st.none()
    | st.booleans()
    | st.sampled_from(
        [0, 1, -1, 2**64 - 1, -(2**63), 2**64, 0.0, 1.0, 0.5, math.inf, "1", "True", "None", "(1, 2)", ""]
    )
    | st.sampled_from(
        [b"1", b"", "\ud800", Side.LEFT, Side.RIGHT, np.int8(1), np.float32(0.1), np.str_("1"), np.bool_(1)]
    )
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.binary(max_size=3)
)
STRANGE = st.sampled_from([frozenset({1}), 1j, range(3), object(), int])
KEYS = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)
DICTS = st.dictionaries(KEYS | STRANGE, st.integers(0, 9), max_size=6)


@given(DICTS)
def test_keys_never_collide_on_the_way(item: dict[Any, int]) -> None:
    """Each arrives as what it was, type for type; a dict of which that cannot be said is refused, with the path."""
    try:
        (came,) = carried(item)
    except UnsendableError as refused:
        assert str(refused).startswith("value")  # noqa: PT017 - refusing is one of two good ends
        return
    expected = sorted((repr(exactly(as_python(key))), value) for key, value in item.items())
    assert expected == sorted((repr(exactly(key)), value) for key, value in came.items())


@given(st.dictionaries(KEYS.filter(lambda key: "Side" not in repr(key) and "np." not in repr(key)), st.none()))
def test_plain_keys_are_refused_only_for_what_no_message_holds(item: dict[Any, None]) -> None:
    """Text, bytes, numbers of 64 bits, None and tuples of them are all good keys."""
    try:
        carried(item)
    except UnsendableError as refused:
        assert "bits" in str(refused) or "surrogate" in str(refused)  # noqa: PT017 - refusing is one of two good ends


@pytest.mark.parametrize(
    "item",
    [
        {1: "a", "1": "b"},
        {(1, 2): "a", "(1, 2)": "b"},
        {True: "a", "True": "b"},
        {b"1": "a", "1": "b"},
        {None: 0, "": 1},
    ],
)
def test_keys_that_look_alike_stay_apart(item: dict[Any, Any]) -> None:
    """What text would make one stays two."""
    (came,) = carried(item)
    assert list(map(exactly, item)) == list(map(exactly, came))
    assert item == came


@pytest.mark.parametrize(
    ("item", "path"),
    [
        ({"a": {Side.LEFT: 0, 1: 1}}, r"value\['a'\]"),
        ({"a": [{Side.RIGHT: 0, "1": 1}]}, r"value\['a'\]\[0\]"),
        ({np.float32(0.1): 0, float(np.float32(0.1)) + 0.0: 1, Side.LEFT: 2, True: 3}, "value"),
    ],
)
def test_keys_that_would_become_one_are_refused(item: Any, path: str) -> None:
    """By `put`, before anything is lost; the text says where."""
    with pytest.raises(UnsendableError, match=f"^{path}: .*two keys would come back the same"):
        freeze(item)


def test_nothing_reaches_into_a_frozen_item() -> None:
    """Arrays, lists, dicts, dataclasses: changed after they were put in, sent as they were."""

    @dataclasses.dataclass
    class Trial:
        trace: Any

    array, inner = np.arange(20_000), [1]
    item = {"array": array, "inner": inner, "trial": Trial(array), "pair": (inner, array[::2])}
    raw, marks = bytearray(b"abc"), {1}
    item |= {"raw": raw, "view": memoryview(raw), "marks": marks}
    frozen, nbytes = freeze(item)
    raw[0] = 0
    marks.add(2)
    array[:] = -1
    inner.append(2)
    assert nbytes > 2 * array.nbytes
    (came,) = carried(frozen)
    np.testing.assert_array_equal(np.arange(20_000), came["array"])
    np.testing.assert_array_equal(np.arange(20_000), came["trial"]["trace"])
    np.testing.assert_array_equal(np.arange(20_000)[::2], came["pair"][1])
    assert (b"abc", b"abc", {1}) == (came["raw"], came["view"], came["marks"])
    assert ([1], [1]) == (came["inner"], came["pair"][0])


def test_what_is_nested_too_deep_for_a_batch_is_refused_when_it_is_put_in() -> None:
    """A batch adds containers of its own: an item at the limit would fail later, without a word to its sender."""
    item: Any = 0
    for _ in range(MAX_DEPTH - 2):
        item = [item]
    assert [item] == carried(item)
    with pytest.raises(UnsendableError, match="more than 98 deep"):
        freeze([item])
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(UnsendableError, match="value"):
        freeze(endless)


@pytest.mark.parametrize(
    "bad", [np.array([object()]), np.ma.masked_array([1], [True]), object(), sys.stdout, {"a": {1, 2j, None}}]
)
def test_what_cannot_be_sent_is_refused_with_the_path(bad: Any) -> None:
    """Wherever it is."""
    if isinstance(bad, dict):
        assert [bad] == carried(bad)
        return
    with pytest.raises(UnsendableError, match=r"value\['x'\]\[1\]: .*cannot be sent"):
        freeze({"x": [0, bad]})
