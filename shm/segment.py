"""Segments: named memory in /dev/shm. The only module that creates, opens, maps or unlinks one."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
import posix_ipc

from ._native import Mapping, unlock_bytes
from .errors import SegmentAccessError, SegmentNotFoundError, SpaceError, SpecError

SHM_DIR = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX segments, not a temporary file
RING: Literal["r"] = "r"
COUNTERS: Literal["c"] = "c"
Kind = Literal["r", "c"]
PREFIX = "pl"
NAME_BYTES = 200


def segment_name(kind: Kind, full_name: str) -> str:
    """Return the segment's name: a hash, because macOS allows 31 characters and users want paths."""
    encoded = full_name.encode()
    if not 0 < len(encoded) <= NAME_BYTES or "\x00" in full_name:
        raise SpecError(
            f"name {full_name!r}: expected 1 to {NAME_BYTES} bytes of UTF-8 without NUL, got {len(encoded)}"
        )
    return f"/{PREFIX}{kind}{blake2b(encoded, digest_size=8).hexdigest()}"


def page_bytes() -> int:
    """Return the page size of this machine: 4096, or 16384 on some ARM kernels."""
    return os.sysconf("SC_PAGESIZE")


def shm_space() -> tuple[int, int]:
    """Return (total, free) bytes of /dev/shm."""
    stat = os.statvfs(SHM_DIR)
    return stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize


class Segment:
    """One open segment. Mappings made from it stay valid after `close`, which gives its locks back."""

    __slots__ = ("_fd", "name")

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self._fd = fd

    @classmethod
    def create(cls, name: str) -> Segment:
        """Create a segment of no bytes yet.

        Raises:
            FileExistsError: there is one of that name.
        """
        try:
            return cls(name, posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600).fd)
        except posix_ipc.ExistentialError as error:
            raise FileExistsError(errno.EEXIST, "segment exists", name) from error

    def reserve(self, size: int, mode: int, full_name: str) -> None:
        """Reserve all its memory and set its mode.

        Raises:
            SpaceError: /dev/shm cannot hold it.
        """
        free = shm_space()[1]
        if size > free:
            raise SpaceError(full_name, size, free)
        try:
            # Reserved now, a full /dev/shm is an error here; merely truncated, it would be SIGBUS at the first write.
            # A signal makes tmpfs give everything back and start over, so they wait.
            with _signals_blocked():
                os.posix_fallocate(self._fd, 0, size)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise SpaceError(full_name, size, free) from error
            raise
        os.fchmod(self._fd, mode)  # after the umask had its say

    @classmethod
    def open(cls, name: str, full_name: str, *, read_only: bool) -> Segment:
        """Open an existing segment.

        Raises:
            SegmentNotFoundError: there is none of that name.
            SegmentAccessError: its mode does not allow it.
        """
        try:
            return cls(name, posix_ipc.SharedMemory(name, read_only=read_only).fd)
        except posix_ipc.ExistentialError as error:
            raise SegmentNotFoundError(
                f"{full_name}: no such ring or page on this machine (segment {name}); start its writer first"
            ) from error
        except (posix_ipc.PermissionsError, PermissionError) as error:
            how = "reading" if read_only else "reading and registering"
            raise SegmentAccessError(
                f"{full_name}: no permission for {how} (segment {name}); its owner can create it with mode=0o660"
            ) from error

    @property
    def fd(self) -> int:
        """The open file; -1 after `close`."""
        return self._fd

    @property
    def size(self) -> int:
        """Bytes of the segment."""
        return os.fstat(self._fd).st_size

    def map(
        self, offset: int, span: int, *, copies: int = 1, writable: bool = False, populate: bool = False
    ) -> Mapping:
        """Map `span` bytes from `offset`, `copies` times in a row."""
        return Mapping(self._fd, offset, span, copies, writable, populate)

    def is_linked(self) -> bool:
        """Tell whether the name still leads to this segment (not unlinked, not created anew)."""
        if self._fd < 0:
            return False
        try:
            here = (SHM_DIR / self.name[1:]).stat()
        except OSError:
            return False
        ours = os.fstat(self._fd)
        return (here.st_dev, here.st_ino) == (ours.st_dev, ours.st_ino)

    def unlink(self) -> None:
        """Remove the name; the memory goes when the last process has unmapped it."""
        unlink_segment(self.name)

    def unlink_if_ours(self) -> None:
        """Remove the name unless it leads to another segment by now."""
        if self.is_linked():
            self.unlink()

    def close(self) -> None:
        """Give back every lock taken through the file (mappings that live on would keep them), and close it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            unlock_bytes(fd, 0, 0)
            os.close(fd)


def array_of(memory: Mapping, dtype: np.dtype[Any], count: int, offset: int = 0) -> np.ndarray[Any, Any]:
    """Return `count` values of mapped memory as an array that keeps the mapping alive."""
    # numpy's stub does not know that a Mapping exports a buffer
    return np.ndarray((count,), dtype, memory, offset)  # type: ignore[arg-type]


def unlink_segment(name: str) -> None:
    """Remove a name; nothing happens if it is gone already."""
    with suppress(posix_ipc.ExistentialError):
        posix_ipc.unlink_shared_memory(name)


def segment_names() -> list[str]:
    """Return the names of all our segments on this machine, sorted."""
    with suppress(OSError):
        return sorted(f"/{p.name}" for p in SHM_DIR.iterdir() if p.name.startswith((f"{PREFIX}r", f"{PREFIX}c")))
    return []


@contextmanager
def _signals_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
