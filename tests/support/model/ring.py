"""The ring's protocol as lists of operations, in the order of `shm/_writer.h`, `_position.h`, `_reader.h`.

Each function names the native function whose order it repeats; ``part`` names what a test may take out.  An item is
two words, ``a`` and ``b``, that both hold its sequence + 1: a reader that sees anything else holds a torn item.
"""

from __future__ import annotations

from typing import Final

from .operations import (
    Operation,
    Order,
    Program,
    await_word,
    branch,
    check,
    compute,
    either,
    fence,
    load,
    load_at,
    store,
    update,
)

JOINING: Final = 1
LOSSLESS: Final = 3
DEMOTED: Final = 4
FAR: Final = 9
"""Ahead of every item; also what the previous owner of an entry left in its position."""
TORN: Final = "a torn item was returned as good"
LAPPED: Final = "a lossless reader was lapped though no one demoted it"


def memory(upto: int, slots: int, **words: int) -> dict[str, int]:
    """Memory of a ring that holds the items below `upto`, and further words."""
    empty = {f"{word}{slot}": 0 for slot in range(slots) for word in "ab"}
    held = {f"{word}{n % slots}": n + 1 for n in range(upto) for word in "ab"}
    return {"claimed": upto, "published": upto, **empty, **held, **words}


# The writer ---------------------------------------------------------------------------------------------------------


def write(first: int, upto: int, slots: int) -> Program:
    """`Writer_write` for one item after the other, no lossless reader in sight."""
    steps: Program = []
    for sequence in range(first, upto):
        steps += [*claim(sequence + 1), *fill(sequence, slots), *publish(sequence + 1)]
    return steps


def write_gated(first: int, upto: int, slots: int, *, can_wait: bool = True) -> Program:
    """The same, gated by one entry of the reader table."""
    steps: Program = [compute("version", lambda: -1)]  # `Writer_attach`: the first claim scans
    for sequence in range(first, upto):
        steps += claim_gated(sequence + 1, slots, can_wait=can_wait)
        steps += [*fill(sequence, slots), *publish(sequence + 1)]
    return steps


def write_streaming(first: int, upto: int, slots: int) -> Program:
    """`ring_fill` by a memcpy that uses non-temporal stores; the C library ends it with ``sfence``."""
    steps: Program = []
    for sequence in range(first, upto):
        steps += [*claim(sequence + 1), *fill(sequence, slots, Order.STREAMING)]
        steps += [fence(Order.STREAMING, part="sfence"), *publish(sequence + 1)]
    return steps


def claim(upto: int | str) -> Program:
    """`writer_claim`: I1."""
    return [store("claimed", upto, part="I1 store"), fence(Order.SEQ_CST, part="I1 fence")]


def claim_gated(upto: int, slots: int, *, can_wait: bool) -> Program:
    """`writer_claim` with `writer_scan` and `_make_room`; a writer that cannot wait, or no longer, demotes.

    ``limit`` and ``version`` are kept from claim to claim: positions only rise, and who joins raises the version.
    """
    return [
        load("now", "table_version", Order.ACQUIRE),
        compute("known", lambda version, now, limit: int(version == now and upto <= limit), "version", "now", "limit"),
        branch(f"claim {upto}", bool, "known"),
        f"scan {upto}",
        load("version", "table_version", Order.ACQUIRE),
        load("state", "state", Order.ACQUIRE),
        compute("limit", lambda: FAR),
        branch(f"claim {upto}", lambda state: state != LOSSLESS, "state"),
        *([] if can_wait else [either(f"demote {upto}")]),
        await_word("room", "position", lambda position: upto <= position + slots, order=Order.ACQUIRE, part="scan"),
        compute("limit", lambda room: room + slots, "room"),
        branch(f"claim {upto}", lambda: True),
        f"demote {upto}",
        update("state", ["state"], lambda state: [DEMOTED if state == LOSSLESS else state], part="demotion"),
        f"claim {upto}",
        *claim(upto),
        load("again", "table_version"),
        branch(f"scan {upto}", lambda version, again: version != again, "version", "again", part="gate re-check"),
    ]


def fill(sequence: int, slots: int, order: Order = Order.RELAXED) -> Program:
    """`ring_fill`: the two words of an item."""
    slot = sequence % slots
    return [store(f"a{slot}", sequence + 1, order), store(f"b{slot}", sequence + 1, order)]


def publish(upto: int) -> Program:
    """`writer_publish` up to its waking: I2."""
    return [store("published", upto, Order.RELEASE, part="I2 store")]


def write_after_takeover(first: int, upto: int, slots: int) -> Program:
    """One claim of several items, a death at any step, and the next writer's first item.

    The kernel hands over the lock, so everything of the dead is seen by its successor.
    """
    steps: Program = [*claim(upto)]
    for sequence in range(first, upto):
        steps += fill(sequence, slots)
    steps += publish(upto - 1)  # a short publish: the last item of the claim is given up
    dying: Program = [part for step in steps for part in (step, either("died"))]
    successor: Program = [
        "died",
        fence(Order.SEQ_CST),
        load("start", "published"),
        load("claimed", "claimed", part="takeover of claimed"),
        compute("upto", lambda start, claimed: max(claimed, start + 1), "start", "claimed"),
        *claim("upto"),
    ]
    for sequence in range(first, upto):
        successor += [
            branch(f"after {sequence}", lambda start, sequence=sequence: start != sequence, "start"),
            *fill(sequence, slots),
            *publish(sequence + 1),
            f"after {sequence}",
        ]
    return dying + successor


# Readers ------------------------------------------------------------------------------------------------------------


def drop_oldest(sequences: range, slots: int) -> Program:
    """`reader_begin`, `reader_copy` of these sequences, one after the other, good or not."""
    steps: Program = []
    for n in sequences:
        tag = f" of {n}"
        steps += [
            load(f"published{tag}", "published", Order.ACQUIRE, part="begin"),
            compute(f"sequence{tag}", lambda n=n: n),
            *copy(slots, tag),
        ]
    return steps


def latest(slots: int) -> Program:
    """`reader_begin` by policy latest, `reader_copy`."""
    return [
        load("published", "published", Order.ACQUIRE, part="begin"),
        compute("sequence", lambda published: published - 1, "published"),
        *copy(slots),
    ]


def copy(slots: int, tag: str = "") -> Program:
    """`reader_copy`, `reader_bad`: use the bytes, fence, load `claimed`; good if no claim had reached the slot."""

    def is_good(sequence: int, published: int, claimed: int) -> int:
        return int(0 <= sequence < published and claimed - sequence <= slots)

    names = [f"{name}{tag}" for name in ("sequence", "published", "claimed")]
    return [
        *use(slots, tag),
        fence(Order.ACQUIRE, part="I3 fence"),
        load(f"claimed{tag}", "claimed", part="I3 load"),
        compute(f"good{tag}", is_good, *names),
        check(TORN, is_whole, *(f"{name}{tag}" for name in ("good", "sequence", "a", "b"))),
    ]


def use(slots: int, tag: str = "") -> Program:
    """`ring_copy_out`: the two words of the item ``sequence``."""
    return [
        load_at(f"{word}{tag}", [f"{word}{slot}" for slot in range(slots)], lambda n: n % slots, f"sequence{tag}")
        for word in "ab"
    ]


def is_whole(good: int, sequence: int, a: int, b: int) -> bool:
    """What the check of every reader says: a good item is the item."""
    return not good or a == b == sequence + 1


def lossless(upto: int, slots: int, *after: Operation | str) -> Program:
    """Read on from ``sequence`` to the end: `reader_begin`, `reader_copy`, `reader_store`, and what comes after each.

    A lossless reader's item is good while its entry still says LOSSLESS, whatever `claimed` says: a writer that learns
    of a reader in its re-check waits with `claimed` raised already, and the bytes are untouched.
    """
    return [
        "next",
        branch("end", lambda sequence: sequence >= upto, "sequence"),
        await_word("published", "published", lambda published, sequence: published > sequence, "sequence",
                   order=Order.ACQUIRE, part="begin"),
        *use(slots),
        fence(Order.ACQUIRE, part="I3 fence"),
        load("claimed", "claimed"),
        load("gating", "state", part="I3 state"),
        compute("good", lambda sequence, claimed, gating: int(gating == LOSSLESS or claimed - sequence <= slots),
                "sequence", "claimed", "gating"),
        check(TORN, is_whole, "good", "sequence", "a", "b"),
        load("state", "state"),
        check(LAPPED, lambda good, state: good or state == DEMOTED, "good", "state"),
        compute("sequence", lambda sequence: sequence + 1, "sequence"),
        store("position", "sequence", Order.RELEASE, part="position store"),
        *after,
        branch("next", lambda: True),
        "end",
    ]  # fmt: skip


def join(slots: int, wanted: int | None = None) -> Program:
    """Become the owner of a gating entry: position, state, version, fence, and only then where to begin."""
    return [
        load("sequence", "published", Order.ACQUIRE) if wanted is None else compute("sequence", lambda: wanted),
        store("position", "sequence", part="join position"),
        update("state", ["state"], lambda state: [LOSSLESS], order=Order.RELEASE, part="join state"),
        *gate(slots),
    ]


def seek_back(slots: int, wanted: int) -> Program:
    """A lossless reader that goes back: its position falls, so the limit that the writer keeps is no longer safe."""
    return [compute("sequence", lambda: wanted), store("position", "sequence"), *gate(slots)]


def gate(slots: int) -> Program:
    """The end of joining, of going back and of being promoted: the mirror image of the claim."""
    return [
        update("version", ["table_version"], lambda version: [version + 1], order=Order.RELEASE, part="join version"),
        fence(Order.SEQ_CST, part="join fence"),
        load("claimed", "claimed", part="join start"),
        compute("sequence", lambda sequence, claimed: max(sequence, claimed - slots), "sequence", "claimed"),
        store("position", "sequence", Order.RELEASE),
    ]


def promote(slots: int) -> Program:
    """`reader_promote`: a lossless reader that was left behind gates the writer again."""
    return [
        branch("gating", lambda state: state != DEMOTED, "state"),
        update("state", ["state"], lambda state: [LOSSLESS], order=Order.RELEASE, part="promotion"),
        *gate(slots),
        "gating",
    ]


# Waking -------------------------------------------------------------------------------------------------------------


def notify(upto: int, sleepers: int, tag: str = "") -> Program:
    """`writer_publish`, `writer_wake`."""
    return [
        *publish(upto),
        fence(Order.SEQ_CST, part="notify fence"),
        load("armed", "armed", part="notify load"),
        branch(f"done {upto}{tag}", lambda armed: not armed, "armed"),
        update("armed", ["armed"], lambda armed: [0]),
        *wake(sleepers),
        f"done {upto}{tag}",
    ]


def wake(sleepers: int) -> Program:
    """``wakes`` + 1 and `futex_wake_all`."""
    asleep = [f"asleep{n}" for n in range(sleepers)]
    return [
        update("woken", ["wakes"], lambda wakes: [wakes + 1], order=Order.RELEASE, part="wake count"),
        update("slept", asleep, lambda *asleep: [0] * len(asleep), order=Order.SEQ_CST, part="wake"),
    ]


def sleep(wanted: int, me: int) -> Program:
    """`reader_sleep`, `reader_arm`, `futex_wait_until` until more than `wanted` items were published; no time-outs."""
    asleep = f"asleep{me}"
    return [
        "look",
        load("seen", "wakes", Order.ACQUIRE, part="seen"),
        load("armed", "armed"),
        branch("armed", bool, "armed"),
        update("armed", ["armed"], lambda armed: [1], part="arm"),
        "armed",
        fence(Order.SEQ_CST, part="arm fence"),
        load("published", "published", Order.ACQUIRE, part="re-load"),
        branch("news", lambda published: published > wanted, "published"),
        update("wakes", ["wakes", asleep], lambda wakes, asleep, seen: [wakes, int(wakes == seen)], "seen",
               order=Order.SEQ_CST),
        await_word("asleep", asleep, lambda asleep: not asleep),
        branch("look", lambda: True),
        "news",
    ]  # fmt: skip


def notify_after_takeover(upto: int, sleepers: int) -> Program:
    """A writer that dies at any step of its last publish, and a successor that wakes everybody and goes on."""
    dying: Program = []
    for step in notify(upto - 1, sleepers):
        dying += [step] if isinstance(step, str) else [step, either("died")]
    takeover: Program = [
        update("woken", ["wakes"], lambda wakes: [wakes + 1], order=Order.RELEASE, part="takeover wakes"),
        update("slept", [f"asleep{n}" for n in range(sleepers)], lambda *asleep: [0] * len(asleep),
               order=Order.SEQ_CST, part="takeover wakes"),
    ]  # fmt: skip
    return [*dying, "died", fence(Order.SEQ_CST), *takeover, *notify(upto, sleepers, " by the next")]


def wait_room(upto: int, slots: int) -> Program:
    """`wait_room`: the writer sleeps until a lossless reader has made room."""
    return [
        "look",
        load("seen", "rooms", Order.ACQUIRE, part="seen"),
        store("wanted", upto - slots),
        fence(Order.SEQ_CST, part="wanted fence"),
        load("position", "position", Order.ACQUIRE, part="re-scan"),
        branch("room", lambda position: upto <= position + slots, "position"),
        update("rooms", ["rooms", "asleep"], lambda rooms, asleep, seen: [rooms, int(rooms == seen)], "seen",
               order=Order.SEQ_CST),
        await_word("asleep", "asleep", lambda asleep: not asleep),
        branch("look", lambda: True),
        "room",
        store("wanted", FAR),
    ]  # fmt: skip


def make_room(position: int) -> Program:
    """`reader_store` of a lossless reader: the position, then whether the writer wants it."""
    return [
        store("position", position, Order.RELEASE),
        fence(Order.SEQ_CST, part="room fence"),
        load("wanted", "wanted", part="room load"),
        branch(f"unwanted {position}", lambda wanted: position < wanted, "wanted"),
        update("wanted", ["wanted"], lambda wanted: [FAR]),
        branch(f"unwanted {position}", lambda wanted: wanted == FAR, "wanted"),
        update("rooms", ["rooms"], lambda rooms: [rooms + 1], order=Order.RELEASE),
        update("slept", ["asleep"], lambda asleep: [0], order=Order.SEQ_CST),
        f"unwanted {position}",
    ]
