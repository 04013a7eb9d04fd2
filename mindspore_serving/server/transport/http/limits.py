"""What a client of HTTP may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What a client may take.

    Attributes:
        body_bytes: Largest body.
        connections: Most connections of a server.
        head_bytes: Most bytes of a request that bring neither the end of its headers nor any of its body.
        headers: Most headers of a request.
        receive_s: Time for a request to arrive, from its first byte.
        idle_s: Time without a request, and time in which a client may take nothing of its reply.
        linger_s: Time for which a client that was refused may go on sending.
    """

    body_bytes: int
    connections: int = 10000
    head_bytes: int = 1 << 16
    headers: int = 256
    receive_s: float = 100.0
    idle_s: float = 100.0
    linger_s: float = 10.0
