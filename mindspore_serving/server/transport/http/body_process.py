"""What runs in the process that reads large bodies of HTTP requests (`BodyReader` is its owner).

A parser holds the interpreter's lock from the first byte of a body to the last: in the main process, everybody would
wait for it. A body arrives here as a `ReadBody` with the name of the function that reads it. Its instances leave in
`BodyRead` messages, and what else the body says in the last one.
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

from mindspore_serving.errors import Failure, MessageTooLarge, ServingError, StatusCode, unexpected_failure
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.channel.body_messages import BodyRead, ReadBody
from mindspore_serving.server.channel.frames import (
    LARGEST_FRAME,
    TO_BODY_READER,
    FrameSplitter,
    frame_of,
    message_of,
)
from mindspore_serving.server.host.memory_limit import end_before_others
from mindspore_serving.server.host.parent import Parent
from mindspore_serving.server.transport.content_coding import decompress_body
from mindspore_serving.server.transport.http_routes import BodyContent
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
        for reply in _replies_to(message_of(kind, frame, TO_BODY_READER), most_bytes):
            channel.sendall(reply)


def _replies_to(wanted: ReadBody, most_bytes: int) -> list[bytes]:
    try:
        rows, rest = _content_of(wanted, most_bytes)
        document = Rows(_REST, ([orjson.dumps(rest, default=dict)],), 1)
        replies = [
            _frame_of(wanted, rows[start : start + _MOST_GROUPS], final=False)
            for start in range(0, len(rows), _MOST_GROUPS)
        ]
        replies.append(_frame_of(wanted, [document], final=True))
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
    return [_frame_of(wanted, [FailedRows(failure, 1)], final=True)]


def _content_of(wanted: ReadBody, most_bytes: int) -> BodyContent:
    body = wanted.body
    if wanted.coding:
        body = decompress_body(body, wanted.coding.encode(), most_bytes)
    return _function(wanted.function)(body, orjson.loads(wanted.argument))


@lru_cache
def _function(name: str) -> Callable[[bytes, Any], BodyContent]:
    """The function of a name that `name_of` has given."""
    module, _, function = name.partition(":")
    found: Callable[[bytes, Any], BodyContent] = getattr(importlib.import_module(module), function)
    return found


def _frame_of(wanted: ReadBody, groups: Sequence[Group], *, final: bool) -> bytes:
    return frame_of(BodyRead(wanted.body_id, tuple(groups), final))
