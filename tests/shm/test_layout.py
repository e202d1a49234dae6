"""The layout tables: their fields fit, and the sizes that follow from them."""

from __future__ import annotations

from math import gcd
from pathlib import Path

import pytest

from shm import layout
from shm.layout import Geometry

TABLES = {
    "HEADER": (layout.HEADER, layout.HEADER_BYTES),
    "WORDS": (layout.WORDS, layout.WORDS_BYTES),
    "TABLE": (layout.TABLE, layout.TABLE_WORDS_BYTES),
    "ENTRY": (layout.ENTRY, layout.ENTRY_BYTES),
    "COUNTERS_HEADER": (layout.COUNTERS_HEADER, layout.COUNTERS_HEADER_BYTES),
    "COUNTER": (layout.COUNTER, layout.COUNTER_BYTES),
}


@pytest.mark.parametrize("name", TABLES)
def test_fields_do_not_overlap_and_words_are_aligned(name: str) -> None:
    """Each byte has one field, each word an address that the CPU stores at once."""
    fields, size = TABLES[name]
    described = layout.dtype_of(fields, size)
    end = 0
    for field in sorted(fields, key=lambda f: f.offset):
        assert field.offset >= end, field
        end = field.offset + described[field.name].itemsize
        assert "8" not in field.format or field.offset % 8 == 0, field
    assert end <= size


@pytest.mark.parametrize("name", layout.TABLES)
def test_the_readme_shows_the_layout_as_it_is(name: str) -> None:
    """README.md holds each table as the code has it."""
    readme = Path(layout.__file__).with_name("README.md").read_text(encoding="utf-8")
    assert f"### {name}\n\n{layout.as_markdown(layout.TABLES[name])}\n" in readme


def test_words_of_different_writers_do_not_share_a_cache_line() -> None:
    """A reader that stores its position does not slow down the writer."""
    for fields in (layout.TABLE, layout.ENTRY):
        lines: dict[int, set[str]] = {}
        for field in fields:
            lines.setdefault(field.offset // 64, set()).add(field.name)
        assert {"state", "demoted"} in lines.values() or {"table_version"} in lines.values()


@pytest.mark.parametrize("granule", [4096, 16384, 65536])
@pytest.mark.parametrize("item_bytes", [1, 3, 64, 1024, 924, 65535, 65536, 921600, 641 * 481 * 3])
@pytest.mark.parametrize("slots", [1, 3, 8, 100])
def test_every_section_is_a_whole_number_of_granules(granule: int, item_bytes: int, slots: int) -> None:
    """What is mapped twice must be; pages of 16 and 64 KiB are arithmetic here, not tried on such a kernel."""
    g = Geometry.plan(item_bytes, slots, is_blob=True, granule=granule)
    assert g.slots >= slots
    assert g.stride >= item_bytes
    for size in (g.data_bytes, 8 * g.times_slots, g.words_offset, g.table_offset, g.times_offset, g.data_offset):
        assert size % granule == 0
    assert g.times_slots >= g.slots
    if item_bytes >= layout.DENSE_BELOW:
        assert (g.slots, g.stride - item_bytes < granule) == (slots, True)
    else:
        assert (g.stride, g.slots - slots < granule // gcd(item_bytes, granule)) == (item_bytes, True)
