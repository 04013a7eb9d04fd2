"""Which library the gRPC server stands on: the C core, or grpc.aio where that is asked for or the core is not fit.

The core is no public interface: another grpcio may have changed it. So its surface is looked at, and then it has to
serve real calls over a socket of its own. That is done once in a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any, Final

import grpc

from mindspore_serving import log
from mindspore_serving.server.host.settings import GRPC_VARIABLE, grpc_library
from mindspore_serving.server.transport.grpc.library import (
    CallEnd,
    CallHandler,
    FindHandler,
    Listener,
    Metadata,
    ServerCall,
)
from mindspore_serving.server.transport.grpc.on_aio import AioListener
from mindspore_serving.server.transport.grpc_routes import GrpcStatus

CHECK_S: Final = 5.0
"""Time for all calls of the check."""
_STOP_S: Final = 0.5
"""Time for its server to stop where something is wrong with it."""
_CALL_S: Final = 4.0
"""Time for one call: its status says more than that the check took too long."""
_PATH: Final = "/mindspore_serving.Check/"
_SENT: Final = b"a message"
_FIELD: Final = "a-name"
_faults: list[str | None] = []
"""What is wrong with the core, once that is known; None for nothing."""


async def new_listener(
    find: FindHandler, options: Sequence[tuple[str, int]], on_failure: Callable[[BaseException], None]
) -> Listener:
    """A listener on what this process is to use.

    Args:
        find: Finds what answers a call. May be called from any thread.
        options: Of gRPC, by its names.
        on_failure: Called on the event loop, with the reason, if it can take no more calls.

    Raises:
        InvalidParameter: SERVING_GRPC names no library.
    """
    if grpc_library() == "aio":
        log.info("gRPC is served by grpc.aio, as %s=aio asks for", GRPC_VARIABLE)
        return AioListener(find, options, on_failure)
    if not _faults:
        _faults.append(await _core_fault())
    if _faults[0] is not None:
        log.warning(
            "gRPC is served by grpc.aio, which takes more CPU time: the C core of grpcio %s is not as it is needed: %s",
            grpc.__version__,
            _faults[0],
        )
        return AioListener(find, options, on_failure)
    from mindspore_serving.server.transport.grpc.on_core import CoreListener

    return CoreListener(find, options, on_failure)


async def _core_fault() -> str | None:
    """What is wrong with the core; None for nothing. Whatever another grpcio raises, there is a way back."""
    try:
        from mindspore_serving.server.transport.grpc.core_surface import surface_fault

        return surface_fault() or await _fault_in_calls()
    except Exception as error:
        return repr(error)


async def _fault_in_calls() -> str | None:
    """What goes wrong when the core serves this process; None for nothing."""
    from mindspore_serving.server.transport.grpc.on_core import CoreListener

    failures: asyncio.Queue[str] = asyncio.Queue()
    cancelled = asyncio.Event()
    listener = CoreListener(
        _Answers(cancelled).find,
        (("grpc.so_reuseport", 0),),
        lambda error: failures.put_nowait(f"its thread has failed: {error!r}"),
    )
    address = _bound(listener)
    if not address:
        return "it cannot bind a socket"
    await listener.start()
    ways = {
        asyncio.create_task(failures.get()),
        asyncio.create_task(_checked(_asked(address), cancelled)),
    }
    done, left = await asyncio.wait(ways, timeout=CHECK_S, return_when=asyncio.FIRST_COMPLETED)
    for way in left:
        way.cancel()
    fault = done.pop().result() if done else f"a call to itself did not end within {CHECK_S:g} s"
    with contextlib.suppress(asyncio.TimeoutError):  # one that is at fault may not stop either
        await asyncio.wait_for(listener.stop(0.0), CHECK_S if fault is None else _STOP_S)
    return fault


def _bound(listener: Listener) -> str:
    """Bind a server to an address of its own, and return it; "" where there is none.

    No file is needed: the folder for those may be missing, full, or too long a path for a socket.
    """
    name = f"unix-abstract:mindspore_serving_{secrets.token_hex(16)}"
    if listener.bind(name, None):
        return name
    port = listener.bind("127.0.0.1:0", None)  # a sandbox may have no Unix sockets
    return f"ipv4:127.0.0.1:{port}" if port else ""


async def _checked(asked: Future[str | None], cancelled: asyncio.Event) -> str | None:
    """What is wrong with the answers of the check, also with the end of the call that was to be cancelled."""
    fault = await asyncio.wrap_future(asked)
    if fault is None:
        await cancelled.wait()
    return fault


class _Answers:
    """What the calls of the check are answered with.

    Args:
        cancelled: Set once a call was cancelled.
    """

    def __init__(self, cancelled: asyncio.Event) -> None:
        self._cancelled = cancelled
        self._handlers = {
            f"{_PATH}Echo": CallHandler(self._echo),
            f"{_PATH}Stream": CallHandler(self._stream, reads=False, streams=True),
            f"{_PATH}End": CallHandler(self._end, reads=False),
            f"{_PATH}Wait": CallHandler(self._wait, streams=True),
        }

    def find(self, path: str, metadata: Metadata) -> CallHandler | None:
        """See `FindHandler`."""
        return self._handlers.get(path)

    async def _echo(self, call: ServerCall) -> bytes | None:
        call.set_trailing_metadata([(name, str(value)) for name, value in call.metadata if name == _FIELD])
        return await call.read()

    async def _stream(self, call: ServerCall) -> None:
        while (message := await call.read()) is not None:
            await call.write(message)

    async def _end(self, call: ServerCall) -> None:
        raise CallEnd(GrpcStatus.DATA_LOSS, call.peer)

    async def _wait(self, call: ServerCall) -> None:
        try:
            await call.write(b"%d" % (call.timeout_s is not None))
            await asyncio.sleep(CHECK_S)
        finally:
            self._cancelled.set()


def _asked(address: str) -> Future[str | None]:
    """Ask the server of the check, in a thread of its own.

    Returns:
        What went wrong; None for nothing.
    """
    outcome: Future[str | None] = Future()

    def ask() -> None:
        fault = None
        try:
            with grpc.insecure_channel(address, (("grpc.enable_http_proxy", 0),)) as channel:
                _ask(channel, "unix:" if address.startswith("unix") else "ipv4:")
        except grpc.RpcError as error:
            call: Any = error
            fault = f"a call to itself ended with {call.code().name}: {call.details()}"
        except Exception as error:  # whatever went wrong is what was to be found out
            fault = str(error) or repr(error)
        with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
            outcome.set_result(fault)

    threading.Thread(target=ask, name="grpc-check", daemon=True).start()
    return outcome


def _ask(channel: Any, kind: str) -> None:
    """Ask by calls of each kind.

    Args:
        channel: To the server.
        kind: How its peer begins.

    Raises:
        RuntimeError: An answer is wrong.
        grpc.RpcError: A call has failed.
    """
    reply, call = channel.unary_unary(f"{_PATH}Echo").with_call(
        _SENT, timeout=_CALL_S, metadata=((_FIELD, "x"),)
    )
    _expect("the reply", reply, _SENT)
    _expect("the metadata of the reply", tuple(call.trailing_metadata() or ()), ((_FIELD, "x"),))
    stream = channel.stream_stream(f"{_PATH}Stream")(iter((_SENT, _SENT)), timeout=_CALL_S)
    _expect("the stream", tuple(stream), (_SENT, _SENT))
    ended = channel.unary_unary(f"{_PATH}End").future(_SENT, timeout=_CALL_S)
    _expect("the status", ended.code(), grpc.StatusCode.DATA_LOSS)
    _expect("the text of the status", str(ended.details())[: len(kind)], kind)
    unknown = channel.unary_unary(f"{_PATH}Other").future(_SENT, timeout=_CALL_S)
    _expect("the status of an unknown method", unknown.code(), grpc.StatusCode.UNIMPLEMENTED)
    waiting = channel.unary_stream(f"{_PATH}Wait")(_SENT, timeout=_CALL_S)
    _expect("the deadline", next(waiting), b"1")  # it has begun: only now is its end noted by a handler
    waiting.cancel()


def _expect(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise RuntimeError(f"{what} of a call to itself is {got!r}, expected {expected!r}")
