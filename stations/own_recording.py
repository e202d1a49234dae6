"""What a Pilot does about its own recorder: starts and stops it with its run, and again when it comes back.

The recorder is asked, never waited for by a source: between its START and STOP it needs nobody.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec

from pipeline import PipelineError
from pipeline.beginning import beginning_in
from shm import RingObserver, ShmError

from .errors import StationError
from .ledger import PilotRecording, Produced, RecordingAccount, Sequences, Stored, account

START_S: Final = 6.0
"""Seconds that the recorder has to begin."""
DRAIN_S: Final = 5.0
"""Seconds that the recorder has to read its rings to their ends ..."""
CLOSE_S: Final = 2.0
"""... and then to close its files, before it is asked again."""
STOP_S: Final = 13.0
"""Seconds that STOP may take, with the return of a recorder that died meanwhile."""
AGAIN_S: Final = 0.1
log = logging.getLogger(__name__)

Ask = Callable[[str, Any, float], Any]


class _SummaryRow(msgspec.Struct):
    births: dict[str, Stored]


class _Summary(msgspec.Struct):
    streams: dict[str, _SummaryRow]


class OwnRecording:
    """The recording of one Pilot; usable from any thread.

    Args:
        ask: sends the recorder a key and a value, and returns its answer within so many seconds.
        pilot: whose recording it is.
        output: folder in which each recording gets a folder of its own.
        streams: names of the Pilot's streams.
    """

    def __init__(self, ask: Ask, pilot: str, output: Path, streams: Iterable[str]) -> None:
        self._ask = ask
        self._pilot = pilot
        self._output = output
        self._streams = list(streams)
        self._lock = threading.Lock()
        self._order: dict[str, Any] | None = None
        """The START of the recording that runs."""
        self._last: PilotRecording | None = None
        self._boot = ""

    @property
    def is_here(self) -> bool:
        """Whether the recorder has introduced itself."""
        return bool(self._boot)

    def met(self, boot: str) -> None:
        """The recorder came up, or came back as another process: that one goes on with the recording that runs."""
        with self._lock:
            is_another, self._boot = boot != self._boot, boot
            if is_another and self._order is not None:
                self._begin(self._order)

    def start(self, name: str, origins: Sequences, *, resume: bool) -> Path:
        """Begin the recording of a run; return its folder.

        Args:
            name: of the run's recording, relative to the Terminal's output folder.
            origins: where the run begins, in the rings that are there.
            resume: this Pilot came back; the recorder records already, or goes on when it is back, too.

        Raises:
            StationError: the recorder is not here, or the name leads out of the output folder.
            PipelineError: the recorder could not begin.
        """
        directory = self.folder(name)
        order = {"directory": str(directory), "streams": self._streams, "origins": origins}
        with self._lock:
            if resume:
                self._resume({**order, "resume": True})
                return directory
            if not self.is_here:
                raise StationError(f"{self._pilot}.recorder has not come up")
            if self._order is None or self._order["directory"] != str(directory):
                # A run that nobody ended, since its Terminal is gone, ends where this one begins.
                self._ask("STOP", {"ends": origins, "timeout_s": DRAIN_S}, DRAIN_S + CLOSE_S)
            self._ask("START", {**order, "resume": False}, START_S)
            self._order, self._last = {**order, "resume": True}, None
        return directory

    def stop(self, ends: Sequences) -> PilotRecording | None:
        """End the recording at these sequences; return its account, None if nothing was recorded.

        A recorder that is dead is waited for: it comes back, and closes what it left.
        """
        with self._lock:
            order = self._order
        if order is None:
            return self._last
        told = {"ends": ends, "directory": order["directory"], "timeout_s": DRAIN_S}
        self._last = self._account(order["directory"], told)
        with self._lock:
            self._order = None
        return self._last

    def folder(self, name: str) -> Path:
        """Return the folder of a run's recording.

        Raises:
            StationError: it is not below the output folder; the name comes from another machine.
        """
        path = PurePosixPath(name)
        if not path.name or path.is_absolute() or ".." in path.parts:
            raise StationError(f"{name!r} cannot be the name of a recording in {self._output}")
        return self._output / path.parent / f"{path.name}_{self._pilot}"

    def __repr__(self) -> str:
        return f"<OwnRecording of {self._pilot}: {self._order['directory'] if self._order else 'idle'}>"

    def _resume(self, order: dict[str, Any]) -> None:
        if self._last is not None and self._last.directory == order["directory"]:
            return  # it is over
        if self._order is None:
            self._order = order
            if self.is_here:
                self._begin(order)

    def _begin(self, order: dict[str, Any]) -> None:
        try:
            self._ask("START", order, START_S)
        except PipelineError as error:
            log.error("%s.recorder could not go on: %s", self._pilot, error)  # noqa: TRY400 - says all

    def _account(self, directory: str, told: dict[str, Any]) -> PilotRecording:
        deadline = time.monotonic() + STOP_S
        while True:
            try:
                answer = self._ask("STOP", told, DRAIN_S + CLOSE_S)
                births = {stream: row["births"] for stream, row in answer.items()}
                return PilotRecording(directory, msgspec.convert(births, dict[str, dict[str, Stored]]))
            except PipelineError as error:
                if time.monotonic() + AGAIN_S >= deadline:
                    return PilotRecording(directory, problem=f"{self._pilot}.recorder gave no account: {error}")
            time.sleep(AGAIN_S)


def closed_recording(directory: Path) -> RecordingAccount:
    """Return what a recording says of itself, once its recorder has left."""
    from .recording.session import SUMMARY_NAME  # a Pilot that does not record needs no h5py

    try:
        told = msgspec.json.decode((directory / SUMMARY_NAME).read_bytes(), type=_Summary)
    except (OSError, msgspec.DecodeError) as error:
        return RecordingAccount(str(directory), {}, f"it was not closed: {error}")
    accounts = {stream: account(Produced({}), row.births) for stream, row in told.streams.items()}
    return RecordingAccount(str(directory), accounts)


def look_at_rings(rings: Mapping[str, str], since: Mapping[str, int] | None = None) -> Sequences:
    """Return how much each ring has published, by stream and birth; those that are not there are left out.

    Args:
        rings: full names, by stream.
        since: of these streams where a run begins that is to have everything since that time, ns.
    """
    found = {}
    for stream, name in rings.items():
        try:
            with RingObserver.attach(name) as ring:
                since_ns = (since or {}).get(stream)
                at = ring.published if since_ns is None else beginning_in(ring, since_ns).sequence
                found[stream] = {f"{ring.birth:016x}": at}
        except ShmError:  # not there, or none that can be read: whoever reads it tells
            continue
    return found
