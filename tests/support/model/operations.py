"""The vocabulary of a modelled thread: a thread is a list of operations, and operations are data.

A program is a list of `Operation` and of plain strings; a string is a label.  Words are shared memory, registers
belong to the thread and start at 0.  ``part`` names what an operation is for (``"I1 fence"``), so that a test can take
exactly that part out of a program (`without`) and see which promise breaks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Kind(Enum):
    """What an operation does; only the first four touch memory."""

    LOAD = "load"
    AWAIT = "await"  # a load in a loop
    STORE = "store"
    UPDATE = "update"  # atomic read-modify-write, or a system call seen as one
    FENCE = "fence"
    COMPUTE = "compute"
    CHECK = "check"
    BRANCH = "branch"
    EITHER = "either"


class Order(Enum):
    """C11's orders, and x86's streaming (non-temporal) stores with the ``sfence`` that orders them."""

    RELAXED = "relaxed"
    ACQUIRE = "acquire"
    RELEASE = "release"
    SEQ_CST = "seq_cst"
    STREAMING = "streaming"


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of a thread, as a memory model sees it: kind, words, registers and order."""

    kind: Kind
    words: tuple[str, ...] = ()
    target: str = ""  # the register that is written, or the label that is jumped to
    arguments: tuple[str, ...] = ()  # registers that `function` is called with
    function: Callable[..., object] | None = None  # value, index, condition or effect
    order: Order = Order.RELAXED
    part: str = ""

    @property
    def is_access(self) -> bool:
        """True if it touches memory."""
        return self.reads or self.writes

    @property
    def reads(self) -> bool:
        """True if it takes a value from memory."""
        return self.kind in (Kind.LOAD, Kind.AWAIT, Kind.UPDATE)

    @property
    def writes(self) -> bool:
        """True if it changes memory."""
        return self.kind in (Kind.STORE, Kind.UPDATE)

    @property
    def result(self) -> str:
        """The register that it sets, or an empty string."""
        return self.target if self.reads or self.kind is Kind.COMPUTE else ""


Program: TypeAlias = list[Operation | str]


def load(register: str, word: str, order: Order = Order.RELAXED, *, part: str = "") -> Operation:
    """Read a word."""
    return Operation(Kind.LOAD, (word,), register, order=order, part=part)


def load_at(register: str, words: Sequence[str], index: Callable[..., int], *arguments: str) -> Operation:
    """Read one of several words; which one is computed from registers (an address dependency)."""
    if len(words) == 1:
        return load(register, words[0])
    return Operation(Kind.LOAD, tuple(words), register, arguments, index)


def await_word(
    register: str, word: str, until: Callable[..., bool], *arguments: str, order: Order = Order.RELAXED, part: str = ""
) -> Operation:
    """Read a word again and again until ``until(word, *arguments)``: one load that cannot happen earlier."""
    return Operation(Kind.AWAIT, (word,), register, arguments, until, order, part)


def store(word: str, value: int | str, order: Order = Order.RELAXED, *, part: str = "") -> Operation:
    """Write a constant, or the register of that name."""
    if isinstance(value, str):
        return Operation(Kind.STORE, (word,), "", (value,), _identity, order, part)
    return Operation(Kind.STORE, (word,), "", (), lambda: value, order, part)


def update(
    register: str,
    words: Sequence[str],
    effect: Callable[..., Sequence[int]],
    *arguments: str,
    order: Order = Order.RELAXED,
    part: str = "",
) -> Operation:
    """Replace the words by ``effect(*words, *arguments)`` in one step; the register gets the old first word.

    A system call that compares or wakes is such a step of order SEQ_CST.
    """
    return Operation(Kind.UPDATE, tuple(words), register, arguments, effect, order, part)


def fence(order: Order, *, part: str = "") -> Operation:
    """``atomic_thread_fence(order)``; ``Order.STREAMING`` is x86's ``sfence``."""
    return Operation(Kind.FENCE, order=order, part=part)


def compute(register: str, function: Callable[..., int], *arguments: str, part: str = "") -> Operation:
    """Set a register from registers."""
    return Operation(Kind.COMPUTE, (), register, arguments, function, part=part)


def check(promise: str, condition: Callable[..., bool], *arguments: str) -> Operation:
    """Claim that a condition on registers holds here; the exploration stops where it does not."""
    return Operation(Kind.CHECK, (), promise, arguments, condition)


def branch(label: str, condition: Callable[..., bool], *arguments: str, part: str = "") -> Operation:
    """Go to a label if the condition on registers holds."""
    return Operation(Kind.BRANCH, (), label, arguments, condition, part=part)


def either(label: str) -> Operation:
    """Go on or go to a label: both are explored (a death, a time-out)."""
    return Operation(Kind.EITHER, (), label)


def without(program: Program, part: str, order: Order | None = None) -> Program:
    """Take one part out of a program or, where an order is given, leave it that order only."""
    changed: Program = []
    for step in program:
        if isinstance(step, str) or step.part != part:
            changed.append(step)
        elif order:
            changed.append(replace(step, order=order))
    return changed


def _identity(value: int) -> int:
    return value
