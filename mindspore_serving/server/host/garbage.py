"""How often Python looks for objects that only know each other.

By default it does once 700 more objects were made than freed. Requests in flight are more than that: so each few of
them cost a look at all others, which found nothing. That was up to a fifth of the main process's CPU time (ADR 41).
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG_OBJECTS: Final = 5_000
"""More objects made than freed, after which Python looks. With 20 000, nothing more is gained."""
_DEFAULTS = (700, 2000)
"""Of the versions of Python."""


def look_for_garbage_less_often() -> bool:
    """Have Python look for cycles of objects after `YOUNG_OBJECTS`.

    Returns:
        Whether it will; not where the user has decided otherwise for this process.
    """
    young, *older = gc.get_threshold()
    if young not in _DEFAULTS:
        return False
    gc.set_threshold(YOUNG_OBJECTS, *older)
    return True
