"""A Pilot's station, `python -m stations pilot`: beside the sensors, under the Terminal.

| key | from | effect |
|---|---|---|
| HANDSHAKE | a sensor | noted; if the Pilot runs, or stands by and the source is live, the sensor is told to START |
| | the Pilot's own recorder | noted; if the Pilot records, the recorder is told to go on |
| ARM | the Terminal | it stands by: sensors of live sources acquire, nothing is forwarded |
| START | the Terminal | its streams are forwarded and their sensors acquire; an order says from when on |
| STOP | the Terminal | sensors stop, what they published is forwarded to the last item; answers the account |
| STATE | anybody | answers the state of every stream |
| DURABLE | the recorder | the spool forgets what the recording holds on its disk |
| PING | anybody | answered by the station alone |
| KILL | the Terminal | handed to the Pilot's agent, which ends every process of this Pilot |

`stations.pilot_listens` adds what is asked of its sensors, `stations.lineage` what concerns Pilots below this one and
the keys that go on from it.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import msgspec

from pipeline import DuplicateIdError, Message, PeerState, PipelineError, Receipt
from pipeline.forward import Forwarder, ForwardReport
from pipeline.forward_feed import Origin
from pipeline.spool import Spool
from pipeline.transport import Context
from shm import Counters

from .child import Child, run_child
from .conductor_effects import Handshake
from .config.naming import TIME
from .errors import StationError
from .ledger import PilotAccount
from .lineage import Lineage
from .own_recording import OwnRecording, look_at_rings
from .pilot_config import Durable, PilotConfig
from .pilot_listens import PilotListens
from .pilot_streams import PilotStreams, produced
from .station import Station
from .taken import AddressGuard

SENSOR_S: Final = 8.0
"""Seconds that a sensor has to finish what it is reading when it is told to STOP."""
GATHER_S: Final = 5.0
"""Seconds that a Pilot waits for its sensors before it introduces itself without those that are missing."""
DRAIN_S: Final = 15.0
"""Seconds in which everything published must have reached the Terminal after STOP."""
SETTLE_S: Final = 2.0
"""Seconds of those in which what the Terminal has must be on its disk, or in the spool."""
LOOK_S: Final = 0.05
log = logging.getLogger(__name__)

State = Literal["idle", "standby", "running", "stopping"]


class PilotStation(Station):
    """The station of an acquisition machine.

    Args:
        config: who it is, where everybody is, what it forwards.
        forwarder: carries the streams.
        context: of the control plane.
    """

    def __init__(self, config: PilotConfig, forwarder: Forwarder, context: Context | None = None) -> None:
        self.config = config
        self.state: State = "idle"
        self._forwarder = forwarder
        self._boot = secrets.token_hex(8)
        self._streams = PilotStreams(config.streams)
        self._lock = threading.Lock()
        self._run = ""
        self._began = time.monotonic()
        self._is_told = True
        """Whether the station above, as it is now, knows of us."""
        self._own = (
            OwnRecording(self._ask_recorder, config.id, Path(config.output), config.streams)
            if config.recorder
            else None
        )
        for stream, plan in config.streams.items():
            forwarder.add(
                stream,
                ring=plan.ring,
                codec=plan.codec,
                lossless=plan.lossless,
                seconds=plan.seconds,
                max_bytes_s=plan.max_bytes_s,
            )
        self._lineage = Lineage(self, config.children, config.forward, self._introduce_again)
        asked = PilotListens(self, config.terminal, forwarder, sorted(self._streams.with_sensor))
        super().__init__(
            config.id,
            {
                **self._lineage.listens(),
                **asked.listens(),
                "HANDSHAKE": self.l_handshake,
                "ARM": self.l_arm,
                "START": self.l_start,
                "STOP": self.l_stop,
                "STATE": self.l_state,
                "DURABLE": self.l_durable,
                "KILL": self.l_kill,
            },
            listen_endpoint=config.listen_endpoint,
            push_endpoint=config.push_endpoint,
            push_id=config.parent or config.terminal,
            context=context,
            on_peer=self._on_peer,
        )

    def introduce(self) -> bool:
        """Tell the Terminal who is here, whenever it comes or comes back, once the sensors are here too.

        Returns:
            Whether it was told now.
        """
        awaited = self._streams.with_sensor - set(self._streams.sensors)
        missing = awaited or (self._own is not None and not self._own.is_here)
        if self._is_told or (missing and time.monotonic() - self._began < GATHER_S):
            return False
        self._is_told = True
        who = Handshake(self.id, "pilot", self._boot, os.getpid(), self.state, prefs=self.config.shared)
        self.push(self.config.terminal, "HANDSHAKE", msgspec.to_builtins(who))
        return True

    def l_handshake(self, message: Message) -> None:
        """A sensor or the recorder came up: if the Pilot runs, so should they."""
        sensor = msgspec.convert(message.value, Handshake)
        if sensor.kind == "recorder":
            if self._own is not None and sensor.id == self.config.recorder:
                self._own.met(sensor.boot)
            return
        with self._lock:
            self._streams.sensors[sensor.id] = sensor
            if self.state == "running" or (self.state == "standby" and not self._streams.is_held(sensor.id)):
                self.send(sensor.id, "START")

    def l_arm(self, _message: Message) -> dict[str, Any]:
        """Stand by: forward nothing, let live sources acquire; those that can wait, or end, have yet to begin.

        An ARM while it stands by changes nothing; one while it runs ends that run as a START of another does.
        """
        with self._lock:
            if self.state != "standby":
                was_running, self.state, self._run = self.state == "running", "standby", ""
                self._streams.take_order(None, 0)
                for stream in self._streams:
                    self._forwarder.watch(stream)
                for sensor in self._streams.sensors:
                    if not self._streams.is_held(sensor):
                        self.send(sensor, "START")
                    elif was_running:
                        self.send(sensor, "STOP")
        return self.stream_states()

    def l_start(self, message: Message) -> dict[str, Any]:
        """Forward every stream from here on, or from where an order says, then let the sensors acquire.

        A START of the run that runs changes nothing.  One of another run, whose Terminal knows nothing of this one,
        begins that run.
        """
        now_ns = time.monotonic_ns()
        is_resumed, run = bool(message.value.get("resume")), str(message.value.get("run", ""))
        with self._lock:
            if self.state != "running" or run != self._run:
                self._streams.take_order(None if is_resumed else message.value.get("order"), now_ns)
                origins = self._record(message.value, resume=is_resumed)
                self._run = run
                for stream in self._streams:
                    origin: Origin = "resume" if is_resumed else origins.get(stream, self._streams.origin(stream))
                    self._forwarder.start(stream, origin, run=run)
                self.state = "running"
                for sensor in self._streams.sensors:
                    self.send(sensor, "START")
        return self.stream_states()

    def l_stop(self, message: Message) -> dict[str, Any]:
        """Stop the sensors, forward what they published, answer what was produced.

        Returns:
            `PilotAccount`, plain data.
        """
        run = str((message.value or {}).get("run", ""))
        with self._lock:
            if self.state == "idle" and run:  # this process came back after a death: the run goes on only to end
                self._run = run
                with suppress(StationError, PipelineError):  # its account says that there is none
                    self._record(message.value or {}, resume=True)
                for stream in self._streams:
                    self._forwarder.start(stream, "resume", run=self._run)
            self.state = "stopping"
        counts = self._stop_sensors()
        ends = look_at_rings(self._streams.rings) if self._own is not None else {}
        for stream in self._streams:
            count, seen = counts.get(stream), next(iter(ends.get(stream, {}).values()), None)
            self._forwarder.stop(stream, count["published"] if count else seen)
        with ThreadPoolExecutor(1, f"recording of {self.id}") as beside:
            recording = beside.submit(self._own.stop, ends) if self._own is not None else None
            reports = self._drain()
        kept = self._forwarder.kept()
        with self._lock:
            if self.state == "stopping":  # else another Terminal has begun a run meanwhile
                self.state = "idle"
        streams = {
            stream: produced(report, counts.get(stream), kept.get(stream, {})) for stream, report in reports.items()
        }
        account: dict[str, Any] = msgspec.to_builtins(PilotAccount(streams, recording.result() if recording else None))
        return account

    def l_state(self, _message: Message | None = None) -> dict[str, Any]:
        """Answer where every stream stands."""
        return {"state": self.state, "streams": self.stream_states()}

    def l_durable(self, message: Message) -> None:
        """Take what a recording holds on its disk."""
        told = msgspec.convert(message.value, Durable)
        self._forwarder.durable(told.run, told.ranges(), told.full)

    def l_ping(self, message: Message) -> dict[str, Any]:
        """Answer that the Pilot is there and what it does, without asking its sensors."""
        return {**super().l_ping(message), "state": self.state}

    def l_kill(self, _message: Message) -> None:
        """Hand KILL to the agent, which can end this process too."""
        self.send(f"_{self.id}", "KILL")

    def stream_states(self) -> dict[str, Any]:
        """Return `StreamState` of every stream, plain data."""
        return self._states(self._forwarder.state())

    def _states(self, reports: Mapping[str, ForwardReport]) -> dict[str, Any]:
        return self._streams.states(reports, is_idle=self.state in ("idle", "standby"))

    def look(self) -> tuple[State, dict[str, Any]]:
        """Look at the streams, and return what the Terminal must hear of when it changes.

        Of what is pending that is only whether there is any.
        """
        reports = self._forwarder.state()
        for change in self._streams.ladder_changes(reports):
            self.push(f"_{self.config.terminal}", "EVENT", change)
        states = self._states(reports)
        return self.state, {stream: {**told, "pending": told["pending"] > 0} for stream, told in states.items()}

    def tell_state(self, *, repeat: bool = True) -> None:
        """Tell the Terminal where everything stands; confirmed, unless it is only a sign of life."""
        self.push(
            self.config.terminal, "STATE", value={"state": self.state, "streams": self.stream_states()}, repeat=repeat
        )

    def _record(self, told: Mapping[str, Any], *, resume: bool) -> dict[str, int]:
        """Begin the Pilot's own recording; return where the run begins in the rings that are there.

        Both recordings then begin at the same item.  Empty without an own recording, and where the run goes on.
        """
        if self._own is None:
            return {}
        name = str(told.get("recording", "")) or f"{self.config.rig}_{datetime.now(UTC):{TIME}}"
        if resume:
            self._own.start(name, {}, resume=True)
            return {}
        origins = look_at_rings(self._streams.rings, self._streams.ordered_since())
        directory = self._own.start(name, origins, resume=False)
        said = {"kind": "pilot_recording", "name": self.id, "directory": str(directory)}
        self.push(f"_{self.config.terminal}", "EVENT", said)
        self.send(f"_{self.id}", "RECORDING", said, repeat=False)  # it is not there where the Terminal's is
        return {stream: first for stream, births in origins.items() for first in births.values()}

    def _ask_recorder(self, key: str, value: Any, timeout_s: float) -> Any:
        return self.request(self.config.recorder, key, value, timeout_s=timeout_s)

    def _stop_sensors(self) -> dict[str, dict[str, Any]]:
        receipts: dict[str, Receipt] = {sensor: self.send(sensor, "STOP") for sensor in self._streams.sensors}
        deadline = time.monotonic() + SENSOR_S
        answers: dict[str, dict[str, Any]] = {}
        for sensor, receipt in receipts.items():
            try:
                answers[sensor] = receipt.result(max(0.0, deadline - time.monotonic()))
            except Exception as error:
                log.warning("%s did not answer STOP: %s", sensor, error)
        return answers

    def _drain(self) -> dict[str, ForwardReport]:
        deadline = time.monotonic() + DRAIN_S
        is_sent = False
        while (now := time.monotonic()) < deadline:
            reports = self._forwarder.state().values()
            if not is_sent and all(report.state in ("finished", "waiting", "stopped") for report in reports):
                is_sent, deadline = True, min(deadline, now + SETTLE_S)
            if is_sent and all(report.is_settled for report in reports):
                break
            time.sleep(LOOK_S)
        return self._forwarder.state()

    def _on_peer(self, peer: str, state: PeerState, boot: int) -> None:
        log.info("%s is %s (boot %016x)", peer, state.value, boot)
        if peer == self.push_id and state is PeerState.ALIVE:
            self._lineage.l_init()  # whoever is above may be another than before, and may know of nobody below

    def _introduce_again(self) -> None:
        self._is_told = False


def be_pilot(child: Child, config: PilotConfig) -> None:
    """Be a Pilot's station until the process is to leave."""
    with (
        Context() as control,
        Context() as data,  # its own I/O thread: a large image never queues before a STOP
        Counters.create(f"{config.rig}/{config.id}") as counters,
        Forwarder(
            config.id,
            config.rig,
            data,
            config.data_endpoint,
            counters,
            spool=Spool(Path(config.spool), config.id, config.spool_bytes) if config.spool else None,
            backfill_bytes_s=config.backfill_bytes_s,
        ) as forwarder,
        PilotStation(config, forwarder, control) as station,
    ):
        guard = AddressGuard(station.hub)
        told: tuple[Any, float] = (None, 0.0)
        while not child.stopping.wait(LOOK_S):
            if not guard.is_ours():
                continue
            with suppress(DuplicateIdError):  # refused this moment: the guard tells what that means
                state = station.look()
                if station.introduce():  # to somebody who may know nothing of us
                    told = (None, 0.0)
                if state != told[0] or time.monotonic() >= told[1]:
                    station.tell_state(repeat=state != told[0])
                    told = (state, time.monotonic() + (config.tell_s or math.inf))


def main() -> NoReturn:
    """Be this process; see `stations.child`."""
    run_child(PilotConfig, be_pilot)
