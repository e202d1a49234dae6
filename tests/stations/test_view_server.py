"""The page's server: who may ask, what is answered, and what nobody's absence costs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest

pytest.importorskip("tornado", reason="the page needs tornado")

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from pipeline.errors import EndpointInUseError
from stations.view.audience import WINDOW
from stations.view.frames import Events, Frame, Hello, Image, Status, Tick, ValueRows
from stations.view.server import MAX_VIEWERS, ViewServer
from stations.view.web import is_loopback

pages: list[WebSocketClientConnection] = []
"""All that a test opened; closed at its end."""


class Show:
    """A rig of one camera that has a new image whenever it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self._sequences = count()

    def news(self) -> Iterator[tuple[int, Frame]]:
        """Return the next image."""
        self.asked += 1
        yield 1, Image(1, next(self._sequences), 1.0, 1, 1, 0.0, 255.0, b"jpeg")

    def status(self) -> Status:
        """Return one stream."""
        return Status(0.0, {"state": "idle", "name": "", "seconds": None}, [{"id": 1, "name": "pilot1.cam0"}])

    def events(self) -> tuple[int, Events]:
        """Return no events."""
        return 0, Events([])

    def values(self) -> tuple[int, ValueRows]:
        return 0, ValueRows([])


@asynccontextmanager
async def serving(show: Show) -> AsyncIterator[ViewServer]:
    """Run a server on a free port."""
    over = asyncio.Event()
    with ThreadPoolExecutor(1) as drawing:
        server = ViewServer(show, Hello("demo", "T", 100.0), drawing=drawing)
        server.start(0)
        drawer = asyncio.ensure_future(server.run(over.is_set))
        try:
            yield server
        finally:
            over.set()
            await drawer
            while pages:
                pages[-1].close()
                await closed(pages[-1])
            server.stop()


def run(script: Callable[[ViewServer, Show], Coroutine[Any, Any, None]]) -> None:
    """Run a script beside a server, ten seconds at most."""

    async def main() -> None:
        show = Show()
        async with asyncio.timeout(10), serving(show) as server:
            await script(server, show)

    asyncio.run(main())


async def watch(server: ViewServer, origin: str | None = None) -> WebSocketClientConnection:
    """Open a websocket as a page would."""
    headers = {"Origin": origin or server.url.rstrip("/")}
    page = await websocket_connect(HTTPRequest(server.url.replace("http", "ws") + "socket", headers=headers))
    pages.append(page)
    return page


async def closed(page: WebSocketClientConnection) -> int | None:
    """Read to the end of a connection and return the code that it ended with."""
    while await page.read_message() is not None:
        pass
    page.close()  # tornado's client wants to hear it from us too
    pages.remove(page)
    return page.close_code


async def beats(server: ViewServer, number: int) -> None:
    """Wait until the drawing clock has ticked so many times more."""
    until = server.beats + number
    while server.beats < until:
        await asyncio.sleep(0.005)


async def next_tick(page: WebSocketClientConnection) -> tuple[int, list[int]]:
    """Return the number of the next tick and the kinds of the frames before it."""
    kinds: list[int] = []
    while True:
        frame = await page.read_message()
        assert isinstance(frame, bytes)
        if frame[0] == Tick.KIND:
            return Tick.from_bytes(frame).number, kinds
        kinds.append(frame[0])


def test_every_file_of_the_page_is_served_with_a_strict_policy() -> None:
    """The browser may load what we wrote, from here, and nothing else."""

    async def script(server: ViewServer, show: Show) -> None:
        client = AsyncHTTPClient()
        for name in (
            "",
            "page.css",
            "page.js",
            "card.js",
            "draw.js",
            "wire.js",
            "words.js",
            "favicon.svg",
            "favicon.ico",
        ):
            answer = await client.fetch(server.url + name)
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert "unsafe" not in answer.headers["Content-Security-Policy"]
            assert answer.body

    run(script)


def test_nothing_else_can_be_asked_for() -> None:
    """No path leads out of the list of files, and no foreign name of this machine is accepted."""

    async def script(server: ViewServer, show: Show) -> None:
        client = AsyncHTTPClient()
        for name, headers, code in (
            ("server.py", {}, 404),
            ("../server.py", {}, 404),
            ("%2e%2e/server.py", {}, 404),
            ("", {"Host": "rig.example.org"}, 403),
        ):
            with pytest.raises(HTTPClientError) as refused:
                await client.fetch(HTTPRequest(server.url + name, headers=headers))
            assert code == refused.value.code

    run(script)


def test_websocket_of_another_origin_is_refused() -> None:
    """A page of the internet cannot look through the visitor's browser."""

    async def script(server: ViewServer, show: Show) -> None:
        for origin in ("http://evil.example", "http://127.0.0.1:1"):
            with pytest.raises(HTTPClientError) as refused:
                await watch(server, origin)
            assert 403 == refused.value.code
        assert 0 == show.asked

    run(script)


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1:80", True),
        ("localhost", True),
        ("[::1]:8", True),
        ("127.0.0.1.evil.org", False),
        ("[", False),
        ("", False),
    ],
)
def test_only_loopback_names_are_ours(host: str, answer: bool) -> None:
    """The Host header decides; a name that merely looks like it does not."""
    assert answer == is_loopback(host)


def test_nothing_is_drawn_while_nobody_looks() -> None:
    """Without a page, and with a page that has no credit left, the rig is not even asked."""

    async def script(server: ViewServer, show: Show) -> None:
        await beats(server, 10)
        assert 0 == show.asked

        page = await watch(server)
        for _ in range(WINDOW):
            await next_tick(page)
        asked = show.asked
        await beats(server, 10)
        assert asked == show.asked

        await page.write_message('{"seen": 2}')
        await next_tick(page)
        assert show.asked > asked

    run(script)


def test_page_hears_hello_then_status_then_images() -> None:
    """Each tick brings the newest, in the order in which a page can use it."""

    async def script(server: ViewServer, show: Show) -> None:
        page = await watch(server)

        assert (1, [Hello.KIND, Status.KIND, Events.KIND, ValueRows.KIND, Image.KIND]) == await next_tick(page)
        assert (2, [Image.KIND]) == await next_tick(page)

    run(script)


def test_slow_page_does_not_slow_another() -> None:
    """One never answers, the other gets every drawing."""

    async def script(server: ViewServer, show: Show) -> None:
        slow, quick = await watch(server), await watch(server)
        for _ in range(30):
            number, _kinds = await next_tick(quick)
            await quick.write_message(f'{{"seen": {number}}}')

        assert number >= 30
        assert [1, 2] == [(await next_tick(slow))[0] for _ in range(WINDOW)]

    run(script)


def test_page_that_lies_is_dismissed_and_the_others_stay() -> None:
    """What is not a frame closes that connection only."""

    async def script(server: ViewServer, show: Show) -> None:
        honest = await watch(server)
        for lie in ('{"seen": 99}', "hello", "x" * 5000):
            liar = await watch(server)
            await liar.write_message(lie)
            assert await closed(liar) in {1008, 1009}
        assert 1 == (await next_tick(honest))[0]

    run(script)


def test_too_many_pages_are_refused() -> None:
    """The seventeenth is told so."""

    async def script(server: ViewServer, show: Show) -> None:
        for _ in range(MAX_VIEWERS):
            await watch(server)
        late = await watch(server)

        assert 1013 == await closed(late)

    run(script)


def test_port_in_use_is_named() -> None:
    """The error says which port and what to do."""
    with socket.socket() as other, ThreadPoolExecutor(1) as drawing:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        server = ViewServer(Show(), Hello("demo", "T", 20.0), drawing=drawing)
        with pytest.raises(EndpointInUseError, match=f"VIEWPORT {port}"):
            server.start(port)
