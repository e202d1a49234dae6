"""What the folder of a recording is called: a template, ``sub-{subject}/ses-{session}/sub-{subject}_run-{run}``, say.

A name is never given twice: `{run}` counts on behind the highest number that is there, also of a recording that was
moved in or begun by somebody else meanwhile; and a folder that exists is never taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from string import Formatter
from typing import Final

from stations.errors import ConfigError, OutputError
from stations.folders import make_folder
from stations.suggest import did_you_mean

from .rig import Rig

KEY: Final = "rig.recording"
FIELDS: Final = ("rig", "time", "subject", "session", "run")
TIME: Final = "%Y-%m-%dT%H-%M-%SZ"
"""UTC; sorts as time does, and is a name on every file system."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_+@-][A-Za-z0-9_.+@-]*")
"""One part of a path that is a name everywhere, and hidden nowhere."""
_SAMPLE: Final = "0"


def check_naming(rig: Rig) -> None:
    """Refuse a template that makes no new folder below the output folder for each run.

    Raises:
        ConfigError: the key, what is wrong, what to do.
    """
    template = rig.rig.recording
    fields = {field for _, field in _pieces(template) if field}
    for field, key, value in (("subject", "SUBJECT", rig.rig.subject), ("session", "session", rig.rig.session)):
        if field in fields and not _PLAIN.fullmatch(value):
            raise ConfigError(f"rig.{key}: {value!r} cannot be in the recording's name; use letters, digits, - and _")
    for part in _filled(template, dict.fromkeys(FIELDS, _SAMPLE)).split("/"):
        if not _PLAIN.fullmatch(part):
            rule = "use letters, digits, and - _ . + @ but for a dot in front"
            raise ConfigError(f"{KEY}: {part!r} cannot be the name of a folder; {rule}")
    if "{run}" in template.rpartition("/")[0]:
        raise ConfigError(f"{KEY}: {{run}} counts the recordings of one folder; it belongs behind the last /")
    if not fields & {"run", "time"}:
        raise ConfigError(f"{KEY}: a second run would have the name of the first; add {{run}} or {{time}}")


def claim_folder(rig: Rig, output: Path, now: datetime) -> Path:
    """Make the folder of a recording that begins, and return it; no other has it.

    Args:
        rig: checked.
        output: folder of its recordings.
        now: in UTC.

    Raises:
        OutputError: it is there already, or cannot be made.
    """
    values = {
        "rig": rig.name,
        "time": f"{now:{TIME}}",
        "subject": rig.rig.subject,
        "session": rig.rig.session,
    }
    above, _, last = rig.rig.recording.rpartition("/")
    folder = output / _filled(above, values)
    counts = "{run}" in last
    while True:
        values["run"] = f"{_highest(folder, last, values) + 1:02d}" if counts else ""
        path = folder / _filled(last, values)
        try:
            make_folder(path)
        except FileExistsError as error:
            if not counts or not path.exists():  # a file stands where a folder should
                raise OutputError(f"{path}: exists already; wait a second, or change {KEY}") from error
        except OSError as error:
            raise OutputError(f"{path}: cannot hold a recording: {error.strerror}; choose another --output") from error
        else:
            return path


def _pieces(template: str) -> Iterator[tuple[str, str | None]]:
    """Yield (text, the field behind it).

    Raises:
        ConfigError: a field that is none, or written otherwise than ``{field}``.
    """
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"{KEY}: {error} in {template!r}; fields are written {{rig}}") from error
    for text, field, form, conversion in parsed:
        if field is not None and (field not in FIELDS or form or conversion):
            raise ConfigError(f"{KEY}: no field {{{field}}}; {did_you_mean(field, FIELDS)}")
        yield text, field


def _filled(template: str, values: Mapping[str, str]) -> str:
    return "".join(text + (values[field] if field else "") for text, field in _pieces(template))


def _highest(folder: Path, last: str, values: Mapping[str, str]) -> int:
    """Return the highest run of that name which is there, at whatever time; 0 if none is."""
    known = {name: re.escape(value) for name, value in values.items()} | {"run": r"(?P<run>\d+)", "time": ".+"}
    pattern, seen = "", False
    for text, field in _pieces(last):
        again = field == "run" and seen
        seen = seen or field == "run"
        pattern += re.escape(text) + (r"(?P=run)" if again else known[field] if field else "")
    found = (re.fullmatch(pattern, path.name) for path in (folder.iterdir() if folder.is_dir() else ()))
    return max((int(match["run"]) for match in found if match), default=0)
