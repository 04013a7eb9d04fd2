"""What dispatch tells of calls that are traced: what was queued, sent and run for them, and when it was over (ADR 65).

Dispatch knows no traces. Telemetry makes these objects, for sampled calls alone; all other calls, requests and batches
have None in their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from mindspore_serving.rows import FailedRows

if TYPE_CHECKING:
    from mindspore_serving.server.dispatch.copy import SentBatch
    from mindspore_serving.server.dispatch.request import Request


class CallTrace(Protocol):
    """The trace of a client's call."""

    def admits(self) -> RequestTrace:
        """A request was admitted for the call."""


class RequestTrace(Protocol):
    """The part of a trace that one request is."""

    def sent(self, batch: SentBatch, traces: Sequence[RequestTrace]) -> BatchTrace:
        """A batch was sent that has a part of this request. Of all requests of a batch, the first traced one is asked.

        Args:
            batch: The batch.
            traces: Of its traced requests, each once; the first one is this.
        """

    def calls(self, servable: str, method: str) -> RequestTrace:
        """The method that the request is at calls another one for it."""

    def ended(self, request: Request, now: float) -> None:
        """The request was answered, or its client has gone."""


class BatchTrace(Protocol):
    """The part of a trace that one batch is."""

    def failed(self, rows: FailedRows) -> None:
        """Some of its instances have no result."""

    def run(self, batch: SentBatch) -> None:
        """All results have come."""

    def lost(self, batch: SentBatch, now: float) -> None:
        """Its worker was lost."""

    def calls(self, servable: str, method: str) -> RequestTrace:
        """The batch needs a model that another worker holds, which the method runs."""


def note_sent(batch: SentBatch) -> None:
    """Tell of a batch that was sent, if one of its requests is traced.

    Args:
        batch: The batch; gets its trace.
    """
    for piece in batch.pieces:
        if piece.request.trace is not None:
            traces = [piece.request.trace for piece in batch.pieces]
            traced = [trace for trace in dict.fromkeys(traces) if trace is not None]
            batch.trace = traced[0].sent(batch, traced)
            return
