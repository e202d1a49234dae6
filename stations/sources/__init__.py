"""Where items come from: files, this computer, synthetic devices that prove every byte, and classes of your own."""

from .registry import check_source, make_source, open_source, resolve_path
from .selfcheck import check_items, item_numbers
from .source import Reading, Source, SourceSpec, TimedSource, Upcoming, slots_for

__all__ = [
    "Reading",
    "Source",
    "SourceSpec",
    "TimedSource",
    "Upcoming",
    "check_items",
    "check_source",
    "item_numbers",
    "make_source",
    "open_source",
    "resolve_path",
    "slots_for",
]
