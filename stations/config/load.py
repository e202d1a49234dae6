"""Reads a rig file and refuses, in one line, what could not work."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import msgspec

from pipeline.codec_choice import encoder_of
from pipeline.errors import UnknownCodecError
from stations.errors import ConfigError, SourceError
from stations.sources import check_source, resolve_path
from stations.suggest import did_you_mean

from .lineage import check_lineage
from .naming import check_naming
from .rig import (
    ALIASES,
    RECORDER,
    PilotSection,
    RecordingSection,
    RestartSection,
    Rig,
    RigSection,
    StreamSection,
    TerminalSection,
)

Section = TypeVar("Section", bound=msgspec.Struct)
Table = Mapping[str, Any]

_RING_NAME_BYTES: Final = 200
_STREAM_KEYS: Final = frozenset(
    entry.encode_name for entry in msgspec.structs.fields(StreamSection) if entry.name != "options"
)
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")


def load_rig(path: str | Path) -> Rig:
    """Read a rig file.

    Args:
        path: the TOML file.  Relative paths of sources are made absolute against its folder.

    Returns:
        The rig, all of it checked; no file of a source was opened and no class of a user imported.

    Raises:
        ConfigError: one line with the file, the dotted path of the key, what is wrong and what to do.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"no rig file {path}; check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read rig file {path}: {reason}") from error
    return parse_rig(text, folder=path.resolve().parent, name=str(path))


def parse_rig(text: str, *, folder: Path, name: str = "rig") -> Rig:
    """Read the text of a rig file; `load_rig` for a text, with ``folder`` for relative paths and ``name`` in errors."""
    try:
        return _rig(tomllib.loads(text), folder)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not TOML: {str(error)[0].lower()}{str(error)[1:]}") from error
    except (ConfigError, SourceError) as error:
        raise ConfigError(f"{name}: {error}") from error


def _rig(document: Table, folder: Path) -> Rig:
    _refuse_unknown(document, {"rig", "terminal", "recording", "pilots", "restart"}, "")
    if "rig" not in document:
        raise ConfigError("there is no [rig]; add [rig] with name = …")
    rig = Rig(
        rig=_section(_own_names(document["rig"], "rig"), RigSection, "rig"),
        terminal=_section(_own_names(document.get("terminal", {}), "terminal"), TerminalSection, "terminal"),
        recording=_section(document.get("recording", {}), RecordingSection, "recording"),
        restart=_section(document.get("restart", {}), RestartSection, "restart"),
        pilots={
            key: _pilot(table, f"pilots.{_identifier(key, 'pilots')}", folder)
            for key, table in _table(document.get("pilots", {}), "pilots").items()
        },
        folder=str(folder),
    )
    _check_names(rig)
    _check_ports(rig)
    _check_recorders(rig)
    check_lineage(rig)
    check_naming(rig)
    return rig


def _own_names(table: Any, where: str) -> dict[str, Any]:
    """Return a section with the names that its keys have of their own."""
    found = dict(_table(table, where))
    for alias, name in ALIASES[where].items():
        if alias in found:
            if name in found:
                raise ConfigError(f"{where}.{alias}: {where}.{name} says the same; give one of them")
            found[name] = found.pop(alias)
    return found


def _pilot(table: Any, where: str, folder: Path) -> PilotSection:
    plain = {key: value for key, value in _table(table, where).items() if key != "streams"}
    _refuse_unknown(table, _names(PilotSection), where)
    entries = _table(table.get("streams", {}), f"{where}.streams")
    streams = {
        key: _stream(entry, f"{where}.streams.{_identifier(key, f'{where}.streams')}", folder)
        for key, entry in entries.items()
    }
    return msgspec.structs.replace(_section(plain, PilotSection, where), streams=streams)


def _stream(table: Any, where: str, folder: Path) -> StreamSection:
    table = _table(table, where)
    options = {key: value for key, value in table.items() if key not in _STREAM_KEYS}
    stream = _section({key: table[key] for key in table if key in _STREAM_KEYS}, StreamSection, where)
    _check_codec(stream.codec, where)
    if (stream.source is None) == (stream.ring is None):
        raise ConfigError(f"{where}: a stream has either a source = … or a ring = …; give one of them")
    if stream.source is None:
        _refuse_unknown(table, _STREAM_KEYS, where)
        return stream
    check_source(stream.source, options, name=where, also_known=_STREAM_KEYS)
    return msgspec.structs.replace(stream, source=resolve_path(stream.source, folder), options=options)


def _check_codec(codec: str, where: str) -> None:
    try:
        encoder_of(codec)
    except UnknownCodecError as error:
        raise ConfigError(f"{where}.codec: {error}") from error


def _section(table: Any, kind: type[Section], where: str) -> Section:
    _refuse_unknown(_table(table, where), _names(kind), where)
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), kind, where)) from error


def _explain(error: str, kind: type[msgspec.Struct], where: str) -> str:
    """Return msgspec's message with the path in front, as it stands in the file."""
    reason, _, path = error.replace("`", "").partition(" - at $.")
    if "regex" in reason:
        reason = "letters, digits, - and _ are allowed, and no _ in front"
    elif reason.startswith("Invalid enum value"):
        hint = next(entry.type for entry in msgspec.structs.fields(kind) if entry.encode_name == path)
        reason = f"{reason.removeprefix('Invalid enum value ')} is none of {', '.join(get_args(hint))}"
    elif reason.startswith("Object missing required field"):
        return f"{where}: add {reason.removeprefix('Object missing required field ')} = …"
    return f"{where}.{path}: {reason[0].lower()}{reason[1:]}"


def _names(kind: type[msgspec.Struct]) -> set[str]:
    """Return a section's keys as they are spelled in the file."""
    return {entry.encode_name for entry in msgspec.structs.fields(kind)}


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a table, got {value!r}; write [{where}]")
    return value


def _refuse_unknown(table: Table, known: set[str] | frozenset[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{where + '.' if where else ''}{key}: unknown key; {did_you_mean(key, known)}")


def _identifier(key: str, where: str) -> str:
    if not _IDENTIFIER.fullmatch(key):
        rule = "use up to 60 letters, digits, - and _, and no _ in front"
        raise ConfigError(f"{where}: {key!r} cannot be a name; {rule}")
    return key


def _check_names(rig: Rig) -> None:
    """Stations share one address space, and a ring's name has room for 200 bytes."""
    if rig.terminal.id in rig.pilots:
        raise ConfigError(f"pilots.{rig.terminal.id}: the Terminal has this id; give one of them another")
    longest = max((f"{rig.name}/{rig.terminal.id}/{stream}" for _, stream, _ in rig.streams()), key=len, default="")
    if len(longest) > _RING_NAME_BYTES:
        raise ConfigError(f"ring name {longest} is longer than {_RING_NAME_BYTES} bytes; shorten the ids")
    rings: dict[str, str] = {}
    for _, stream, entry in rig.streams():
        if entry.ring is not None and rings.setdefault(entry.ring, stream) != stream:
            raise ConfigError(f"{stream}: ring {entry.ring!r} is the stream {rings[entry.ring]} already; name it once")


def _check_recorders(rig: Rig) -> None:
    """Every stream is recorded somewhere, and no stream has a recorder's address."""
    for pilot, section in rig.pilots.items():
        where = f"pilots.{pilot}"
        if section.streams and not (rig.terminal.record or section.record):
            raise ConfigError(f"terminal.record: nobody would record {where}; add record = true there, or drop it here")
        if section.record and RECORDER in section.streams:
            raise ConfigError(f"{where}.streams.{RECORDER}: the Pilot's own recorder has this name; choose another")


def _check_ports(rig: Rig) -> None:
    """Two listeners of one rig cannot share a port; stations on other machines could, but one file may run them all."""
    taken: dict[int, str] = {}
    ports = [
        ("terminal.MSGPORT", rig.terminal.msg_port),
        ("terminal.DATAPORT", rig.terminal.data_port),
        ("terminal.VIEWPORT", rig.terminal.view_port),
        *((f"pilots.{pilot}.MSGPORT", section.msg_port) for pilot, section in rig.pilots.items()),
    ]
    for where, port in ports:
        if port and taken.setdefault(port, where) != where:
            raise ConfigError(f"{where}: port {port} is {taken[port]} already; choose another, or 0 for any free one")
