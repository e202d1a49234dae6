"""The recorder's process, `python -m stations recorder`: a node that records when it is told to.

| key | value | answer |
|---|---|---|
| START | `directory`, `streams` (names), `pilots`, `resume` | `directory`, `streams` found, `stored` by stream |
| STOP | `timeout_s`, `kept` | by stream: `stored`, `births` (origin, end, stored, gaps), `ended`; rows: `produced` |
| COHERE | | by stream and by `data/<key>`: `count`, `last` sequence, and both by birth; after STOP those of the end |
| STATE | | `state`, `directory`, `max_loss_s`, by stream `stored`, `durable`, `lag`, `lapped`, `ended`, `failed` |
| EVENT | `kind` and what else is to be told | appended to the journal |
| KILL | | leaves, its files closed |

`recording.recorder` does the work.  `stations.pilot_recorder` listens to the same for a Pilot's own rings; it is told
`origins` at START, and `ends` and `directory` at STOP, too.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from pipeline import NetNode, PeerState
from pipeline.notify import Notices
from pipeline.transport import Context
from shm import Counters

from .child import Child, run_child
from .conductor import DISK_BACK, DISK_FAILED
from .ledger import RECORDER_COUNTERS
from .recording.backfill_intake import BackfillIntake
from .recording.beside import TerminalSide
from .recording.durable import DurableTeller
from .recording.intake import Intake
from .recording.item_intake import ItemIntake
from .recording.late import LateRecordings
from .recording.recorder import Recorder
from .recording.rotation import Rotation
from .recording.rows_intake import RowsIntake
from .recording.session import MAX_LOSS_S
from .rows_ring import RING
from .station import Listen, answer_ping

TELL_S: Final = 0.25
"""A Pilot that ends a run waits for what is durable: it hears of that so often, however long a flush may wait."""
ROWS_S: Final = 3.0
"""Seconds that the Terminal has to say which rows it accepted; one that is away is started again sooner."""


class RecorderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the recorder is told when it is started."""

    rig: str
    """Name of the rig; it records the rings ``<rig>/<terminal>/<stream>``."""
    terminal: str = "T"
    """Station id of the Terminal; the recorder's node is ``<terminal>.recorder``."""
    ip: str = "127.0.0.1"
    """Where the Terminal listens for messages."""
    port: int
    """MSGPORT of the Terminal."""
    streams: bool = True
    """Whether it records the streams; else it takes messages and events alone."""
    output: str = ""
    """The folder of the rig's recordings: those that are over are filled from spools only there."""
    max_loss_s: float = MAX_LOSS_S
    """Seconds of recording that the death of this process may cost."""
    segment_mb: float = 0.0
    """Megabytes after which a stream goes on in another file; 0: never."""
    segment_s: float = 0.0
    """The same in seconds."""


def record(child: Child, config: RecorderConfig) -> None:
    """Be the recorder until the process is to leave."""
    node_id = f"{config.terminal}.recorder"
    rotation = Rotation(config.segment_mb, config.segment_s)
    with Context() as context, Counters.create(f"{config.rig}/{node_id}", RECORDER_COUNTERS) as counters:
        notices = Notices(context)
        prefix = f"{config.rig}/{config.terminal}/"
        recorder = Recorder(
            config.rig,
            config.max_loss_s,
            rotation=rotation,
            intake=Intake(prefix, notices) if config.streams else ItemIntake({}, notices),
            beside=TerminalSide(
                RowsIntake(f"{prefix}{RING}"),
                lambda: node.request(config.terminal, "ROWS", timeout_s=ROWS_S),
                lambda current, late: BackfillIntake(prefix, notices, current, late),
                LateRecordings(config.rig, Path(config.output), config.max_loss_s, rotation),
                DurableTeller(
                    lambda pilot, told: node.send(pilot, "DURABLE", told, repeat=False),
                    min(config.max_loss_s / 4, TELL_S),
                ),
            ),
            counters=counters,
            on_disk=lambda stream, error: node.send(f"_{config.terminal}", "EVENT", {**_disk(error), "stream": stream}),
        )
        node = NetNode(node_id, config.terminal, config.port, listens_of(recorder, child), upstream_ip=config.ip)
        greet_whenever_it_comes(node, node_id)
        work_until_told(recorder, child, node, notices)


def _disk(error: str) -> dict[str, Any]:
    return {"kind": DISK_FAILED, "error": error} if error else {"kind": DISK_BACK}


def listens_of(recorder: Recorder, child: Child) -> dict[str, Listen]:
    """Return what a recorder does for each key."""
    return {
        "START": recorder.l_start,
        "STOP": recorder.l_stop,
        "STATE": recorder.l_state,
        "EVENT": recorder.l_event,
        "COHERE": recorder.l_cohere,
        "PING": answer_ping,
        "KILL": lambda _message: child.stop(),
    }


def greet_whenever_it_comes(node: NetNode, node_id: str) -> None:
    """Introduce the recorder to the station above, when that comes and comes back."""
    greeting = {
        "id": node_id,
        "kind": "recorder",
        "boot": secrets.token_hex(8),
        "pid": os.getpid(),
        "state": "idle",
        "streams": {},
    }

    def greet(_peer: str, state: PeerState, _boot: int) -> None:
        if state is PeerState.ALIVE:
            node.send(key="HANDSHAKE", value=greeting)

    node.on_peer(greet)


def work_until_told(recorder: Recorder, child: Child, node: NetNode, notices: Notices) -> None:
    """Record until the process is to leave, then close everything."""
    try:
        while not child.stopping.is_set():
            if not recorder.do_work(time.monotonic()):
                recorder.wait()
    finally:
        recorder.close()
        node.release()
        notices.close()


def main() -> NoReturn:
    """Be this process; see `stations.child`."""
    run_child(RecorderConfig, record)
