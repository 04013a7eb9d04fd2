"""An open-loop load whose replies are all compared: requests arrive when they arrive, however long replies take.

When they are sent is up to `mindspore_serving.cli.load.loops`, which the verb `bench` uses, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.connections import Connection, Exchange
from mindspore_serving.cli.load import loops
from mindspore_serving.cli.load.loops import poisson_times

__all__ = ["Arrivals", "OpenLoop", "poisson_times"]
_GRACE_S = 10.0


@dataclass
class Arrivals:
    """What became of the requests, all in seconds.

    Attributes:
        latencies: From the due time to the reply.
        from_send: From the time at which it was sent to the reply.
        refused: From the due time to a refusal; these requests are not in the two above.
        lateness: From the due time to the time at which it was sent.
        wrong: Replies that were wrong, and requests without any.
        seconds: From the start to the last reply.
    """

    latencies: list[float] = field(default_factory=list)
    from_send: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    wrong: int = 0
    seconds: float = 0.0


class OpenLoop:
    """Sends requests over connections when they are due, or as soon as a connection is free.

    Args:
        connections: Open ones; those that take one request at a time should be plenty.
        exchange: The request.
        times: When each is due, in seconds after the start, ascending.
    """

    def __init__(self, connections: Sequence[Connection], exchange: Exchange, times: Sequence[float]) -> None:
        self._exchange = exchange
        self._arrivals = Arrivals()
        self._loop = loops.OpenLoop(connections, [exchange.request], lambda: 0, times, self._note, _GRACE_S)

    async def run(self) -> Arrivals:
        """Send all requests, and wait for the replies, for 10 s at most."""
        self._arrivals.seconds = await self._loop.run()
        self._arrivals.wrong += self._loop.in_flight + self._loop.unsent
        return self._arrivals

    def _note(
        self, request: int, due: float, sent: float, now: float, reply: bytes, connection: Connection
    ) -> None:
        arrivals = self._arrivals
        arrivals.lateness.append(sent - due)
        if reply and reply == self._exchange.refusal:
            arrivals.refused.append(now - due)
        else:
            arrivals.latencies.append(now - due)
            arrivals.from_send.append(now - sent)
            arrivals.wrong += reply != self._exchange.reply
