"""A station: the one process of a machine that talks to other machines.

It routes messages between its own nodes and the station above it, and answers what concerns the station itself.
`stations.pilot` and `stations.terminal` are the two kinds; a `Station` may also be used alone, with listens of one's
own.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Self

from pipeline import Hub, Message, PeerState, Receipt
from pipeline.clock_burst import MAX_TEXT
from pipeline.transport import Context, address_of_this_machine
from shm import clock_domain

from .errors import StationError

Listen = Callable[[Message], Any]
"""Called with the whole message, on a pool of threads; what it returns (plain data) goes back to the sender."""


class Station:
    """Routes and answers messages; usable from any thread.

    Args:
        id: what the station is called, e.g. ``T``.
        listens: what to do for each key, beside PING, NODES and PROBE.
        listen_endpoint: where its nodes and the stations below reach it.
        push_endpoint: where the station above listens; None at the top.
        push_id: what the station above is called.
        context: sockets are made in it; a context of its own if None.
        on_peer: hears when a neighbour comes, is late, is lost or came back as another process.

    Raises:
        EndpointInUseError: another process listens there.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the name that users of older rigs know
        listens: Mapping[str, Listen] | None = None,
        *,
        listen_endpoint: str,
        push_endpoint: str | None = None,
        push_id: str = "",
        context: Context | None = None,
        on_peer: Callable[[str, PeerState, int], None] | None = None,
    ) -> None:
        self.id = id
        self.push_id = push_id
        self._host = socket.gethostname()[:MAX_TEXT]
        self.hub = Hub(
            id,
            {"PING": self.l_ping, "NODES": self.l_nodes, "PROBE": self.l_probe, **(listens or {})},
            listen_endpoint=listen_endpoint,
            push_endpoint=push_endpoint,
            push_id=push_id,
            context=context,
        )
        if on_peer is not None:
            self.hub.on_peer(on_peer)

    @property
    def endpoint(self) -> str:
        """Where it listens, with the real port."""
        return self.hub.endpoint or ""

    @property
    def listens(self) -> dict[str, Listen]:
        """What is done for each key; may be changed while the station runs."""
        return self.hub.listens

    def prepare_message(self, to: str | list[str], key: str, value: Any = None, **options: Any) -> Message:
        """Make a message from this station, with an id; see `pipeline.Hub.prepare_message`."""
        return self.hub.prepare_message(to, key, value, **options)

    def send(
        self, to: str | list[str] | None = None, key: str | None = None, value: Any = None, **options: Any
    ) -> Receipt:
        """Send to a node or station that is below this one, or known by another way; see `pipeline.Hub.send`.

        ``msg=`` sends a message that was made before; `to` is then its own if None.
        """
        return self.hub.send(to, key, value, **options)

    def push(
        self, to: str | list[str] | None = None, key: str | None = None, value: Any = None, **options: Any
    ) -> Receipt:
        """Send upwards, to the station above (`push_id`) unless `to` says further; otherwise as `send`."""
        return self.hub.push(to or self.push_id, key, value, **options)

    def request(self, to: str, key: str, value: Any = None, *, timeout_s: float = 10.0) -> Any:
        """Send, wait for the listen to have run, and return what it returned; see `pipeline.Hub.request`."""
        return self.hub.request(to, key, value, timeout_s=timeout_s)

    def l_ping(self, message: Message) -> dict[str, Any]:
        """Answer that the station is there, without disturbing anybody else."""
        return answer_ping(message)

    def l_probe(self, _message: Message) -> dict[str, Any]:
        """Answer what this machine's clocks show; see `pipeline.clock_burst.Stamps`."""
        received, wall = time.monotonic_ns(), time.time_ns()
        named = {"clock": clock_domain(), "host": self._host}
        return {"received": received, "wall": wall, **named, "answered": time.monotonic_ns()}

    def l_nodes(self, _message: Message) -> dict[str, Any]:
        """Answer who this station is, who is connected to it, and what it has counted."""
        return {
            "id": self.id,
            "pid": os.getpid(),
            "boot": f"{self.hub.boot:016x}",
            "endpoint": self.endpoint,
            "push_id": self.push_id,
            "peers": [
                {
                    "id": peer.id,
                    "state": peer.state.value,
                    "boot": f"{peer.boot:016x}",
                    "silent_s": peer.silent_s,
                    "is_upstream": peer.is_upstream,
                }
                for peer in self.hub.peers()
            ],
            "statistics": asdict(self.hub.statistics()),
        }

    @staticmethod
    def get_ip() -> str:
        """Return this machine's IPv4 address towards others, ``127.0.0.1`` where there is no network."""
        return address_of_this_machine()

    def release(self) -> None:
        """Close everything; safe to call again."""
        self.hub.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} at {self.endpoint}>"


def answer_ping(message: Message) -> dict[str, Any]:
    """Answer PING: who is there, as which process.  A listen for every node of a rig."""
    return {"id": message.to, "pid": os.getpid()}


def refuse_file(_message: Message) -> None:
    """Say that files are not exchanged.

    Raises:
        StationError: always.
    """
    raise StationError("this version exchanges no files; copy them by other means")
