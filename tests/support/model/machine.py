"""Explore every execution of a few threads under one memory model, breadth first, each state once.

A thread keeps a window of operations that it has fetched but not carried out; the model says which of them may go
first.  Sequential consistency never lets any; a store buffer is a window whose loads overtake its stores.  What a
thread does next depends on its own node alone (place, window, registers), so a thread is an automaton that is built
as it is needed, and a state of the whole is ``(memory, node, node, …)``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from .operations import Kind, Operation, Order, Program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .memory import MemoryModel

Memory: TypeAlias = tuple[int, ...]
Ending: TypeAlias = tuple[tuple[str, int], ...]
"""Registers when all threads are done, as (thread.register, value)."""


@dataclass(frozen=True)
class Scenario:
    """Threads, what memory holds when they begin, and the words that may never go back."""

    name: str
    threads: Mapping[str, Program]
    memory: Mapping[str, int]
    monotone: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exploration:
    """What was found: how many states, how executions ended, and the first way to break a promise."""

    states: int
    endings: frozenset[Ending]
    broken: str = ""
    steps: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        """The counterexample, one step a line."""
        if not self.broken:
            return f"{self.states} states, nothing broken"
        return "\n".join([f"{self.broken} ({self.states} states seen)", *self.steps])


class Action(NamedTuple):
    """One operation that a thread may carry out now, its registers already put in."""

    at: int  # where in the window
    operation: Operation
    words: tuple[int, ...]
    arguments: tuple[int, ...] = ()
    value: int = 0
    is_forwarded: bool = False
    jump: bool = False


class Node:
    """One state of one thread, settled: nothing is left to fetch or to compute."""

    __slots__ = ("actions", "broken", "pc", "registers", "successors", "window")

    def __init__(self, pc: int, window: tuple[int, ...], registers: tuple[int, ...], broken: str) -> None:
        self.pc = pc
        self.window = window
        self.registers = registers
        self.broken = broken
        self.actions: list[Action] = []
        self.successors: dict[tuple[int, int, bool], Node] = {}


class Thread:
    """A program under a memory model, as an automaton that grows while it is explored."""

    def __init__(self, name: str, program: Program, model: MemoryModel, words: Mapping[str, int]) -> None:
        self.name = name
        self.operations: list[Operation] = []
        self._labels: dict[str, int] = {}
        for step in program:
            if isinstance(step, str):
                self._labels[step] = len(self.operations)
            else:
                self.operations.append(step)
        names = {r for op in self.operations for r in (*op.arguments, op.result) if r}
        self.registers = {name: index for index, name in enumerate(sorted(names))}
        self._words = words
        self._before = [
            sum(1 << i for i, earlier in enumerate(self.operations) if _held_back(model, earlier, later))
            for later in self.operations
        ]
        self._nodes: dict[tuple[int, tuple[int, ...], tuple[int, ...], str], Node] = {}
        self.start = self._settle(0, (), (0,) * len(self.registers))

    def after(self, node: Node, action: Action, value: int) -> Node:
        """The node that follows an action which read `value`."""
        key = (action.at, value, action.jump)
        found = node.successors.get(key)
        if found is None:
            found = node.successors[key] = self._follow(node, action, value)
        return found

    def _follow(self, node: Node, action: Action, value: int) -> Node:
        if action.operation.kind is Kind.EITHER:
            pc = self._labels[action.operation.target] if action.jump else node.pc + 1
            return self._settle(pc, node.window, node.registers)
        window = node.window[: action.at] + node.window[action.at + 1 :]
        return self._settle(node.pc, window, self._with(node.registers, action.operation.result, value))

    def _settle(self, pc: int, window: tuple[int, ...], registers: tuple[int, ...]) -> Node:
        """Fetch as far as branches are known, compute what is ready, and look up the node."""
        broken = ""
        while True:
            pc, window = self._fetch(pc, window, registers)
            ready = next((at for at in self._ready(window) if not self._operation(window, at).is_access), None)
            if ready is None:
                break
            operation = self._operation(window, ready)
            window = window[:ready] + window[ready + 1 :]
            if operation.kind is Kind.COMPUTE:
                registers = self._with(registers, operation.result, self._call(operation, registers))
            elif operation.kind is Kind.CHECK and not self._call(operation, registers):
                broken = broken or operation.target
        key = (pc, window, registers, broken)
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = Node(pc, window, registers, broken)
            node.actions = list(self._actions(node))
        return node

    def _fetch(self, pc: int, window: tuple[int, ...], registers: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        while pc < len(self.operations):
            operation = self.operations[pc]
            if operation.kind is Kind.EITHER or pc in window:  # a loop's next turn waits for the last one
                break
            if operation.kind is not Kind.BRANCH:
                window, pc = (*window, pc), pc + 1
            elif any(self.operations[i].result in operation.arguments for i in window):
                break
            else:
                pc = self._labels[operation.target] if self._call(operation, registers) else pc + 1
        return pc, window

    def _ready(self, window: tuple[int, ...]) -> Iterator[int]:
        earlier = 0
        for at, index in enumerate(window):
            if not self._before[index] & earlier:
                yield at
            earlier |= 1 << index

    def _actions(self, node: Node) -> Iterator[Action]:
        for at in self._ready(node.window):
            operation = self._operation(node.window, at)
            words = tuple(self._words[word] for word in operation.words)
            arguments = self._values(operation, node.registers)
            if operation.kind is Kind.STORE:
                yield Action(at, operation, words, value=_apply(operation, *arguments))
            elif operation.kind is Kind.LOAD and len(words) > 1:
                yield Action(at, operation, (words[_apply(operation, *arguments)],))
            elif operation.kind is Kind.UPDATE:
                yield Action(at, operation, words, arguments)
            else:
                yield from self._loads(node, at, Action(at, operation, words, arguments))
        if node.pc < len(self.operations) and self.operations[node.pc].kind is Kind.EITHER:
            yield Action(-1, self.operations[node.pc], ())
            yield Action(-1, self.operations[node.pc], (), jump=True)

    def _loads(self, node: Node, at: int, action: Action) -> Iterator[Action]:
        """A load reads the thread's own newest pending store of that word, where there is one."""
        pending = (self.operations[index] for index in reversed(node.window[:at]))
        own = next((op for op in pending if op.kind is Kind.STORE and op.words == action.operation.words), None)
        if own is None:
            yield action
        elif not own.arguments:
            yield action._replace(value=_apply(own), is_forwarded=True)

    def _operation(self, window: tuple[int, ...], at: int) -> Operation:
        return self.operations[window[at]]

    def _values(self, operation: Operation, registers: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(registers[self.registers[name]] for name in operation.arguments)

    def _call(self, operation: Operation, registers: tuple[int, ...]) -> int:
        return _apply(operation, *self._values(operation, registers))

    def _with(self, registers: tuple[int, ...], name: str, value: int) -> tuple[int, ...]:
        if not name:
            return registers
        index = self.registers[name]
        return (*registers[:index], value, *registers[index + 1 :])


def _held_back(model: MemoryModel, earlier: Operation, later: Operation) -> bool:
    """The model's order among accesses and fences; registers keep theirs in every model."""
    if later.result and (later.result in earlier.arguments or later.result == earlier.result):
        return True
    if earlier.result and earlier.result in later.arguments:
        return True
    if Kind.COMPUTE in (earlier.kind, later.kind) or Kind.CHECK in (earlier.kind, later.kind):
        return False
    is_overlapping = earlier.writes and len(later.words) > 1 and not set(earlier.words).isdisjoint(later.words)
    return is_overlapping or model.ordered(earlier, later)


def _perform(memory: Memory, action: Action) -> tuple[Memory, int] | None:
    """Carry out an action: the memory after it and the value that it read; None while it has to wait."""
    operation, words = action.operation, action.words
    match operation.kind:
        case Kind.LOAD:
            return memory, action.value if action.is_forwarded else memory[words[0]]
        case Kind.AWAIT:
            value = action.value if action.is_forwarded else memory[words[0]]
            return (memory, value) if _apply(operation, value, *action.arguments) else None
        case Kind.STORE:
            return _stored(memory, words, (action.value,)), action.value
        case Kind.UPDATE:
            old = [memory[word] for word in words]
            return _stored(memory, words, _apply_all(operation, *old, *action.arguments)), old[0]
        case _:
            return memory, 0


def _apply(operation: Operation, *values: int) -> int:
    assert operation.function is not None
    return cast("int", operation.function(*values))


def _apply_all(operation: Operation, *values: int) -> Sequence[int]:
    assert operation.function is not None
    return cast("Sequence[int]", operation.function(*values))


def _stored(memory: Memory, words: Sequence[int], values: Sequence[int]) -> Memory:
    changed = list(memory)
    for word, value in zip(words, values, strict=True):
        changed[word] = value
    return tuple(changed)


State: TypeAlias = tuple[object, ...]
"""(memory, node, node, …)."""


def explore(scenario: Scenario, model: MemoryModel, most: int = 1_000_000) -> Exploration:
    """Visit every reachable state; stop at the first broken promise.

    Raises:
        MemoryError: more than `most` states; the scenario is too large to be exhaustive.
    """
    return _Explorer(scenario, model).run(most)


class _Explorer:
    def __init__(self, scenario: Scenario, model: MemoryModel) -> None:
        self.scenario = scenario
        self.words = {word: index for index, word in enumerate(scenario.memory)}
        self.threads = [Thread(name, steps, model, self.words) for name, steps in scenario.threads.items()]
        self.monotone = [self.words[word] for word in scenario.monotone]
        self.visited: dict[State, tuple[State, int, Action, int] | None] = {}

    def run(self, most: int) -> Exploration:
        start: State = (tuple(self.scenario.memory.values()), *(thread.start for thread in self.threads))
        self.visited[start] = None
        waiting = deque([start])
        endings: set[Ending] = set()
        while waiting:
            state = waiting.popleft()
            if len(self.visited) > most:
                raise MemoryError(f"{self.scenario.name}: more than {most} states")
            moved = False
            for thread, action, value, after in self._steps(state):
                moved = True
                if after in self.visited:
                    continue
                self.visited[after] = (state, thread, action, value)
                broken = self._broken(state, after)
                if broken:
                    return self._exploration(endings, broken, after)
                waiting.append(after)
            if not moved:
                stuck = self._stuck(state)
                if stuck:
                    return self._exploration(endings, stuck, state)
                endings.add(self._ending(state))
        return self._exploration(endings)

    def _steps(self, state: State) -> Iterator[tuple[int, Action, int, State]]:
        memory = cast("Memory", state[0])
        for index, thread in enumerate(self.threads, 1):
            node = cast("Node", state[index])
            for action in node.actions:
                done = _perform(memory, action)
                if done is not None:
                    follower = thread.after(node, action, done[1])
                    yield index - 1, action, done[1], (done[0], *state[1:index], follower, *state[index + 1 :])

    def _broken(self, before: State, after: State) -> str:
        for node in after[1:]:
            if cast("Node", node).broken:
                return cast("Node", node).broken
        old, new = cast("Memory", before[0]), cast("Memory", after[0])
        for word in self.monotone:
            if new[word] < old[word]:
                return f"{list(self.words)[word]} went back"
        return ""

    def _stuck(self, state: State) -> str:
        nodes = [cast("Node", node) for node in state[1:]]
        waiting = [thread.name for thread, node in zip(self.threads, nodes, strict=True) if node.window]
        return f"waiting for ever: {', '.join(waiting)}" if waiting else ""

    def _ending(self, state: State) -> Ending:
        return tuple(
            (f"{thread.name}.{name}", cast("Node", node).registers[index])
            for thread, node in zip(self.threads, state[1:], strict=True)
            for name, index in thread.registers.items()
        )

    def _exploration(self, endings: set[Ending], broken: str = "", last: State = ()) -> Exploration:
        steps = []
        came = self.visited.get(last) if broken else None
        while came is not None:
            state, thread, action, value = came
            steps.append(f"  {self.threads[thread].name:>10}: {_text(action, value)}")
            came = self.visited[state]
        return Exploration(len(self.visited), frozenset(endings), broken, tuple(reversed(steps)))


def _text(action: Action, value: int) -> str:
    """One step of a counterexample in words."""
    operation = action.operation
    order = "" if operation.order is Order.RELAXED else f", {operation.order.value}"
    part = f"   # {operation.part}" if operation.part else ""
    name = operation.words[0] if operation.words else ""
    match operation.kind:
        case Kind.LOAD | Kind.AWAIT:
            own = ", own store forwarded" if action.is_forwarded else ""
            return f"{operation.target} = load {name} -> {value}{order}{own}{part}"
        case Kind.STORE:
            return f"store {name} = {value}{order}{part}"
        case Kind.UPDATE:
            return f"update {', '.join(operation.words)} (was {value}){order}{part}"
        case _:
            return f"{'goes to' if action.jump else 'passes'} {operation.target}"
