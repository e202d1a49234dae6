"""Items that prove themselves: what the synthetic sources stamp in, and how it is checked afterwards.

``camera``: the first 12 bytes of an image are a number (uint64) and a CRC-32 (uint32) of all bytes behind them
followed by the number.  Every byte counts, and the writer needs no pass over the image: the CRC of the body is known
beforehand and only the number is added to it.

``signal``: the last three channels of a sample are the low and high half of a number and a check: the sum of all the
other channels, each times an odd weight of its own, plus a salt, modulo 2¹⁶.  An odd weight is invertible modulo 2¹⁶,
so any change of one value is found; weights differ, so swapped channels are; the salt refuses rows of zeros.
"""

from __future__ import annotations

import zlib
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["camera", "signal"]

CAMERA_HEAD: Final = np.dtype([("number", "<u8"), ("crc", "<u4")])
"""What stands in the first bytes of a camera's image."""
SIGNAL_TAIL: Final = 3
"""Channels behind the waves: number low, number high, check."""
_SALT: Final = 0x5EED


def camera_crc(body_crc: int, number: int) -> int:
    """Return the CRC of a body, whose own CRC is ``body_crc``, followed by the number."""
    return zlib.crc32(number.to_bytes(8, "little"), body_crc)


def signal_weights(channels: int) -> NDArray[np.uint16]:
    """Return one odd weight a channel, all different, for every channel but the check itself; shape (channels-1,)."""
    # A Weyl sequence: odd step, so the 2**15 values of 2k+1 times it are all different and odd.
    return ((2 * np.arange(channels - 1, dtype=np.uint32) + 1) * 0x9E37 & 0xFFFF).astype(np.uint16)


def signal_sum(rows: NDArray[Any], weights: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the weighted sum of each row of int16 modulo 2¹⁶; rows (n, k), weights (k,)."""
    # uint16 arithmetic wraps, which is the modulus wanted.
    sums: NDArray[np.uint16] = (rows.view(np.uint16) * weights).sum(axis=1, dtype=np.uint16)
    return sums


def signal_check(sums: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the check word that belongs to a row's sum."""
    return sums + np.uint16(_SALT)


def check_items(data: NDArray[Any], kind: str) -> list[int]:
    """Return the indices of the items that do not prove themselves.

    Args:
        data: shape (n, *item shape), as it was recorded.
        kind: ``"camera"`` or ``"signal"``, from the stream's ``meta["selfcheck"]``.

    Raises:
        ValueError: another kind.
    """
    if kind == "camera":
        return [index for index, image in enumerate(data) if not _camera_is_good(image)]
    if kind == "signal":
        rows = np.ascontiguousarray(data, np.int16)
        sums = signal_sum(rows[:, :-1], signal_weights(rows.shape[1]))
        found: list[int] = np.flatnonzero(signal_check(sums) != rows[:, -1].view(np.uint16)).tolist()
        return found
    raise ValueError(f"no self-check of kind {kind!r}; there are 'camera' and 'signal'")


def item_numbers(data: NDArray[Any], kind: str) -> NDArray[np.uint64]:
    """Return the number stamped into each item; consecutive from each start of the source on."""
    if kind == "camera":
        heads = [np.frombuffer(_head_bytes(image), CAMERA_HEAD)["number"][0] for image in data]
        return np.array(heads, np.uint64)
    halves = np.ascontiguousarray(data[:, -SIGNAL_TAIL:-1], np.int16).view(np.uint16).astype(np.uint64)
    return halves[:, 0] | halves[:, 1] << np.uint64(16)


def _head_bytes(image: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(image).view(np.uint8).reshape(-1)[: CAMERA_HEAD.itemsize].tobytes()


def _camera_is_good(image: NDArray[Any]) -> bool:
    content = np.ascontiguousarray(image).view(np.uint8).reshape(-1)
    head = np.frombuffer(content[: CAMERA_HEAD.itemsize].tobytes(), CAMERA_HEAD)[0]
    body_crc = zlib.crc32(content[CAMERA_HEAD.itemsize :].data)
    return camera_crc(body_crc, int(head["number"])) == int(head["crc"])
