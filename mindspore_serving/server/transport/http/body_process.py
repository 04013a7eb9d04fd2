"""What runs in the process that reads large bodies of HTTP requests (`BodyReader` is its owner).

A parser holds the interpreter's lock from the first byte of a body to the last: in the main process, everybody would
wait for it. A body arrives here as a `Batch` of one instance, beside its compression and what its reader is told, with
the name of the reader in the place of the method. Its instances leave in one `Result` or several, and what else the
body says in a last one.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import orjson
import setproctitle

from mindspore_serving.errors import Failure, MessageTooLarge, ServingError, StatusCode
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.channel.frames import LARGEST_FRAME, FrameSplitter, frame_of, message_of
from mindspore_serving.server.channel.messages import Batch, Result
from mindspore_serving.server.host.memory_limit import end_before_others
from mindspore_serving.server.host.parent import Parent
from mindspore_serving.server.transport.content_coding import decompress_body
from mindspore_serving.server.transport.failure_log import unexpected_failure
from mindspore_serving.server.transport.routes import BodyContent
from mindspore_serving.tensor import DataType, TensorSpec

TITLE = "serving_body_reader"
_READ_SIZE = 1 << 20
_REST = (TensorSpec("rest", DataType.BYTES, ()),)
_MOST_GROUPS = 1 << 12
"""Blocks of equal instances in one frame, between which the main process does other things."""
_LOOK_S = 60.0
_MEMORY_SHARE = 0.5
"""Of the memory, by which this process seems larger than it is when the system has to end one."""


def main() -> None:
    """Read bodies until the main process closes the channel, or is gone."""
    parser = argparse.ArgumentParser(description="Started by the main process, not by hand.")
    parser.add_argument("--channel", type=int, required=True, help="socket of the main process")
    parser.add_argument("--parent", type=int, required=True, help="process id of the main process")
    parser.add_argument("--most_bytes", type=int, required=True, help="largest decompressed body")
    arguments = parser.parse_args()
    setproctitle.setproctitle(TITLE)
    faulthandler.enable()
    # A limit for this process alone would not do: the parser reserves twelve times the size of a body, and uses little.
    end_before_others(_MEMORY_SHARE)
    threading.Thread(target=_end_with, args=(arguments.parent,), daemon=True).start()
    with socket.socket(fileno=arguments.channel) as channel:
        serve(channel, arguments.most_bytes)


def _end_with(parent: int) -> None:
    """End with the main process: its end of the channel may stay open in a child that it has forked."""
    process = Parent(parent)
    while not process.wait_until_gone(_LOOK_S):
        continue
    os._exit(0)


def serve(channel: socket.socket, most_bytes: int) -> None:
    """Answer each body until the other end is closed.

    Args:
        channel: A stream of frames.
        most_bytes: Largest decompressed body.
    """
    splitter = FrameSplitter()
    while data := channel.recv(_READ_SIZE):
        _answer(channel, splitter.feed(data), most_bytes)


def _answer(channel: socket.socket, frames: Iterator[tuple[int, memoryview]], most_bytes: int) -> None:
    """Answer the bodies that are complete; nothing is kept of them."""
    for kind, frame in frames:
        batch = message_of(kind, frame)
        assert isinstance(batch, Batch)
        for reply in _replies_to(batch, most_bytes):
            channel.sendall(reply)


def _replies_to(batch: Batch, most_bytes: int) -> list[bytes]:
    try:
        rows, rest = _content_of(batch, most_bytes)
        document = Rows(_REST, ([orjson.dumps(rest, default=dict)],), 1)
        replies = [
            _frame_of(batch, rows[start : start + _MOST_GROUPS], final=False)
            for start in range(0, len(rows), _MOST_GROUPS)
        ]
        replies.append(_frame_of(batch, [document], final=True))
        largest = max(map(len, replies))
        if largest <= LARGEST_FRAME:
            return replies
        failure = MessageTooLarge(
            f"http message holds instances of {largest} bytes, should be at most {LARGEST_FRAME}"
        ).failure()
    except ServingError as error:
        failure = error.failure()
    except MemoryError:
        failure = Failure(StatusCode.FAILED, "No memory for the instances of this request", 503)
    except Exception as error:  # whatever goes wrong here, the client gets an answer
        failure = unexpected_failure(error)
    return [_frame_of(batch, [FailedRows(failure, 1)], final=True)]


def _content_of(batch: Batch, most_bytes: int) -> BodyContent:
    [[body], [coding], [argument]] = batch.groups[0].columns
    if coding:
        body = decompress_body(body, coding, most_bytes)
    return _function(batch.method)(body, orjson.loads(argument))


@lru_cache
def _function(name: str) -> Callable[[bytes, Any], BodyContent]:
    """The function of a name that `name_of` has given."""
    module, _, function = name.partition(":")
    found: Callable[[bytes, Any], BodyContent] = getattr(importlib.import_module(module), function)
    return found


def _frame_of(batch: Batch, groups: Sequence[Group], *, final: bool) -> bytes:
    return frame_of(Result(batch.batch_id, batch.slot, 0, tuple(groups), final))
