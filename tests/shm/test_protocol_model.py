"""The protocol of the ring holds in every execution under three memory models, and each of its parts is needed.

Run with ``-s`` to see how many states each exploration visited.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from support.model.machine import Exploration, Scenario, explore
from support.model.memory import MODELS, MemoryModel
from support.model.operations import Operation, Order, Program, fence, load, store, without
from support.model.scenarios import SCENARIOS

SC, TSO, WEAK = "sc", "tso", "weak"
ALL: Final = frozenset({SC, TSO, WEAK})
ACQUIRE, RELAXED, RELEASE, SEQ_CST = Order.ACQUIRE, Order.RELAXED, Order.RELEASE, Order.SEQ_CST

# Litmus tests: threads, the result that tells the models apart, and the models that allow it.
LITMUS: Final[dict[str, tuple[list[Program], dict[str, int], frozenset[str]]]] = {
    "store buffering": (
        [[store("x", 1), load("r", "y")], [store("y", 1), load("r", "x")]],
        {"0.r": 0, "1.r": 0},
        frozenset({TSO, WEAK}),
    ),
    "store buffering, fences": (
        [[store("x", 1), fence(SEQ_CST), load("r", "y")], [store("y", 1), fence(SEQ_CST), load("r", "x")]],
        {"0.r": 0, "1.r": 0},
        frozenset(),
    ),
    "store buffering, own store forwarded": (
        [[store("x", 1), load("q", "x"), load("r", "y")], [store("y", 1), load("q", "y"), load("r", "x")]],
        {"0.q": 1, "0.r": 0, "1.q": 1, "1.r": 0},
        frozenset({TSO, WEAK}),
    ),
    "message passing": (
        [[store("x", 1), store("y", 1)], [load("q", "y"), load("r", "x")]],
        {"1.q": 1, "1.r": 0},
        frozenset({WEAK}),
    ),
    "message passing, release and acquire": (
        [[store("x", 1), store("y", 1, RELEASE)], [load("q", "y", ACQUIRE), load("r", "x")]],
        {"1.q": 1, "1.r": 0},
        frozenset(),
    ),
    "message passing, release alone": (
        [[store("x", 1), store("y", 1, RELEASE)], [load("q", "y"), load("r", "x")]],
        {"1.q": 1, "1.r": 0},
        frozenset({WEAK}),
    ),
    "message passing, fences": (
        [[store("x", 1), fence(RELEASE), store("y", 1)], [load("q", "y"), fence(ACQUIRE), load("r", "x")]],
        {"1.q": 1, "1.r": 0},
        frozenset(),
    ),
    "a release store does not hold back what follows": (
        [[store("x", 1, RELEASE), store("y", 1)], [load("q", "y", ACQUIRE), load("r", "x")]],
        {"1.q": 1, "1.r": 0},
        frozenset({WEAK}),
    ),
    "load buffering": (
        [[load("r", "x"), store("y", 1)], [load("r", "y"), store("x", 1)]],
        {"0.r": 1, "1.r": 1},
        frozenset({WEAK}),
    ),
    "one word is read in order": (
        [[store("x", 1)], [load("q", "x"), load("r", "x")]],
        {"1.q": 1, "1.r": 0},
        frozenset(),
    ),
    "streaming stores": (
        [[store("x", 1, Order.STREAMING), store("y", 1, RELEASE)], [load("q", "y", ACQUIRE), load("r", "x")]],
        {"1.q": 1, "1.r": 0},
        frozenset({TSO}),
    ),
    "two writers are seen in one order": (
        [
            [store("x", 1)],
            [store("y", 1)],
            [load("q", "x", ACQUIRE), load("r", "y")],
            [load("q", "y", ACQUIRE), load("r", "x")],
        ],
        {"2.q": 1, "2.r": 0, "3.q": 1, "3.r": 0},
        frozenset(),
    ),
}

# States of each scenario under sc, tso, weak. They are all: an exploration that ends early does not pass.
STATES: Final[dict[str, tuple[int, int, int]]] = {
    "read, 1 slot": (36_309, 36_309, 101_314),
    "read, 2 slots": (8_441, 8_441, 20_617),
    "streaming stores": (1_134, 1_384, 2_888),
    "gate": (3_060, 3_408, 5_465),
    "join at the newest": (13_734, 19_603, 30_745),
    "join at the oldest": (2_552, 4_457, 7_561),
    "seek back": (2_410, 4_396, 7_359),
    "demote": (6_948, 9_536, 15_600),
    "takeover": (2_682, 2_682, 8_672),
    "notify": (15_730, 15_730, 39_123),
    "notify over a takeover": (1_588, 1_588, 3_026),
    "room": (169, 169, 220),
}

# Scenario, part, the order that is left of it (None: nothing), and the models in which a promise then breaks.
NEEDED: Final[list[tuple[str, str, Order | None, frozenset[str]]]] = [
    # the bytes
    ("read, 2 slots", "I1 store", None, ALL),
    ("read, 2 slots", "I1 fence", None, frozenset({WEAK})),
    ("read, 2 slots", "I2 store", RELAXED, frozenset({WEAK})),
    ("read, 2 slots", "begin", RELAXED, frozenset({WEAK})),
    ("read, 2 slots", "I3 fence", None, frozenset({WEAK})),
    ("read, 2 slots", "I3 load", None, ALL),
    ("streaming stores", "sfence", None, frozenset({TSO})),
    ("streaming stores", "I1 fence", RELEASE, frozenset({TSO})),
    ("takeover", "takeover of claimed", None, ALL),
    ("takeover", "I1 fence", None, frozenset({WEAK})),
    # the gate
    ("join at the oldest", "I1 fence", RELEASE, frozenset({TSO, WEAK})),
    ("join at the oldest", "gate re-check", None, ALL),
    ("join at the oldest", "join position", None, ALL),
    ("join at the oldest", "join version", None, ALL),
    ("join at the oldest", "join version", RELAXED, frozenset({WEAK})),
    ("join at the oldest", "join fence", None, frozenset({WEAK})),
    ("join at the oldest", "join fence", RELEASE, frozenset({WEAK})),
    ("join at the oldest", "join start", None, ALL),
    ("join at the oldest", "I3 state", None, ALL),
    ("join at the newest", "join start", None, ALL),
    ("join at the newest", "I3 state", None, ALL),
    ("seek back", "join version", None, ALL),
    ("seek back", "join fence", None, frozenset({WEAK})),
    ("demote", "demotion", None, ALL),
    ("demote", "I3 fence", None, frozenset({WEAK})),
    ("demote", "join start", None, ALL),
    # waking
    ("notify", "notify fence", None, frozenset({TSO, WEAK})),
    ("notify", "arm fence", None, frozenset({WEAK})),  # x86 arms by a locked instruction
    ("notify", "arm", None, ALL),
    ("notify", "re-load", None, ALL),
    ("notify over a takeover", "seen", RELAXED, frozenset({WEAK})),
    ("notify", "wake count", RELAXED, frozenset({WEAK})),
    ("notify over a takeover", "takeover wakes", None, ALL),
    ("room", "wanted fence", None, frozenset({TSO, WEAK})),
    ("room", "room fence", None, frozenset({TSO, WEAK})),
    ("room", "re-scan", None, ALL),
]

# Orders that the code keeps although the model holds without them, each with its reason.
SPARE: Final[list[tuple[str, str, Order]]] = [
    ("read, 2 slots", "I1 fence", RELEASE),  # seq_cst is for the gate and for streaming stores
    ("gate", "position store", RELAXED),  # the fence of I3 stands before it; without that fence it is needed
    ("notify over a takeover", "I2 store", RELAXED),  # the notify fence orders waking; the bytes need the release
]

# The same steps in the native code, in this order.
NATIVE: Final[dict[str, list[str]]] = {
    "writer_claim": [
        r"LOAD_ACQUIRE\(r->table_version\)",
        r"writer_make_room",
        r"STORE\(r->claimed, upto\)",
        r"atomic_thread_fence\(memory_order_seq_cst\)",
        r"LOAD\(r->table_version\) == w->version",
    ],
    "writer_scan": [r"LOAD_ACQUIRE\(r->table_version\)", r"LOAD_ACQUIRE\(.*entry_state", r"LOAD_ACQUIRE\(.*position"],
    "writer_publish": [
        r"STORE_RELEASE\(r->published",
        r"atomic_thread_fence\(memory_order_seq_cst\)",
        r"LOAD\(r->armed\)",
    ],
    "writer_wake": [
        r"atomic_exchange\(r->armed, 0\)",
        r"atomic_fetch_add\(r->wakes, 1\)",
        r"futex_wake_all\(r->wakes\)",
    ],
    "wait_room": [
        r"atomic_load_explicit\(r->rooms, memory_order_acquire\)",
        r"atomic_store\(r->wanted",
        r"atomic_thread_fence\(memory_order_seq_cst\)",
        r"writer_scan",
        r"futex_wait_until\(r->rooms, seen",
    ],
    "reader_begin": [r"LOAD_ACQUIRE\(r->published\)", r"LOAD\(r->claimed\)", r"reader_holds"],
    "reader_bad": [
        r"atomic_thread_fence\(memory_order_acquire\)",
        r"LOAD\(q->ring\.claimed\)",
        r"reader_holds\(q, first\)",
    ],
    "reader_holds": [r"first >= LOAD\(.*entry_position", r"LOAD\(.*entry_state\)\)\) == LOSSLESS"],
    "reader_join": [
        r"STORE_RELEASE\(.*entry_position\), position\)",
        r"atomic_compare_exchange_strong\(.*entry_state.*\| kind\)",
        r"reader_gate",
    ],
    "reader_gate": [
        r"atomic_fetch_add\(r->table_version, 1\)",
        r"atomic_thread_fence\(memory_order_seq_cst\)",
        r"LOAD\(r->claimed\)",
        r"STORE_RELEASE\(.*entry_position\), position\)",
    ],
    "reader_seek_back": [r"STORE_RELEASE\(.*entry_position\), position\)", r"reader_gate"],
    "reader_promote": [r"atomic_compare_exchange_strong\(.*entry_state.*\| LOSSLESS\)", r"reader_gate"],
    "reader_store": [
        r"STORE_RELEASE\(.*entry_position",
        r"atomic_thread_fence\(memory_order_seq_cst\)",
        r"LOAD\(r->wanted\)",
        r"atomic_exchange\(r->wanted",
        r"atomic_fetch_add\(r->rooms, 1\)",
    ],
    "reader_arm": [r"atomic_fetch_or\(q->ring\.armed", r"atomic_thread_fence\(memory_order_seq_cst\)", r"has_news"],
    "reader_sleep": [
        r"atomic_load_explicit\(q->ring\.wakes, memory_order_acquire\)",
        r"reader_arm",
        r"futex_wait_until\(q->ring\.wakes, seen",
    ],
}


@pytest.mark.parametrize("name", LITMUS)
def test_models_allow_what_processors_allow(name: str) -> None:
    """Each model allows the results of the well-known litmus tests that it should, and no others."""
    threads, result, expected = LITMUS[name]
    scenario = Scenario(name, {str(index): program for index, program in enumerate(threads)}, {"x": 0, "y": 0})
    allowed = {model.name for model in MODELS if _can_end(explore(scenario, model), result)}
    assert expected == allowed


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_execution_keeps_every_promise(name: str, model: MemoryModel) -> None:
    """No torn item, no false overrun, no lost wake-up, no deadlock, `claimed` never back; and all states were seen."""
    exploration = explore(SCENARIOS[name], model)
    print(f"{name}, {model.name}: {exploration.states} states, {len(exploration.endings)} endings")
    assert not exploration.broken, str(exploration)
    states = exploration.states
    assert STATES[name][MODELS.index(model)] == states


def test_explorations_reach_good_and_overrun_reads() -> None:
    """A promise about good items is not kept by never having one."""
    endings = [dict(ending) for ending in explore(SCENARIOS["streaming stores"], MODELS[2]).endings]
    reads = {(ending["drop_oldest.good of 0"], ending["drop_oldest.good of 1"]) for ending in endings}
    assert {(0, 0), (0, 1), (1, 0), (1, 1)} == reads


@pytest.mark.parametrize(("name", "part", "left", "expected"), NEEDED)
def test_each_part_of_the_protocol_is_needed(
    name: str, part: str, left: Order | None, expected: frozenset[str]
) -> None:
    """Without the part a promise breaks in exactly the declared models."""
    scenario = _changed(SCENARIOS[name], part, left)
    found = {model.name: explore(scenario, model) for model in MODELS}
    print(f"{name} without {part}: " + ", ".join(f"{model} {e.states}" for model, e in found.items()))
    assert expected == {model for model, exploration in found.items() if exploration.broken}


@pytest.mark.parametrize(("name", "part", "left"), SPARE)
def test_orders_that_are_kept_without_need(name: str, part: str, left: Order) -> None:
    """The model tells what is needed from what is only careful."""
    scenario = _changed(SCENARIOS[name], part, left)
    assert not any(explore(scenario, model).broken for model in MODELS)


def test_counterexample_is_a_readable_list_of_steps() -> None:
    """A broken promise is shown as the shortest way to it, one step a line."""
    exploration = explore(_changed(SCENARIOS["streaming stores"], "I3 load", None), MODELS[0])
    assert [
        "a torn item was returned as good (21 states seen)",
        "      writer: store claimed = 2   # I1 store",
        "      writer: store a0 = 2, streaming",
        "  drop_oldest: published of 0 = load published -> 1, acquire   # begin",
        "  drop_oldest: a of 0 = load a0 -> 2",
        "  drop_oldest: b of 0 = load b0 -> 1",
    ] == str(exploration).splitlines()


@pytest.mark.parametrize("function", NATIVE)
def test_native_code_has_the_order_of_the_model(function: str) -> None:
    """The steps that the model explores stand in the C function of that name, in the same order."""
    body = _native_function(function)
    at = 0
    for step in NATIVE[function]:
        found = re.compile(step).search(body, at)
        assert found, f"{function}: {step} is missing or comes too early; change support/model/ring.py with it"
        at = found.end()


def _changed(scenario: Scenario, part: str, left: Order | None) -> Scenario:
    steps = [step for program in scenario.threads.values() for step in program]
    assert any(isinstance(step, Operation) and step.part == part for step in steps), f"no part {part}"
    threads = {name: without(program, part, left) for name, program in scenario.threads.items()}
    return Scenario(scenario.name, threads, scenario.memory, scenario.monotone)


def _can_end(exploration: Exploration, result: dict[str, int]) -> bool:
    return any(result.items() <= dict(ending).items() for ending in exploration.endings)


def _native_function(name: str) -> str:
    folder = Path(__file__).parents[2] / "shm"
    sources = "\n".join(path.read_text() for path in sorted(folder.glob("_*.[ch]")))
    found = re.search(rf"^static [^;{{}}]*\b{name}\([^;{{}}]*\)\n{{\n(.*?)^}}", sources, re.MULTILINE | re.DOTALL)
    assert found, f"shm/_*.h has no function {name}; the model repeats its order, see support/model/ring.py"
    return found[1]
