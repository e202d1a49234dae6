"""The clock that draws: what is new is encoded once and given to every page that can take it.

One asyncio loop serves the pages; one other thread reads, decodes and encodes.  While no page has credit the clock
ticks and does nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import Final, Protocol

from tornado.httpserver import HTTPServer

from .audience import Board
from .frames import Events, Frame, Hello, Status, ValueRows
from .web import Socket, application, listen

STATUS_S: Final = 0.25
"""Seconds between two statuses: faster than anybody reads numbers."""
MAX_VIEWERS: Final = 16
"""Pages at once; one more is refused."""


class Show(Protocol):
    """What the server draws; called in the drawing thread."""

    def news(self) -> Iterable[tuple[int, Frame]]:
        """Return the stream id and frame of each stream that has something new."""
        ...

    def status(self) -> Status:
        """Return how everything is now."""
        ...

    def events(self) -> tuple[int, Events]:
        """Return the newest events and a version that grows with each."""
        ...

    def values(self) -> tuple[int, ValueRows]:
        """Return the newest values of messages and a version that grows with each."""
        ...


class ViewServer:
    """Serves the page and draws for those who watch."""

    def __init__(self, show: Show, hello: Hello, *, drawing: Executor) -> None:
        """Args: what is drawn, the first frame of each connection, and the one thread that draws."""
        self._show = show
        self._hello = hello
        self._drawing = drawing
        self._board = Board()
        self._pages: set[Socket] = set()
        self._status_due = 0.0
        self._streams: frozenset[int] = frozenset()
        self._events_version = self._values_version = -1
        self._http: HTTPServer | None = None
        self.beats = 0
        """How often the clock has ticked, whether or not anything was drawn."""
        self.url = ""
        """Where the page is; empty before `start`."""

    def __repr__(self) -> str:
        return f"<ViewServer {self.url or 'not started'} pages={len(self._pages)}>"

    def start(self, port: int) -> str:
        """Listen on 127.0.0.1 and return the page's URL.

        Args:
            port: 0 for any free one.

        Raises:
            EndpointInUseError: another process has the port.
        """
        listener = listen(port)
        self._http = HTTPServer(application(self))
        self._http.add_socket(listener)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        return self.url

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Draw at most `drawfps` times a second until `is_over`."""
        period = 1.0 / self._hello.drawfps
        due = time.monotonic()
        while not is_over():
            await self._draw()
            self.beats += 1
            due = max(due + period, time.monotonic() - period)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def stop(self) -> None:
        """Close all connections and stop listening."""
        if self._http is not None:
            self._http.stop()
        for page in list(self._pages):
            page.close(1001, "the view stops")

    async def _draw(self) -> None:
        hungry = [page for page in self._pages if page.viewer.has_credit]
        if not hungry:
            return  # nobody could see it: nothing is read, decoded or encoded
        posts = await asyncio.get_running_loop().run_in_executor(self._drawing, self._work)
        for topic, frame in posts:
            self._board.post(topic, frame)
        for page in hungry:
            page.send_news(self._board)

    def _work(self) -> list[tuple[object, bytes]]:
        """Encode what is new; in the drawing thread."""
        news = [(number, frame.to_bytes()) for number, frame in self._show.news()]
        posts: list[tuple[object, bytes]] = []
        now = time.monotonic()
        if now >= self._status_due:
            self._status_due = now + STATUS_S
            status = self._show.status()  # after the news, so that ages are those of what is drawn
            self._forget_all_but(frozenset(stream["id"] for stream in status.streams))
            posts.append(("status", status.to_bytes()))
        version, events = self._show.events()
        if version != self._events_version:
            self._events_version = version
            posts.append(("events", events.to_bytes()))
        version, values = self._show.values()
        if version != self._values_version:
            self._values_version = version
            posts.append(("values", values.to_bytes()))
        return posts + news

    def _forget_all_but(self, streams: frozenset[int]) -> None:
        for gone in self._streams - streams:
            self._board.remove(gone)
        self._streams = streams

    def admit(self, page: Socket) -> bool:
        """Take a page in; False when there are too many."""
        if len(self._pages) >= MAX_VIEWERS:
            return False
        self._pages.add(page)
        page.give(self._hello.to_bytes())
        return True

    def dismiss(self, page: Socket) -> None:
        """Forget a page that has gone."""
        self._pages.discard(page)
