"""A message: who sends what to whom under which key.

Required are `id`, `to`, `sender` and `key`; any other keyword becomes an attribute and travels too.  Messages can be
used as dicts (``message["key"]``, ``"subject" in message``, ``del message["subject"]``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self

from .arrays import Buffer, expand_arrays
from .errors import MalformedError, UnsendableError
from .value import Frames, decode_frames, decoder_of, encode_frames
from .wire import VERSION, Content

DEFAULT_TTL: Final = 5
"""Sends of a message that nobody confirms, the first included; the seed documents say "typically 5 times"."""

_contents: Final = decoder_of(Content)
_DEFAULTS: Final[dict[str, Any]] = {
    "id": None,
    "to": None,
    "sender": None,
    "key": None,
    "value": None,
    "flags": None,
    "timestamp": "",
    "ttl": DEFAULT_TTL,
    "changed": False,
    "serialized": None,
    "blosc": False,
}
_TYPES: Final = (
    ("id", str), ("to", str), ("sender", str), ("key", str), ("flags", dict), ("timestamp", str), ("ttl", int),
)  # fmt: skip
"""What a recipient insists on; anything else would end there as malformed, without a word to the sender."""
_OURS: Final = frozenset(_DEFAULTS)
_NOT_SENT: Final = frozenset(("changed", "serialized", "blosc"))


_second: tuple[int, str] = (0, "")
"""The second of the newest timestamp, and its text: most messages share it with the one before."""


class Message:
    """A formatted message.

    Attributes:
        id: names the message: sender, boot of the sender, number.
        to: the final recipient, also when it is sent along a list of hops.
        sender: where it began.
        key: chooses the listen that handles it.
        value: the body; what can be sent is a table in `pipeline/README.md`.
        flags: `NOREPEAT` (sent once, never confirmed), `MINPRINT` (value not logged), `NOLOG` (not logged); presence
            counts, not the value.
        timestamp: when it was made, ISO 8601 with zone.
        ttl: how often it is sent at most.
        changed: whether it was changed since `serialize`; set it yourself after changing *inside* the value.
        serialized: the frames that `serialize` made, or None.
        blosc: whether `serialize` compresses arrays.
    """

    id: str | None
    to: str | None
    sender: str | None
    key: str | None
    value: Any
    flags: dict[str, Any]
    timestamp: str
    ttl: int
    changed: bool
    serialized: Frames | None
    blosc: bool

    def __init__(self, msg: Sequence[Buffer] | None = None, expand_arrays: bool = False, **fields: Any) -> None:
        """Make a message of keywords, or read one.

        Args:
            msg: frames that `serialize` returned.
            expand_arrays: whether arrays in `msg` become numpy arrays at once (else on `expand`).
            fields: attributes; None stands for what is not given.

        Raises:
            MalformedError: `msg` is not what `serialize` returns.
        """
        mine = self.__dict__
        if msg is None:
            mine.update(_DEFAULTS)
        else:
            self._read(msg)
        if fields:
            mine.update(fields)
        if mine["flags"] is None:
            mine["flags"] = {}
        if not mine["timestamp"]:
            mine["timestamp"] = self.get_timestamp()
        if expand_arrays:
            self.expand()

    @staticmethod
    def get_timestamp() -> str:
        """Return the time now, ISO 8601 with zone (UTC)."""
        global _second  # noqa: PLW0603 - replaced as a whole, so that threads see one or the other
        second, nanosecond = divmod(time.time_ns(), 1_000_000_000)
        known, text = _second
        if second != known:
            text = datetime.fromtimestamp(second, UTC).isoformat()[:-6]
            _second = (second, text)
        return f"{text}.{nanosecond // 1000:06}+00:00"

    def validate(self) -> bool:
        """Tell whether id, to, sender and key are all there."""
        mine = self.__dict__
        return not (mine["id"] is None or mine["to"] is None or mine["sender"] is None or mine["key"] is None)

    def serialize(self) -> Frames:
        """Return the frames that carry the message: its content, then one buffer for each array.

        Made once and kept in `serialized` until an attribute is set.

        Raises:
            MalformedError: a required attribute is missing.
            UnsendableError: value, flags or another attribute cannot be sent; the text names the path.
        """
        mine = self.__dict__
        if mine["serialized"] is not None and not mine["changed"]:
            frames: Frames = mine["serialized"]
            return frames
        if not self.validate():
            missing = [name for name in ("id", "to", "sender", "key") if mine[name] is None]
            raise MalformedError(f"message {self!r} has no {', '.join(missing)}")
        extra = {name: mine[name] for name in mine if name not in _OURS} if len(mine) > len(_OURS) else {}
        for name, kind in _TYPES:
            if not isinstance(mine[name], kind):
                raise UnsendableError(f"{name}: {mine[name]!r:.80} cannot be sent; it is to be a {kind.__name__}")
        _check_flags(mine["flags"])
        content = Content(
            VERSION, mine["id"], mine["to"], mine["sender"], mine["key"], mine["value"], mine["flags"],
            mine["timestamp"], mine["ttl"], extra,
        )  # fmt: skip
        frames = encode_frames(content, compress=mine["blosc"])
        mine["serialized"], mine["changed"] = frames, False
        return frames

    def expand(self) -> Self:
        """Make every array that is still packed a numpy array; what is expanded already stays.

        Raises:
            MalformedError: a compressed array is damaged, or the value is nested deeper than anything that we send.
        """
        mine = self.__dict__
        frames = mine["serialized"]
        if frames is not None and len(frames) == 1 and not mine["changed"]:
            return self  # arrays travel in frames of their own: there are none
        mine["value"] = expand_arrays(mine["value"])
        for name in [name for name in mine if name not in _OURS]:
            mine[name] = expand_arrays(mine[name])
        return self

    def _read(self, frames: Sequence[Buffer]) -> None:
        content = decode_frames(_contents, frames)
        if content.version != VERSION:
            raise MalformedError(f"message version {content.version}; this is {VERSION}")
        if content.extra and not _OURS.isdisjoint(content.extra):
            raise MalformedError(f"extra attributes {sorted(content.extra)} hide the message's own")
        mine = self.__dict__
        mine.update(
            id=content.id, to=content.to, sender=content.sender, key=content.key, value=content.value,
            flags=content.flags, timestamp=content.timestamp, ttl=content.ttl, changed=False, serialized=list(frames),
            blosc=False,
        )  # fmt: skip
        if content.extra:
            mine.update(content.extra)

    def __setattr__(self, name: str, value: Any) -> None:
        mine = self.__dict__
        mine[name] = value
        if name not in _NOT_SENT:
            mine["changed"] = True

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"message has no {name!r}; it has {', '.join(self)}")

    def __getitem__(self, key: str) -> Any:
        return self.__dict__[key]

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)

    def __delitem__(self, key: str) -> None:
        if key in _OURS:
            self.__dict__[key] = {} if key == "flags" else None
        else:
            del self.__dict__[key]
        self.__dict__["changed"] = True

    def __contains__(self, key: object) -> bool:
        return key in self.__dict__

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.__dict__ if name not in _NOT_SENT)

    def __len__(self) -> int:
        return len(self.__dict__) - len(_NOT_SENT)

    def __repr__(self) -> str:
        mine = self.__dict__
        return f"<Message {mine['id']} {mine['sender']} -> {mine['to']} {mine['key']}>"


def frames_of(  # noqa: PLR0917 - the fields, in their order
    id: str,  # noqa: A002 - the seed's word
    to: str,
    sender: str,
    key: str,
    value: Any,
    flags: dict[str, Any],
) -> Frames:
    """Return the frames of a message of these fields, made now: quicker than making the message, which few look at.

    Raises:
        UnsendableError: see `Message.serialize`.
    """
    if not isinstance(key, str):
        raise UnsendableError(f"key: {key!r:.80} cannot be sent; it is to be a str")
    _check_flags(flags)
    timestamp = Message.get_timestamp()
    return encode_frames(Content(VERSION, id, to, sender, key, value, flags, timestamp, DEFAULT_TTL, {}))


def _check_flags(flags: dict[str, Any]) -> None:
    if flags and not all(isinstance(name, str) for name in flags):
        raise UnsendableError(f"flags: {flags!r:.80} cannot be sent; flags are named by text")
