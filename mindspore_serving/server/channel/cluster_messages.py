"""What the master of a cluster and the workers that join it say to each other.

A distributed worker and its agents begin in the same way, with `Challenge` and then `Welcome` or `JoinRefused`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mindspore_serving.server.channel.messages import Alive, Batch, Exiting, Result, Stop
from mindspore_serving.signature import MethodSignature


@dataclass(frozen=True, slots=True)
class Challenge:
    """Master of a cluster to a worker that has connected: prove that you know the token.

    Attributes:
        nonce: Random text, used once.
    """

    nonce: str


@dataclass(frozen=True, slots=True)
class Join:
    """Worker to the master of a cluster, answer to `Challenge`: send work.

    Attributes:
        nonce: Random text of the worker's own, used once.
        proof: That the worker knows the token; see `cluster.token`.
        address: `ip:port` that the worker was given as its own; tells it from others.
        member: Random text of this start of the worker.
        pid: Process id.
        servable: Servable name.
        version: Version that it serves.
        methods: What clients may call.
    """

    nonce: str
    proof: str
    address: str
    member: str
    pid: int
    servable: str
    version: int
    methods: tuple[MethodSignature, ...]


@dataclass(frozen=True, slots=True)
class Welcome:
    """Master of a cluster to a worker: it has joined.

    Attributes:
        proof: That the master knows the token too.
    """

    proof: str


@dataclass(frozen=True, slots=True)
class JoinRefused:
    """Master of a cluster to a worker: it may not join.

    Attributes:
        reason: Why not.
        final: Whether it would be the same later.
    """

    reason: str
    final: bool = True


FromMember: TypeAlias = Join | Alive | Exiting | Result
ToMember: TypeAlias = Challenge | Welcome | JoinRefused | Alive | Stop | Batch
