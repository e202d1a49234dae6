"""Who lives, told by locks on the segment: byte 0 the writer, byte 1 + i the reader of entry i.

They are open-file-description locks, which the kernel releases however their owner dies. While it lives, closing the
file is not enough, because every mapping keeps the file open: closing an end gives its locks back expressly. A forked
child shares them: never fork a process that holds one.
"""

from __future__ import annotations

from ._native import lock_byte, locked_byte, unlock_bytes

WRITER = 0


def lock_writer(fd: int) -> bool:
    """Become the writer; False if another one lives."""
    return lock_byte(fd, WRITER)


def is_writer_alive(fd: int) -> bool:
    """Tell whether another open file holds the writer's lock."""
    return locked_byte(fd, WRITER, 1) is not None


def lock_reader(fd: int, index: int) -> bool:
    """Become the reader of entry `index`; False if its owner lives."""
    return lock_byte(fd, 1 + index)


def unlock_reader(fd: int, index: int) -> None:
    """Give entry `index` back."""
    unlock_bytes(fd, 1 + index, 1)


def is_reader_alive(fd: int, index: int) -> bool:
    """Tell whether another open file holds the lock of entry `index`."""
    return locked_byte(fd, 1 + index, 1) is not None


def first_holder(fd: int) -> int | None:
    """Return the first locked byte of the segment, or None if nobody lives."""
    return locked_byte(fd, 0, 0)
