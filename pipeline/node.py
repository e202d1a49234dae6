"""A drop-in networking object for anything that wants to send and receive messages behind a station."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from .dispatch import runs_event_loop
from .errors import AddressError
from .hub import Hub
from .listen_pool import DEFAULT_THREADS
from .listening import Listen
from .message import Message
from .message_stream import Q_SIZE as DEFAULT_Q_SIZE
from .message_stream import MessageStream
from .outbox import Patience
from .peers import Pace, PeerCallback
from .receipt import Receipt
from .transport import Context, address_of_this_machine


class NetNode(Hub):
    """A node: connects to the ROUTER of its station and talks to every address of the tree through it.

    With `router_port` others may also connect to it directly.  `send` and `request` may be called from any thread and
    inside listens; in asyncio, ``await node.send(…)`` and ``await node.request(…)``.
    """

    def __init__(  # noqa: PLR0917 - the seed's signature
        self,
        id: str,  # noqa: A002 - the seed's word
        upstream: str | None,
        port: int | None,
        listens: Mapping[str, Listen] | None = None,
        instance: bool = True,
        upstream_ip: str = "127.0.0.1",
        router_port: int | None = None,
        daemon: bool = True,
        expand_on_receive: bool = True,
        *,
        threads: int = DEFAULT_THREADS,
        patience: Patience | None = None,
        pace: Pace | None = None,
        on_peer: PeerCallback | None = None,
    ) -> None:
        """Connect; the station need not be there yet.

        Args:
            id: our address, ``station.node`` as a rule.
            upstream: the id of the station we connect to; None for none (then give `router_port`).
            port: its port.
            listens: called by key with the whole message; `node.listens` may be changed while it runs.
            instance: use the context that this process's nodes share; False makes one of its own.
            upstream_ip: its machine.
            router_port: port on which other nodes may connect to us directly; 0 takes any free one.
            daemon: whether the process may end while we run.
            expand_on_receive: whether listens get numpy arrays, or packed ones that `Message.expand` unpacks.
            threads: listens that run at once.
            patience: how long messages are tried.
            pace: heartbeat times.
            on_peer: called when a neighbour joins, is late, is lost or restarts.

        Raises:
            AddressError: `id` or `upstream` cannot be used.
            EndpointInUseError: `router_port` is taken.
        """
        self.upstream = upstream
        self.port = port
        self.upstream_ip = "127.0.0.1" if upstream_ip == "localhost" else upstream_ip
        own_context = None if instance else Context()
        try:
            super().__init__(
                id,
                listens,
                listen_endpoint=None if router_port is None else f"tcp://127.0.0.1:{router_port}",
                push_endpoint=None if upstream is None else f"tcp://{self.upstream_ip}:{port}",
                push_id=upstream,
                context=own_context,
                expand_on_receive=expand_on_receive,
                threads=threads,
                patience=patience,
                pace=pace,
                on_peer=on_peer,
                daemon=daemon,
            )
        except BaseException:
            if own_context is not None:
                own_context.close()
            raise
        self._own_context = own_context

    @property
    def ip(self) -> str:
        """The IPv4 address under which this machine reaches its network."""
        return address_of_this_machine()

    def send(  # noqa: PLR0917 - the seed's signature
        self,
        to: str | Sequence[str] | None = None,
        key: str | None = None,
        value: Any = None,
        msg: Message | None = None,
        repeat: bool = True,
        flags: Mapping[str, Any] | None = None,
        force_to: bool = False,
        *,
        deadline_s: float | None = None,
    ) -> Receipt:
        """Send a message; see `Hub.send`.

        `force_to` sends straight to the upstream socket's other end, also when `to` is connected to us directly.
        """
        if force_to and self.push_id is not None:
            return self.push(to, key, value, msg, repeat, flags, deadline_s=deadline_s)
        return super().send(to, key, value, msg, repeat, flags, deadline_s=deadline_s)

    def request(self, to: str | Sequence[str] | None, key: str, value: Any = None, *, timeout_s: float = 10.0) -> Any:
        """Send and return what the listen returns; see `Hub.request`.

        On a thread that runs an event loop, waiting would stop the loop: there an awaitable is returned instead.
        """
        if runs_event_loop():
            return self._request_async(to, key, value, timeout_s)
        return super().request(to, key, value, timeout_s=timeout_s)

    def get_stream(  # noqa: PLR0917 - the seed's signature
        self,
        id: str,  # noqa: A002 - the seed's word
        key: str,
        min_size: int = 5,
        upstream: str | None = None,
        port: int | None = None,
        ip: str | None = None,
        subject: str | None = None,
        q_size: int | None = None,
        *,
        to: str | None = None,
    ) -> MessageStream:
        """Open a stream of messages: items that are put into it arrive once and in order, many in one message.

        It has a socket and a thread of its own.  The recipient's listen for `key` is called once for each item.

        Args:
            id: names the stream among those of this node.
            key: of the listen.
            min_size: items that go together; fewer go after 0.1 s, or at END.
            upstream: the station to connect to; ours if None.
            port: its port.
            ip: its machine.
            subject: goes with every item, as does `pilot`, the station this node belongs to.
            q_size: items that may wait; 1024 if None.  `put` waits for room, then refuses and counts.
            to: the recipient, if it is not the station.

        Raises:
            AddressError: there is no station to connect to.
        """
        above = upstream or self.upstream
        if above is None:
            raise AddressError(f"{self.id} has nobody upstream; say `upstream` and `port`")
        node = NetNode(f"{self.id}_{id}", above, port or self.port, upstream_ip=ip or self.upstream_ip)
        pilot = self.id.removeprefix("_").partition(".")[0] if "." in self.id or self.id[:1] == "_" else above
        headers = {"subject": subject, "pilot": pilot, "continuous": True}
        return MessageStream(
            node, id, key, to=to or above, headers=headers, min_size=min_size, q_size=q_size or DEFAULT_Q_SIZE
        )

    def release(self, timeout_s: float = 2.0) -> None:
        """Let running listens end, say goodbye, close; idempotent, joins within `timeout_s` or so."""
        super().release(timeout_s)
        if self._own_context is not None:
            self._own_context.close()
            self._own_context = None

    async def _request_async(self, to: str | Sequence[str] | None, key: str, value: Any, timeout_s: float) -> Any:
        receipt = self.send(to, key, value, deadline_s=timeout_s * 0.9)
        done, _ = await asyncio.wait([asyncio.wrap_future(receipt.future())], timeout=timeout_s)
        return done.pop().result() if done else receipt.result(0)
