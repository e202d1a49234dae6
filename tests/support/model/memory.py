"""Three memory models: what each lets a later operation of the same thread do before an earlier one.

Every model has one question, `ordered(earlier, later)`.  Memory itself is one array that all threads see alike
(x86 and ARMv8 are multi-copy atomic; POWER is not and is not modelled).  Dependencies through registers and branches
hold in every model and are kept by the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .operations import Kind, Operation, Order

if TYPE_CHECKING:
    from typing import Final


class MemoryModel(Protocol):
    """The order in which a processor may carry out the operations of one thread."""

    @property
    def name(self) -> str:
        """One word for reports."""
        ...

    def ordered(self, earlier: Operation, later: Operation) -> bool:
        """True if `later` has to wait until `earlier` is done."""
        ...


class SequentialConsistency:
    """Everything in the order of the program; only the interleaving is free."""

    name: Final = "sc"

    def ordered(self, earlier: Operation, later: Operation) -> bool:
        """Nothing overtakes anything."""
        return True


class TotalStoreOrder:
    """x86-64: stores wait in a buffer, in order, and later loads overtake them (their own stores are forwarded).

    Streaming stores leave the buffer in any order until an ``sfence``: Intel SDM vol. 3A, 9.2.2.
    """

    name: Final = "tso"

    def ordered(self, earlier: Operation, later: Operation) -> bool:
        """Only a load overtakes, and only stores; only a full fence, a locked update or ``sfence`` matter."""
        if Kind.FENCE in (earlier.kind, later.kind):
            return _fence_orders(earlier, later, (Order.SEQ_CST, Order.STREAMING))
        if Kind.UPDATE in (earlier.kind, later.kind) or earlier.reads:
            return True
        if later.reads:
            return False
        return _same_word(earlier, later) or Order.STREAMING not in (earlier.order, later.order)


class Weak:
    """C11 on ARMv8: anything overtakes anything that no fence, acquire, release, dependency or same word holds back."""

    name: Final = "weak"

    def ordered(self, earlier: Operation, later: Operation) -> bool:
        """Only what the program asked for."""
        if Kind.FENCE in (earlier.kind, later.kind):
            return _fence_orders(earlier, later, (Order.SEQ_CST, Order.ACQUIRE, Order.RELEASE))
        if Order.SEQ_CST in (earlier.order, later.order):
            return True
        if earlier.reads and (earlier.order is Order.ACQUIRE or (later.writes and earlier.kind is Kind.AWAIT)):
            return True
        if later.writes and later.order is Order.RELEASE:
            return True
        return _same_word(earlier, later) and not _is_forwarded(earlier, later)


MODELS: Final[tuple[MemoryModel, ...]] = (SequentialConsistency(), TotalStoreOrder(), Weak())


def _fence_orders(earlier: Operation, later: Operation, known: tuple[Order, ...]) -> bool:
    """A fence waits for what it orders before it, and holds back what it orders after it."""
    if earlier.kind is later.kind:
        return False
    a_fence, access, is_before = (later, earlier, True) if later.kind is Kind.FENCE else (earlier, later, False)
    if a_fence.order not in known:
        return False
    match a_fence.order:
        case Order.RELEASE:  # loads and stores | stores
            return is_before or access.writes
        case Order.ACQUIRE:  # loads | loads and stores
            return access.reads or not is_before
        case Order.STREAMING:  # stores | stores
            return access.writes
        case _:
            return True


def _same_word(earlier: Operation, later: Operation) -> bool:
    return not set(earlier.words).isdisjoint(later.words)


def _is_forwarded(earlier: Operation, later: Operation) -> bool:
    """A load may take the value of the thread's own store that nobody else sees yet."""
    return earlier.kind is Kind.STORE and later.kind in (Kind.LOAD, Kind.AWAIT) and len(later.words) == 1
