"""The spool: what a Pilot keeps on its own disk of streams that could not leave in time.

P1  What `put` took is kept until it is known to be durable in the recording, over restarts of the process, and of the
    machine if it was synced (every `SYNC_S`).
P2  Files never grow beyond the budget together: `put` then refuses, and what is refused is lost, newest first.
P3  Only `forget` removes anything, and only what the Terminal read from its files.

A spool belongs to one thread of one process: a lock on its folder keeps a second Pilot of the same name out.  The
folder is there only while something is kept.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .errors import BlockError, SpoolError
from .spool_file import SUFFIX, SpoolFile, SpoolHead, record_size, scan_file
from .spool_run import SpoolRun

if TYPE_CHECKING:
    from .block import Block
    from .spool_file import SpoolRecord
    from .stream_spec import StreamSpec

FILE_BYTES: Final = 64 * 1024 * 1024
"""A file grows no further: whole files are what is removed."""
SYNC_S: Final = 0.5
LOCK: Final = "lock"

Key = tuple[str, str, int]
"""Run, stream, birth."""

log = logging.getLogger(__name__)


class Spool:
    """Blocks on disk.

    Args:
        folder: where; made when it is needed, readable for its owner only.
        pilot: whose streams they are.
        budget_bytes: what its files may take together.

    Raises:
        SpoolError: the folder cannot be used, or another process uses it.
    """

    def __init__(self, folder: Path, pilot: str, budget_bytes: int) -> None:
        self.folder = folder
        self.budget_bytes = budget_bytes
        self.bytes = 0
        self.refused = ""
        """Why the last block was not taken; empty if it was."""
        self._pilot = pilot
        self._runs: dict[Key, SpoolRun] = {}
        self._open: dict[Key, SpoolFile] = {}
        self._sizes: dict[Path, int] = {}
        self._number = 0
        self._sync_at = 0.0
        self._dirty: set[Key] = set()
        self._syncs: list[Future[None]] = []
        self._syncer = ThreadPoolExecutor(1, "spool sync")
        self._lock_fd: int | None = None
        _check_place(folder)
        if folder.is_dir():
            self._claim()
            self._find_old()

    def run(self, run: str, spec: StreamSpec) -> SpoolRun:
        """Return what is spooled of a run of a stream's birth, nothing yet if it is new."""
        key = (run, spec.stream, spec.birth)
        if key not in self._runs:
            self._runs[key] = SpoolRun(SpoolHead(self._pilot, run, spec))
        return self._runs[key]

    def __iter__(self) -> Iterator[SpoolRun]:
        return iter(list(self._runs.values()))

    def put(self, run: SpoolRun, block: Block) -> bool:
        """Keep a block; False if there is no room, see `refused`."""
        size = record_size(block)
        if self.bytes + size > self.budget_bytes:
            return self._refuse(f"{self.bytes} of {self.budget_bytes} bytes are taken")
        try:
            self._claim()
            file = self._file(run)
            record = file.append(block)
        except (OSError, SpoolError) as error:
            return self._refuse(f"{self.folder}: {error}")
        self.bytes += file.size - self._sizes.get(file.path, 0)
        self._sizes[file.path] = file.size
        run.add(record)
        self._dirty.add(_key(run))
        self.refused = ""
        return True

    def forget(self, run: str, stream: str, birth: int, ranges: Iterable[tuple[int, int]]) -> None:
        """Remove what the recording holds durably: items of ``[first, end)`` ranges."""
        found = self._runs.get((run, stream, birth))
        if found is not None:
            self._remove(found, found.forget(ranges))

    def spoil(self, run: SpoolRun, record: SpoolRecord) -> None:
        """A record cannot be read as it was written: its items are lost, and the backfill says so."""
        self._remove(run, run.spoil(record))

    def drop(self, run: SpoolRun) -> None:
        """Forget a run of which nothing is left."""
        if not run.items:
            self._end_file(_key(run))
            self._runs.pop(_key(run), None)

    def tick(self, now: float) -> None:
        """Bring what was written to the disk, every `SYNC_S`, on a thread of its own."""
        self._syncs = [sync for sync in self._syncs if not sync.done()]
        if now < self._sync_at or self._syncs:
            return
        self._sync_at = now + SYNC_S
        for key in self._dirty:
            file = self._open.get(key)
            if file is not None:
                self._syncs.append(self._syncer.submit(_sync, os.dup(file.fd)))
        self._dirty.clear()

    def pending(self, stream: str, run: str | None = None) -> int:
        """Return the items of a stream that are kept, of one run or of all."""
        return sum(found.items for key, found in self._runs.items() if key[1] == stream and run in (None, key[0]))

    def kept(self, stream: str, run: str) -> dict[int, list[tuple[int, int]]]:
        """Return the ranges of items that are kept of a run of a stream, by birth."""
        found = {key[2]: held for key, held in self._runs.items() if key[:2] == (run, stream)}
        return {birth: ranges for birth, held in found.items() if (ranges := held.ranges())}

    def close(self) -> None:
        """Sync and close; everything stays, but for a folder that holds nothing."""
        self._sync_at = 0.0
        self._syncs.clear()
        self.tick(time.monotonic())
        self._syncer.shutdown()
        for key in list(self._open):
            self._end_file(key)
        if self._lock_fd is not None:
            if not any(self.folder.glob(f"*{SUFFIX}")):
                (self.folder / LOCK).unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # somebody else's file is in it
                    self.folder.rmdir()
            os.close(self._lock_fd)
            self._lock_fd = None

    def __repr__(self) -> str:
        items = sum(run.items for run in self._runs.values())
        return f"<Spool {self.folder} {self.bytes} of {self.budget_bytes} bytes, {items} items>"

    def _claim(self) -> None:
        if self._lock_fd is None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._lock_fd = _locked(self.folder / LOCK)
            except OSError as error:
                raise _unusable(self.folder, error) from error

    def _refuse(self, why: str) -> bool:
        if not self.refused:
            log.warning("the spool takes nothing more: %s", why)
        self.refused = why
        return False

    def _file(self, run: SpoolRun) -> SpoolFile:
        key = _key(run)
        file = self._open.get(key)
        if file is not None and file.size >= FILE_BYTES:
            self._end_file(key)
            file = None
        if file is None:
            self._number += 1
            file = self._open[key] = SpoolFile(self.folder / f"{self._number:08d}{SUFFIX}", run.head)
        return file

    def _end_file(self, key: Key) -> None:
        file = self._open.pop(key, None)
        if file is not None:
            if key in self._dirty:
                self._dirty.discard(key)
                self._syncs.append(self._syncer.submit(_sync, os.dup(file.fd)))
            file.close()
            self._remove_if_empty(file.path)

    def _remove(self, run: SpoolRun, emptied: Iterable[Path]) -> None:
        for path in emptied:
            file = self._open.get(_key(run))
            if file is not None and file.path == path:
                self._end_file(_key(run))
            else:
                self._remove_if_empty(path)

    def _remove_if_empty(self, path: Path) -> None:
        if any(run.holds(path) for run in self._runs.values()):
            return
        path.unlink(missing_ok=True)
        self.bytes -= self._sizes.pop(path, 0)

    def _find_old(self) -> None:
        """Find what earlier processes left."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            self._number = max(self._number, int(path.stem) if path.stem.isdigit() else 0)
            try:
                self._sizes[path] = path.stat().st_size
                self.bytes += self._sizes[path]
                head, records, damages = scan_file(path)
            except (BlockError, OSError) as error:
                log.error("left alone: %s", error)  # noqa: TRY400 - a finding about a file, not our failure
                continue
            key = (head.run, head.spec.stream, head.spec.birth)
            run = self._runs.setdefault(key, SpoolRun(head))
            for record in records:
                run.add(record)
            for damage in damages:
                log.error("%s: damaged at byte %d, %s", path, damage.offset, _which(head.spec.stream, damage.after))
                run.add_damage(damage)
            if not records:
                self._remove_if_empty(path)


def _key(run: SpoolRun) -> Key:
    return run.head.run, run.head.spec.stream, run.head.spec.birth


def _which(stream: str, after: int | None) -> str:
    return f"items of {stream} from {after} on" if after is not None else f"the first items of {stream}"


def _sync(fd: int) -> None:
    try:
        os.fdatasync(fd)
    except OSError as error:
        log.error("the spool's disk: %s", error)  # noqa: TRY400 - the system's own words
    finally:
        os.close(fd)


def _unusable(folder: Path, error: OSError) -> SpoolError:
    return SpoolError(f"the spool {folder} cannot be used: {error.strerror}; name another folder")


def _check_place(folder: Path) -> None:
    """Refuse a place where no folder can be made, before it is needed."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise _unusable(folder, error) from error


def _locked(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise SpoolError(f"the spool {path.parent} is used by another process; stop that Pilot first") from error
    return fd
