"""An echo on gRPC's C core, without grpc.aio and without an event loop: `python -m benchmarks.core_echo PORT`.

One thread takes events from the completion queue and answers each call with the bytes of its message: what a unary call
costs in the library itself. The module `cygrpc` is not a public interface of grpcio.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

from grpc._cython import cygrpc

_OPTIONS = [
    (b"grpc.so_reuseport", 0),
    (b"grpc.max_receive_message_length", 100 << 20),
    (b"grpc.max_send_message_length", 100 << 20),
]
_CALLS_ASKED_FOR = 32
_POLL_S = 1.0
_OK = 0
_NO_FLAGS = 0


@dataclass(frozen=True)
class _Tag:
    """What an event is about: a new call, the message of a call, or, with nothing to do, a reply that was sent."""

    is_call: bool = False
    call_to_answer: Any = None


_CALL, _SENT = _Tag(is_call=True), _Tag()


class CoreEcho:
    """Answers every unary call with its request."""

    def __init__(self, address: str) -> None:
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(_OPTIONS, False)
        self._server.register_completion_queue(self._queue)
        if not self._server.add_http2_port(address.encode()):
            raise OSError(f"cannot listen on {address}")

    def serve(self) -> None:
        """Answer until the process is ended."""
        self._server.start()
        for _ in range(_CALLS_ASKED_FOR):
            self._ask_for_a_call()
        print("started", flush=True)
        while True:
            self._take(self._queue.poll(time.time() + _POLL_S))

    def _ask_for_a_call(self) -> None:
        self._server.request_call(self._queue, self._queue, _CALL)

    def _take(self, event: Any) -> None:
        tag: _Tag | None = event.tag
        if tag is None:  # nothing has happened until the end of the poll
            return
        if tag.is_call:
            self._ask_for_a_call()
            receive = (cygrpc.ReceiveMessageOperation(_NO_FLAGS),)
            event.call.start_server_batch(receive, _Tag(call_to_answer=event.call))
        elif tag.call_to_answer is not None:
            _answer(tag.call_to_answer, event.batch_operations[0].message())


def _answer(call: Any, message: bytes | None) -> None:
    if message is None:  # the client has gone, or has sent none
        return
    # The core takes operations apart when they are started: each batch needs new ones.
    operations = (
        cygrpc.SendInitialMetadataOperation((), _NO_FLAGS),
        cygrpc.SendMessageOperation(message, _NO_FLAGS),
        cygrpc.SendStatusFromServerOperation((), _OK, b"", _NO_FLAGS),
    )
    call.start_server_batch(operations, _SENT)


if __name__ == "__main__":
    CoreEcho(f"127.0.0.1:{int(sys.argv[1])}").serve()
