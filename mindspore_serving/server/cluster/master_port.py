"""The port on which the master of a cluster takes workers, on this machine and others."""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from mindspore_serving import log
from mindspore_serving.errors import ChannelError
from mindspore_serving.loopback import ANY_ADDRESS, is_this_machine
from mindspore_serving.server.channel.cluster_messages import FromMember, Join, JoinRefused, Welcome
from mindspore_serving.server.channel.frames import FROM_MEMBER
from mindspore_serving.server.channel.messages import Exiting, Result
from mindspore_serving.server.cluster.listening_port import AcceptedLink, ListeningPort
from mindspore_serving.server.cluster.token import is_proof, listening_ip, proof
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.dispatch.servable import RunningServable
from mindspore_serving.server.service.readiness import WorkerHealth
from mindspore_serving.server.service.server_statistics import CopyStatistics, Restart
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.service.statistics import MOST_RESTARTS


class MemberLink(AcceptedLink[FromMember]):
    """The connection to a worker that joins, or has joined.

    Args:
        port: Where it came in.
    """

    def __init__(self, port: MasterPort) -> None:
        super().__init__(port, FROM_MEMBER)
        self.address = ""
        self._member = ""
        self._master = port
        self._servable: RunningServable | None = None
        self._copy: ServableCopy | None = None

    def __repr__(self) -> str:
        return f"<cluster worker {self.address or self.peer}>"

    @property
    def name(self) -> str:
        """The worker's address."""
        return self.address

    @property
    def identity(self) -> tuple[str, int, str]:
        """Servable, version and address."""
        assert self._servable is not None
        return self._servable.name, self._servable.version, self.address

    def health(self, now: float) -> WorkerHealth | None:
        """How the worker is, for health checks; None where it does not serve.

        Args:
            now: In seconds of `time.monotonic`.
        """
        if self._copy is None:
            return None
        return WorkerHealth(*self.identity, status="ready", serves=True, silent_s=now - self.alive_at)

    def statistics(self) -> CopyStatistics | None:
        """How the worker is, for who reads statistics; None where it does not serve."""
        copy = self._copy
        if copy is None:
            return None
        return CopyStatistics(self.address, -1, state="ready", slots=copy.slots, slots_used=copy.slots_used)

    def is_same_member(self, other: MemberLink) -> bool:
        """Whether both connections are of one start of one worker."""
        return self._member == other._member

    def on_message(self, message: FromMember) -> None:
        """Let the worker in, or hand its results on."""
        if isinstance(message, Result) and self._copy is not None:
            self._copy.take_result(message)
        elif isinstance(message, Exiting) and self.joined:
            log.info("Worker Exit, worker address: %s", self.address)
            self.close()
            self._take_out(left=True)
        elif isinstance(message, Join) and not self.joined:
            self._join(message)
        else:
            raise ChannelError(f"{self!r} sent a {type(message).__name__}, which is not expected now")

    def on_lost(self) -> None:
        """Take the worker out; what it had not answered goes to others."""
        if self._copy is not None:
            log.warning("Worker lost, worker address: %s", self.address)
        self._take_out()
        super().on_lost()

    def _join(self, join: Join) -> None:
        if not is_proof(join.proof, self._master.token, "worker", self.nonce, join.nonce):
            self._refuse(
                "the tokens of worker and master differ, check environment variable SERVING_CLUSTER_TOKEN"
            )
            return
        if not join.servable or join.version < 1 or any(method.batch_limit < 1 for method in join.methods):
            raise ChannelError(
                f"{self!r} offers servable {join.servable!r} version {join.version}, which cannot be"
            )
        servable = self._master.dispatcher.servable(join.servable, join.version)
        conflict = servable.conflict(join.methods)
        if conflict:
            self._refuse(conflict)
            return
        ip, _, port = join.address.rpartition(":")
        if ip in ANY_ADDRESS:
            ip = self.peer.rpartition(":")[0]
        self.address, self._servable, self._member = f"{ip}:{port}", servable, join.member
        if not self._master.replace(self):
            self._refuse(
                f"another worker is connected as {self.address}, give each a worker_ip and worker_port of its own",
                final=False,
            )
            return
        self.trust()
        label = f"servable {join.servable} version {join.version} worker {self.address}"
        self._copy = ServableCopy(label, join.methods, self.send)
        self.send(Welcome(proof(self._master.token, "master", self.nonce, join.nonce)))
        self._master.has_joined(self)
        servable.add_copy(self._copy)
        log.info(
            "Register success: worker address: %s, servable: {name:%s, version:%s, method:%s}",
            self.address,
            join.servable,
            join.version,
            [method.name for method in join.methods],
        )

    def _refuse(self, reason: str, *, final: bool = True) -> None:
        log.error("%r is refused: %s", self, reason)
        self.send(JoinRefused(reason, final))
        self.close()

    def _take_out(self, *, left: bool = False) -> None:
        copy, self._copy = self._copy, None
        if copy is not None and self._servable is not None:
            if not left:
                self._master.was_lost(self)
            self._servable.remove_copy(copy, left=left)


class MasterPort(ListeningPort):
    """Where workers of other processes and machines join.

    Args:
        service: Where workers that have joined serve, and are known.
        ip: Address to listen on.
        port: TCP port.
        token: Shared token; empty binds to this machine.
        tls: Certificate of the master; None for plain TCP.
        timeout_s: Seconds of silence after which a worker is taken out.
    """

    def __init__(
        self,
        service: Service,
        ip: str,
        port: int,
        token: str,
        tls: ssl.SSLContext | None,
        timeout_s: float,
    ) -> None:
        super().__init__("Master server", f"{listening_ip(ip, token)}:{port}", token, tls, timeout_s)
        self.dispatcher = service.dispatcher
        self._catalog = service.catalog
        self._statistics = service.statistics
        self._ends: dict[tuple[str, int], deque[Restart]] = {}
        self._lost: dict[tuple[str, int], str] = {}  # servable and version to address

    async def start(self) -> None:
        """Listen.

        Raises:
            StartUpError: The address cannot be bound.
        """
        await super().start()
        self._catalog.add(self)
        self._statistics.add_workers(self)

    async def stop(self) -> None:
        """Tell all workers to exit, and stop listening; safe to call twice."""
        await super().stop()
        self._catalog.remove(self)
        self._statistics.remove_workers(self)

    def is_at(self, ip: str, port: int) -> bool:
        """Whether a worker of this machine that is told this address means this master.

        Args:
            ip: Address or name.
            port: TCP port.
        """
        own_ip, _, own_port = self.address.rpartition(":")
        return port == int(own_port) and (ip in (own_ip, *ANY_ADDRESS) or is_this_machine(ip, look_up=True))

    def make_link(self) -> MemberLink:
        """The protocol of a new connection."""
        return MemberLink(self)

    def replace(self, link: MemberLink) -> bool:
        """Close an earlier connection of a worker that joins.

        Returns:
            Whether it may join: not if another worker is connected under its address.
        """
        for other in self.links:
            if isinstance(other, MemberLink) and other is not link and other.joined:
                if other.identity != link.identity:
                    continue
                if not link.is_same_member(other):
                    return False
                log.info("%r registers again", link)
                other.abort()
        return True

    def has_joined(self, link: MemberLink) -> None:
        """Miss no other worker of the same servable and version any more."""
        name, version, _ = link.identity
        self._lost.pop((name, version), None)

    def was_lost(self, link: MemberLink) -> None:
        """Miss a worker until one of the same servable and version joins, unless it has a newer connection."""
        name, version, address = link.identity
        others = (other for other in self.links if isinstance(other, MemberLink) and other is not link)
        if not any(other.joined and other.identity == link.identity for other in others):
            self._lost[name, version] = address
        ends = self._ends.setdefault((name, version), deque(maxlen=MOST_RESTARTS))
        ends.append(Restart(time.time(), address, f"was lost: {link.fault or 'its connection has ended'}"))

    def copies(self) -> Iterator[tuple[str, int, CopyStatistics]]:
        """Workers that serve; see `WorkerSource`."""
        for link in self.links:
            copy = link.statistics() if isinstance(link, MemberLink) else None
            if isinstance(link, MemberLink) and copy is not None:
                name, version, _ = link.identity
                yield name, version, copy

    def last_restarts(self) -> Mapping[tuple[str, int], Sequence[Restart]]:
        """Workers that were lost; see `WorkerSource`."""
        return self._ends

    def workers_health(self) -> Iterator[WorkerHealth]:
        """Workers that serve, and those that are missed; see `HealthSource`. Who left on purpose is not missed."""
        now = time.monotonic()
        for link in self.links:
            health = link.health(now) if isinstance(link, MemberLink) else None
            if health is not None:
                yield health
        for (name, version), address in self._lost.items():
            yield WorkerHealth(
                name, version, address, status="lost", serves=False, reason=f"no worker: {address} was lost"
            )
