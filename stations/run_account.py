"""What came of a run: what its members say of every stream, held against each other; plain values, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from .coherence import compare, published_side, stored_side
from .conductor_effects import Effect, Finished, Note
from .ledger import Account, PilotAccount, PilotRecording, Produced, RecordingAccount, Stored, account
from .rows_ring import PREFIX


class RunAccount:
    """The account of one run, complete when every member has answered STOP.

    Args:
        streams: of each pilot, by the pilot's id.
        records_streams: the recorder takes them; else pilots do, and what they have is the account.
    """

    def __init__(self, streams: Mapping[str, Collection[str]], *, records_streams: bool) -> None:
        self.deaths: list[str] = []
        """Processes that died; what they explain is no fault."""
        self._streams = streams
        self._records_streams = records_streams
        self._produced: dict[str, Produced] = {}
        self._stored: dict[str, dict[str, Stored]] = {}
        self._recordings: dict[str, PilotRecording] = {}

    def hear_pilot(self, pilot: str, value: Any) -> None:
        """Take what a Pilot answered to STOP: `PilotAccount`, plain data."""
        told = msgspec.convert(value, PilotAccount)
        self._produced |= told.streams
        if told.recording is not None:
            self._recordings[pilot] = told.recording

    def hear_recorder(self, value: Any) -> None:
        """Take what the recorder answered to STOP: by stream its summary, of rows also what was accepted."""
        births = {stream: row["births"] for stream, row in value.items()}
        self._stored = msgspec.convert(births, dict[str, dict[str, Stored]])
        rows = {stream: row["produced"] for stream, row in value.items() if "produced" in row}
        self._produced |= msgspec.convert(rows, dict[str, Produced])

    def note_pending(self, pending: Mapping[str, int]) -> None:
        """Take how much is in the spools now; before its STOP was answered a Pilot's account is not known."""
        for stream, items in pending.items():
            if stream in self._produced:
                self._produced[stream] = msgspec.structs.replace(self._produced[stream], pending=items)

    @property
    def pending(self) -> dict[str, int]:
        """Items in the pilots' spools, by stream."""
        return {stream: produced.pending for stream, produced in self._produced.items() if produced.pending}

    @property
    def kept(self) -> dict[str, dict[str, list[tuple[int, int]]]]:
        """What the spools held at STOP: ranges of items, by stream and birth."""
        return {stream: produced.kept for stream, produced in self._produced.items() if produced.kept}

    def balance(self, full: Collection[str]) -> list[Effect]:
        """Return what is to be told of the run, and that it is over.

        Args:
            full: streams of which the recorder's disk takes no more.
        """
        if not self._records_streams:
            for recording in self._recordings.values():
                self._stored |= recording.streams
        rows = sorted(stream for stream in self._produced if stream.startswith(PREFIX))
        accounts = {
            stream: account(self._produced.get(stream), self._stored.get(stream, {}), deaths=self.deaths)
            for stream in (*self._names(), *rows)
        }
        waiting = {stream: row.pending for stream, row in accounts.items() if stream in full and row.pending}
        notes = [Note("disk_pending", {"streams": waiting})] if waiting else []
        recordings = {pilot: self._balanced(pilot, recording) for pilot, recording in self._recordings.items()}
        told = [Note("recorded", {"name": pilot, **msgspec.to_builtins(own)}) for pilot, own in recordings.items()]
        return [self._coherence(), *told, _ledger(accounts), *notes, Finished(accounts, recordings)]

    def __repr__(self) -> str:
        return f"<RunAccount produced={len(self._produced)} stored={len(self._stored)} deaths={len(self.deaths)}>"

    def _names(self) -> list[str]:
        return [stream for streams in self._streams.values() for stream in streams]

    def _coherence(self) -> Note:
        """Compare what the Pilots say they published with what the recorder says it stored."""
        published = {stream: published_side(produced) for stream, produced in self._produced.items()}
        stored = {stream: stored_side(self._stored[stream]) for stream in self._names() if stream in self._stored}
        return Note("cohere", {"streams": compare(published, stored)})

    def _balanced(self, pilot: str, recording: PilotRecording) -> RecordingAccount:
        """Balance what a Pilot recorded itself: of that nothing waits in a spool."""
        accounts = {}
        for stream in self._streams[pilot]:
            produced = self._produced.get(stream)
            own = msgspec.structs.replace(produced, pending=0) if produced is not None else None
            accounts[stream] = account(own, recording.streams.get(stream, {}), deaths=self.deaths)
        return RecordingAccount(recording.directory, accounts, recording.problem)


def _ledger(accounts: Mapping[str, Account]) -> Note:
    return Note("ledger", {"streams": msgspec.to_builtins(dict(accounts))})
