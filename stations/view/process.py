"""The view's process, `python -m stations view`: a node of the Terminal that serves a page.

| key | value | what it does |
|---|---|---|
| EVENT | `kind` and what else is to be told | a row among the page's events |
| START, STOP, STATE | `state`, `directory`, `seconds` | the page says whether the rig records, and where |
| PING | | answers with the page's URL |
| KILL | | leaves |

`plots` are nodes of their own, one a Pilot.  Three threads: this one serves pages and keeps the clock, one draws, the
nodes' listens write to the chronicle and the values.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

from pipeline import Message, NetNode, PeerState
from stations.child import Child, run_child

from .chronicle import Chronicle
from .frames import Hello
from .plots import open_plots
from .server import ViewServer
from .settings import ViewConfig
from .shelf import Shelf
from .values import Values


def view(child: Child, config: ViewConfig) -> None:
    """Serve the page until the process is to leave."""
    asyncio.run(_serve(child, config))


async def _serve(child: Child, config: ViewConfig) -> None:
    chronicle, values = Chronicle(), Values()
    shelf = Shelf(config.rig, config.terminal, chronicle, values=values)
    with ThreadPoolExecutor(1, thread_name_prefix="draw") as drawing:
        server = ViewServer(shelf, Hello(config.rig, config.terminal, config.draw_fps), drawing=drawing)
        url = server.start(config.view_port)
        node_id = f"{config.terminal}.view"
        listens = _listens(child, chronicle, url)
        greeting = _handshake(node_id, url)

        def greet(_peer: str, state: PeerState, _boot: int) -> None:
            if state is PeerState.ALIVE:  # the Terminal came, or came back
                node.send(key="HANDSHAKE", value=greeting)

        node = NetNode(node_id, config.terminal, config.port, listens, upstream_ip=config.ip)
        node.on_peer(greet)
        plots = open_plots(values, config.pilots, config.terminal, config.ip, config.port)
        try:
            await server.run(child.stopping.is_set)
        finally:
            server.stop()
            for member in (node, *plots):
                member.release()
            drawing.submit(shelf.close).result()


def _listens(child: Child, chronicle: Chronicle, url: str) -> dict[str, Any]:
    """Return what to do for each key; called on the node's threads, one message of a key after the other."""

    def on_state(message: Message, state: str | None = None) -> None:
        value = dict(message.value or {})
        chronicle.on_state(value if state is None else {**value, "state": state}, time.monotonic_ns())

    return {
        "EVENT": lambda message: chronicle.on_event(message.value, time.time_ns()),
        "START": lambda message: on_state(message, "recording"),
        "STOP": lambda message: on_state(message, "idle"),
        "STATE": on_state,
        "PING": lambda _message: {"url": url, "pid": os.getpid()},
        "KILL": lambda _message: child.stop(),
    }


def _handshake(node_id: str, url: str) -> dict[str, Any]:
    return {
        "id": node_id,
        "kind": "view",
        "boot": secrets.token_hex(8),
        "pid": os.getpid(),
        "url": url,
        "state": "drawing",
        "streams": {},
    }


def main() -> NoReturn:
    """Be this process; see `stations.child`."""
    run_child(ViewConfig, view)
