"""A Pilot's own recorder, `python -m stations pilot_recorder`: it records the Pilot's rings on the Pilot's machine.

It listens to what `stations.recorder` listens to, told by the Pilot instead of the Terminal, and needs neither link nor
Terminal for what it does.
"""

from __future__ import annotations

from typing import NoReturn

import msgspec

from pipeline import NetNode
from pipeline.notify import Notices
from pipeline.transport import Context
from shm import Counters

from .child import Child, run_child
from .conductor import PILOT_DISK
from .ledger import RECORDER_COUNTERS
from .recorder import greet_whenever_it_comes, listens_of, work_until_told
from .recording.beside import Beside
from .recording.item_intake import ItemIntake, ItemSource
from .recording.recorder import Recorder
from .recording.rotation import Rotation
from .recording.session import MAX_LOSS_S


class PilotRecorderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a Pilot's recorder is told when it is started."""

    rig: str
    pilot: str
    """Station id of the Pilot; the recorder's node is ``<pilot>.recorder``."""
    terminal: str = "T"
    port: int
    """MSGPORT of the Pilot."""
    sources: dict[str, ItemSource] = {}
    """By stream."""
    max_loss_s: float = MAX_LOSS_S
    """Seconds of recording that the death of this process may cost."""
    segment_mb: float = 0.0
    """Megabytes after which a stream goes on in another file; 0: never."""
    segment_s: float = 0.0
    """The same in seconds."""


def record(child: Child, config: PilotRecorderConfig) -> None:
    """Be the recorder until the process is to leave."""
    node_id = f"{config.pilot}.recorder"
    with Context() as context, Counters.create(f"{config.rig}/{node_id}", RECORDER_COUNTERS) as counters:
        notices = Notices(context)
        recorder = Recorder(
            config.rig,
            config.max_loss_s,
            rotation=Rotation(config.segment_mb, config.segment_s),
            intake=ItemIntake(config.sources, notices, config.pilot),
            beside=Beside(),
            counters=counters,
            on_disk=lambda stream, error: node.send(
                f"_{config.terminal}", "EVENT", {"kind": PILOT_DISK, "name": node_id, "stream": stream, "error": error}
            ),
        )
        node = NetNode(node_id, config.pilot, config.port, listens_of(recorder, child))
        greet_whenever_it_comes(node, node_id)
        work_until_told(recorder, child, node, notices)


def main() -> NoReturn:
    """Be this process; see `stations.child`."""
    run_child(PilotRecorderConfig, record)
