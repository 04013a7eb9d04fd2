"""The requests and replies of one check, shortened, as evidence."""

from __future__ import annotations

import threading

_LONGEST = 700


def shown(data: bytes | str, longest: int = _LONGEST) -> str:
    """Return data as one line of text: text as it is, other bytes as escapes; the end is cut off."""
    text = data if isinstance(data, str) else data[: longest + 1].decode("utf-8", "backslashreplace")
    text = "".join(
        character if character.isprintable() else _escaped(character) for character in text[: longest + 1]
    )
    if len(text) > longest:
        return f"{text[:longest]}... ({len(data)} in all)"
    return text


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


class Trail:
    """The newest exchanges; safe for several threads."""

    def __init__(self, most: int = 4) -> None:
        self._most = most
        self._lines: list[str] = []
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._lines = []

    def add(self, line: str) -> None:
        """Add one exchange; the oldest ones are dropped."""
        with self._lock:
            self._lines = [*self._lines, line][-self._most :]

    def lines(self) -> tuple[str, ...]:
        """Return the exchanges, the oldest first."""
        with self._lock:
            return tuple(self._lines)
