"""How commands print."""

from __future__ import annotations

from tools.table import Row, cell, lines


def test_numbers_stand_right_and_text_left() -> None:
    """Columns line up, thousands are set apart, nothing is a dash."""
    rows: list[Row] = [{"name": "cam0", "items": 12345, "ok": True}, {"name": "probe", "items": None, "ok": False}]
    assert lines(rows, ("name", "items", "ok")) == ["name    items  ok", "cam0   12 345  yes", "probe       -  no"]


def test_a_table_without_rows_is_its_heading() -> None:
    """No rows is not an error."""
    assert ["a  b"] == lines([], ("a", "b"))


def test_floats_keep_three_digits() -> None:
    """Enough to compare, few enough to read."""
    assert ("0.123", "12.3", "1 234 568") == (cell(0.12345), cell(12.345), cell(1234567.8))
