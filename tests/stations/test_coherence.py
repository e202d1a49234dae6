"""COHERE: published against stored, by count and by last sequence."""

from __future__ import annotations

from stations.coherence import compare, published_side, stored_side
from stations.ledger import Produced, Span, Stored


def test_equal_counts_and_last_sequences_match() -> None:
    """From 10 to 20 published, all of them stored."""
    published = {"cam": published_side(Produced({"a": Span(10, 20)}))}
    stored = {"cam": stored_side({"a": Stored(10, 20, 10)})}
    assert compare(published, stored) == {
        "cam": {
            "published": {"count": 10, "last": 19},
            "stored": {"count": 10, "last": 19},
            "missing": 0,
            "match": True,
        }
    }


def test_what_is_missing_is_counted() -> None:
    """Three items were dropped on the way."""
    published = {"cam": published_side(Produced({"a": Span(0, 20)}))}
    found = compare(published, {"cam": stored_side({"a": Stored(0, 20, 17, [(4, 3, "link")])})})["cam"]
    assert (found["missing"], found["match"]) == (3, False)


def test_a_pilot_that_came_back_is_compared_by_what_it_knows() -> None:
    """Its older ring generation is the recorder's alone."""
    published = {"cam": published_side(Produced({"b": Span(0, 5)}))}
    stored = {"cam": stored_side({"a": Stored(0, 100, 100), "b": Stored(0, 5, 5)})}
    assert compare(published, stored)["cam"]["match"]


def test_a_stream_that_one_side_does_not_know_does_not_match() -> None:
    """It is listed all the same."""
    side = published_side(Produced({"a": Span(0, 5)}))
    found = compare({"cam": side}, {"sig": side})
    assert [(name, row["match"], row["missing"]) for name, row in found.items()] == [
        ("cam", False, None),
        ("sig", False, None),
    ]
    assert found["cam"]["stored"] is None
