"""Opening of a page in the user's browser, where there is a screen to show it on."""

from __future__ import annotations

import os
import sys
import webbrowser
from contextlib import suppress


def has_display() -> bool:
    """Tell whether this process can show a window: on Linux, whether it was told of a screen."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_page(url: str) -> bool:
    """Open `url` in the browser, and tell whether one was found; without a display nothing is done."""
    if not has_display():
        return False
    with suppress(OSError, webbrowser.Error):
        return webbrowser.open(url)
    return False
