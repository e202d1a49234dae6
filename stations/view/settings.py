"""What the view is told when it is started."""

from __future__ import annotations

import msgspec


class ViewConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of the view's process."""

    rig: str
    """Name of the rig; its blob rings are ``<rig>/<terminal>/<stream>``."""
    terminal: str = "T"
    """Station id of the Terminal; the view's node is ``<terminal>.view``."""
    ip: str = "127.0.0.1"
    """Where the Terminal listens for messages."""
    port: int
    """MSGPORT of the Terminal."""
    VIEWPORT: int = 0
    """Port of the page on 127.0.0.1; 0: any free one."""
    DRAWFPS: float = 20.0
    """Drawings per second at most, 0 < DRAWFPS <= 120."""
    streams: dict[str, dict[str, object]] = {}
    """What the rig file says of streams; kept for later, may be empty."""
