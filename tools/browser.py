"""Open the rig's page in the user's browser, where there is a screen to open it on."""

from __future__ import annotations

import os
import threading
import webbrowser


def has_screen() -> bool:
    """Whether a graphical browser can show itself; without one `webbrowser` may start one in our terminal."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_page(url: str) -> None:
    """Ask the desktop to show a page; returns at once, does nothing without a screen.

    Some browsers take seconds to answer, and a rig must not wait for them.
    """
    if has_screen():
        threading.Thread(target=webbrowser.open, args=(url,), name="open-page", daemon=True).start()
