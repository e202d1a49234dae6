"""The page in a real browser, over real rings and the real process: it moves, it is right, it says when it is not."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pytest
from support.terminal_rings import TerminalRings, moving_image, wave

from pipeline.log import LogOptions
from stations.child import Brief
from stations.station import Station
from stations.view import ViewConfig

CHROMIUM = Path("/usr/bin/chromium")
RIG = f"viewtest{os.getpid()}"
Value = TypeVar("Value")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no /usr/bin/chromium: apt install chromium"),
]


def eventually(look: Callable[[], Value], timeout_s: float = 20.0) -> Value:
    """Look again and again until there is something true to see."""
    deadline = time.monotonic() + timeout_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not seen within {timeout_s} s"
        time.sleep(0.05)
    return seen


class View:
    """The view's process below a Terminal's station."""

    def __init__(self, folder: Path) -> None:
        self.greetings: queue.Queue[dict[str, Any]] = queue.Queue()
        self.station = Station(
            "T", {"HANDSHAKE": lambda message: self.greetings.put(message.value)}, listen_endpoint="tcp://127.0.0.1:0"
        )
        config = ViewConfig(rig=RIG, port=int(self.station.endpoint.rpartition(":")[2]))
        brief = Brief("T.view", os.getpid(), LogOptions(str(folder)), msgspec.Raw(msgspec.json.encode(config)))
        self.process = subprocess.Popen([sys.executable, "-m", "stations", "view"], stdin=subprocess.PIPE)
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(brief) + b"\n")
        self.process.stdin.flush()
        self.greeting = self.greetings.get(timeout=20)

    def close(self) -> None:
        """End the process by its stdin, as a dying parent would."""
        try:
            assert self.process.stdin is not None
            self.process.stdin.close()
            assert 0 == self.process.wait(15)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.station.release()


@pytest.fixture(scope="module")
def rings() -> Iterator[TerminalRings]:
    """A camera, 32 channels and labelled telemetry."""
    rings = TerminalRings(RIG)
    rings.add("pilot1.cam0", (120, 160, 3), "u1", 30.0, moving_image)
    rings.add("pilot2.ephys", (32,), "<i2", 30_000.0, wave(32, 30_000.0), block_items=1024, unit="µV")
    rings.add(
        "pilot1.host",
        (2,),
        "<f8",
        20.0,
        lambda n: np.stack([n % 50, 1e9 + n], 1),
        labels=("cpu0 %", "memory B"),
        unit="",
    )
    with rings:
        yield rings


@pytest.fixture(scope="module")
def view(rings: TerminalRings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    """The process; it must leave by itself at the end."""
    view = View(tmp_path_factory.mktemp("view"))
    yield view
    view.close()


@pytest.fixture(scope="module")
def wrong() -> list[str]:
    """What the browser's console complained of."""
    return []


@pytest.fixture(scope="module")
def page(view: View, wrong: list[str]) -> Iterator[Any]:
    """The page, opened once for all tests of this file: starting a browser takes longer than all of them."""
    playwright = pytest.importorskip("playwright.sync_api", reason="driving a browser needs playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(view.greeting["url"])
        eventually(lambda: page.locator("article.card").count() == 3 and page.evaluate("drawn.ticks") > 5)
        yield page
        browser.close()


def picture(page: Any, stream: str) -> str:
    """Return what a stream's canvas shows, as one text to compare."""
    script = """name => document.querySelector(`[data-stream="${name}"] canvas`).toDataURL()"""
    return str(page.evaluate(script, stream))


def pixels(page: Any, stream: str) -> list[int]:
    """Return the pixels of a stream's canvas, RGBA, read from a copy so that the page's own canvas stays as it is."""
    script = """name => {
        const canvas = document.querySelector(`[data-stream="${name}"] canvas`);
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        return [...copy.getImageData(0, 0, canvas.width, canvas.height).data];
    }"""
    found: list[int] = page.evaluate(script, stream)
    return found


def fact(page: Any, stream: str, name: str) -> str:
    """Return a number on a stream's card, as it is written."""
    return str(page.locator(f'[data-stream="{stream}"] [data-fact="{name}"]').inner_text())


def state(page: Any, stream: str) -> str:
    """Return the mark on a stream's card."""
    return str(page.locator(f'[data-stream="{stream}"]').get_attribute("data-state"))


def test_images_and_traces_move_and_are_young(page: Any) -> None:
    """Pixels of every canvas change; the newest item of each stream is a fraction of a second old."""
    before = {name: picture(page, name) for name in ("pilot1.cam0", "pilot2.ephys", "pilot1.host")}

    for name, seen in before.items():
        eventually(lambda name=name, seen=seen: picture(page, name) != seen)  # type: ignore[misc]

    for name in before:
        assert "live" == eventually(lambda name=name: state(page, name) == "live" and "live")  # type: ignore[misc]
        age = eventually(lambda name=name: fact(page, name, "age").removesuffix(" ms"))  # type: ignore[misc]
        assert 0 <= int(age) < 400
    assert "0" == fact(page, "pilot1.cam0", "drops") or "-" == fact(page, "pilot1.cam0", "drops")


def test_image_on_the_page_is_the_camera_s(page: Any) -> None:
    """Colours survive the JPEG: green grows from top to bottom, blue falls."""
    shown = np.array(pixels(page, "pilot1.cam0"), np.uint8).reshape(120, 160, 4).astype(int)

    rows = shown[:, :, :3].mean(axis=1)
    assert 8 > np.abs(rows[:, 1] - 2 * np.arange(120)).mean()
    assert 8 > np.abs(rows[:, 2] - (255 - 2 * np.arange(120))).mean()


def test_rates_labels_and_values_are_written(page: Any) -> None:
    """Every stream says what it is and how fast; named channels say their value."""
    eventually(lambda: fact(page, "pilot2.ephys", "rate").startswith(("29", "30")))
    eventually(lambda: "of 30k" in fact(page, "pilot2.ephys", "rate"))
    assert (
        "120 \N{MULTIPLICATION SIGN} 160 \N{MULTIPLICATION SIGN} 3 uint8"
        == page.locator('[data-stream="pilot1.cam0"] .form').inner_text()
    )
    rows = page.locator('[data-stream="pilot1.host"] .labels > div').all_inner_texts()
    assert ["cpu0 %", "memory B"] == [row.split("\n")[0] for row in rows]
    assert "1.0 G" in rows[1]


def test_stream_that_stops_is_marked_stale_while_others_go_on(page: Any, rings: TerminalRings) -> None:
    """Old data are never shown as new; when they come again the mark goes."""
    rings.paused.add("pilot1.cam0")
    eventually(lambda: state(page, "pilot1.cam0") == "stale")
    assert "live" == state(page, "pilot2.ephys")

    rings.paused.clear()
    eventually(lambda: state(page, "pilot1.cam0") == "live")


def test_events_and_recording_come_from_messages(page: Any, view: View) -> None:
    """What the Terminal tells is on the page within a second."""
    view.station.send("T.view", "EVENT", {"kind": "death", "name": "T.recorder", "pid": 4711, "outcome": "restarts"})
    view.station.send("T.view", "STATE", {"state": "running", "directory": "/data/demo_20261120T231400Z"})

    eventually(lambda: "death T.recorder" in page.locator("#events").inner_text())
    assert "pid 4711 · outcome restarts" in page.locator("#events").inner_text()
    assert page.locator("#events li.bad").count() == 1
    eventually(lambda: "recording 00:0" in page.locator("#recording-text").inner_text())


def test_stream_that_appears_later_gets_a_card(page: Any, rings: TerminalRings) -> None:
    """A second set of rings, made while the page is open."""
    more = TerminalRings(RIG)
    more.add("pilot3.depth", (64, 64), "<u2", 20.0, lambda n: (50 * n[:, None] + np.arange(4096)) % 4096)
    with more:
        eventually(lambda: page.locator('[data-stream="pilot3.depth"]').count() == 1)
        blank = picture(page, "pilot3.depth")
        eventually(lambda: picture(page, "pilot3.depth") != blank)
    eventually(lambda: page.locator('[data-stream="pilot3.depth"]').count() == 0)


def test_view_greets_with_the_url_and_answers_ping(view: View) -> None:
    """The Terminal learns where the page is."""
    assert ("T.view", "view", view.process.pid) == tuple(view.greeting[key] for key in ("id", "kind", "pid"))
    answer = view.station.request("T.view", "PING")
    assert view.greeting["url"] == answer["url"]
    assert json.dumps(answer)


def test_page_without_a_view_calls_nothing_live(page: Any) -> None:
    """When the connection is lost the page says so, and neither ages nor marks of before stay on it."""
    look = """new Promise(resolve => {
        disconnect();
        const wait = () => {
            if (document.body.dataset.link !== "closed") return setTimeout(wait, 5);
            const texts = (where) => [...document.querySelectorAll(where)].map((part) => part.innerText);
            resolve([texts("#link-text"), texts(".card .state"), texts('[data-fact="age"]'), texts("#recording-text")]);
        };
        wait();
    })"""

    assert [["connection lost"], ["unknown"] * 3, ["-"] * 3, ["-"]] == page.evaluate(look)
    eventually(lambda: state(page, "pilot1.cam0") == "live")


def test_console_stayed_silent(page: Any, wrong: list[str]) -> None:
    """No error and no warning while all of the above happened."""
    assert page.evaluate("drawn.ticks") > 5
    assert [] == wrong
