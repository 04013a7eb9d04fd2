"""The headers of a request, as dialects look them up: latin-1, as HTTP has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from multidict import CIMultiDictProxy


class HeaderFields(Mapping[str, str]):
    """Headers by name, in any case; of one that was sent more than once, the values with commas between them.

    To take the first of two values would be to choose for the client what it has meant.

    Args:
        headers: As they were read.
    """

    __slots__ = ("_headers",)

    def __init__(self, headers: CIMultiDictProxy[str]) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> str:
        text = ", ".join(self._headers.getall(name))
        # aiohttp reads UTF-8 where there is some; what a header is made of are bytes.
        return text if text.isascii() else text.encode(errors="surrogateescape").decode("latin-1")

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """The value of a header; `default` where there is none."""
        return self[name] if name in self._headers else default  # which costs less than an exception

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name in self._headers))

    def __len__(self) -> int:
        return len(list(iter(self)))
