"""The live table, drawn by Textual from samples and nothing else.

Only cells that changed are drawn anew: on a Raspberry Pi a whole table a second would be the rig's busiest process.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.timer import Timer
from textual.widgets import DataTable, Footer, Input, Static

from .rows import Row, rows_of, select
from .sample import Sample
from .text import COLUMNS, as_json, percent, reader_lines, seconds, size, summary

INTERVALS: Final = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between samples that + and - step through."""
_GOOD, _WARN, _BAD, _DIM = "green", "yellow", "bold red", "grey62"
_STATE_STYLE: Final = {"run": _GOOD, "wait": _DIM, "idle": _DIM, "end": _DIM, "stall": _BAD, "dead": _BAD}
HELP: Final = """\
q Esc  quit        space  pause        + -  interval
/      filter      < >    sort column  r    reverse
1      readers     Enter  details      e    export this moment as JSON
"""


class TopApp(App[int]):
    """Streams of this machine, live."""

    TITLE = "pipeline-top"
    ENABLE_COMMAND_PALETTE = False
    CSS: ClassVar[str] = """
    Screen { layout: vertical; }
    #summary { height: 1; padding: 0 1; background: $primary-darken-2; color: $text; }
    #table { height: 1fr; }
    #details { height: auto; max-height: 40%; padding: 0 1; border-top: solid $primary; display: none; }
    #filter { display: none; dock: bottom; height: 3; }
    .shown { display: block !important; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape", "leave", "quit"),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("less_than_sign", "sort(-1)", "sort", key_display="<"),
        Binding("greater_than_sign", "sort(1)", "sort", key_display=">"),
        Binding("r", "reverse", "reverse"),
        Binding("1", "readers", "readers"),
        Binding("enter", "details", "details"),
        Binding("space", "pause", "pause"),
        Binding("plus,equals_sign", "interval(1)", "slower", key_display="+"),
        Binding("minus", "interval(-1)", "faster", key_display="-"),
        Binding("e", "export", "export"),
        Binding("question_mark,h", "help", "help", key_display="?"),
    ]

    def __init__(
        self,
        collect: Callable[[], Sample],
        *,
        interval_s: float = 1.0,
        pattern: str = "*",
        sort: str = "stream",
        reverse: bool = False,
    ) -> None:
        """Args: takes a sample, seconds between samples, glob of streams, column to sort by, greatest first."""
        super().__init__()
        self._collect = collect
        self._interval_s = interval_s
        self._pattern = pattern
        self._sort = sort
        self._is_reverse = reverse
        self._shows_readers = False
        self._panel: str | None = None
        self._before: Sample | None = None
        self._after: Sample | None = None
        self._rows: list[Row] = []
        self._timer: Timer | None = None
        self._summary = Static("", id="summary", markup=False)
        self._table: DataTable[Any] = DataTable(id="table", cursor_type="row", zebra_stripes=True)
        self._text = Static("", id="panel", markup=False)
        self._details = VerticalScroll(self._text, id="details")
        self._filter = Input(placeholder="part of a name, or a glob; Enter keeps it, Esc clears it", id="filter")
        self.is_paused = False

    def compose(self) -> ComposeResult:
        """Lay out the summary, the table, the details, the filter and the keys."""
        yield self._summary
        yield self._table
        yield self._details
        yield self._filter
        yield Footer()

    def on_mount(self) -> None:
        """Take the first sample and start the clock."""
        for column in COLUMNS:
            self._table.add_column(Text(column.title, justify="right" if column.is_number else "left"), key=column.key)
        self._table.focus()
        self._sample()
        self._timer = self.set_interval(self._interval_s, self._sample)
        self.set_timer(min(0.4, self._interval_s), self._sample)  # rates need two samples; do not wait a whole interval

    def _sample(self) -> None:
        if self.is_paused:
            return
        self._before, self._after = self._after, self._collect()
        self._draw()

    def _draw(self) -> None:
        if self._after is None:
            return
        rows = rows_of(self._before or self._after, self._after)
        self._rows = select(rows, pattern=self._pattern, by=self._sort, reverse=self._is_reverse)
        with self.batch_update():
            self._fill(self._rows)
            self._show_summary()
            self._show_panel()

    def _fill(self, rows: list[Row]) -> None:
        """Bring the table to these rows, touching only what differs."""
        table = self._table
        wanted = self._lines(rows)
        if [key.value for key in table.rows] != [key for key, _ in wanted]:
            here = self._current()
            table.clear()
            for key, cells in wanted:
                table.add_row(*cells, key=key)
            if here in [key for key, _ in wanted]:
                table.move_cursor(row=table.get_row_index(here))
            return
        for key, cells in wanted:
            for column, cell in zip(COLUMNS, cells, strict=True):
                if table.get_cell(key, column.key) != cell:
                    table.update_cell(key, column.key, cell, update_width=True)

    def _lines(self, rows: list[Row]) -> list[tuple[str, list[Text]]]:
        lines = []
        for row in rows:
            lines.append(
                (row.stream, [_styled(column.key, column.cell(row), row, column.is_number) for column in COLUMNS])
            )
            if self._shows_readers:
                for number, reader in enumerate(row.readers):
                    cells = {
                        "stream": f"  └ {reader.name}",
                        "state": reader.state,
                        "shape": reader.policy,
                        "lag": f"{reader.lag} ({seconds(reader.lag_s)})",
                        "drops": f"{reader.lapped} lapped {reader.torn} torn",
                        "writer": str(reader.pid),
                    }
                    lines.append((f"{row.stream}\0{number}", [Text(cells.get(c.key, ""), _DIM) for c in COLUMNS]))
        return lines

    def _current(self) -> str:
        table = self._table
        if table.row_count == 0:
            return ""
        return str(table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value)

    def _show_summary(self) -> None:
        assert self._after is not None  # noqa: S101 - only called by _draw
        order = f"{'▼' if self._is_reverse else '▲'}{self._sort}"
        mode = "paused" if self.is_paused else f"every {self._interval_s:g} s"
        pattern = "" if self._pattern == "*" else f"  /{self._pattern}"
        self._summary.update(f"{summary(self._after, self._rows)}  {mode}  {order}{pattern}")

    def _show_panel(self) -> None:
        self._details.set_class(self._panel is not None, "shown")
        if self._panel == "help":
            self._text.update(HELP)
        elif self._panel is not None:
            name = self._current().split("\0")[0]
            row = next((row for row in self._rows if row.stream == name), None)
            self._text.update("\n".join(_details(row)) if row else "no stream")

    def action_leave(self) -> None:
        """Close the filter or the details if they are open, else quit."""
        if self._filter.has_class("shown"):
            self._close_filter()
        elif self._panel is not None:
            self._panel = None
            self._show_panel()
        else:
            self.exit(0)

    def action_sort(self, step: int) -> None:
        """Sort by the next or the previous column."""
        keys = [column.key for column in COLUMNS]
        self._sort = keys[(keys.index(self._sort) + step) % len(keys)]
        self._draw()

    def action_reverse(self) -> None:
        """Turn the order round."""
        self._is_reverse = not self._is_reverse
        self._draw()

    def action_readers(self) -> None:
        """Show or hide a row for each reader."""
        self._shows_readers = not self._shows_readers
        self._draw()

    def action_details(self) -> None:
        """Show or hide the details of the stream under the cursor."""
        self._panel = None if self._panel == "details" else "details"
        self._show_panel()

    def action_help(self) -> None:
        """Show or hide the keys."""
        self._panel = None if self._panel == "help" else "help"
        self._show_panel()

    def action_pause(self) -> None:
        """Hold the table still, or go on."""
        self.is_paused = not self.is_paused
        self._draw()

    def action_interval(self, step: int) -> None:
        """Sample less often (+) or more often (-)."""
        nearest = min(range(len(INTERVALS)), key=lambda index: abs(INTERVALS[index] - self._interval_s))
        self._interval_s = INTERVALS[max(0, min(len(INTERVALS) - 1, nearest + step))]
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_interval(self._interval_s, self._sample)
        self._draw()

    def action_export(self) -> None:
        """Write what is on screen to a JSON file in the working directory."""
        if self._after is not None:
            path = Path(f"pipeline-top-{self._after.time_ns}.json")
            path.write_text(as_json(self._after, self._rows) + "\n")
            self.notify(f"written: {path}")

    def action_filter(self) -> None:
        """Ask for a part of a name."""
        self._filter.add_class("shown")
        self._filter.focus()

    def _close_filter(self) -> None:
        self._filter.value = ""
        self._filter.remove_class("shown")
        self._table.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while somebody types."""
        self._pattern = event.value or "*"
        self._draw()

    def on_input_submitted(self) -> None:
        """Keep the filter and go back to the table."""
        self._filter.remove_class("shown")
        self._table.focus()

    def on_data_table_row_selected(self) -> None:
        """Enter on a row (the table takes the key before we do)."""
        self.action_details()

    def on_data_table_row_highlighted(self) -> None:
        """Let the details follow the cursor."""
        if self._panel == "details":
            self._show_panel()


def _styled(key: str, cell: str, row: Row, is_number: bool) -> Text:
    style = ""
    if key == "state":
        style = _STATE_STYLE[row.state]
    elif key == "age":
        style = _BAD if row.state == "stall" else _WARN if row.is_late else ""
    elif key == "drops" and row.drops:
        style = _BAD if row.drops_per_s > 0 else _WARN
    elif key == "occ" and row.occupancy is not None and row.occupancy > 0.5:
        style = _WARN if row.occupancy < 0.9 else _BAD
    elif key == "writer" and row.state == "dead":
        style = _BAD
    return Text(cell, style, justify="right" if is_number else "left")


def _details(row: Row) -> list[str]:
    losses = json.dumps(row.drops) if row.drops else "nothing"
    held = (
        "" if row.occupancy is None else f"; the slowest lossless reader holds {percent(row.occupancy)} % of the ring"
    )
    return [
        f"{row.stream}: {row.shape} {row.dtype}, {row.slots} slots, {size(row.bytes)}",
        f"lost: {losses}, {row.drops_per_s:.1f} a second now{held}",
        *(reader_lines(row) or ["no readers"]),
    ]
