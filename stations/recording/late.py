"""Recordings that were closed while a Pilot's spool still had some of them: opened again to be filled.

Only folders below the output folder are taken, and only those that a recording of this rig made: the
name of the folder comes from another machine.
"""

from __future__ import annotations

import logging
from pathlib import Path

from .errors import JournalError, RecordingError
from .journal import FILE_NAME, first_of_kind
from .rotation import ENDLESS, Rotation
from .session import SessionRecorder

log = logging.getLogger(__name__)


class LateRecordings:
    """Recorders of runs that are over, by the run's name: its folder, as START said it.

    Args:
        rig: whose recordings.
        output: the folder that holds them.
        max_loss_s: as of any recording.
        rotation: as of any recording.
    """

    def __init__(self, rig: str, output: Path, max_loss_s: float, rotation: Rotation = ENDLESS) -> None:
        self._rig = rig
        self._output = output
        self._max_loss_s = max_loss_s
        self._rotation = rotation
        self._sessions: dict[str, SessionRecorder] = {}

    def open(self, run: str) -> SessionRecorder:
        """Return the recorder of a run that is over, opened when it is not.

        Raises:
            RecordingError: no recording of this rig is there; says what is wrong with the name.
        """
        if run not in self._sessions:
            directory = self._checked(run)
            self._sessions[run] = SessionRecorder(
                directory, self._rig, max_loss_s=self._max_loss_s, resume=True, rotation=self._rotation
            )
            log.info("filling %s from a spool", directory)
        return self._sessions[run]

    def close(self, run: str) -> None:
        """Close one: everything that was in the spool is in its files."""
        session = self._sessions.pop(run, None)
        if session is not None:
            session.close()

    def close_all(self) -> None:
        """Close all."""
        for run in self.runs():
            self.close(run)

    def runs(self) -> list[str]:
        """Return the names of those that are open."""
        return list(self._sessions)

    def items(self) -> list[tuple[str, SessionRecorder]]:
        """Return those that are open."""
        return list(self._sessions.items())

    def _checked(self, run: str) -> Path:
        directory = Path(run)
        if self._output.resolve() not in directory.resolve().parents or directory.is_symlink():
            raise RecordingError(f"{run!r} is not in {self._output}, where this rig records")
        try:
            begun = first_of_kind(directory / FILE_NAME, "recording")
        except JournalError as error:
            raise RecordingError(f"{run!r} holds no recording any more: {error}") from error
        if begun is None or begun.fields.get("rig") != self._rig:
            raise RecordingError(f"{run!r} is no recording of the rig {self._rig}")
        return directory

    def __repr__(self) -> str:
        return f"<LateRecordings {self._rig} open={list(self._sessions)}>"
