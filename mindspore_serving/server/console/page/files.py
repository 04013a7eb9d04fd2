"""The files that a browser loads: part of the package, and the same for everybody."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Final

PAGE: Final = "index.html"
_SCRIPT: Final = "text/javascript; charset=utf-8"
FILE_TYPES: Final = MappingProxyType(
    {
        PAGE: "text/html; charset=utf-8",
        "console.css": "text/css; charset=utf-8",
        "charts.js": _SCRIPT,
        "client_code.js": _SCRIPT,
        "console.js": _SCRIPT,
        "dom.js": _SCRIPT,
        "live.js": _SCRIPT,
        "server.js": _SCRIPT,
        "try_it.js": _SCRIPT,
        "values.js": _SCRIPT,
    }
)
"""What is served, and its media type."""
FOLDER: Final = Path(__file__).parent / "browser"
POLICY: Final = "script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:"
"""What the page may load; pictures of a request are shown from memory."""


def content_of(name: str) -> bytes:
    """A file.

    Args:
        name: Of `FILE_TYPES`.
    """
    return (FOLDER / name).read_bytes()
