"""Numbers by which a client and the log call the same request."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Final

ID_FIELD: Final = "x-request-id"
"""Metadata of gRPC that carries a request id, and the header of REST in lower case."""
ID_HEADER: Final = "X-Request-Id"
_USABLE = re.compile(r"[\x21-\x7e]{1,128}")


def usable_id(given: str | bytes) -> str:
    """What a client calls its request, if that is 1 to 128 visible ASCII characters; else ""."""
    text = given if isinstance(given, str) else given.decode("latin-1")
    return text if _USABLE.fullmatch(text) else ""


def request_id(given: str | bytes) -> str:
    """What a request is called: as its client does, if that is usable, or by a new random number."""
    return usable_id(given) or os.urandom(8).hex()


def carries_id(metadata: Iterable[tuple[str, str | bytes]]) -> bool:
    """Whether metadata of a gRPC call carries a request id, usable or not."""
    for name, _ in metadata:  # noqa: SIM110  # half the time of any(...), and asked for each call
        if name == ID_FIELD:
            return True
    return False


def given_id(metadata: Iterable[tuple[str, str | bytes]]) -> str | bytes:
    """The request id that metadata of a gRPC call carries; "" where there is none, or more than one."""
    found = [value for name, value in metadata if name == ID_FIELD]
    return found[0] if len(found) == 1 else ""
