"""Calls without gRPC: what all methods of all dialects have in common, with dialects that a test makes up."""

from __future__ import annotations

import asyncio
import gzip
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from mindspore_serving.errors import Failure, InvalidInput, StatusCode, SystemFailure
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.access.api_keys import ApiKeys
from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.transport.grpc.arriving_messages import SLOW_S
from mindspore_serving.server.transport.grpc.calls import CallRouter
from mindspore_serving.server.transport.grpc.library import CallEnd, CallHandler, CallOver
from mindspore_serving.server.transport.grpc.messages import MessageReader
from mindspore_serving.server.transport.grpc.replies import SentReplies
from mindspore_serving.server.transport.grpc.tcp_connections import TcpConnections
from mindspore_serving.server.transport.grpc_routes import (
    GrpcCall,
    GrpcError,
    GrpcMethod,
    GrpcReply,
    GrpcStatus,
    StreamedReplyMethod,
    StreamMethod,
    UnaryMethod,
)
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies
from mindspore_serving.server.transport.untaken_replies import UntakenReplies

KEY = "0123456789-this-is-the-key"
PEER = "ipv4:127.0.0.1:1"
PATH = "/a.Service/Ask"
STREAM = "/a.Service/Follow"
LARGEST = 1 << 22
MOST_ARRIVING = 1 << 24
MOST_UNTAKEN = 100_000
LIMIT_S = 20.0
Handler = Callable[[bytes, GrpcCall], Awaitable[GrpcReply]]


class FakeCall:
    """A call as a library has it.

    Args:
        messages: What its client sends, before it ends its side.
        metadata: What it sends beside that.
        names: Names of its certificate.

    Attributes:
        reads: How often a message was asked for.
        written: Messages of a stream.
        trailing: Metadata at the end.
        status: How the call was ended, with its text; None for a reply.
        done: What is called at the end.
        is_gone: Whether writing fails, because the client has gone.
        ends_at: The read at which the call has ended; 0 for none.
    """

    peer = PEER
    timeout_s = 1.5
    has_message = False

    def __init__(
        self,
        *messages: bytes,
        metadata: Sequence[tuple[str, str | bytes]] = (),
        names: Sequence[bytes] = (),
    ) -> None:
        self.messages = list(messages)
        self.metadata = metadata
        self.names = names
        self.reads = 0
        self.written: list[bytes] = []
        self.trailing: dict[str, Any] = {}
        self.status: tuple[GrpcStatus, str] | None = None
        self.done: list[Callable[[], None]] = []
        self.is_gone = False
        self.ends_at = 0

    def auth_context(self) -> dict[str, Sequence[bytes]]:
        return {"x509_common_name": self.names}

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str]]) -> None:
        self.trailing = dict(metadata)

    def when_done(self, callback: Callable[[], None]) -> None:
        self.done.append(callback)

    async def read(self) -> bytes | None:
        self.reads += 1
        if self.ends_at == self.reads:
            raise CallOver("the call has ended")
        return self.messages.pop(0) if self.messages else None  # nothing but the handler holds it from now on

    async def write(self, message: bytes) -> None:
        if self.is_gone:
            raise CallOver("the call has ended")
        self.written.append(message)

    @property
    def id(self) -> Any:
        """The id that the client gets."""
        return self.trailing.get("x-request-id")


class Server:
    """What the calls of a server share."""

    def __init__(self, *methods: GrpcMethod, guard: Guard | None = None) -> None:
        connections = TcpConnections()
        self.arriving = UnfinishedBodies(MOST_ARRIVING)
        self.untaken = UntakenReplies(MOST_UNTAKEN, MOST_UNTAKEN)
        reader = MessageReader(LARGEST, connections, self.arriving)
        self.router = CallRouter(methods, LARGEST, reader, SentReplies(self.untaken, connections), guard)

    def handler(self, path: str, call: FakeCall) -> CallHandler | None:
        return self.router.find(path, call.metadata)

    async def call(self, call: FakeCall, path: str = PATH) -> bytes | None:
        """The reply of a call, if it has one."""
        handler = self.handler(path, call)
        assert handler is not None
        try:
            return await asyncio.wait_for(handler.answer(call), LIMIT_S)  # type: ignore[arg-type]
        except CallEnd as end:
            call.status = end.status, end.text
            return None


async def echo(message: bytes, call: GrpcCall) -> GrpcReply:
    return GrpcReply(message)


def unary(handler: Handler = echo, **options: Any) -> UnaryMethod:
    return UnaryMethod(path=PATH, handler=handler, **options)


def raising(error: Exception) -> Handler:
    async def handler(message: bytes, call: GrpcCall) -> GrpcReply:
        raise error

    return handler


def stream(*steps: GrpcReply | Exception, **options: Any) -> StreamedReplyMethod:
    async def handler(message: bytes, call: GrpcCall) -> AsyncGenerator[GrpcReply, None]:
        for step in steps:
            if isinstance(step, Exception):
                raise step
            yield step

    return StreamedReplyMethod(path=STREAM, handler=handler, **options)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), LIMIT_S))


def called(call: FakeCall, *methods: GrpcMethod, path: str = PATH, guard: Guard | None = None) -> Any:
    """The reply of one call to a server with these methods."""

    async def scene() -> Any:
        return await Server(*methods, guard=guard).call(call, path)

    return asyncio.run(scene())


def failed_lines(output: str) -> list[str]:
    return [line for line in output.splitlines() if " failed with status " in line]


# --- Where calls go ---


def test_a_call_goes_to_the_method_of_its_path() -> None:
    async def other(message: bytes, call: GrpcCall) -> GrpcReply:
        return GrpcReply(b"other " + message)

    methods = (unary(), UnaryMethod(path="/b.Service/Ask", handler=other))
    assert called(FakeCall(b"message"), *methods) == b"message"
    assert called(FakeCall(b"message"), *methods, path="/b.Service/Ask") == b"other message"


@pytest.mark.parametrize(
    "path", ["", "/", "/a.Service/ask", "/a.Service", "/a.Service/Ask/", "a.Service/Ask"]
)
@pytest.mark.parametrize("guard", [None, Guard(ApiKeys([KEY]), ())])
def test_grpc_is_told_that_a_path_is_of_no_method(path: str, guard: Guard | None) -> None:
    async def scene() -> None:
        assert Server(unary(), guard=guard).handler(path, FakeCall(b"message")) is None

    play(scene)


def test_one_path_has_one_method() -> None:
    with pytest.raises(ValueError, match=f"Two methods of gRPC have the path {PATH}"):
        called(FakeCall(b"message"), unary(), unary())


def test_a_handler_sees_its_call() -> None:
    seen: list[Any] = []

    async def look(message: bytes, call: GrpcCall) -> GrpcReply:
        seen.extend([message, call.peer, call.metadata, call.timeout_s, call.largest_reply])
        return GrpcReply(b"")

    assert called(FakeCall(b"m", metadata=(("a", "b"), ("c-bin", b"\0"))), unary(look)) == b""
    assert seen == [b"m", PEER, (("a", "b"), ("c-bin", b"\0")), 1.5, LARGEST]


def test_nobody_but_its_handler_holds_a_message() -> None:
    held: list[int] = []

    async def let_go(message: bytes, call: GrpcCall) -> GrpcReply:
        held.append(sys.getrefcount(message))
        return GrpcReply(b"")

    context = FakeCall(b"".join([b"a", b"large", b"one"]))
    assert called(context, unary(let_go)) == b""
    assert held == [2]  # its parameter, and that of `getrefcount`


def test_what_a_handler_reads_is_counted_among_the_messages_that_arrive() -> None:
    async def scene() -> None:
        async def read(message: bytes, call: GrpcCall) -> GrpcReply:
            with call.counted(1000):
                return GrpcReply(repr(server.arriving).encode())

        server = Server(unary(read))
        assert b" 1000 of " in await server.call(FakeCall(b"message"))
        assert server.arriving.is_empty

    play(scene)


BOTH = "/a.Service/Talk"


def talk(**options: Any) -> StreamMethod:
    """Answers each message with itself, and ends with the number of them."""

    async def handler(messages: AsyncIterator[bytes], call: GrpcCall) -> AsyncGenerator[GrpcReply, None]:
        count = 0
        async for message in messages:
            if message == b"fail":
                raise GrpcError(GrpcStatus.ABORTED, InvalidInput("enough").failure(), "thing(7)")
            count += 1
            yield GrpcReply(message)
        yield GrpcReply(b"%d" % count)

    return StreamMethod(path=BOTH, handler=handler, **options)


@pytest.mark.parametrize("messages", [(), (b"a",), (b"a", b"", b"c")])
def test_messages_of_a_stream_are_read_one_after_the_other(messages: tuple[bytes, ...]) -> None:
    call = FakeCall(*messages)
    assert called(call, talk(), path=BOTH) is None
    assert call.written == [*messages, b"%d" % len(messages)]
    assert call.reads == len(messages) + 1


def test_a_message_of_a_stream_is_not_read_before_it_is_asked_for() -> None:
    async def handler(messages: AsyncIterator[bytes], call: GrpcCall) -> AsyncGenerator[GrpcReply, None]:
        yield GrpcReply(await anext(messages))
        yield GrpcReply(b"%d" % asked.reads)

    asked = FakeCall(b"a", b"b", b"c")
    called(asked, StreamMethod(path=BOTH, handler=handler), path=BOTH)
    assert asked.written == [b"a", b"1"]


def test_nobody_but_its_handler_holds_a_message_of_a_stream() -> None:
    held: list[int] = []

    async def handler(messages: AsyncIterator[bytes], call: GrpcCall) -> AsyncGenerator[GrpcReply, None]:
        async for message in messages:
            held.append(sys.getrefcount(message))
            yield GrpcReply(b"")

    called(FakeCall(b"".join([b"a", b"large", b"one"])), StreamMethod(path=BOTH, handler=handler), path=BOTH)
    assert held == [2]


def test_a_stream_that_fails_is_logged_and_ended(capsys: pytest.CaptureFixture[str]) -> None:
    call = FakeCall(b"a", b"fail", b"c")
    called(call, talk(), path=BOTH)
    assert (call.written, call.status) == ([b"a"], (GrpcStatus.ABORTED, "enough"))
    assert call.messages == [b"c"]
    [line] = failed_lines(capsys.readouterr().err)
    assert line.endswith("failed with status 400, Talk thing(7): enough")


def test_each_message_of_a_stream_is_decompressed() -> None:
    call = FakeCall(gzip.compress(b"a" * 1000), b"b")
    called(call, talk(), path=BOTH)
    assert call.written == [b"a" * 1000, b"b", b"2"]


def test_a_stream_whose_client_takes_no_replies_is_read_no_further() -> None:
    async def scene() -> None:
        async def fill(messages: AsyncIterator[bytes], call: GrpcCall) -> AsyncGenerator[GrpcReply, None]:
            async for message in messages:
                server.untaken.add(PEER, MOST_UNTAKEN)
                yield GrpcReply(message)

        server = Server(StreamMethod(path=BOTH, handler=fill))
        call = FakeCall(b"a", b"b", b"c")
        await server.call(call, BOTH)
        assert call.written == [b"a"]
        assert call.status == (GrpcStatus.RESOURCE_EXHAUSTED, server.untaken.refusal)

    play(scene)


@pytest.mark.parametrize(
    ("metadata", "reads"),
    [
        ((("x-api-key", "0123456789-this-is-the-key"),), True),
        ((), False),
        ((("x-api-key", "another"),), False),
    ],
)
@pytest.mark.parametrize("identities", [(), ("alice",)])
def test_no_message_is_asked_for_before_its_client_is_authenticated(
    metadata: Any, reads: bool, identities: Sequence[str]
) -> None:
    async def scene() -> None:
        server = Server(unary(), stream(), talk(), guard=Guard(ApiKeys([KEY]), identities))
        for path in (PATH, STREAM, BOTH):
            handler = server.router.find(path, metadata)
            assert handler is not None
            assert handler.reads == reads

    play(scene)


# --- Status, id and log ---


@pytest.mark.parametrize("status", list(GrpcStatus))
def test_each_status_is_that_of_grpc(status: GrpcStatus) -> None:
    context = FakeCall(b"message")
    called(context, unary(raising(GrpcError(status, InvalidInput("why").failure()))))
    assert context.status == (status, "why")


@pytest.mark.parametrize(("given", "named"), [((), False), ((("x-request-id", "mine"),), True)])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_call_that_is_ended_is_logged_under_the_id_that_its_client_gets(
    given: Any, named: bool, streamed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    error = GrpcError(GrpcStatus.NOT_FOUND, InvalidInput("there is none").failure(), "thing(7)")
    context = FakeCall(b"message", metadata=given)
    called(context, stream(error) if streamed else unary(raising(error)), path=STREAM if streamed else PATH)
    assert context.status == (GrpcStatus.NOT_FOUND, "there is none")
    assert context.id == "mine" if named else len(context.id) == 16
    [line] = failed_lines(capsys.readouterr().err)
    name = "Follow" if streamed else "Ask"
    expected = f"Request {context.id} from {PEER} failed with status 400, {name} thing(7): there is none"
    assert line.endswith(expected)


@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_of_serving_itself_is_told_and_logged_with_its_trace(
    streamed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    error = KeyError("/home/u/secret/x.npy")
    context = FakeCall(b"message")
    called(context, stream(error) if streamed else unary(raising(error)), path=STREAM if streamed else PATH)
    assert context.status == (GrpcStatus.INTERNAL, "Predict failed: KeyError('x.npy')")
    output = capsys.readouterr().err
    assert len(failed_lines(output)) == 1
    assert context.id in output
    assert "Traceback" in output
    assert "/home/u/secret/x.npy" in output


@pytest.mark.parametrize("streamed", [False, True])
def test_a_reply_with_failures_is_logged_and_carries_its_id(
    streamed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = GrpcReply(b"reply", [FailedRows(Failure(StatusCode.INVALID_INPUTS, "bad"), 2)], 5, "thing(7)")

    async def handler(message: bytes, call: GrpcCall) -> GrpcReply:
        return reply

    context = FakeCall(b"message")
    if streamed:
        called(context, stream(GrpcReply(b"first"), reply, GrpcReply(b"last")), path=STREAM)
        assert context.written == [b"first", b"reply", b"last"]
    else:
        assert called(context, unary(handler)) == b"reply"
    assert context.status is None
    [line] = failed_lines(capsys.readouterr().err)
    assert f"Request {context.id} from {PEER} failed with status 400" in line
    assert line.endswith(" thing(7), 2 of 5 instances: bad")


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ((("x-request-id", "order/17"),), "order/17"),
        ((("x-request-id", "a b"),), None),
        ((("x-request-id", "a"), ("x-request-id", "b")), None),
        ((("x-request", "a"),), None),
        ((), None),
    ],
)
def test_a_reply_carries_the_id_that_the_call_has(metadata: Any, name: str | None) -> None:
    for method, path in ((unary(), PATH), (stream(GrpcReply(b"")), STREAM)):
        context = FakeCall(b"message", metadata=metadata)
        called(context, method, path=path)
        assert context.status is None
        assert context.id == name


@pytest.mark.parametrize(("status", "count"), [(GrpcStatus.UNAVAILABLE, 1), (GrpcStatus.INTERNAL, 0)])
def test_calls_that_are_sent_elsewhere_are_counted(status: GrpcStatus, count: int) -> None:
    async def scene() -> None:
        server = Server(unary(raising(GrpcError(status, SystemFailure("it stops").failure()))))
        await server.call(FakeCall(b"message"))
        assert server.router.unavailable == count

    play(scene)


def test_a_call_that_has_ended_is_not_answered(capsys: pytest.CaptureFixture[str]) -> None:
    context = FakeCall(b"message")
    context.is_gone = True
    with pytest.raises(CallOver):
        called(context, stream(GrpcReply(b"reply")), path=STREAM)
    assert context.status is None
    assert not failed_lines(capsys.readouterr().err)


@pytest.mark.parametrize("path", [PATH, STREAM, BOTH])
def test_a_call_that_ends_while_it_is_read_is_no_failure(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    call = FakeCall(b"message")
    call.ends_at = 1
    with pytest.raises(CallOver):
        called(call, unary(), stream(GrpcReply(b"")), talk(), path=path)
    assert (call.status, call.id) == (None, None)
    assert not failed_lines(capsys.readouterr().err)


def test_a_message_that_is_there_counts_as_delivered() -> None:
    class Connections(TcpConnections):
        def received(self, peer: str) -> int | None:
            return 1000

    class Waiting(FakeCall):
        async def read(self) -> bytes | None:
            await asyncio.sleep(5 * SLOW_S)  # what has come of it is counted
            held.append(repr(room))
            return b"another"

    held: list[str] = []
    room = UnfinishedBodies(MOST_ARRIVING)

    async def scene() -> None:
        reader = MessageReader(LARGEST, Connections(), room)
        first: Any = FakeCall(bytes(900))
        first.has_message = True
        assert await reader.read(first, None) == bytes(900)
        second: Any = Waiting()
        assert await reader.read(second, None) == b"another"
        reader.stop()

    play(scene)
    assert held[0].startswith("<UnfinishedBodies 100 of ")


# --- Who may call ---

WITH_KEY = (("authorization", f"Bearer {KEY}"),)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("metadata", "names", "authenticated"),
    [
        (WITH_KEY, (), True),
        ((("x-api-key", KEY), ("x-request-id", "mine")), (), True),
        ((), (b"alice",), True),
        ((("x-request-id", "mine"),), (b"bob", b"alice"), True),
        ((), (), False),
        ((("x-api-key", KEY + "x"), ("x-request-id", "mine")), (), False),
        ((), (b"bob",), False),
    ],
)
@pytest.mark.parametrize("right", list(Right))
def test_a_method_is_for_those_who_have_its_right(
    metadata: Any,
    names: Sequence[bytes],
    authenticated: bool,
    right: Right,
    streamed: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    guard = Guard(ApiKeys([KEY]), ["alice"])
    context = FakeCall(b"message", metadata=metadata, names=names)
    method = stream(GrpcReply(b"message"), right=right) if streamed else unary(right=right)
    reply = called(context, method, path=STREAM if streamed else PATH, guard=guard)
    replies = context.written if streamed else [reply]
    if authenticated and right is Right.MANAGE:
        assert context.status is not None
        assert context.status[0] is GrpcStatus.PERMISSION_DENIED
        assert "this needs the right 'manage', but '" in context.status[1]
        assert not context.reads
        assert context.id == dict(metadata).get("x-request-id", context.id)
        assert "failed with status 403" in capsys.readouterr().err
    elif authenticated or right is Right.NONE:
        assert (replies, context.status) == ([b"message"], None)
        assert context.id == dict(metadata).get("x-request-id")
    else:
        assert context.status == (GrpcStatus.UNAUTHENTICATED, guard.refusal)
        assert not context.reads  # it may be large
        assert context.id == dict(metadata).get("x-request-id", context.id)
        assert "1 requests were not let in, the last one of " + PEER in capsys.readouterr().err


@pytest.mark.parametrize("names", [(), (b"alice",)])
def test_without_names_that_are_listed_a_certificate_does_not_help(names: Sequence[bytes]) -> None:
    context = FakeCall(b"message", names=names)
    called(context, unary(), guard=Guard(ApiKeys([KEY]), ()))
    assert context.status is not None
    assert context.status[0] is GrpcStatus.UNAUTHENTICATED


def test_a_method_is_for_authenticated_clients_unless_it_says_otherwise() -> None:
    assert unary().right is Right.INFER
    assert stream().right is Right.INFER


# --- Messages ---


def test_a_call_without_a_message_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    context = FakeCall()
    called(context, unary())
    assert context.status == (
        GrpcStatus.INVALID_ARGUMENT,
        "The call has no message, expected is one",
    )
    assert "Ask no message: The call has no message" in capsys.readouterr().err


SIZE = 3 << 20


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("refuses", "whole"), [(None, True), (lambda _: False, True), (lambda start: start[:1] == b"a", False)]
)
def test_the_rest_of_a_message_that_will_be_refused_is_left_out(
    refuses: Any, whole: bool, streamed: bool
) -> None:
    sizes: list[int] = []

    async def note(message: bytes, call: GrpcCall) -> GrpcReply:
        sizes.append(len(message))
        return GrpcReply(b"")

    async def note_in_stream(message: bytes, call: GrpcCall) -> AsyncGenerator[GrpcReply, None]:
        yield await note(message, call)

    context = FakeCall(gzip.compress(b"a" * SIZE))
    if streamed:
        method: GrpcMethod = StreamedReplyMethod(path=STREAM, handler=note_in_stream, refuses=refuses)
        called(context, method, path=STREAM)
    else:
        called(context, unary(note, refuses=refuses))
    [size] = sizes
    assert (size == SIZE) == whole
    assert 0 < size <= SIZE


@pytest.mark.parametrize(
    ("message", "status", "text"),
    [
        (
            gzip.compress(bytes(LARGEST + 1)),
            GrpcStatus.RESOURCE_EXHAUSTED,
            f"SERVER: Decompressed message larger than max ({LARGEST})",
        ),
        (b"\x1f\x8bnothing", GrpcStatus.INTERNAL, "Unable to decompress request: "),
    ],
)
def test_what_cannot_be_decompressed_reaches_no_handler(
    message: bytes, status: GrpcStatus, text: str
) -> None:
    context = FakeCall(message)
    called(context, unary(raising(AssertionError("it was called"))))
    assert context.status is not None
    assert context.status[0] is status
    assert context.status[1].startswith(text)


# --- Replies that are not taken ---


def test_a_client_that_takes_no_replies_gets_no_further_one_until_it_does() -> None:
    async def large(message: bytes, call: GrpcCall) -> GrpcReply:
        return GrpcReply(bytes(MOST_UNTAKEN))

    async def scene() -> None:
        server = Server(unary(large), stream(GrpcReply(b"")))
        first, second, probed = FakeCall(b"message"), FakeCall(b"message"), FakeCall(b"message")
        assert await server.call(first) is not None
        for context, path in ((second, PATH), (probed, STREAM)):
            assert await server.call(context, path) is None
            assert context.status == (GrpcStatus.RESOURCE_EXHAUSTED, server.untaken.refusal)
            assert not context.reads
        for end in first.done:
            end()  # the reply was taken, or its client has gone
        assert not server.untaken.crowded
        assert await server.call(FakeCall(b"message")) is not None

    play(scene)


def test_a_reply_that_is_ready_too_late_is_not_sent() -> None:
    async def scene() -> None:
        async def fill(message: bytes, call: GrpcCall) -> GrpcReply:
            server.untaken.add(PEER, MOST_UNTAKEN)  # other replies, meanwhile
            return GrpcReply(bytes(MOST_UNTAKEN))

        server = Server(unary(fill))
        context = FakeCall(b"message")
        assert await server.call(context) is None
        assert context.status == (GrpcStatus.RESOURCE_EXHAUSTED, server.untaken.refusal)
        server.untaken.taken(PEER, MOST_UNTAKEN)
        assert repr(server.untaken).startswith("<UntakenReplies 0 of ")

    play(scene)


def test_a_probe_is_answered_all_the_same_and_its_failures_are_not_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def scene() -> None:
        error = GrpcError(GrpcStatus.NOT_FOUND, InvalidInput("there is none").failure())
        failing = UnaryMethod(path="/a.Service/Fail", handler=raising(error), probe=True)
        server = Server(unary(probe=True), stream(GrpcReply(b"reply"), probe=True), failing)
        server.untaken.add(PEER, MOST_UNTAKEN)
        assert await server.call(FakeCall(b"message")) == b"message"
        streamed = FakeCall(b"message")
        await server.call(streamed, STREAM)
        assert streamed.written == [b"reply"]
        failed = FakeCall(b"message")
        await server.call(failed, "/a.Service/Fail")
        assert (failed.status, failed.id) == ((GrpcStatus.NOT_FOUND, "there is none"), None)

    play(scene)
    assert not failed_lines(capsys.readouterr().err)


# --- Clients that go away ---


def test_a_client_that_goes_away_leaves_nothing_behind() -> None:
    async def scene() -> None:
        began, ended = asyncio.Event(), asyncio.Event()

        async def wait(message: bytes, call: GrpcCall) -> GrpcReply:
            try:
                with call.counted(1000):
                    began.set()
                    await asyncio.Event().wait()
            finally:
                ended.set()
            raise AssertionError("it was not cancelled")

        server = Server(unary(wait))
        context = FakeCall(b"message")
        call = asyncio.create_task(server.call(context))
        await began.wait()
        call.cancel()
        await asyncio.wait([call])
        assert ended.is_set()
        assert (call.cancelled(), context.status) == (True, None)
        assert server.arriving.is_empty
        assert repr(server.untaken).startswith("<UntakenReplies 0 of ")

    play(scene)


@pytest.mark.parametrize("how", ["cancelled", "while it waits", "while it is written to"])
def test_a_stream_ends_with_its_call(how: str) -> None:
    async def scene() -> None:
        waits, ended = asyncio.Event(), asyncio.Event()

        async def follow(message: bytes, call: GrpcCall) -> AsyncGenerator[GrpcReply, None]:
            try:
                yield GrpcReply(b"first")
                waits.set()
                await (call.stopping if how == "while it waits" else asyncio.Event()).wait()
                yield GrpcReply(b"last")
            finally:
                ended.set()

        server = Server(StreamedReplyMethod(path=STREAM, handler=follow))
        context = FakeCall(b"message")
        context.is_gone = how == "while it is written to"
        call = asyncio.create_task(server.call(context, STREAM))
        if not context.is_gone:
            await waits.wait()
        if how == "cancelled":
            call.cancel()
        server.router.stopping.set()
        await asyncio.wait([call])
        assert ended.is_set()
        expected = {"cancelled": [b"first"], "while it waits": [b"first", b"last"]}
        assert context.written == expected.get(how, [])
        if context.is_gone:
            assert isinstance(call.exception(), CallOver)

    play(scene)
