"""A line of the access log, as text or as JSON.

Clients choose target, id and trace, and users choose names: whatever these hold, a line is a line, and its fields are
told apart. Both forms escape as JSON does, in ASCII.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from types import MappingProxyType
from typing import Final

from mindspore_serving.errors import shortened
from mindspore_serving.server.transport.observers import EndedCall

LONGEST_TARGET: Final = 512
"""Characters of what a client asks for; the line says how many more there were."""
_SIMPLE = re.compile(r"[!#-<>-~]+")
"""Visible ASCII without quotes, and without the sign that stands between a name and its value."""
_NONE: Final = "-"


def text_line(ended: EndedCall, now: float) -> bytes:
    """A call as text: time and peer, what was asked in quotes, and then names and values.

    Args:
        ended: The call.
        now: When it ended, in seconds since 1970.
    """
    queue_ms, compute_ms, total_ms = _times(ended)
    line = (
        f"{iso_time(now)} {_named(ended.peer)} {ended.dialect or _NONE} {_target(ended.target)} "
        f"status={ended.status} id={_plain(ended.request_id)} {_text_of_destination(*_destination(ended))} "
        f"instances={ended.instances} failed={ended.failed_instances} "
        f"bytes_in={ended.bytes_in} bytes_out={ended.bytes_out} "
        f"queue_ms={queue_ms:.3f} compute_ms={compute_ms:.3f} total_ms={total_ms:.3f} "
        f"key={_named(ended.key_name)} trace={_plain(ended.call.trace_id)}\n"
    )
    return line.encode("ascii")


def json_line(ended: EndedCall, now: float) -> bytes:
    """A call as a JSON document; arguments as of `text_line`."""
    queue_ms, compute_ms, total_ms = _times(ended)
    line = (
        f'{{"time": "{iso_time(now)}", "id": {quoted(ended.request_id)}, "peer": {quoted(ended.peer)}, '
        f'"transport": "{ended.transport}", "dialect": "{ended.dialect}", "target": {_target(ended.target)}, '
        f'"status": {ended.status}, {_json_of_destination(*_destination(ended))}, '
        f'"instances": {ended.instances}, "failed": {ended.failed_instances}, '
        f'"bytes_in": {ended.bytes_in}, "bytes_out": {ended.bytes_out}, '
        f'"queue_ms": {queue_ms:.3f}, "compute_ms": {compute_ms:.3f}, "total_ms": {total_ms:.3f}, '
        f'"key": {quoted(ended.key_name)}, "trace_id": {quoted(ended.call.trace_id)}}}\n'
    )
    return line.encode("ascii")


def lost_as_text(count: int) -> bytes:
    """The line that says that lines were lost."""
    return f"{iso_time(time.time())} - - - lost={count}\n".encode("ascii")


def lost_as_json(count: int) -> bytes:
    """As `lost_as_text`."""
    return f'{{"time": "{iso_time(time.time())}", "lost": {count}}}\n'.encode("ascii")


Form = tuple[Callable[[EndedCall, float], bytes], Callable[[int], bytes]]
FORMS: Final[Mapping[str, Form]] = MappingProxyType(
    {"text": (text_line, lost_as_text), "json": (json_line, lost_as_json)}
)
"""By the name of a format: what makes a line of a call, and of a number of lost lines."""


def iso_time(now: float) -> str:
    """A time as `2026-12-01T08:30:00.123+01:00`, in the zone of the machine.

    Args:
        now: Seconds since 1970.
    """
    second = int(now)
    before, zone = _second(second)
    return f"{before}.{int((now - second) * 1000):03}{zone}"


@lru_cache(maxsize=4)
def _second(second: int) -> tuple[str, str]:
    moment = time.localtime(second)
    zone = time.strftime("%z", moment)
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment), f"{zone[:3]}:{zone[3:5]}"


def _times(ended: EndedCall) -> tuple[float, float, float]:
    """Milliseconds in the queue, in the worker, and in all; of several requests at a time, the longest."""
    call = ended.call
    requests = call.requests
    total_ms = (ended.ended - call.began) * 1000
    if len(requests) == 1:  # nearly always
        request = requests[0]
        return request.queue_s * 1000, request.compute_s * 1000, total_ms
    queue_s = max((request.queue_s for request in requests), default=0.0)
    compute_s = max((request.compute_s for request in requests), default=0.0)
    return queue_s * 1000, compute_s * 1000, total_ms


def _target(target: str) -> str:
    return quoted(target if len(target) <= LONGEST_TARGET else shortened(target, LONGEST_TARGET))


def _plain(text: str) -> str:
    """A value of a text line: as it is where nobody can mistake it, else in quotes."""
    if not text:
        return _NONE
    return text if _SIMPLE.fullmatch(text) and text != _NONE else quoted(text)


_named = lru_cache(maxsize=1024)(_plain)
"""For the same few values again and again."""


def _destination(ended: EndedCall) -> tuple[str, int, str]:
    """Names of the servable and the method that were asked first, and the version that answered."""
    destination = ended.call.destination
    if destination is None:
        return "", 0, ""
    return destination.servable.name, ended.call.version, destination.method.name


@lru_cache(maxsize=1024)
def _text_of_destination(servable: str, version: int, method: str) -> str:
    return f"servable={_plain(servable)} version={version or _NONE} method={_plain(method)}"


@lru_cache(maxsize=1024)
def _json_of_destination(servable: str, version: int, method: str) -> str:
    return f'"servable": {quoted(servable)}, "version": {version}, "method": {quoted(method)}'
