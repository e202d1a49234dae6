"""Records the message rows of one key: rows in, files out, nothing missing without a reason."""

from __future__ import annotations

from stations.rows_ring import PREFIX, Row

from .continuity import BirthAccount
from .errors import DiskError
from .reasons import DISK, RECORDER
from .row_text import encode_message
from .rows_layout import RowsHead
from .rows_segment import RowsFile
from .segments_recorder import SegmentsRecorder


class RowsRecorder(SegmentsRecorder[RowsFile]):
    """Stores ``data/<key>`` of a recording; belongs to one thread.

    A new file begins with another birth of the ring, after a gap, and where one is as large as the rig file allows:
    within a file the sequences have no hole.
    """

    @property
    def key(self) -> str:
        """The rows' key."""
        return self.stream.removeprefix(PREFIX)

    def know(self, birth: int, origin: int) -> None:
        """Hear how many rows came before the recording; they are none of its business."""
        self.births.setdefault(birth, BirthAccount(birth, origin))

    def store(self, row: Row, birth: int, clock: tuple[str, int, int]) -> int:
        """Store a row, unless it is in the files already; return how many were new.

        Args:
            row: as it came out of the ring.
            birth: of the ring.
            clock: domain of its times, and one instant on it and on CLOCK_REALTIME.
        """
        account = self.births.setdefault(birth, BirthAccount(birth, 0))
        if row.sequence < account.end:
            self.duplicates += 1
            return 0
        self._tell_gaps(account, account.advance(row.sequence, otherwise=RECORDER))
        if not self.failed:
            self._write(row, account, clock)
        if self.failed:
            account.advance(row.sequence + 1, otherwise=DISK)  # told once, by `settle`
            return 0
        account.store(row.sequence, 1)
        self.stored += 1
        return 1

    def flush(self) -> None:
        """Make what is stored visible to readers, always: its place in the ring is given up after it.

        The sync comes when the one before is over.
        """
        try:
            self._lane.flush()
        except DiskError as error:
            self._fail(error)

    def __repr__(self) -> str:
        return f"<RowsRecorder {self.stream} stored={self.stored} durable={self.durable} {self.failed and 'FAILED'}>"

    def _write(self, row: Row, account: BirthAccount, clock: tuple[str, int, int]) -> None:
        text, arrays = encode_message(row.frames)
        segment = self._lane.segment
        if segment is not None and not self._continues(segment, row, account, len(text) + len(arrays)):
            self.close_segment()
        if not self.failed:
            try:
                self._file_for(row, account, clock).append(row.sequence, row.time_ns, text, arrays)
            except DiskError as error:
                self._fail(error)

    def _continues(self, segment: RowsFile, row: Row, account: BirthAccount, size: int) -> bool:
        follows = (segment.head.birth, segment.end) == (account.birth, row.sequence)
        return follows and not self._site.rotation.is_due(segment, row.time_ns, size)

    def _file_for(self, row: Row, account: BirthAccount, clock: tuple[str, int, int]) -> RowsFile:
        if self._lane.segment is not None:
            return self._lane.segment
        domain, monotonic_ns, realtime_ns = clock
        head = RowsHead(
            rig=self._site.rig,
            stream=self.stream,
            key=self.key,
            part=self.next_part,
            birth=account.birth,
            first=row.sequence,
            origin=account.origin,
            clock_domain=domain,
            clock_monotonic_ns=monotonic_ns,
            clock_realtime_ns=realtime_ns,
        )
        return self._begin(self._lane, RowsFile(self._site.directory / self._next_name(), head))
