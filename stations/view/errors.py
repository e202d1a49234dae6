"""What can go wrong in the view.

ViewError
├── PictureError    an array that cannot be drawn
└── FrameError      what came over the websocket is not one of our frames
"""

from __future__ import annotations

from stations.errors import StationError


class ViewError(StationError):
    """Any error of the view; catch it to catch them all."""


class PictureError(ViewError, ValueError):
    """An array that is not an image; the message says its shape and dtype."""


class FrameError(ViewError, ValueError):
    """The peer on the websocket sent what is not a frame of ours; its connection is closed."""
