"""What a client of gRPC may take, as options of gRPC's server."""

from __future__ import annotations

from dataclasses import dataclass, field

from mindspore_serving.server.host.memory_limit import share_of_memory


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """What clients may take.

    Attributes:
        message_bytes: Largest request and largest reply.
        connections: Most connections; one more is closed when it is accepted.
        calls: Most calls of one connection at a time. gRPC counts a call that was reset until it is forgotten,
            so that a client cannot begin and reset calls faster than the server gets rid of them.
        pending_calls: Calls of all connections that gRPC holds until the event loop takes them; more are refused.
        pending_s: How long they may wait there. By default gRPC ends them with CANCELLED after 30 s, in which they
            would be lost where this process is suspended for a while.
        metadata_bytes: Largest metadata of a call.
        handshake_s: Time for TLS and the first bytes of HTTP/2.
        idle_s: Time without a call after which a connection is closed.
        ping_after_s: A client that was not heard of for so long is asked whether it is there.
        ping_s: Time for its answer, also to the pings by which gRPC measures how much to send at a time.
        pings_apart_s: Least time between two pings of a client, with and without calls under way. A client that sends
            three of them sooner is cut off. Clients are told 5 s: their clocks and the network are not exact.
        age_s: Time after which a connection takes no new call; clients then open another one by themselves.
        grace_s: Time for the calls that are under way at this age, after which they are cut off.
        arriving_bytes: What messages that arrive may hold, of all connections. An eighth of the memory by default.
        untaken_bytes: What replies may hold that clients have not taken, of all connections; one may hold half of it.
            An eighth of the memory by default.
    """

    message_bytes: int
    connections: int
    calls: int = 4096
    pending_calls: int = 1 << 14
    pending_s: int = 3600
    metadata_bytes: int = 1 << 14
    handshake_s: float = 20.0
    idle_s: float = 300.0
    ping_after_s: float = 60.0
    ping_s: float = 60.0
    pings_apart_s: float = 4.5
    age_s: float = 3600.0
    grace_s: float = 3600.0
    arriving_bytes: int = field(default_factory=share_of_memory)
    untaken_bytes: int = field(default_factory=share_of_memory)

    def options(self) -> list[tuple[str, int]]:
        """The limits by the names of gRPC."""
        return [
            ("grpc.max_receive_message_length", self.message_bytes),
            ("grpc.max_send_message_length", self.message_bytes),
            ("grpc.max_allowed_incoming_connections", self.connections),
            ("grpc.max_concurrent_streams", self.calls),
            # By default some calls are dropped at random from 1000 on, and some metadata from 8 KiB on.
            ("grpc.server.max_pending_requests", self.pending_calls),
            ("grpc.server.max_pending_requests_hard_limit", self.pending_calls),
            ("grpc.server_max_unrequested_time_in_server", self.pending_s),
            ("grpc.max_metadata_size", self.metadata_bytes),
            ("grpc.absolute_max_metadata_size", self.metadata_bytes),
            ("grpc.server_handshake_timeout_ms", _ms(self.handshake_s)),
            ("grpc.http2.settings_timeout", _ms(self.handshake_s)),
            ("grpc.max_connection_idle_ms", _ms(self.idle_s)),
            ("grpc.keepalive_time_ms", _ms(self.ping_after_s)),
            ("grpc.keepalive_timeout_ms", _ms(self.ping_s)),
            ("grpc.http2.ping_timeout_ms", _ms(self.ping_s)),
            ("grpc.http2.min_ping_interval_without_data_ms", _ms(self.pings_apart_s)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.per_message_decompression", 0),  # `messages` does that, one at a time
            ("grpc.max_connection_age_ms", _ms(self.age_s)),
            ("grpc.max_connection_age_grace_ms", _ms(self.grace_s)),
        ]


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
