"""Which pages of browsers may ask: cross-origin resource sharing.

A browser asks before it sends the request of a page to another origin than the page's own (the preflight). It shows the
page a reply only if that names the page's origin. Without origins, nothing of this is said, and pages see nothing.
"""

from __future__ import annotations

import re
from typing import Final

from mindspore_serving.errors import InvalidParameter
from mindspore_serving.server.transport.http_routes import VERSION_HEADER, HttpReply, HttpRequest
from mindspore_serving.server.transport.request_id import ID_HEADER

_ANY: Final = "*"
_ORIGIN = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#@\s,*]+")
_EXPOSED = ("Access-Control-Expose-Headers", f"{ID_HEADER}, {VERSION_HEADER}, Retry-After, Allow")
_VARY = ("Vary", "Origin")
_MOST_AGE_S = 600
"""How long a browser may remember what it was told."""


class Cors:
    """The pages that may ask.

    Args:
        origins: List of `scheme://host[:port]`, or of `*` for all.

    Raises:
        InvalidParameter: There are none, or one is no origin.
    """

    def __init__(self, origins: object) -> None:
        if not isinstance(origins, (list, tuple)) or not origins:
            raise InvalidParameter(
                "Parameter 'cors_origins' should be a list of origins, as ['https://example.org'] or ['*'], "
                f"but got {origins!r}"
            )
        for origin in origins:
            if not isinstance(origin, str) or not (origin == _ANY or _ORIGIN.fullmatch(origin)):
                raise InvalidParameter(
                    "Each of 'cors_origins' should be '*' or an origin, as 'https://example.org' or "
                    f"'http://127.0.0.1:8080', without a path, but got {origin!r}"
                )
        self._all = _ANY in origins
        self._origins = frozenset(origin.lower() for origin in origins)

    def __repr__(self) -> str:
        return f"<Cors {sorted(self._origins)}>"

    def headers(self, origin: str | None) -> tuple[tuple[str, str], ...]:
        """What is said with a reply, so that the page sees it.

        Args:
            origin: Header `Origin` of the request; None where there is none.
        """
        if self._all:
            return (("Access-Control-Allow-Origin", _ANY), _EXPOSED)
        if origin is None or origin.lower() not in self._origins:
            return (_VARY,)
        return (("Access-Control-Allow-Origin", origin), _EXPOSED, _VARY)

    @staticmethod
    def is_preflight(request: HttpRequest) -> bool:
        """Whether a browser asks what a page may send; such a request never shows a key."""
        return (
            request.verb == "OPTIONS"
            and "origin" in request.headers
            and "access-control-request-method" in request.headers
        )

    def preflight(self, request: HttpRequest, allow: str | None) -> HttpReply:
        """The reply to a preflight.

        Args:
            request: It.
            allow: Verbs of its path, as header `Allow` has them; None where only a route of the user's own knows them,
                which refuses others by itself.
        """
        headers = self.headers(request.headers.get("origin"))
        if headers[0][0] == _VARY[0]:  # not one of ours: the browser refuses the page by itself
            return HttpReply(200, b"", "", headers)
        asked = request.headers.get("access-control-request-headers")
        allow = allow or f"{request.headers.get('access-control-request-method')}, OPTIONS"
        more = (
            ("Allow", allow),
            ("Access-Control-Allow-Methods", allow),
            ("Access-Control-Max-Age", str(_MOST_AGE_S)),
            *((("Access-Control-Allow-Headers", asked),) if asked else ()),
        )
        return HttpReply(200, b"", "", (*headers, *more))
