"""A source's options are the keyword arguments of its constructor; the signature is the schema."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from stations.errors import SourceError
from stations.suggest import did_you_mean

PositiveRate = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
"""Items per second."""
Rate = PositiveRate | Literal["max"]
"""Items per second, or as fast as the readers take them."""

_EMPTY: Final = inspect.Parameter.empty


def check_options(
    factory: Callable[..., object],
    options: Mapping[str, object],
    *,
    source: str,
    also_known: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the options, converted to the types that the constructor declares.

    Args:
        factory: the source's class.
        options: as they stand in the rig file.
        source: the source as it was written, for the message.
        also_known: keys of the same table that are not the source's, for suggestions.

    Raises:
        SourceError: an unknown or missing option, or a value of the wrong type.
    """
    parameters = inspect.signature(factory).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    named = {key: p for key, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY or _is_plain(p)}
    for key in options:
        if key not in named and not takes_any:
            hint = did_you_mean(key, {*named, *also_known})
            raise SourceError(f"{source} has no option {key!r}; {hint}")
    missing = [key for key, p in named.items() if p.default is _EMPTY and key not in options]
    if missing:
        raise SourceError(f"{source} needs the option {missing[0]!r}; add {missing[0]} = … to the stream")
    hints = _hints(factory)
    return {key: _convert(value, hints.get(key), f"{source}: {key}") for key, value in options.items()}


def _is_plain(parameter: inspect.Parameter) -> bool:
    return parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD


def _hints(factory: Callable[..., object]) -> dict[str, Any]:
    """Return the constructor's annotations; none when they cannot be resolved (a user's may be of any kind)."""
    plain = factory.func if isinstance(factory, functools.partial) else factory
    constructor = plain.__init__ if inspect.isclass(plain) else plain
    try:
        return get_type_hints(constructor, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}


def _convert(value: object, hint: Any, where: str) -> Any:
    if hint is None:
        return value
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        raise SourceError(f"{where} = {value!r}: {_reason(error, hint)}") from error
    except TypeError:  # an annotation that msgspec does not know: the source checks it itself
        return value


def _reason(error: msgspec.ValidationError, hint: Any) -> str:
    """Say what was expected, in the words of a rig file."""
    words = [word for part in get_args(hint) if get_origin(part) is Literal for word in get_args(part)]
    if words and str(error).startswith("Invalid enum value"):
        return f"expected a number or {' or '.join(map(repr, words))}"
    reason = str(error).replace("`", "").split(" - at ", maxsplit=1)[0]
    return reason[0].lower() + reason[1:]
