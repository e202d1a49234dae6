"""Writes a rig as TOML, in the spelling of rig files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from .rig import Rig, StreamSection

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


def dump_rig(rig: Rig) -> str:
    """Return the text of a rig file that `load_rig` reads as the same rig, but for its folder.

    Comments are not kept, defaults are spelled out, and paths of sources are absolute.
    """
    document: dict[str, Any] = {
        "rig": msgspec.to_builtins(rig.rig),
        "terminal": msgspec.to_builtins(rig.terminal),
        "recording": msgspec.to_builtins(rig.recording),
        "restart": msgspec.to_builtins(rig.restart),
        "pilots": {
            pilot: {
                **_without_none(msgspec.to_builtins(section)),
                "streams": {name: _stream(entry) for name, entry in section.streams.items()},
            }
            for pilot, section in rig.pilots.items()
        },
    }
    return "\n".join(_tables(document, ())).strip() + "\n"


def _stream(entry: StreamSection) -> dict[str, Any]:
    """Return a stream's table; what is absent in TOML's way is left out."""
    table: dict[str, Any] = msgspec.to_builtins(entry)
    del table["options"]  # as they were read: to_builtins would make strings of dates
    return _without_none({**table, **entry.options})


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    """TOML has no null: what is absent is left out."""
    return {key: value for key, value in table.items() if value is not None}


def _tables(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of a table and then of those in it."""
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    if path and (plain or not table):
        yield f"\n[{'.'.join(map(_key, path))}]"
    for key, value in plain.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _tables(value, (*path, key))


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, str):  # a JSON string is a TOML basic string, but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(key)} = {_value(entry)}' for key, entry in value.items())}}}"
    return str(value)  # numbers, and dates, whose text is TOML's
