"""Counts what became of requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mindspore_serving.cli.load.connections import Connection
from mindspore_serving.cli.load.histogram import Histogram
from mindspore_serving.cli.load.reply_check import ReplyCheck

_LONGEST_TEXT = 300


class Tally:
    """What became of the requests that were due after the warm-up.

    Args:
        checks: For each request.
        warm_up_s: Seconds whose requests are left out.

    Attributes:
        latency: Of right replies, from the time when the request was due.
        from_send: Of right replies, from the time when it was sent.
        lateness: From the time when it was due to the time when it was sent.
        errors: Requests without a right reply, by kind.
        texts: What the server has said at the first error of a kind.
        seconds: (right replies, errors) of each second.
        now: Requests so far, those of the warm-up included.
    """

    def __init__(self, checks: Sequence[ReplyCheck], warm_up_s: float) -> None:
        self._checks = checks
        self._warm_up_s = warm_up_s
        self.latency = Histogram()
        self.from_send = Histogram()
        self.lateness = Histogram()
        self.errors: Counter[str] = Counter()
        self.texts: dict[str, str] = {}
        self.seconds: dict[int, list[int]] = {}
        self.now = 0

    def note(
        self, request: int, due: float, sent: float, now: float, reply: bytes, connection: Connection
    ) -> None:
        """Take what became of a request; see `loops.Note`."""
        self.now += 1
        if due < self._warm_up_s:
            return
        problem = self._checks[request].problem_of(reply, connection)
        self.lateness.add(sent - due)
        of_second = self.seconds.setdefault(int(now - self._warm_up_s), [0, 0])
        if problem:
            self.errors[problem] += 1
            of_second[1] += 1
            text = connection.error_body.decode(errors="replace").strip()[:_LONGEST_TEXT]
            self.texts.setdefault(problem, text)
            return
        of_second[0] += 1
        self.latency.add(now - due)
        self.from_send.add(now - sent)

    def lose(self, count: int, kind: str) -> None:
        """Count requests of which nothing was heard."""
        if count > 0:
            self.errors[kind] += count

    @property
    def looked_at(self) -> int:
        """Replies of which the content was checked."""
        return sum(check.looked_at for check in self._checks)
