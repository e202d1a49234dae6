"""A Pilot's agent, `_pilot1`: the node of a supervising process on an acquisition machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline import Message, NetNode

from .station import answer_ping
from .supervisor import Death, SupervisorEvent


class PilotAgent:
    """Stands for a Pilot's machine: tells the Terminal of deaths here, and ends everything here on KILL."""

    def __init__(
        self,
        pilot: str,
        node: Callable[[dict[str, Callable[[Message], Any]]], NetNode],
        *,
        terminal_agent: str,
        on_kill: Callable[[str], None],
        on_recording: Callable[[str, str], None],
    ) -> None:
        """Connect.

        Args:
            pilot: whose agent.
            node: builds the agent's node from its listens, connected to the Pilot's station.
            terminal_agent: address of who conducts the run.
            on_kill: hears who wants everything here to end.
            on_recording: hears that the Pilot records, and into which folder.
        """
        self._pilot = pilot
        self._to = terminal_agent
        self._on_kill = on_kill
        self._on_recording = on_recording
        self._node = node({"KILL": self.l_kill, "RECORDING": self.l_recording, "PING": answer_ping})

    def on_process(self, event: SupervisorEvent) -> None:
        """Tell the Terminal of a death or a restart on this machine."""
        if isinstance(event, Death):
            fields = {"pid": event.pid, "cause": event.cause, "outcome": event.outcome, "delay_s": event.delay_s}
            self._node.send(self._to, "EVENT", {"kind": "death", "name": event.name, **fields})
        elif event.again:
            self._node.send(self._to, "EVENT", {"kind": "restart", "name": event.name, "pid": event.pid})

    def l_kill(self, message: Message) -> None:
        """End this Pilot's processes."""
        self._on_kill(f"{message.sender} said KILL to {self._pilot}")

    def l_recording(self, message: Message) -> None:
        """The Pilot records."""
        self._on_recording(self._pilot, str(message.value["directory"]))

    def close(self) -> None:
        """Leave."""
        self._node.release()
