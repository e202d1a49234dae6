"""Read an aarch64 assembler listing: what each instruction of a function touches, and which paths join them.

Values are followed through registers, stack slots and joins of paths, coarsely: a value is the set of places that it
may come from. That tells a store to `claimed` from one to the bytes of an item, whatever registers, blocks and order a
compiler chose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Kind = Literal["load", "store", "fence"]


class Token(NamedTuple):
    """One place that a value may come from: `at` bytes into our argument or the stack, or loaded from that field."""

    base: Literal["argument", "stack", "field"]
    at: int


Value = frozenset[Token]
State = dict[str | int, Value]  # by register, or by offset into the stack
NOTHING: Final[Value] = frozenset()
MOST_TOKENS: Final = 24
CLOBBERED: Final = frozenset(f"x{n}" for n in range(19)) | {"x30"}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line of the listing."""

    op: str
    operands: tuple[str, ...]

    @property
    def memory(self) -> str | None:
        """The operand in brackets."""
        return next((operand for operand in self.operands if operand.startswith("[")), None)

    @property
    def registers(self) -> tuple[str, ...]:
        """What is loaded or stored, or the result and what it comes from."""
        return tuple(register(operand) for operand in self.operands if not operand.startswith("["))


@dataclass(frozen=True, slots=True)
class Access:
    """What one instruction does to memory, as far as the protocol goes."""

    index: int
    kind: Kind
    op: str
    fields: frozenset[int]  # offsets of the fields that the address was made of; empty for a fence


def register(operand: str) -> str:
    """Return the 64-bit name of a register, or the operand as it is."""
    return re.sub(r"^w(?=\d+$|zr$)", "x", operand)


def split(operands: str) -> tuple[str, ...]:
    """Split at the commas outside of brackets."""
    return tuple(part.strip() for part in re.split(r",(?![^\[]*\])", operands) if part.strip())


class Listing:
    """A whole assembler file."""

    def __init__(self, text: str) -> None:
        self.code: list[Instruction] = []
        self.labels: dict[str, int] = {}
        self.constants: dict[str, int] = {}
        label = ""
        for raw in text.splitlines():
            line = re.sub(r"//.*", "", raw).strip()
            if found := re.match(r"([.\w$]+):", line):
                label = found[1]
                self.labels[label] = len(self.code)
            elif found := re.match(r"\.(?:xword|quad|dword|8byte)\s+(\d+)$", line):
                self.constants.setdefault(label, int(found[1]))
            elif line and not line.startswith("."):
                op, _, operands = line.partition("\t")
                self.code.append(Instruction(op.strip(), split(operands)))

    def following(self, index: int) -> list[int]:
        """Return where the path goes on after an instruction; a call returns."""
        instruction = self.code[index]
        op, target = instruction.op, instruction.operands[-1] if instruction.operands else ""
        assert op not in {"br", "braa"}, "a jump table: compile with -fno-jump-tables"
        if op in {"ret", "udf", "brk"} or (op == "b" and target not in self.labels):
            return []
        jump = op not in {"bl", "blr", "adr", "adrp"} and target in self.labels
        nexts = [self.labels[target]] if jump else []
        return nexts if op == "b" else [*nexts, index + 1]

    def accesses(self, function: str) -> list[Access]:
        """Return every access to memory and every fence that a function may get to."""
        return [access for index, state in self._flow(function) for access in self._seen(index, state)]

    def leads(self, begin: Iterable[int], end: Iterable[int], *, without: Iterable[int]) -> bool:
        """Tell whether a path leads from any of `begin` to any of `end` and passes none of `without`."""
        ends, barriers = set(end), set(without)
        todo = [after for index in begin for after in self.following(index)]
        known: set[int] = set()
        while todo:
            index = todo.pop()
            if index in ends:
                return True
            if index not in known and index not in barriers:
                known.add(index)
                todo += self.following(index)
        return False

    def _flow(self, function: str) -> Iterator[tuple[int, State]]:
        """Yield each instruction that is reached, with what the registers hold before it."""
        entry = self.labels[function]
        before: dict[int, State] = {
            entry: {"x0": frozenset({Token("argument", 0)}), "sp": frozenset({Token("stack", 0)})}
        }
        todo = [entry]
        while todo:
            index = todo.pop()
            after = self._step(index, before[index])
            for target in self.following(index):
                joined = join(before.get(target), after)
                if joined != before.get(target):
                    before[target] = joined
                    todo.append(target)
        yield from sorted(before.items())

    def _step(self, index: int, state: State) -> State:
        """Return what the registers hold after an instruction."""
        instruction = self.code[index]
        op, registers, memory = instruction.op, instruction.registers, instruction.memory
        after = dict(state)
        if op in {"bl", "blr"}:
            return {key: value for key, value in after.items() if key not in CLOBBERED}
        if memory is not None:
            base, offset = address(memory)
            held = state.get(base, NOTHING)
            for place, name in enumerate(loaded_or_stored(op, registers)):
                if op.startswith("ld"):
                    after[name] = fetch(state, held, offset + 8 * place)
                elif op.startswith("st") and len(held) == 1:
                    (token,) = held
                    if token.base == "stack":
                        after[token.at + offset + 8 * place] = state.get(name, NOTHING)
            if memory.endswith("!") or instruction.operands[-1] != memory:  # the base moves on
                by = offset if memory.endswith("!") else number(instruction.operands[-1])
                after[base] = moved(held, by)
        elif registers and not op.startswith(("b", "cb", "tb", "cmp", "cmn", "tst", "ccm", "dmb")):
            after[registers[0]] = result(op, registers, state)
        return after

    def _seen(self, index: int, state: State) -> Iterator[Access]:
        instruction = self.code[index]
        op, memory = instruction.op, instruction.memory
        if op == "dmb":
            yield Access(index, "fence", " ".join((op, *instruction.operands)), frozenset())
        elif op in {"bl", "b"} and instruction.operands[0] in {"memcpy", "memmove"}:
            yield Access(index, "store", "memcpy", fields_of(state.get("x0", NOTHING)))
            yield Access(index, "load", "memcpy", fields_of(state.get("x1", NOTHING)))
        elif op == "bl" and instruction.operands[0].startswith("__aarch64_"):  # an atomic of the compiler's library
            name = instruction.operands[0]
            held = state.get("x2" if "_cas" in name else "x1", NOTHING)
            yield Access(index, "store", name, fields_of(held))
        elif memory is not None and op.startswith(("ld", "st")):
            held = state.get(address(memory)[0], NOTHING)
            yield Access(index, "load" if op.startswith("ld") else "store", op, fields_of(held))


def number(operand: str) -> int:
    """Return the value of an immediate operand, 0 if it is none."""
    return int(operand.lstrip("#"), 0) if re.match(r"#?-?\d", operand) else 0


def address(memory: str) -> tuple[str, int]:
    """Return base register and offset of an operand in brackets."""
    inner = split(memory.strip("[]!"))
    return register(inner[0]), number(inner[1]) if len(inner) == 2 else 0


def loaded_or_stored(op: str, registers: tuple[str, ...]) -> tuple[str, ...]:
    """Return the registers of a load or store that go to memory or come from it."""
    if op.startswith("st") and "x" in op[2:]:  # stlxr: the first tells whether it was done
        registers = registers[1:]
    return registers[: 2 if op in {"ldp", "stp", "ldxp", "ldaxp", "ldpsw"} else 1]


def fields_of(value: Value) -> frozenset[int]:
    """Return the fields of our argument that a value was made of."""
    return frozenset(token.at for token in value if token.base == "field")


def fetch(state: State, held: Value, offset: int) -> Value:
    """Return what a load gives: a field of our argument, a value from the stack, or something found behind a field."""
    found = {token for token in held if token.base == "field"}
    for token in held:
        if token.base == "argument":
            found.add(Token("field", token.at + offset))
        elif token.base == "stack":
            found |= state.get(token.at + offset, NOTHING)
    return frozenset(found)


def moved(value: Value, by: int) -> Value:
    """Return a value plus a constant."""
    return bounded(Token(t.base, t.at + by) if t.base != "field" else t for t in value)


def result(op: str, registers: tuple[str, ...], state: State) -> Value:
    """Return what arithmetic gives: all that its operands came from."""
    sources = [state.get(name, NOTHING) for name in registers[1:]]
    if op == "mov":
        return sources[0] if sources else NOTHING
    if op in {"add", "sub"} and len(registers) == 3 and re.match(r"#?\d", registers[2]):
        return moved(sources[0], number(registers[2]) * (1 if op == "add" else -1))
    return bounded(token for source in sources for token in source if token.base == "field")


def bounded(tokens: Iterable[Token]) -> Value:
    """Keep a value small: a pointer that moves in a loop comes from anywhere."""
    value = frozenset(tokens)
    return value if len(value) <= MOST_TOKENS else frozenset(t for t in value if t.base == "field")


def join(one: State | None, other: State) -> State:
    """Return what is known where two paths meet."""
    if one is None:
        return dict(other)
    return {key: bounded(one.get(key, NOTHING) | other.get(key, NOTHING)) for key in one.keys() | other.keys()}
