"""What `pipeline run` and `demo` make of a run's result, without running one."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from stations import RunResult, load_rig
from stations.ledger import Account, RecordingAccount
from tools import browser
from tools.run import dropped, require_extras, show

RESULT = RunResult(
    Path("recordings/demo"),
    "http://127.0.0.1:1",
    {"pilot1.cam0": Account(1200, 1190, {"link": 10, "lapped": 0}, in_flight=0, balanced=True)},
)


def test_a_table_shows_reasons_of_drops(capsys: pytest.CaptureFixture[str]) -> None:
    """Each reason with its count; reasons without a loss are left out."""
    show(RESULT, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "stream       produced  stored  dropped  in flight  balanced",
        "pilot1.cam0     1 200   1 190  link 10          0  yes",
        "recording: recordings/demo",
    ]


def test_each_recording_of_a_pilot_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Where it is, what is in it, and what is wrong with it."""
    lost = Account(8, 6, {"recorder": 2}, in_flight=0, balanced=True)
    odd = Account(9, 8, {}, in_flight=1, balanced=False, problem="1 items are neither stored nor dropped")
    own = RecordingAccount("/data/demo_p1", {"p1.cam": lost, "p1.sig": odd})
    gone = RecordingAccount("/data/demo_p2", {}, "p2.recorder gave no account")
    show(RunResult(pilot_recordings={"p1": own, "p2": gone}), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        f"recording of p1, on its machine: /data/demo_p1: 14 items, dropped: recorder 2, p1.sig: {odd.problem}",
        "recording of p2, on its machine: /data/demo_p2: 0 items, dropped: 0, p2.recorder gave no account",
    ]


def test_what_waits_in_a_spool_is_told_with_where(capsys: pytest.CaptureFixture[str]) -> None:
    """And what will become of it."""
    waits = Account(5, 3, {}, in_flight=0, balanced=True, pending=2)
    show(RunResult(accounts={"pilot1.cam0": waits}), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "stream       produced  stored  dropped  pending  in flight  balanced",
        "pilot1.cam0         5       3  0              2          0  yes",
        "pilot1.cam0: 2 items wait in the spool of pilot1; they come when this rig runs again",
    ]


def test_json_is_one_object_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the recording is, where the page was, and every stream's account."""
    show(RESULT, as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    account = json.loads(line)
    assert {"recording", "view_url", "streams"} <= set(account)
    assert 1200 == account["streams"]["pilot1.cam0"]["produced"]


def test_what_does_not_balance_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """The ledger's own words stand under the table."""
    lost = Account(5, 3, {}, in_flight=0, balanced=False, problem="2 items are nowhere")
    show(RunResult(accounts={"pilot1.cam0": lost}), as_json=False)
    assert "pilot1.cam0: 2 items are nowhere" in capsys.readouterr().out.splitlines()


def test_nothing_dropped_is_a_zero() -> None:
    """No reasons, or reasons without a count."""
    assert ["0", "0", "link 3, lapped 1"] == [dropped(d) for d in ({}, {"link": 0}, {"link": 3, "lapped": 1})]


def test_a_rig_whose_extra_is_missing_is_refused_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Pilot that plays a video needs PyAV and no recorder; a Terminal needs what records and draws."""
    (tmp_path / "rig.toml").write_text('[rig]\nname = "r"\n[pilots.p.streams.v]\nsource = "video:a.mp4"\n')
    rig = load_rig(tmp_path / "rig.toml")
    monkeypatch.setattr("tools.extras.find_spec", lambda name: None if name in ("av", "h5py") else object())
    with pytest.raises(click.ClickException, match=r"a video: source needs av; run: pip install '.*\[video\]'"):
        require_extras(rig, "pilot")
    with pytest.raises(click.ClickException, match=r"needs h5py; run: pip install '.*\[terminal\]'"):
        require_extras(rig, "terminal")
    (tmp_path / "rig.toml").write_text('[rig]\nname = "r"\n[pilots.p.streams.v]\nsource = "replay:rec"\n')
    with pytest.raises(click.ClickException, match=r"a replay: source needs h5py; run: pip install '.*\[terminal\]'"):
        require_extras(load_rig(tmp_path / "rig.toml"), "pilot")


def test_no_browser_is_started_without_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over ssh or in a container a text browser would take the terminal."""
    opened: list[str] = []
    monkeypatch.setattr("tools.browser.webbrowser.open", opened.append)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    browser.open_page("http://127.0.0.1:1")
    assert [] == opened
