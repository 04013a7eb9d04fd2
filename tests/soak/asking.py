"""Asks questions as all kinds of clients do, and notes what becomes of each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import TypeAlias

import aiohttp

from mindspore_serving.errors import ServingError
from tests.soak.checking import DEADLINE, NO_WISHES, Answer, Verdict, Wishes, judge, judge_rows, wrong_id
from tests.soak.foreign import ForeignClients
from tests.soak.ledger import LOST_AFTER_S, Ledger, Outcome
from tests.soak.questions import Question
from tests.soak.transports import (
    ConnectionEnded,
    GrpcClients,
    RawGrpc,
    RestConnection,
    UnreadableReply,
    rest_message,
)

_PACKED_ROUTE = "grpc.aio, gzip"
GRPC_ROUTES = ("AsyncClient", "grpc.aio", "Client", _PACKED_ROUTE)
_SHORT_S = 0.05
"""Cancels and deadlines come at random within this time."""
_CANCEL_S = 5.0
_ENOUGH_MS = 1000 * LOST_AFTER_S - 5000
"""A deadline of REST that no request should miss."""
_CANCELLED, _TOO_LATE = "Grpc Error, (1,", "Grpc Error, (4,"


Ask: TypeAlias = Callable[[Question, "float | None"], Awaitable[Answer]]
Judge: TypeAlias = Callable[[Question, Answer], Verdict]


class Attitude(Enum):
    """What a client does about its own request."""

    PATIENT = "patient"
    CANCELS = "cancels"
    DEADLINE = "deadline"


class Asker:
    """Clients of one process.

    Args:
        ledger: Where every request is noted.
        draw: Source of all choices.
        grpc: Address of the gRPC server.
        rest: Address of the REST server.
    """

    def __init__(self, ledger: Ledger, draw: random.Random, grpc: str, rest: str) -> None:
        self._ledger = ledger
        self._draw = draw
        self._rest = rest
        self._clients = GrpcClients(grpc)
        self._raw = RawGrpc(grpc)
        self._foreign = ForeignClients(grpc, rest)

    async def close(self) -> None:
        """Close all connections."""
        await self._clients.close()
        await self._raw.close()
        await self._foreign.close()

    def attitude(self) -> Attitude:
        """Mostly patient."""
        return self._draw.choices(list(Attitude), [88, 7, 5])[0]

    def wishes(self) -> Wishes:
        """Some requests of REST have a deadline, and some have a name."""
        tight_ms = self._draw.uniform(0.1, 1000 * _SHORT_S)
        [timeout_ms] = self._draw.choices([0.0, _ENOUGH_MS, tight_ms], [75, 15, 10])
        named = self._draw.random() < 0.3
        return Wishes(timeout_ms, f"soak-{self._draw.getrandbits(32):08x}" if named else "")

    async def by_grpc(self, question: Question, route: str, attitude: Attitude = Attitude.PATIENT) -> Outcome:
        """Ask by gRPC.

        Args:
            question: What is asked.
            route: One of `GRPC_ROUTES`.
            attitude: A `Client` cannot cancel: it waits instead.
        """
        ask = {
            "AsyncClient": self._clients.ask_async,
            "Client": self._clients.ask_in_thread,
            "grpc.aio": self._raw.ask,
            _PACKED_ROUTE: self._raw.ask_packed,
        }[route]
        if route == "Client" and attitude is Attitude.CANCELS:
            attitude = Attitude.PATIENT
        return await self._ask(question, route, attitude, ask)

    async def by_foreign(
        self, question: Question, route: str, attitude: Attitude = Attitude.PATIENT
    ) -> Outcome:
        """Ask in a dialect of another server.

        Args:
            question: What is asked, of a method with rows.
            route: One of `tests.soak.foreign.ROUTES`.
            attitude: What the client does about it.
        """

        async def ask(asked: Question, timeout_s: float | None) -> Answer:
            return await self._foreign.ask(asked, route, timeout_s)

        return await self._ask(question, route, attitude, ask, judge_rows)

    async def _ask(
        self, question: Question, route: str, attitude: Attitude, ask: Ask, judge_by: Judge = judge
    ) -> Outcome:
        number = self._ledger.asked(route, str(question))
        timeout_s = self._draw.uniform(0.001, _SHORT_S) if attitude is Attitude.DEADLINE else None
        call = asyncio.ensure_future(ask(question, timeout_s))
        await asyncio.wait([call], timeout=self._patience(attitude))
        if not call.done():
            call.cancel()
            await asyncio.wait([call], timeout=_CANCEL_S)
        return self._end(number, question, call, attitude, judge_by=judge_by)

    async def by_one_connection(self, question: Question, wishes: Wishes = NO_WISHES) -> Outcome:
        """Ask by REST on a connection that serves this request only.

        Args:
            question: What is asked.
            wishes: What the head of the request says.
        """
        number = self._ledger.asked("REST, one-shot", str(question))
        message = rest_message(question, self._draw, wishes, close=self._draw.random() < 0.7)

        async def ask() -> Answer:
            connection = await RestConnection.open(self._rest, self._ledger.unasked)
            try:
                return await connection.ask(message)
            finally:
                connection.leave(hard=False)

        call = asyncio.ensure_future(ask())
        await asyncio.wait([call], timeout=LOST_AFTER_S)
        return self._end(number, question, call, Attitude.PATIENT, wishes)

    async def open_rest(self) -> RestConnection:
        """A connection for `on_connection`."""
        return await RestConnection.open(self._rest, self._ledger.unasked)

    async def on_connection(
        self,
        connection: RestConnection,
        questions: Sequence[Question],
        *,
        slowly: bool = False,
        packed: bool = False,
    ) -> None:
        """Ask by REST, all at once on a connection that is kept.

        Args:
            connection: From `open_rest`.
            questions: One or several.
            slowly: Send and read in pieces, for one question.
            packed: Compress bodies.
        """
        route = "REST, slow" if slowly else "REST, gzip" if packed else "REST, kept"
        calls = []
        for at, question in enumerate(questions, 1):
            behind = f", number {at} on its connection" if at > 1 else ""  # it waits for those before it
            number = self._ledger.asked(route, f"{question}{behind}")
            wishes = self.wishes()
            message = rest_message(question, self._draw, wishes, packed=packed)
            ask = connection.ask_slowly if slowly else connection.ask
            calls.append((number, question, asyncio.ensure_future(ask(message)), wishes))
        await asyncio.wait([call for _, _, call, _ in calls], timeout=LOST_AFTER_S)
        for number, question, call, wishes in calls:
            self._end(number, question, call, Attitude.PATIENT, wishes)

    async def and_leave(self, connection: RestConnection, question: Question) -> None:
        """Send a request or a part of it by REST, and end the connection at a random moment."""
        message = rest_message(question, self._draw)
        number = self._ledger.asked("REST, left", str(question))
        if self._draw.random() < 0.3:
            connection.transport.write(message[: self._draw.randrange(len(message))])
            call: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        else:
            call = asyncio.ensure_future(connection.ask(message))
        await asyncio.wait([call], timeout=self._draw.uniform(0, _SHORT_S))
        connection.leave(hard=self._draw.random() < 0.5)
        if not call.done():
            call.cancel()
            await asyncio.wait([call], timeout=_CANCEL_S)
        self._end(number, question, call, Attitude.CANCELS)

    def _patience(self, attitude: Attitude) -> float:
        return self._draw.uniform(0, _SHORT_S) if attitude is Attitude.CANCELS else LOST_AFTER_S

    def _end(
        self,
        number: int,
        question: Question,
        call: asyncio.Future[Answer],
        attitude: Attitude,
        wishes: Wishes | None = None,
        judge_by: Judge = judge,
    ) -> Outcome:
        outcome, detail = _outcome_of(question, call, attitude, wishes, judge_by)
        self._ledger.ended(number, outcome, detail, len(question.instances))
        return outcome


def _outcome_of(
    question: Question,
    call: asyncio.Future[Answer],
    attitude: Attitude,
    wishes: Wishes | None,
    judge_by: Judge,
) -> tuple[Outcome, str]:
    if not call.done() or call.cancelled():
        if attitude is Attitude.CANCELS:
            return Outcome.GIVEN_UP, ""
        return Outcome.LOST, f"neither reply nor error within {LOST_AFTER_S:g} s"
    error = call.exception()
    if error is not None:
        return _outcome_of_error(error)
    answer = call.result()
    if wishes is not None:
        wrong = wrong_id(wishes.request_id, answer.request_id, answer.has_error)
        if wrong:
            return Outcome.WRONG, wrong
        if answer.too_late and wishes.timeout_ms:
            ours = wishes.timeout_ms < _ENOUGH_MS
            return (Outcome.GIVEN_UP if ours else Outcome.LOST), answer.error
    if answer.error.startswith(_TOO_LATE) or DEADLINE.search(answer.error):
        ours = attitude is Attitude.DEADLINE
        return (Outcome.GIVEN_UP if ours else Outcome.LOST), answer.error
    if answer.error.startswith(_CANCELLED) and attitude is Attitude.CANCELS:
        return Outcome.GIVEN_UP, answer.error
    return judge_by(question, answer)


def _outcome_of_error(error: BaseException) -> tuple[Outcome, str]:
    detail = f"{type(error).__name__}: {error}"
    if isinstance(error, (ConnectionEnded, aiohttp.ClientConnectionError)):
        return Outcome.LOST, detail
    if isinstance(error, (UnreadableReply, ServingError, ValueError, TypeError, KeyError)):
        return Outcome.WRONG, detail
    return Outcome.FAILED, detail
