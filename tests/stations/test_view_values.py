"""The newest values of messages become rows, whatever they are."""

from __future__ import annotations

import numpy as np

from stations.view.values import KEPT, Values


def texts(values: Values) -> list[tuple[str, str, str]]:
    return [(row["sender"], row["key"], row["text"]) for row in values.rows]


def test_a_newer_value_takes_the_place_of_the_one_before() -> None:
    """A row for each sender and key, in a fixed order."""
    values = Values()
    values.on_value("p1", {"sender": "p1.b", "key": "DATA", "value": {"lick": 1}}, 10**9)
    values.on_value("p1", {"sender": "p1.a", "key": "DATA", "value": 0.123456789}, 2 * 10**9)
    values.on_value("p1", {"sender": "p1.b", "key": "DATA", "value": {"lick": 2, "x": [1, 2]}}, 3 * 10**9)
    assert texts(values) == [("p1.a", "DATA", "0.123457"), ("p1.b", "DATA", "lick 2 · x [1, 2]")]
    assert values.rows[1]["wall_ms"] == 3000.0
    assert values.version == 3


def test_any_value_is_one_short_line() -> None:
    """Arrays by dtype and shape, long texts by their beginning, strangers' values as they are."""
    values = Values()
    values.on_value("p1", {"sender": "a", "key": "1", "value": np.zeros((2, 3), "<i2")}, 0)
    values.on_value("p1", {"sender": "b", "key": "2", "value": "x" * 10_000}, 0)
    values.on_value("p1", {"sender": "c", "key": "3", "value": {n: list(range(1000)) for n in range(1000)}}, 0)
    values.on_value("p1", 7, 0)
    assert texts(values)[0] == ("a", "1", "int16 2x3")
    assert ("p1", "", "7") in texts(values)
    assert all(len(text) <= 160 for _, _, text in texts(values))


def test_rows_are_bounded() -> None:
    """The one that was silent for longest goes."""
    values = Values()
    for n in range(KEPT + 10):
        values.on_value("p1", {"sender": f"s{n:03}", "key": "K", "value": n}, n)
    assert len(values.rows) == KEPT
    assert values.rows[0]["sender"] == "s010"


def test_a_stop_marks_the_pilots_rows_and_a_state_is_news_only_when_it_changes() -> None:
    """Signs of life do not redraw the page."""
    values = Values()
    values.on_state("p1", {"state": "running", "streams": {}}, 0)
    version = values.version
    values.on_state("p1", {"state": "running", "streams": {}}, 1)
    values.on_state("p1", "nonsense", 1)
    assert values.version == version
    values.on_value("p2", {"sender": "p2", "key": "K", "value": 1}, 0)
    values.on_stop("p1")
    assert [(row["sender"], row["stopped"]) for row in values.rows] == [("p1", True), ("p2", False)]
