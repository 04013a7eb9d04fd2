"""From a request that was read to the reply that is written: what is common to all dialects.

Nothing here knows of bytes and connections: a server reads requests, finds who answers them (`find`), decides whether
their clients may ask, and writes what `answer` or `refuse` gives.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import unquote

from mindspore_serving.errors import (
    Failure,
    InvalidInput,
    QueueFull,
    ServingError,
    UnknownTarget,
    VerbNotAllowed,
    unexpected_failure,
)
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.dispatch.client_call import ClientCall, current_call
from mindspore_serving.server.dispatch.counting import count_answered
from mindspore_serving.server.transport.failure_log import FailureLog
from mindspore_serving.server.transport.http.ended_request import answered_request, left_request
from mindspore_serving.server.transport.http.target import path_of
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, LargeBodies, Route
from mindspore_serving.server.transport.observers import TRACE_FIELD, EndedCall, Observers
from mindspore_serving.server.transport.request_id import ID_FIELD, ID_HEADER, request_id, usable_id
from mindspore_serving.server.transport.routes import Dialect
from mindspore_serving.server.transport.untaken_replies import UntakenReplies

UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
TIMED_OUT: Final = 408
TOO_LARGE: Final = 413
BUSY: Final = 503
_OPTIONS = "OPTIONS"
_LARGE_REPLY_BYTES = 1 << 14
"""Bytes of a reply up to which there is always room for it."""
_MOST_TARGETS = 256
"""Targets of which it is remembered who answers them."""
_NO_PARTS: Final[Mapping[str, str]] = MappingProxyType({})
_RETRY = ("Retry-After", "1")
_AGAIN = frozenset((QueueFull.http_status, BUSY))
"""Statuses that say that nothing was done, and that it may be otherwise soon."""
_NAME = re.compile(r"\{(\w+\*?)\}")


class Found(NamedTuple):
    """Who answers requests of one target and verb.

    Attributes:
        dialect: Whose path it is.
        route: What answers; None where the path has no such verb, or is nobody's.
        verbs: What may be asked at this path; empty where it is nobody's.
        parts: Values of the names in the pattern of the route.
        wrong_verb: What is told to who uses another verb.
    """

    dialect: Dialect
    route: Route | None
    verbs: tuple[str, ...]
    parts: Mapping[str, str]
    wrong_verb: str

    @property
    def is_open(self) -> bool:
        """Whether anybody may ask, also without a key."""
        return self.route is not None and self.route.right is Right.NONE

    @property
    def allow(self) -> str:
        """Value of the header `Allow`."""
        return ", ".join((*self.verbs, _OPTIONS))


class _Place:
    """The routes of one pattern, by verb."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.routes: dict[str, Route] = {}

    def add(self, dialect: Dialect, route: Route) -> None:
        """Add a route.

        Raises:
            ValueError: There is one of this verb, or the pattern is another dialect's.
        """
        if dialect is not self.dialect or not self.routes.keys().isdisjoint(route.verbs):
            raise ValueError(
                f"Two routes have the pattern '{route.pattern}': {self.dialect.name}, {dialect.name}"
            )
        self.routes |= dict.fromkeys(route.verbs, route)

    def found(self, verb: str, parts: Mapping[str, str]) -> Found:
        """Who answers a verb."""
        wrong_verb = next((route.wrong_verb for route in self.routes.values() if route.wrong_verb), "")
        verbs = tuple([one for one, route in self.routes.items() if not route.unlisted])
        return Found(self.dialect, self.routes.get(verb), verbs, parts, wrong_verb)


class Answering:
    """Answers the requests of one server.

    Args:
        dialects: Who answers, at least one. The first one refuses what is nobody's, where none has a route for that.
        large_bodies: Reads large bodies.
        untaken: The replies that clients have not taken.
        failures: Where requests are logged that have failed.
        observers: Who is told of requests; None for nobody.
        secure: Whether they come by TLS.

    Raises:
        ValueError: Two routes are for the same.
    """

    def __init__(
        self,
        dialects: Sequence[Dialect],
        large_bodies: LargeBodies,
        untaken: UntakenReplies,
        failures: FailureLog,
        observers: Observers | None = None,
        secure: bool = False,
    ) -> None:
        self._large_bodies = large_bodies
        self._untaken = untaken
        self._failures = failures
        self._observers = observers or Observers()
        self._secure = secure
        self._places: dict[str, _Place] = {}
        for dialect in dialects:
            for route in dialect.routes:
                self._places.setdefault(route.pattern, _Place(dialect)).add(dialect, route)
        self._patterns = [
            (_compiled(pattern), place) for pattern, place in self._places.items() if "{" in pattern
        ]
        self._nobody = Found(dialects[0], None, (), _NO_PARTS, "")
        self.find = lru_cache(_MOST_TARGETS)(self._find)

    def __repr__(self) -> str:
        return f"<Answering {sorted(self._places)}>"

    def withdraw(self, dialects: Collection[Dialect]) -> None:
        """Answer no more what some dialects answer: their paths are nobody's from now on.

        Args:
            dialects: Which; not the first one.
        """
        self._places = {
            pattern: place for pattern, place in self._places.items() if place.dialect not in dialects
        }
        self._patterns = [each for each in self._patterns if each[1].dialect not in dialects]
        self.find.cache_clear()

    def _find(self, verb: str, target: str) -> Found:
        """Who answers a request; called as `find`, which remembers.

        Args:
            verb: HTTP method; may be empty.
            target: What stands between verb and version; may be empty.
        """
        path = path_of(target)
        place = self._places.get(path) if path else None
        if place is not None:
            return place.found(verb, _NO_PARTS)
        for pattern, place in self._patterns:
            match = pattern.fullmatch(path)
            if match is not None:
                parts = {name: unquote(value) for name, value in match.groupdict().items()}
                return place.found(verb, MappingProxyType(parts))
        place = self._places.get("")
        return self._nobody if place is None else place.found(verb, _NO_PARTS)

    async def answer(self, found: Found, request: HttpRequest, connection: Hashable) -> HttpReply:
        """The reply to a request; never raises but if it is cancelled.

        Args:
            found: Who answers it, from `find`.
            request: All of it, with what its client may do.
            connection: On which it came, as `untaken` knows it.
        """
        call = ClientCall(time.monotonic())
        current_call.set(call)
        observers = self._observers
        if observers.all:
            observers.begin(call, request.headers)
        try:
            reply = await self._answer(found, request, connection)
            now = time.monotonic()
            count_answered(call, now)
            if call.destination is not None:
                reply = reply.answered_by(call.version)
            if observers.all:
                if call.traceparent:
                    reply = reply._replace(headers=(*reply.headers, (TRACE_FIELD, call.traceparent)))
                self._tell(answered_request(call, now, found.dialect.name, found.route, request, reply))
            return reply
        except asyncio.CancelledError:
            call.asked = None  # whatever it asked, it was not refused
            count_answered(call, time.monotonic())
            self._tell_left(call, found, request)
            raise
        finally:
            current_call.set(None)  # the task goes on to the next request of its connection

    def left(self, request: HttpRequest) -> None:
        """Tell of a request whose client has gone before all of it was read."""
        self._tell_left(ClientCall(time.monotonic()), self.find(request.verb, request.target), request)

    def _tell_left(self, call: ClientCall, found: Found, request: HttpRequest) -> None:
        if self._observers.all:
            now = time.monotonic()
            self._tell(left_request(call, now, found.dialect.name, found.route, request))

    def _tell(self, ended: EndedCall) -> None:
        ended.secure = self._secure
        self._observers.end(ended)

    async def _answer(self, found: Found, request: HttpRequest, connection: Hashable) -> HttpReply:
        route = found.route
        if route is None:
            return self._other_verb(found, request)
        if route.right not in request.identity.rights:
            return self._refusal(FORBIDDEN, request.identity.refusal(route.right), found, request)
        try:
            if self._untaken.crowded and not route.probe:
                self._check_room(connection)
            request.parts = found.parts
            request.large_bodies = self._large_bodies
            reply = await route.handler(request)
            if len(reply.body) >= _LARGE_REPLY_BYTES:
                self._check_room(connection)
        except ServingError as error:
            return self._failed(error.failure(), found, request)
        except Exception as error:  # whatever goes wrong in a dialect, the client gets an answer
            return self._failed(unexpected_failure(error), found, request)
        if reply.failures:
            return self._noted(reply, request)
        given = request.headers.get(ID_FIELD)
        if given and (name := usable_id(given)):
            return reply._replace(headers=(*reply.headers, (ID_HEADER, name)))
        return reply

    def refuse(self, status: int, text: str, request: HttpRequest) -> HttpReply:
        """The reply to what is not read as a request, or whose client may not ask it.

        Args:
            status: What HTTP says to it.
            text: Why.
            request: What is known of it; its verb is empty where that is nothing.
        """
        found = self.find(request.verb, request.target)
        reply = self._refusal(status, text, found, request)
        self.told(found, request, reply)
        return reply

    def told(self, found: Found, request: HttpRequest, reply: HttpReply) -> None:
        """Tell of a request that was answered before it was read.

        Args:
            found: Whose path it has.
            request: What is known of it.
            reply: What it is answered with.
        """
        if self._observers.all:
            call = ClientCall(time.monotonic())
            self._tell(answered_request(call, call.began, found.dialect.name, found.route, request, reply))

    def _refusal(self, status: int, text: str, found: Found, request: HttpRequest) -> HttpReply:
        if status == TOO_LARGE and found.route is None and request.verb != _OPTIONS:
            return self._other_verb(found, request)
        code = QueueFull.code if status == BUSY else InvalidInput.code
        failure = Failure(code, text, status)
        if status == UNAUTHORIZED:  # the guard counts these
            headers = (
                ("WWW-Authenticate", "Bearer"),
                (ID_HEADER, request_id(request.headers.get(ID_FIELD, ""))),
            )
            reply = found.dialect.refuse(failure, request)
            return reply._replace(status=status, headers=headers, failures=[FailedRows(failure, 1)])
        reply = self._failed(failure, found, request)
        # A dialect may have another status for what is a request all the same.
        return reply if status in (TIMED_OUT, TOO_LARGE) else reply._replace(status=status)

    def _check_room(self, connection: Hashable) -> None:
        if not self._untaken.has_room(connection):
            raise QueueFull(self._untaken.refusal)

    def _other_verb(self, found: Found, request: HttpRequest) -> HttpReply:
        """The reply to a verb that a path does not have, or to a path that is nobody's."""
        if not found.verbs:
            text = f"There is nothing at {path_of(request.target)}"
            return self._failed(UnknownTarget(text).failure(), found, request)
        if request.verb == _OPTIONS:
            return HttpReply(200, b"", "", (("Allow", found.allow),))
        verbs = " and ".join(found.verbs)
        text = found.wrong_verb or f"{path_of(request.target)} only supports {verbs}, but got {request.verb}"
        return self._failed(VerbNotAllowed(text).failure(), found, request)

    def _failed(self, failure: Failure, found: Found, request: HttpRequest) -> HttpReply:
        reply = found.dialect.refuse(failure, request)
        headers = reply.headers
        if failure.status in _AGAIN:
            headers += (_RETRY,)
        elif failure.status == VerbNotAllowed.http_status:
            headers += (("Allow", found.allow),)
        failures = [FailedRows(failure, 1)]
        name = self._note(failures, 0, request)
        return reply._replace(headers=(*headers, (ID_HEADER, name)), failures=failures)

    def _noted(self, reply: HttpReply, request: HttpRequest) -> HttpReply:
        """A reply in which instances have no result, with its id."""
        name = self._note(reply.failures, reply.instance_count, request)
        again = (_RETRY,) if reply.status in _AGAIN else ()
        return reply._replace(headers=(*reply.headers, *again, (ID_HEADER, name)))

    def _note(self, failures: Sequence[FailedRows], count: int, request: HttpRequest) -> str:
        """Log a request that failed, and give its id."""
        name = request_id(request.headers.get(ID_FIELD, ""))
        target = f"{request.verb} {path_of(request.target)}" if request.verb else "no request"
        self._failures.write(name, request.peer, target, failures, count)
        return name


def _compiled(pattern: str) -> re.Pattern[str]:
    """What paths of a pattern look like: a name in braces stands for a segment, one with an asterisk for any number."""
    pieces = _NAME.split(pattern)
    texts: Iterable[str] = (_part(piece) if at % 2 else re.escape(piece) for at, piece in enumerate(pieces))
    return re.compile("".join(texts))


def _part(name: str) -> str:
    return f"(?P<{name[:-1]}>(?s:.*))" if name.endswith("*") else f"(?P<{name}>[^/]+)"
