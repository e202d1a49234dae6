"""The chronicle: what other processes say, as rows of the page."""

from __future__ import annotations

from stations.view.chronicle import KEPT, Chronicle

SECOND = 1_000_000_000


def test_event_names_whom_it_concerns_and_keeps_the_rest_as_text() -> None:
    """A death is a warning with its details."""
    chronicle = Chronicle()

    chronicle.on_event({"kind": "died", "name": "T.recorder", "pid": 12, "code": -9}, 5 * SECOND)

    assert [
        {"wall_ms": 5000.0, "kind": "died", "who": "T.recorder", "text": "pid 12 · code -9", "bad": True}
    ] == chronicle.events


def test_events_of_any_shape_are_shown_and_bounded() -> None:
    """What is not a mapping, or has no kind, is still a line; only the newest are kept."""
    chronicle = Chronicle()
    for value in (None, 3, "words", {}, {"kind": " "}, {"kind": "a", "text": "x" * 5000}):
        chronicle.on_event(value, 0)
    assert 400 == len(chronicle.events[-1]["text"])

    for number in range(300):
        chronicle.on_event({"kind": "gap", "first": number}, 0)

    assert KEPT == len(chronicle.events)
    assert "first 299" == chronicle.events[-1]["text"]


def test_recording_runs_from_start_to_stop() -> None:
    """The page counts seconds while the rig records, and names the folder."""
    chronicle = Chronicle()
    assert "unknown" == chronicle.recording(0)["state"]

    chronicle.on_state({"state": "standby", "directory": ""}, 5 * SECOND)
    assert {"state": "standby", "name": "", "seconds": None} == chronicle.recording(9 * SECOND)

    chronicle.on_state({"state": "recording", "recording": "/data/demo_20261120T231400Z"}, 10 * SECOND)
    chronicle.on_state({"state": "recording"}, 11 * SECOND)
    assert {"state": "recording", "name": "demo_20261120T231400Z", "seconds": 5.0} == chronicle.recording(15 * SECOND)

    chronicle.on_state({"state": "idle"}, 20 * SECOND)
    assert ("idle", None) == (chronicle.recording(30 * SECOND)["state"], chronicle.recording(30 * SECOND)["seconds"])
