"""The Terminal's station, `python -m stations terminal`: where the messages of all pilots meet and streams come in.

| key | from | effect |
|---|---|---|
| HANDSHAKE | a Pilot, the recorder, the view | noted in `pilots`; goes on to `_T`, the conductor; a Pilot is probed |
| STATE | a Pilot | stored in ``pilots[p]["state"]``; goes on to `_T` and the Pilot's plot |
| PING | anybody | answered |
| NODES | anybody | as every station's, and what is known of the Pilots' clocks (`stations.clock_watch`) |
| INIT | anybody | every Pilot is pinged, and ``pilots[p]["state"]`` is what it answered, `silent` if it did not |
| KILL | anybody | leaves |

`stations.terminal_listens` adds what is asked of the whole rig, and what arrives as messages to be recorded.
Streams do not pass through here as messages: `pipeline.Ingest` puts their blocks, as they come, into rings.
"""

from __future__ import annotations

import logging
import math
import time
from typing import Any, Final, NoReturn

import msgspec

from pipeline import Message, PeerState
from pipeline.ingest import Ingest
from pipeline.transport import Context
from shm import Counters

from .child import Child, run_child
from .clock_watch import ClockWatch
from .rows import MessageRows
from .station import Listen, Station
from .terminal_listens import TerminalListens

PING_S: Final = 2.0
"""Seconds that a Pilot has to answer at INIT."""
log = logging.getLogger(__name__)


class TerminalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the Terminal's station is told when it is started."""

    rig: str
    id: str = "T"
    listen_endpoint: str
    data_endpoint: str
    pilots: list[str] = []
    ping_s: float = 5.0
    """Seconds between two rounds of PING; 0: none but at INIT."""
    draw_fps: float = 20.0
    """DRAWFPS: how often a plot gets the newest of what was sent as messages."""
    recorders: list[str] | None = None
    """Whose word on what is stored COHERE takes; None: its own recorder's."""
    lossless_readers: list[str] | None = None
    """Who may be a lossless reader of the rings of blocks; None: anybody."""


class TerminalStation(Station):
    """The station at the top of the tree.

    Args:
        config: who it is and where it listens.
        context: of the control plane.
    """

    def __init__(self, config: TerminalConfig, context: Context | None = None) -> None:
        self.pilots: dict[str, dict[str, Any]] = {pilot: {"state": "unknown"} for pilot in config.pilots}
        self.agent = f"_{config.id}"
        self._members: dict[str, Any] = {}
        self.clocks = ClockWatch(self.send, self._on_clock)
        self._told: dict[str, Any] = {}
        listens: dict[str, Listen] = {"HANDSHAKE": self.l_handshake, "STATE": self.l_state, "INIT": self.l_init}
        super().__init__(
            config.id, listens, listen_endpoint=config.listen_endpoint, context=context, on_peer=self._on_peer
        )

    def l_handshake(self, message: Message) -> None:
        """A member of the rig came up: note it and tell the agent."""
        if message.value.get("kind") == "pilot":
            self.pilots.setdefault(message.value["id"], {}).update(message.value)
            self.clocks.meet(str(message.value["id"]))
        self._members[message.value["id"]] = message.value
        self.send(self.agent, "HANDSHAKE", message.value)

    def l_state(self, message: Message) -> None:
        """A Pilot tells its state: store it and pass it on."""
        pilot, value = str(message.sender), message.value
        self.pilots.setdefault(pilot, {})["state"] = value["state"]
        is_news, self._told[pilot] = self._told.get(pilot) != value, value
        self.send(self.agent, "STATE", value, repeat=is_news)  # a run may wait for it
        self.send(f"P_{pilot}", "STATE", value, repeat=False)

    def l_init(self, _message: Message | None = None) -> dict[str, str]:
        """Ping every Pilot; return their states."""
        receipts = {pilot: self.send(pilot, "PING") for pilot in self.pilots}
        for pilot, receipt in receipts.items():
            there = receipt.wait(PING_S) == "done"
            self.pilots[pilot]["state"] = receipt.result(0).get("state", "idle") if there else "silent"
        return {pilot: info["state"] for pilot, info in self.pilots.items()}

    def l_nodes(self, message: Message) -> dict[str, Any]:
        """Answer who is here, and what is known of the Pilots' clocks."""
        return {**super().l_nodes(message), "clocks": msgspec.to_builtins(self.clocks.states())}

    def release(self) -> None:
        """Close everything; safe to call again."""
        self.clocks.close()
        super().release()

    def _on_clock(self, kind: str, fields: dict[str, Any]) -> None:
        self.send(self.agent, "EVENT", {"kind": kind, **fields})

    def _on_peer(self, peer: str, state: PeerState, boot: int) -> None:
        log.info("%s is %s (boot %016x)", peer, state.value, boot)
        if peer == self.agent and state is PeerState.ALIVE:  # it may have come after those who introduced themselves
            for member in list(self._members.values()):
                self.send(self.agent, "HANDSHAKE", member)
            for told in list(self._told.values()):
                self.send(self.agent, "STATE", told)


def be_terminal(child: Child, config: TerminalConfig) -> None:
    """Be the Terminal's station until the process is to leave."""
    with (
        Context() as control,
        Context() as data,  # its own I/O thread: a large image never queues before a STOP
        Counters.create(f"{config.rig}/{config.id}") as counters,
        Ingest(config.id, config.rig, data, config.data_endpoint, counters, lossless=config.lossless_readers),
        MessageRows.create(config.rig, config.id) as rows,
        TerminalStation(config, control) as station,
    ):
        asked = TerminalListens(station, station.pilots, rows, config.draw_fps, config.recorders)
        station.listens.update(asked.listens())
        station.listens["KILL"] = lambda _message: child.stop()
        ping_at = time.monotonic() + (config.ping_s or math.inf)
        while not child.stopping.wait(1.0 / config.draw_fps):
            now = time.monotonic()
            asked.on_tick(now)
            if now >= ping_at:
                station.l_init()
                ping_at = now + config.ping_s


def main() -> NoReturn:
    """Be this process; see `stations.child`."""
    run_child(TerminalConfig, be_terminal)
