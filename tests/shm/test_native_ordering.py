"""The order of loads and stores that the native code promises, looked up in what compilers make of it for aarch64.

On x86-64 a forgotten fence shows nowhere; there it shows as a missing instruction. See shm/README.md for I1, I2, I3.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.compiler import SOURCES, compile_native
from support.listing import Access, Listing

FULL = {"dmb ish"}
LOADS = FULL | {"dmb ishld"}
ACQUIRE = {"ldar", "ldapr", "ldapur"}
RELEASE = {"stlr", "stlur"}

Compile = Callable[..., Listing]


@pytest.fixture(params=["aarch64 gcc", "aarch64 clang"])
def compiled(request: pytest.FixtureRequest, tmp_path: Path) -> Compile:
    """Return a function that compiles the steps of the protocol and reads their listing."""

    def compile_(*defines: str) -> Listing:
        output = tmp_path / "listed.s"
        compile_native(request.param, *defines, "-O2", "-fno-jump-tables", "-S", SOURCES / "listed.c", into=output)
        return Listing(output.read_text())

    return compile_


class Step:
    """The accesses of one function of listed.c, asked for by the names of Ring's fields."""

    def __init__(self, listing: Listing, function: str) -> None:
        self.listing = listing
        self.accesses = listing.accesses(function)
        self.entry = listing.labels[function]

    def to(self, field: str, kind: str = "") -> list[Access]:
        """Return accesses to a word, or to bytes of a section, which are addressed by many fields."""
        at = self.listing.constants[f"at_{field}"]
        wide = field in {"data", "times", "entries", "entry"}
        found = [
            access
            for access in self.accesses
            if access.kind != "fence"
            and (at in access.fields if wide else access.fields == {at})
            and kind in {"", access.kind}
        ]
        assert found, f"the listing shows no {kind or 'access'} of {field}: has it become another function?"
        return found

    def is_between(self, fences: set[str], begin: list[Access], end: list[Access]) -> bool:
        """Tell whether every path from `begin` to `end`, of which there are some, passes a fence."""
        one, other = [access.index for access in begin], [access.index for access in end]
        assert self.listing.leads(one, other, without=()), "the listing shows no such path"
        return not self.listing.leads(one, other, without=self.fences(fences))

    def is_before(self, fences: set[str], end: list[Access]) -> bool:
        """Tell whether every path from the function's beginning to `end` passes a fence."""
        found = self.fences(fences)
        return self.entry in found or not self.listing.leads([self.entry], [a.index for a in end], without=found)

    def fences(self, names: set[str]) -> list[int]:
        return [access.index for access in self.accesses if access.kind == "fence" and access.op in names]


def each(accesses: list[Access], names: set[str]) -> bool:
    return all(access.op in names for access in accesses)


def writing(step: Step) -> dict[str, bool]:
    """Return what a claim, the bytes and a publish promise."""
    claimed, published = step.to("claimed", "store"), step.to("published", "store")
    return {
        "I1: dmb ish from claimed to the bytes": step.is_between(FULL, claimed, step.to("data", "store")),
        "I1: dmb ish from claimed to the times": step.is_between(FULL, claimed, step.to("times", "store")),
        "claim: dmb ish from claimed to table_version": step.is_between(
            FULL, claimed, step.to("table_version", "load")
        ),
        "I2: stlr of published": each(published, RELEASE),
        "publish: dmb ish from published to armed": step.is_between(FULL, published, step.to("armed", "load")),
    }


def reading(step: Step) -> dict[str, bool]:
    """Return what a use of the bytes and its validation promise."""
    used, claimed, entry = step.to("data", "load"), step.to("claimed", "load"), step.to("entry", "load")
    return {
        "I3: dmb ishld from the bytes to claimed": step.is_between(LOADS, used, claimed),
        "I3: dmb ishld from the bytes to our entry": step.is_between(LOADS, used, entry),
    }


def gating(step: Step) -> dict[str, bool]:
    """Return what a reader promises that begins to hold the writer off: the mirror image of a claim."""
    version, claimed = step.to("table_version", "store"), step.to("claimed", "load")
    return {"gate: dmb ish from table_version to claimed": step.is_between(FULL, version, claimed)}


def unordered(listing: Listing) -> set[str]:
    """Return what a listing lacks, in words; nothing if all is in order."""
    steps = {name: Step(listing, name) for name in listing.labels if name.startswith("listed_")}
    promises = [writing(steps[f"listed_{name}"]) for name in ("write", "copy_in")]
    promises += [reading(steps[f"listed_{name}"]) for name in ("look", "copy_out")]
    promises += [gating(steps[f"listed_{name}"]) for name in ("join", "promote")]
    bad, begin, store = steps["listed_bad"], steps["listed_begin"], steps["listed_store"]
    arm, scan, wait = steps["listed_arm"], steps["listed_scan"], steps["listed_wait_room"]
    position = [access for access in store.to("entry", "store") if access.op in RELEASE]
    promises += [
        {"I3: dmb ishld before claimed": bad.is_before(LOADS, bad.to("claimed", "load"))},
        {"I2: ldar of published": each(begin.to("published", "load"), ACQUIRE)},
        {"arm: ldar of published": each(arm.to("published", "load"), ACQUIRE)},
        {"arm: dmb ish from armed to published": arm.is_between(FULL, arm.to("armed"), arm.to("published", "load"))},
        {"gate: ldar of state and position": each(scan.to("entries", "load"), ACQUIRE)},
        {"gate: stlr of position": bool(position)},
        {
            "gate: dmb ish from wanted to position": wait.is_between(
                FULL, wait.to("wanted", "store"), wait.to("entries", "load")
            )
        },
        {
            "gate: dmb ish from position to wanted": not position
            or store.is_between(FULL, position, store.to("wanted", "load"))
        },
    ]
    return {promise for promised in promises for promise, is_kept in promised.items() if not is_kept}


FENCES = {
    "I1: dmb ish from claimed to the bytes",
    "I1: dmb ish from claimed to the times",
    "I3: dmb ishld from the bytes to claimed",
    "I3: dmb ishld from the bytes to our entry",
    "I3: dmb ishld before claimed",
    "arm: dmb ish from armed to published",
    "claim: dmb ish from claimed to table_version",
    "gate: dmb ish from position to wanted",
    "gate: dmb ish from wanted to position",
    "gate: dmb ish from table_version to claimed",
    "publish: dmb ish from published to armed",
}


def test_every_step_is_ordered_on_aarch64(compiled: Compile) -> None:
    """Fences stand where they must, whatever path is taken, and both ends of the ring release and acquire."""
    assert unordered(compiled()) == set()


ORDERS = {
    "I2: stlr of published",
    "I2: ldar of published",
    "arm: ldar of published",
    "gate: ldar of state and position",
    "gate: stlr of position",
}


@pytest.mark.parametrize(("plants", "missing"), [(("NO_FENCES",), FENCES), (("RELAXED_STORE", "RELAXED_LOAD"), ORDERS)])
def test_a_planted_disorder_is_found(compiled: Compile, plants: tuple[str, ...], missing: set[str]) -> None:
    """The listing of code without its fences, or without its releases and acquires, is told from that of ours."""
    assert unordered(compiled(*(f"-DPLANT_{plant}" for plant in plants))) == missing
