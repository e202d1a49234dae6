"""From the text in a rig file (``video:PATH``, ``host``, ``python:module:Class``) to a source."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple

from stations.errors import SourceError
from stations.suggest import did_you_mean

from .options import check_options
from .source import Source

Takes = Literal["nothing", "path", "class"]


class _Kind(NamedTuple):
    """One row of the registry."""

    module: str
    """Imported only when used, so that an extra is needed only by who uses it."""
    factory: str
    takes: Takes
    """What stands behind the last colon."""
    usage: str


KINDS: Final[dict[str, _Kind]] = {
    "video": _Kind("video", "VideoSource", "path", "video:PATH"),
    "wav": _Kind("wav", "WavSource", "path", "wav:PATH"),
    "host": _Kind("host", "HostSource", "nothing", "host"),
    "synthetic:camera": _Kind("camera", "CameraSource", "nothing", "synthetic:camera"),
    "synthetic:signal": _Kind("signal", "SignalSource", "nothing", "synthetic:signal"),
    "replay": _Kind("replay", "ReplaySource", "path", "replay:RECORDING"),
    "python": _Kind("", "", "class", "python:module:Class"),
}
_METHODS: Final = ("open", "read_into", "close")


def open_source(text: str, options: Mapping[str, object] | None = None, *, name: str = "") -> Source:
    """Make and open a source.

    Args:
        text: ``video:PATH``, ``wav:PATH``, ``replay:RECORDING``, ``host``, ``synthetic:camera``,
            ``synthetic:signal`` or ``python:module:Class``.
        options: keyword arguments of its class.
        name: the stream; begins messages.

    Returns:
        The source, open: its `spec` is valid, and the caller closes it.

    Raises:
        SourceError: one line that names the stream, the thing and what to do.
        MissingExtraError: an optional package is needed.
    """
    source = make_source(text, options, name=name)
    try:
        with _told_of(name):
            source.open()
    except BaseException:
        source.close()
        raise
    return source


def make_source(text: str, options: Mapping[str, object] | None = None, *, name: str = "") -> Source:
    """Make a source without opening it; the same errors as `open_source` for text and options."""
    with _told_of(name):
        kind, argument = _parse(text)
        factory = _factory(kind, argument)
        source = factory(**check_options(factory, options or {}, source=text))
        missing = [method for method in _METHODS if not callable(getattr(source, method, None))]
        if missing:
            raise SourceError(f"{text} has no method {missing[0]}(); a source needs spec, open, read_into, close")
    return source  # type: ignore[return-value]  # checked by hand: spec may be valid only after open


def check_source(
    text: str,
    options: Mapping[str, object],
    *,
    name: str = "",
    also_known: Iterable[str] = (),
    imports: bool = False,
) -> None:
    """Refuse a source that could never open, without touching files or devices.

    Args:
        text: as for `open_source`.
        options: as for `open_source`.
        name: the stream, or the dotted path of its table; begins messages.
        also_known: other keys that may stand in the same table, for suggestions.
        imports: also import ``python:`` classes, which may exist on the Pilot only.

    Raises:
        SourceError: unknown source or option, missing or mistyped value.
    """
    with _told_of(name):
        kind, argument = _parse(text)
        if KINDS[kind].takes == "class" and not imports:
            return
        check_options(_factory(kind, argument), options, source=text, also_known=also_known)


def resolve_path(text: str, folder: Path) -> str:
    """Return the source with its path made absolute against ``folder``; sources without a path as they are."""
    kind, _, argument = text.partition(":")
    if kind in KINDS and KINDS[kind].takes == "path" and argument:
        return f"{kind}:{(folder / Path(argument).expanduser()).resolve()}"
    return text


@contextmanager
def _told_of(name: str) -> Iterator[None]:
    """Let messages begin with the stream that they are about."""
    try:
        yield
    except SourceError as error:
        raise SourceError(f"{name}: {error}" if name else str(error)) from error


def _parse(text: str) -> tuple[str, str]:
    """Split into a key of `KINDS` and what stands behind it."""
    kind = text if text in KINDS else text.partition(":")[0]
    if kind not in KINDS:
        known = {row.usage for row in KINDS.values()}
        hint = did_you_mean(text if text.startswith("synthetic") else kind, {*KINDS})
        hint = hint if hint.startswith("did") else f"known: {', '.join(sorted(known))}"
        raise SourceError(f"unknown source {text!r}; {hint}")
    argument = text[len(kind) + 1 :]
    usage = KINDS[kind].usage
    if KINDS[kind].takes == "nothing" and text != kind:
        raise SourceError(f"source {text!r} takes nothing behind the name; write {usage!r}")
    if KINDS[kind].takes != "nothing" and not argument:
        raise SourceError(f"source {text!r} lacks what it should read; write {usage!r}")
    return kind, argument


def _factory(kind: str, argument: str) -> Callable[..., object]:
    row = KINDS[kind]
    if row.takes == "class":
        return _user_class(argument)
    module = importlib.import_module(f".{row.module}", __package__)
    factory: Callable[..., object] = getattr(module, row.factory)
    return functools.partial(factory, Path(argument)) if row.takes == "path" else factory


def _user_class(argument: str) -> Callable[..., object]:
    module_name, _, class_name = argument.partition(":")
    if not module_name or not class_name:
        raise SourceError(f"source 'python:{argument}' names no class; write 'python:module:Class'")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        where = "beside the rig file or on PYTHONPATH"
        raise SourceError(f"cannot import {error.name!r} for python:{argument}; put it {where}") from error
    except Exception as error:  # whatever the user's module raises, the user must mend it
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SourceError(f"importing {module_name!r} failed: {reason}; correct the module") from error
    found = getattr(module, class_name, None)
    if not callable(found):
        names = [key for key, value in vars(module).items() if isinstance(value, type)]
        hint = did_you_mean(class_name, names)
        raise SourceError(f"module {module_name!r} has no class {class_name!r}; {hint}")
    factory: Callable[..., object] = found
    return factory
