"""What the page's server answers: its own files, and one websocket a page.  Loopback only.

Nothing from outside names a file (the few there are were read at start), and a page is served to this machine only: the
`Host` must be a loopback name, which a foreign site cannot forge by pointing its own name at 127.0.0.1, and a websocket
must come from that same origin (tornado's `check_origin`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from importlib import resources
from typing import Final, Protocol
from urllib.parse import urlsplit

from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from pipeline.errors import EndpointInUseError

from .audience import Board, Viewer
from .errors import FrameError
from .frames import read_seen

_TYPES: Final = {
    "page.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "card.js": "text/javascript; charset=utf-8",
    "draw.js": "text/javascript; charset=utf-8",
    "wire.js": "text/javascript; charset=utf-8",
    "words.js": "text/javascript; charset=utf-8",
    "favicon.svg": "image/svg+xml",
}
_ALIASES: Final = {"": "page.html", "favicon.ico": "favicon.svg"}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

MAX_MESSAGE: Final = 1024
"""Bytes that a page may send at once; its longest message is some twenty."""
PING_S: Final = 20
"""Seconds between two pings; a page that does not answer the first before the second is gone."""

log = logging.getLogger(__name__)


class Audience(Protocol):
    """Who keeps the pages."""

    def admit(self, page: Socket) -> bool:
        """Take a page in; False when there are too many."""
        ...

    def dismiss(self, page: Socket) -> None:
        """Forget a page that has gone."""
        ...


class _Local(RequestHandler):
    """Answers this machine only, and says to browsers what the page may do."""

    def set_default_headers(self) -> None:
        """Say what a browser may do with the page."""
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        """Refuse whoever does not call this machine by a loopback name."""
        _require_loopback(self)


class File(_Local):
    """One of the page's own files."""

    def initialize(self, files: dict[str, bytes]) -> None:
        """Take the files, by name."""
        self._files = files

    def get(self, name: str) -> None:
        """Answer with one file."""
        name = _ALIASES.get(name, name)
        if name not in self._files:
            raise HTTPError(404)
        self.set_header("Content-Type", _TYPES[name])
        self.finish(self._files[name])


class Socket(WebSocketHandler):
    """One page's websocket."""

    def initialize(self, audience: Audience) -> None:
        """Take who keeps the pages."""
        self._audience = audience
        self.viewer = Viewer()

    def prepare(self) -> None:
        """Refuse whoever does not call this machine by a loopback name."""
        _require_loopback(self)

    def open(self, *_: str, **__: str) -> None:
        """Begin to watch."""
        self.set_nodelay(True)
        if not self._audience.admit(self):
            self.close(1013, "too many pages watch already")

    def on_message(self, message: str | bytes) -> None:
        """Give credit for a tick that was drawn."""
        try:
            self.viewer.on_seen(read_seen(message))
        except FrameError as error:
            log.warning("page dismissed: %s", error)
            self.close(1008, "not a frame of this page")

    def on_close(self) -> None:
        """Stop watching."""
        self._audience.dismiss(self)

    def send_news(self, board: Board) -> None:
        """Send what this page has not been given yet, as far as its credit allows."""
        for frame in self.viewer.take(board):
            self.give(frame)

    def give(self, frame: bytes) -> None:
        """Send one frame; a page that is gone is no error."""
        try:
            sent = self.write_message(frame, binary=True)
        except WebSocketClosedError:
            self._audience.dismiss(self)
        else:
            asyncio.ensure_future(sent).add_done_callback(_forgive)


def _forgive(sent: asyncio.Future[None]) -> None:
    """Look at how a frame fared, or asyncio logs a traceback for each page that went in the middle of one."""
    if not sent.cancelled():
        sent.exception()


def is_loopback(host: str) -> bool:
    """Return whether a `Host` header (with or without a port) names this machine's loopback."""
    try:
        return urlsplit(f"//{host}").hostname in _LOOPBACK
    except ValueError:
        return False


def _require_loopback(handler: RequestHandler) -> None:
    if not is_loopback(handler.request.host):
        raise HTTPError(403, "host %r is not a name of this machine", handler.request.host)


def application(audience: Audience) -> Application:
    """Return the tornado application for these pages."""
    folder = resources.files(__package__)
    files = {name: folder.joinpath(name).read_bytes() for name in _TYPES}
    return Application(
        [(r"/socket", Socket, {"audience": audience}), (r"/([a-z.]*)", File, {"files": files})],
        log_function=lambda _: None,
        websocket_max_message_size=MAX_MESSAGE,
        websocket_ping_interval=PING_S,
    )


def listen(port: int) -> socket.socket:
    """Return a socket that listens on 127.0.0.1.

    Raises:
        EndpointInUseError: another process has the port, or this user may not have it.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        text = f"VIEWPORT {port} on 127.0.0.1 cannot be used ({error.strerror}); stop what uses it or set VIEWPORT = 0"
        raise EndpointInUseError(text) from error
    listener.setblocking(False)
    return listener
