"""Rights of clients: what a route asks for, and an identity may have."""

from __future__ import annotations

from enum import Enum


class Right(Enum):
    """What a client must be allowed to do."""

    NONE = "none"
    """Anybody may ask, also without a key."""
    INFER = "infer"
    VIEW = "view"
    """See pages that tell of the server: metrics, status, console, descriptions."""
    MANAGE = "manage"
    """Change what runs, and read logs."""
