"""What the view is told when it is started."""

from __future__ import annotations

import msgspec


class ViewConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of the view's process."""

    rig: str
    """Name of the rig; the page shows the rings ``<rig>/<terminal>/<stream>``."""
    terminal: str = "T"
    """Station id of the Terminal; the view's node is ``<terminal>.view``."""
    ip: str = "127.0.0.1"
    """Where the Terminal listens for messages."""
    port: int
    """MSGPORT of the Terminal."""
    view_port: int = 0
    """VIEWPORT: port of the page on 127.0.0.1; 0: any free one."""
    draw_fps: float = 20.0
    """DRAWFPS: drawings per second at most, above 0."""
    pilots: list[str] = []
    """Ids of the Pilots; what is sent to ``P_<pilot>`` is shown."""
