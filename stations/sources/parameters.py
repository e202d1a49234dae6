"""Parameters that a source lets people change while it runs: exposure, gain, a threshold.

A source that has any declares them, by name, as `parameters`, and takes a new value by `set_parameter`, which is called
between two readings, on the thread that reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from stations.errors import SourceError
from stations.suggest import did_you_mean


@dataclass(frozen=True, slots=True)
class Parameter:
    """What values a parameter takes."""

    kind: type[int | float | bool | str]
    low: float | None = None
    high: float | None = None
    """Range of numbers, both ends included; None: no bound."""
    choices: tuple[Any, ...] = ()
    """All values, where they are few."""
    unit: str = ""

    def take(self, name: str, value: Any) -> Any:
        """Return the value as the source gets it.

        Raises:
            SourceError: another type, out of range, or none of the choices.
        """
        if self.kind is float and type(value) is int:
            value = float(value)
        if type(value) is not self.kind:
            raise SourceError(f"{name} = {value!r}: expected {self._expected()}")
        outside = isinstance(value, int | float) and not self._low() <= value <= self._high()
        if outside or (self.choices and value not in self.choices):
            raise SourceError(f"{name} = {value!r}: expected {self._expected()}")
        return value

    def _low(self) -> float:
        return -math.inf if self.low is None else self.low

    def _high(self) -> float:
        return math.inf if self.high is None else self.high

    def _expected(self) -> str:
        if self.choices:
            return f"one of {', '.join(map(repr, self.choices))}"
        unit = f" {self.unit}" if self.unit else ""
        if self.low is None and self.high is None:
            return f"{self.kind.__name__}{unit}"
        bounds = (("…" if bound is None else f"{bound:g}") for bound in (self.low, self.high))
        return f"{self.kind.__name__} from {' to '.join(bounds)}{unit}"


@runtime_checkable
class Adjustable(Protocol):
    """A source with parameters."""

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """What can be set, by name."""
        ...

    def set_parameter(self, name: str, value: Any) -> Any:
        """Take a value that was checked; return what it is now, which a device may have rounded."""
        ...


def set_parameter(source: object, name: str, value: Any) -> Any:
    """Set a parameter of a source; return the value that it took.

    Raises:
        SourceError: the source has no such parameter, or the value is none of it.
    """
    if not isinstance(source, Adjustable) or not source.parameters:
        raise SourceError(f"{type(source).__name__} has no parameters that can be set while it runs")
    declared = source.parameters.get(name)
    if declared is None:
        raise SourceError(f"no parameter {name!r}; {did_you_mean(name, source.parameters)}")
    return source.set_parameter(name, declared.take(name, value))
