"""What VALUE and `--at` stand for, without a rig."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from tools import exits, reach
from tools.boundary import run_command
from tools.cli import pipeline
from tools.reach import Place, read_place
from tools.send import plain, read_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-5.5", -5.5),
        ('{"a": [true, null]}', {"a": [True, None]}),
        ('"3"', "3"),
        ("running", "running"),
        ("NaN", "NaN"),
        ("", ""),
        ("{oops", "{oops"),
    ],
)
def test_a_value_is_json_or_else_text(text: str, value: Any) -> None:
    """What is no JSON is taken as it is written."""
    assert value == read_value(text)


def test_a_file_holds_json_or_text_or_bytes(tmp_path: Path) -> None:
    """In this order."""
    contents = {b'{"a": 1}': {"a": 1}, b"words": "words", b"\xff\x00": b"\xff\x00"}
    for content, value in contents.items():
        (tmp_path / "file").write_bytes(content)
        assert value == read_value(f"@{tmp_path / 'file'}")


def test_answers_of_every_kind_can_be_printed() -> None:
    """Arrays, sets, bytes and times of an answer are made plain."""
    assert [[0, 1], [1, 2], "ab", "2.5"] == [
        plain(np.arange(2)),
        plain({2, 1}),
        plain(b"ab"),
        str(plain(np.float64(2.5))),
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("tcp://10.0.0.5:5560/pilot1", Place("pilot1", "10.0.0.5", 5560)),
        ("tcp://lab-7:5560", Place("T", "lab-7", 5560)),
        ("localhost:5560/T", Place("T", "localhost", 5560)),
    ],
)
def test_a_place_is_host_port_and_id(text: str, place: Place) -> None:
    """The id may be left out for a Terminal of the usual name."""
    assert place == read_place(text)


@pytest.mark.parametrize("text", ["nonsense", "tcp://host", "tcp://host:x/T", "http://host:1/T", "tcp://:5/T", ""])
def test_what_is_no_place_is_refused(text: str) -> None:
    """The text is named, and how one is written."""
    with pytest.raises(click.BadParameter, match=r"tcp://HOST:PORT/ID"):
        read_place(text)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("send", "T", "PING", "--jsno"), "--jsno"),
        (("send", "--timeout", "0", "T", "PING"), "--timeout"),
        (("ping", "-c", "-1"), "-1"),
        (("node", "list", "--rig", "a", "--at", "tcp://h:1/T"), "--rig and --at"),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], named: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What was wrong is named, before anything is looked for."""
    assert exits.BAD_INPUT == run_command(pipeline, list(words), "pipeline")
    out, err = capfd.readouterr()
    assert (1, "") == (err.count("\n"), out)
    assert named in err


def test_nobody_at_the_place_is_one_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The station and where it was looked for are named."""
    monkeypatch.setattr(reach, "CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert exits.BAD_INPUT == run_command(pipeline, ["ping", "--at", f"tcp://127.0.0.1:{port}/T"], "pipeline")
    err = capfd.readouterr().err
    assert f"station T at tcp://127.0.0.1:{port} did not answer" in err
