"""What users choose of pages: which ones a front end has, who may see them, and what metrics are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mindspore_serving.errors import InvalidParameter

PAGES: Final = ("metrics", "status", "openapi", "console")
"""Names of all pages, in the order of the documentation."""
METRICS_ALIASES: Final = ("triton", "kserve", "tfserving")
"""Servers whose names metrics may have as well."""


@dataclass(frozen=True, slots=True)
class PageChoice:
    """Which pages a front end has, and how.

    Attributes:
        names: Which; None for all of which no listener of their own is started.
        public: Those of them that everybody may see, also without a key.
        metrics_aliases: Servers whose names metrics have as well.
    """

    names: tuple[str, ...] | None = None
    public: frozenset[str] = frozenset()
    metrics_aliases: tuple[str, ...] = ()


def page_choice(pages: object, public_pages: object = (), metrics_aliases: object = ()) -> PageChoice:
    """Check what the user has chosen.

    Args:
        pages: Names of pages; None for all of which no listener of their own is started.
        public_pages: Names of pages that need no key, also of some that are not served.
        metrics_aliases: Of `METRICS_ALIASES`.

    Raises:
        InvalidParameter: Something is no such name.
    """
    return PageChoice(
        None if pages is None else _names("pages", pages, PAGES),
        frozenset(_names("public_pages", public_pages, PAGES)),
        _names("metrics_aliases", metrics_aliases, METRICS_ALIASES),
    )


def _names(parameter: str, given: object, known: Sequence[str]) -> tuple[str, ...]:
    expected = ", ".join(f"'{name}'" for name in known)
    if not isinstance(given, (list, tuple)):
        raise InvalidParameter(
            f"Parameter '{parameter}' should be a list or tuple of some of {expected}, but actually {type(given)}"
        )
    for name in given:
        if name not in known:
            raise InvalidParameter(f"Parameter '{parameter}' has {name!r}, expected are some of {expected}")
    return tuple(dict.fromkeys(given))
