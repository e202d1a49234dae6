"""A sensor's process, ``python -m stations sensor``: one source, one ring, a node that is told when to acquire.

| key | answer |
|---|---|
| START | `Account` of the acquisition, once it has begun: `origin` is where |
| STOP | `Account`, after the last item was published |
| STATE | `Account` as it is now |
| PARAM | the value that the source took; the parameter in `parameter` is set to `value` between two readings |
| PING | who is there |
| KILL | leaves; its ring ends and loses its name |

HANDSHAKE to the Pilot says what the stream is made of; it is sent when the two meet, when either was started again, and
when a source that ended begins a new ring.  STATE to the Pilot tells that a run began or ended by itself.
After a crash the next process takes the ring over and goes on at its `published`.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, NoReturn, Self

import msgspec

from pipeline import Message, NetNode, PeerState
from pipeline.notify import Notifier
from pipeline.transport import Context
from shm import Counters, RingWriter, segment_name

from .acquisition import Account, Acquisition
from .child import Child, one_line, run_child
from .errors import SourceError
from .sources import SourceSpec, open_source, slots_for
from .station import answer_ping

WAIT_S: Final = 20.0
"""So long a source that can wait does so for a lossless reader, say while the recorder is being restarted."""
META_BYTES: Final = 1900
"""JSON that a ring's header takes, with room for what others add."""

log = logging.getLogger(__name__)


class SensorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a sensor is told when it is started."""

    rig: str
    stream: str
    """Full name, ``pilot1.cam0``: the sensor's address too."""
    pilot: str
    """Id of the Pilot."""
    ip: str = "127.0.0.1"
    port: int
    """MSGPORT of the Pilot."""
    source: str
    options: dict[str, Any] = {}
    seconds: float = 3.0
    lossless_readers: list[str] = []
    """Who may be lossless beside the Pilot's forwarder."""
    slots: int | None = None
    """Items that the ring retains; from `seconds` and the source's rate if None."""
    folder: str = ""
    """Of the rig file; modules beside it can be sources."""

    @property
    def ring(self) -> str:
        """Full name of the ring, and of the counter page."""
        return f"{self.rig}/{self.stream}"


class Change(msgspec.Struct, frozen=True):
    """What PARAM asks."""

    parameter: str
    value: Any


class Tally:
    """The count that is kept apart from the ring, in a page that outlives this process."""

    def __init__(self, name: str) -> None:
        self._page = Counters.create(name)
        self._base, self._counted = self._page.counter("base"), self._page.counter("counted")

    def set_base(self, value: int) -> None:
        """Write what the ring's `published` was when this process took it."""
        self._base.set(value)

    def set_counted(self, value: int) -> None:
        """Write how many items this process published since."""
        self._counted.set(value)

    def close(self) -> None:
        """Take the page away."""
        self._page.close()


def ring_meta(spec: SourceSpec) -> dict[str, Any]:
    """Return what readers and the recording should know of a stream; what is too long for the header is left out."""
    meta: dict[str, Any] = {"rate": spec.rate, "regular": spec.regular, "period_ns": spec.period_ns}
    for key, value in (("unit", spec.unit), ("meta", dict(spec.meta)), ("labels", list(spec.labels))):
        if value and len(json.dumps({**meta, key: value}).encode()) <= META_BYTES:
            meta[key] = value
    return meta


def describe(spec: SourceSpec, config: SensorConfig, birth: int) -> dict[str, Any]:
    """Return the stream as plain data for the HANDSHAKE."""
    return {
        "ring": config.ring,
        "birth": birth,
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "rate": spec.rate,
        "regular": spec.regular,
        "can_wait": spec.can_wait,
        "finite": spec.finite,
        "labels": list(spec.labels),
        "unit": spec.unit,
        "meta": dict(spec.meta),
    }


class Sensor:
    """Source, ring, counts and node of this process; a context manager that closes all of them.

    After an error the ring keeps its name, so that the next process takes it over; leaving in order removes it.
    """

    def __init__(self, child: Child, config: SensorConfig, context: Context) -> None:
        """Open the source, take the ring, connect to the Pilot.

        Raises:
            SourceError: the source cannot be opened, or its ring's size is unknown.
            SpaceError: /dev/shm is too small for the ring.
            WriterAliveError: another process writes this ring.
        """
        self._child = child
        self._config = config
        self._context = context
        self._boot = secrets.token_hex(8)
        self._notifier: Notifier | None = None
        self._pilot_boot: object = None
        self._is_complete = threading.Event()
        with ExitStack() as undo:
            self._source = open_source(config.source, config.options)
            undo.callback(self._source.close)
            self._spec = self._source.spec
            undo.callback(self._close_notifier)
            self._tally = Tally(config.ring)
            undo.callback(self._tally.close)
            self.acquisition = Acquisition(self._source, self._make_ring, self._tally, on_change=self._tell)
            undo.callback(self.acquisition.close)
            self._birth = self.acquisition.account().birth
            self.node = NetNode(
                config.stream, config.pilot, config.port, self._listens(), upstream_ip=config.ip, on_peer=self._on_peer
            )
            undo.pop_all()
        self._is_complete.set()

    def serve(self) -> None:
        """Acquire when told, on this thread, until the process is to leave."""
        threading.Thread(target=self._leave_with_child, name="leave", daemon=True).start()
        self.acquisition.serve()

    def greet(self) -> None:
        """Tell the Pilot who is here and what the stream is made of."""
        account = self.acquisition.account()
        stream = describe(self._spec, self._config, account.birth)
        greeting = {"id": self._config.stream, "kind": "sensor", "boot": self._boot, "pid": os.getpid()}
        streams = {self._config.stream: stream}
        self.node.send(key="HANDSHAKE", value={**greeting, "state": account.state, "streams": streams})

    def _on_peer(self, peer: str, state: PeerState, boot: object) -> None:
        """Greet the Pilot when it is there, and when it is there as another process."""
        self._is_complete.wait()
        if peer == self._config.pilot and state is PeerState.ALIVE and boot != self._pilot_boot:
            self._pilot_boot = boot
            self.greet()

    def l_param(self, message: Message) -> Any:
        """Set a parameter of the source; return the value that it took."""
        change = msgspec.convert(message.value, Change)
        taken = self.acquisition.set_parameter(change.parameter, change.value)
        log.info("%s set %s to %r", message.sender, change.parameter, taken)
        return taken

    def l_kill(self, _message: Message) -> None:
        """Leave."""
        self._child.stop()

    def close(self, *, has_failed: bool) -> None:
        """Let go of everything.

        Args:
            has_failed: leave ring and counts as a killed process leaves them: the next one takes them over, and
                readers that saw an end would not wait for it.
        """
        self.node.release()
        if not has_failed:
            self.acquisition.close()
            self._tally.close()
        self._close_notifier()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(has_failed=kind is not None)

    def __repr__(self) -> str:
        return f"<Sensor {self._config.stream} {self.acquisition!r}>"

    def _listens(self) -> dict[str, Callable[[Message], Any]]:
        return {
            "START": lambda _message: self._answer(self.acquisition.start()),
            "STOP": lambda _message: self._answer(self.acquisition.stop()),
            "STATE": lambda _message: self._answer(self.acquisition.account()),
            "PARAM": self.l_param,
            "PING": answer_ping,
            "KILL": self.l_kill,
        }

    def _close_notifier(self) -> None:
        if self._notifier is not None:
            self._notifier.close()

    def _make_ring(self) -> RingWriter:
        spec, config = self._spec, self._config
        slots = slots_for(spec, config.seconds, config.slots)
        if slots is None:
            raise SourceError(f"{config.source} has no rate; say how many items to keep with slots = …")
        if self._notifier is None:
            self._notifier = Notifier(self._context, segment_name("r", config.ring))
        return RingWriter.create(
            config.ring,
            shape=spec.shape,
            dtype=spec.dtype,
            slots=slots,
            can_wait=spec.can_wait,
            timeout_s=WAIT_S,
            lossless=(config.pilot, *config.lossless_readers),
            notifier=self._notifier,
            meta=ring_meta(spec),
        )

    def _tell(self, account: Account) -> None:
        """Tell the Pilot that a run began or ended by itself."""
        if account.birth != self._birth:
            self._birth = account.birth
            self.greet()
        if account.problem:
            sys.stderr.write(f"pipeline: {self._config.stream}: {one_line(account.problem)}\n")
        value = {"stream": self._config.stream, **self._answer(account)}
        self.node.send(key="STATE", value=value)

    @staticmethod
    def _answer(account: Account) -> dict[str, Any]:
        answer: dict[str, Any] = msgspec.to_builtins(account)
        return answer

    def _leave_with_child(self) -> None:
        self._child.stopping.wait()
        self.acquisition.leave()


def acquire(child: Child, config: SensorConfig) -> None:
    """Be the sensor until the process is to leave."""
    if config.folder:
        sys.path.insert(0, config.folder)
    with Context() as context, Sensor(child, config, context) as sensor:
        log.info("%r", sensor)
        sensor.serve()


def main() -> NoReturn:
    """Be this process; see `stations.child`."""
    run_child(SensorConfig, acquire)
