"""What can go wrong in `shm`, by who caused it.

ShmError
├── SegmentError
│   ├── SegmentNotFoundError    nobody created it (yet), or it was unlinked
│   ├── SegmentAccessError      it belongs to somebody else
│   ├── LayoutError             the segment is not one that this version reads
│   ├── SpaceError              /dev/shm is too small
│   └── WriterAliveError        a second writer while the first lives
├── SpecError                   a ring cannot be made as you described it
├── SpecMismatchError           you wrote something that is not the ring's dtype and shape
├── RingEmptyError              nothing was published yet
├── OverrunError                the writer overwrote what you asked for
├── RingExhaustedError          2**63 items were written
├── TableFullError              too many readers, or too many counters
├── LosslessRefusedError        the writer did not name you among those who may gate it
├── BusyError                   you did two things at once with one end
└── ClosedError                 you used something after closing it
"""

from __future__ import annotations


class ShmError(Exception):
    """Any error of this package; catch it to catch them all."""


class SegmentError(ShmError):
    """A segment could not be created or attached."""


class SegmentNotFoundError(SegmentError, FileNotFoundError):
    """No segment of that name: start its writer, or wait for it with ``wait_for_s``."""


class SegmentAccessError(SegmentError, PermissionError):
    """The segment belongs to another user or is read-only for you; its owner can widen its mode."""


class LayoutError(SegmentError, ValueError):
    """The segment is no segment of this kind, version, boot or size; remove it with ``pipeline clean``."""


class SpaceError(SegmentError, OSError):
    """Shared memory cannot hold the segment; use fewer slots or a larger /dev/shm.

    Attributes:
        needs: bytes asked for.
        free: bytes free in /dev/shm.
    """

    def __init__(self, name: str, needs: int, free: int) -> None:
        super().__init__(
            f"{name}: needs {needs:,} bytes of /dev/shm and {free:,} are free; "
            "use fewer slots, remove leftovers (pipeline clean) or enlarge it (mount -o remount,size=… /dev/shm)"
        )
        self.needs = needs
        self.free = free


class WriterAliveError(SegmentError, RuntimeError):
    """Another process (or object) writes this ring; stop it or choose another name."""


class SpecError(ShmError, ValueError):
    """A ring cannot be made so; the message names the argument."""


class SpecMismatchError(ShmError, TypeError):
    """The array is not of the ring's dtype and shape; convert it before writing."""


class RingEmptyError(ShmError, LookupError):
    """Nothing was published yet; wait for the first item."""


class OverrunError(ShmError, LookupError):
    """The items asked for were overwritten; read sooner, or make the ring deeper.

    Attributes:
        first: the first sequence that was asked for.
        lost: how many items from there are gone.
    """

    def __init__(self, message: str, *, first: int, lost: int) -> None:
        super().__init__(message)
        self.first = first
        self.lost = lost


class RingExhaustedError(ShmError, OverflowError):
    """The ring reached sequence 2**63; create it anew."""


class TableFullError(ShmError, RuntimeError):
    """Every entry is held by a live reader (or used by a counter); close one first."""


class LosslessRefusedError(ShmError, PermissionError):
    """Readers of this name may not be lossless here; read by `drop_oldest`, or have the ring's creator name you."""


class BusyError(ShmError, RuntimeError):
    """One writer holds one claim, one reader one view, and each serves one thread."""


class ClosedError(ShmError, ValueError):
    """The object was closed before this call; keep it open as long as it is used."""
