"""Flags of a message say how much of it is logged."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from pipeline import Hub, NetNode
from pipeline.transport import port_of

LOGGER = "pipeline.message_log"


def test_flags_say_how_much_of_a_message_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A line at each end with the value; MINPRINT without it; NOLOG nothing; arrays by dtype and shape."""
    caplog.set_level(logging.DEBUG, LOGGER)
    with Hub("T", {"K": lambda message: None}, listen_endpoint="tcp://127.0.0.1:0") as station:
        node = NetNode("cam", "T", port_of(station.endpoint))
        try:
            node.send("T", "K", {"a": 1, "image": np.zeros((2, 3), "u1")}).result(5)
            node.send("T", "K", "secret", flags={"MINPRINT": True}).result(5)
            node.send("T", "K", "hidden", flags={"NOLOG": True}).result(5)
        finally:
            node.release()

    lines = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert lines == [
        "cam sends K: cam -> T {'a': 1, 'image': <array uint8 (2, 3)>}",
        "T receives K: cam -> T {'a': 1, 'image': <array uint8 (2, 3)>}",
        "cam sends K: cam -> T",
        "T receives K: cam -> T",
    ]


def test_a_log_line_is_short_however_long_the_value(caplog: pytest.LogCaptureFixture) -> None:
    """A log is for reading, and nothing that is sent can bloat it."""
    caplog.set_level(logging.DEBUG, LOGGER)
    with Hub("T", {"K": lambda message: None}, listen_endpoint="tcp://127.0.0.1:0") as station:
        station.send("T", "K", {"text": "x" * 100_000, "list": list(range(10_000))}).result(5)

    assert all(len(record.getMessage()) < 1000 for record in caplog.records if record.name == LOGGER)


def test_at_other_levels_messages_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """At INFO, the default, the log holds what happened, not what was said."""
    caplog.set_level(logging.INFO, LOGGER)
    with Hub("T", {"K": lambda message: None}, listen_endpoint="tcp://127.0.0.1:0") as station:
        station.send("T", "K", 1).result(5)

    assert not [record for record in caplog.records if record.name == LOGGER]
