"""The view: a page on loopback that shows the newest of every stream, to whoever looks, at the cost of looking."""

from .errors import FrameError, PictureError, ViewError
from .settings import ViewConfig

__all__ = ["FrameError", "PictureError", "ViewConfig", "ViewError"]
