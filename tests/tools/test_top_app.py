"""The live table: keys do what the footer says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

pytest.importorskip("textual", reason="the live table needs textual")

from textual.widgets import DataTable, Static

from tools.top.app import TopApp
from tools.top.sample import ReaderSample, RingSample, Sample

SECOND = 1_000_000_000
CAMERA = RingSample(
    name="demo/pilot1.cam0",
    holds="items",
    birth=7,
    slots=180,
    bytes=166 * 2**20,
    shape=(480, 640, 3),
    dtype="uint8",
    item_bytes=921_600,
    published=0,
    newest_ns=None,
    writer_pid=42,
    writer_alive=True,
    ended=False,
    target_hz=60.0,
    readers=(ReaderSample("pilot1.forward", "lossless", 40, alive=True, position=0),),
)


def rig() -> Callable[[], Sample]:
    """Return a sampler of two cameras, one of which is dead; a second passes with every sample."""
    ticks = count(1)

    def sample() -> Sample:
        n = next(ticks)
        live = replace(CAMERA, published=60 * n, newest_ns=n * SECOND)
        dead = replace(CAMERA, name="demo/pilot2.cam1", writer_alive=False, published=10, newest_ns=SECOND)
        return Sample(n * SECOND, (live, dead), {}, 2**30, 2**29)

    return sample


def drive(script: Callable[[TopApp, Any], Coroutine[Any, Any, None]]) -> None:
    """Run the app without a terminal and a script that presses keys."""

    async def run() -> None:
        app = TopApp(rig(), interval_s=30.0)
        async with app.run_test(size=(150, 30)) as pilot:
            app._sample()  # the second sample, without waiting for the clock
            await pilot.pause()
            await script(app, pilot)

    asyncio.run(run())


def cells(app: TopApp) -> list[list[str]]:
    """Return the text of the table."""
    table = app.query_one("#table", DataTable)
    return [[str(cell) for cell in table.get_row_at(index)] for index in range(table.row_count)]


def test_table_shows_rates_and_who_died() -> None:
    """A line a stream, with the rate of the last two samples."""

    async def script(app: TopApp, pilot: Any) -> None:
        live, dead = cells(app)
        assert ["demo/pilot1.cam0", "run", "480x640x3 uint8", "60.0", "60.0"] == live[:5]
        assert ["demo/pilot2.cam1", "dead"] == dead[:2]
        assert "1 unhealthy" in str(app.query_one("#summary", Static).content)

    drive(script)


def test_filter_sort_readers_and_details_answer_to_keys() -> None:
    """/ narrows, r turns round, 1 adds readers, Enter opens the details, Esc closes them, q leaves."""

    async def script(app: TopApp, pilot: Any) -> None:
        await pilot.press("r")
        assert ["demo/pilot2.cam1", "demo/pilot1.cam0"] == [row[0] for row in cells(app)]
        await pilot.press("1")
        assert "  └ pilot1.forward" in [row[0] for row in cells(app)]
        await pilot.press("1", "slash", *"cam1", "enter")
        assert ["demo/pilot2.cam1"] == [row[0] for row in cells(app)]
        await pilot.press("enter")
        assert "480x640x3 uint8, 180 slots" in str(app.query_one("#panel", Static).content)
        await pilot.press("escape")
        assert not app.query_one("#details").has_class("shown")
        await pilot.press("q")
        assert 0 == app.return_value

    drive(script)


def test_pause_holds_the_table_still() -> None:
    """Space stops sampling; the same key goes on."""

    async def script(app: TopApp, pilot: Any) -> None:
        await pilot.press("space")
        before = cells(app)
        app._sample()
        assert before == cells(app)
        assert "paused" in str(app.query_one("#summary", Static).content)
        await pilot.press("space")
        assert not app.is_paused

    drive(script)
