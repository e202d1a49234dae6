"""What `pipeline run` and `demo` make of a run's result, without running one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest

from tools import browser
from tools.run import dropped, require_extras, show


@dataclass
class Result:
    """A run's result as far as the commands look at it."""

    streams: dict[str, dict[str, Any]]
    recording: str = "recordings/demo"
    exit_code: int = 0
    events: list[Any] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {"recording": self.recording, "view_url": "http://127.0.0.1:1", "streams": self.streams, "exit_code": 0}


ROW = {"produced": 1200, "stored": 1190, "dropped": {"link": 10, "lapped": 0}, "in_flight": 0, "balanced": True}


def test_a_table_shows_reasons_of_drops(capsys: pytest.CaptureFixture[str]) -> None:
    """Each reason with its count; reasons without a loss are left out."""
    show(Result({"pilot1.cam0": ROW}), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "stream       produced  stored  dropped  in flight  balanced",
        "pilot1.cam0     1 200   1 190  link 10          0  yes",
        "recording: recordings/demo",
    ]


def test_nothing_dropped_is_a_zero() -> None:
    """No reasons, or reasons without a count."""
    assert ["0", "0", "link 3, lapped 1"] == [dropped(d) for d in ({}, {"link": 0}, {"link": 3, "lapped": 1})]


def test_a_rig_whose_extra_is_missing_is_refused_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Pilot that plays a video needs PyAV and no recorder; a Terminal needs what records and draws."""
    from stations import load_rig

    (tmp_path / "rig.toml").write_text('[rig]\nname = "r"\n[pilots.p.streams.v]\nsource = "video:a.mp4"\n')
    rig = load_rig(tmp_path / "rig.toml")
    monkeypatch.setattr("tools.extras.find_spec", lambda name: None if name in ("av", "h5py") else object())
    with pytest.raises(click.ClickException, match=r"a video: source needs av; run: pip install '.*\[video\]'"):
        require_extras(rig, "pilot")
    with pytest.raises(click.ClickException, match=r"needs h5py; run: pip install '.*\[terminal\]'"):
        require_extras(rig, "terminal")


def test_no_browser_is_started_without_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over ssh or in a container a text browser would take the terminal."""
    opened: list[str] = []
    monkeypatch.setattr(browser.webbrowser, "open", opened.append)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    browser.open_page("http://127.0.0.1:1")
    assert [] == opened
