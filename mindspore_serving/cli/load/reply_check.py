"""Whether replies are right: their status, and the names, types and shapes of their outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mindspore_serving.cli.asking.method import Method
from mindspore_serving.cli.asking.session import WireReply
from mindspore_serving.cli.asking.wire import Result, Wire
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.load.connections import Connection

_KEPT_BODIES = 64
_LARGEST_KEPT = 1 << 20
_ALL_UP_TO = 1000
_ONE_OF = 16
_TOLERANCE = 1e-4


class ReplyCheck:
    """Looks at the replies to one request.

    A reply with the same bytes as one that was right is right. Others are read: the first 1000 of them, then one of 16,
    since reading costs more than sending.

    Args:
        wire: Reads replies.
        method: What is asked.
        count: Instances of the request.
        expected: Outputs of each instance as JSON has them; None for any.

    Attributes:
        looked_at: Replies of which the bytes were known, or that were read.
    """

    def __init__(
        self, wire: Wire, method: Method, count: int, expected: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        self._wire = wire
        self._method = method
        self._count = count
        self._expected = expected
        self._right: set[bytes] = set()
        self._form: list[dict[str, Any]] | None = None
        self._others = 0
        self.looked_at = 0

    def problem_of(self, reply: bytes, connection: Connection) -> str:
        """What is wrong with a reply, as a kind of error; "" where nothing is.

        Args:
            reply: Its body; empty where there was none.
            connection: Over which it came.
        """
        if not reply:
            return connection.failure or "no reply"
        if reply in self._right:
            self.looked_at += 1
            return ""
        self._others += 1
        if self._others > _ALL_UP_TO and self._others % _ONE_OF:
            return ""
        self.looked_at += 1
        problem = self._read(reply, connection.head)
        if not problem and len(self._right) < _KEPT_BODIES and len(reply) <= _LARGEST_KEPT:
            self._right.add(reply)
        return problem

    def _read(self, reply: bytes, head: bytes) -> str:
        status = "200" if head else "OK"
        try:
            results = self._wire.results(self._method, WireReply(status, reply, _headers(head)))
        except CommandError as error:
            return f"wrong reply: {error.problem[:200]}"
        if len(results) != self._count:
            return f"wrong reply: {len(results)} results for {self._count} instances"
        for result in results:
            if set(result) == {"error"}:
                return f"instance failed: {str(result['error'])[:200]}"
        if self._expected is not None and not all(map(_close, results, self._expected)):
            return "wrong reply: other values than expected"
        return self._other_form(results)

    def _other_form(self, results: Sequence[Result]) -> str:
        """In what a reply differs from the first one."""
        form = [{name: _form_of(one) for name, one in result.items()} for result in results]
        if self._form is None:
            self._form = form
        if form != self._form:
            return "wrong reply: other outputs, types or shapes than the first reply"
        return ""


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode(errors="replace").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _form_of(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape
    return type(value).__name__


def _close(result: Result, expected: Mapping[str, Any]) -> bool:
    return set(expected) <= set(result) and all(
        _equal(result[name], value) for name, value in expected.items()
    )


def _equal(value: Any, expected: Any) -> bool:
    if isinstance(value, np.ndarray):
        wanted = np.asarray(expected)
        if wanted.dtype.kind not in "biuf":
            return False
        return value.shape == wanted.shape and bool(
            np.allclose(value, wanted, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True)
        )
    return bool(value == expected)
