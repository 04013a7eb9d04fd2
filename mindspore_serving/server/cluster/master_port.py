"""The port on which the master of a cluster takes workers, on this machine and others."""

from __future__ import annotations

import asyncio
import ssl

from mindspore_serving import log
from mindspore_serving.errors import ChannelError, StartUpError
from mindspore_serving.server.channel.messages import (
    Challenge,
    Exiting,
    Join,
    Message,
    Refused,
    Result,
    Stop,
    Welcome,
)
from mindspore_serving.server.cluster.link import ALIVE_EVERY_S, HANDSHAKE_S, ClusterLink
from mindspore_serving.server.cluster.token import is_proof, listening_ip, new_nonce, proof
from mindspore_serving.server.master.copy import ServableCopy
from mindspore_serving.server.master.dispatcher import Dispatcher
from mindspore_serving.server.master.servable import RunningServable

_ANY_ADDRESS = ("0.0.0.0", "::", "")
_MOST_STRANGERS = 256
"""Connections at a time that have not proved that they know the token."""


class WorkerLink(ClusterLink):
    """The master's end of a connection.

    Args:
        port: Where it came in.
    """

    def __init__(self, port: MasterPort) -> None:
        super().__init__()
        self.address = ""
        self._member = ""
        self._port = port
        self._nonce = new_nonce()
        self._servable: RunningServable | None = None
        self._copy: ServableCopy | None = None
        self._handshake: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<cluster worker {self.address or self.peer}>"

    @property
    def identity(self) -> tuple[str, int, str]:
        """Servable, version and address."""
        assert self._servable is not None
        return self._servable.name, self._servable.version, self.address

    def is_same_member(self, other: WorkerLink) -> bool:
        """Whether both connections are of one start of one worker."""
        return self._member == other._member

    def on_open(self) -> None:
        """Ask for a proof."""
        if not self._port.admits(self):
            self.abort()
            return
        self._handshake = asyncio.get_running_loop().call_later(HANDSHAKE_S, self.abort)
        self.send(Challenge(self._nonce))

    def on_message(self, message: Message) -> None:
        """Let the worker in, or hand its results on."""
        if isinstance(message, Result) and self._copy is not None and self._servable is not None:
            self._servable.take_result(self._copy, message)
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
        if self._handshake is not None:
            self._handshake.cancel()
        if self._copy is not None:
            log.warning("Worker lost, worker address: %s", self.address)
        self._take_out()
        self._port.forget(self)

    def _join(self, join: Join) -> None:
        if not is_proof(join.proof, self._port.token, "worker", self._nonce, join.nonce):
            self._refuse(
                "the tokens of worker and master differ, check environment variable SERVING_CLUSTER_TOKEN"
            )
            return
        if not join.servable or join.version < 1 or any(method.batch_limit < 1 for method in join.methods):
            raise ChannelError(
                f"{self!r} offers servable {join.servable!r} version {join.version}, which cannot be"
            )
        servable = self._port.dispatcher.servable(join.servable, join.version)
        conflict = servable.conflict(join.methods)
        if conflict:
            self._refuse(conflict)
            return
        ip, _, port = join.address.rpartition(":")
        if ip in _ANY_ADDRESS:
            ip = self.peer.rpartition(":")[0]
        self.address, self._servable, self._member = f"{ip}:{port}", servable, join.member
        if not self._port.replace(self):
            self._refuse(
                f"another worker is connected as {self.address}, give each a worker_ip and worker_port of its own",
                final=False,
            )
            return
        if self._handshake is not None:
            self._handshake.cancel()
        self.trust()
        label = f"servable {join.servable} version {join.version} worker {self.address}"
        self._copy = ServableCopy(label, join.methods, self.send)
        self.send(Welcome(proof(self._port.token, "master", self._nonce, join.nonce)))
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
        self.send(Refused(reason, final))
        self.close()

    def _take_out(self, *, left: bool = False) -> None:
        copy, self._copy = self._copy, None
        if copy is not None and self._servable is not None:
            self._servable.remove_copy(copy, left=left)


class MasterPort:
    """Listens for workers, and drops those that fall silent.

    Args:
        dispatcher: Where workers that have joined serve.
        ip: Address to listen on.
        port: TCP port.
        token: Shared token; empty binds to this machine.
        tls: Certificate of the master; None for plain TCP.
        timeout_s: Seconds of silence after which a worker is taken out.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        ip: str,
        port: int,
        token: str,
        tls: ssl.SSLContext | None,
        timeout_s: float,
    ) -> None:
        self.dispatcher = dispatcher
        self.token = token
        self.address = f"{listening_ip(ip, token)}:{port}"
        self._tls = tls
        self._timeout_s = timeout_s
        self._links: set[WorkerLink] = set()
        self._server: asyncio.AbstractServer | None = None
        self._watch: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<MasterPort {self.address} {self._links}>"

    async def start(self) -> None:
        """Listen.

        Raises:
            StartUpError: The address cannot be bound.
        """
        ip, _, port = self.address.rpartition(":")
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: WorkerLink(self),
                ip,
                int(port),
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else HANDSHAKE_S,
                reuse_port=False,
            )
        except OSError as cause:
            raise StartUpError(
                f"Serving Error: Master server start failed, create server failed, address {self.address}: {cause}"
            ) from cause
        self._watch = asyncio.create_task(self._drop_silent())

    async def stop(self) -> None:
        """Tell all workers to exit, and stop listening; safe to call twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        if self._watch is not None:
            self._watch.cancel()
        for link in list(self._links):
            link.send(Stop())
            link.close()

    def admits(self, link: WorkerLink) -> bool:
        """Take a new connection, unless too many strangers are connected."""
        strangers = sum(not other.joined for other in self._links)
        if strangers >= _MOST_STRANGERS or self._server is None:
            log.warning("%r is not let in: %s connections have not joined", link, strangers)
            return False
        self._links.add(link)
        return True

    def replace(self, link: WorkerLink) -> bool:
        """Close an earlier connection of a worker that joins.

        Returns:
            Whether it may join: not if another worker is connected under its address.
        """
        for other in list(self._links):
            if other is not link and other.joined and other.identity == link.identity:
                if not link.is_same_member(other):
                    return False
                log.info("%r registers again", link)
                other.abort()
        return True

    def forget(self, link: WorkerLink) -> None:
        """Drop a connection that has ended."""
        self._links.discard(link)

    async def _drop_silent(self) -> None:
        while True:
            await asyncio.sleep(ALIVE_EVERY_S)
            for link in list(self._links):
                if link.joined and link.beat() > self._timeout_s:
                    log.error("Recv Pong Time Out from %s, host address is %s", link.address, self.address)
                    link.abort()
