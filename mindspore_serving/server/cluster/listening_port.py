"""A TCP port on which processes of other machines join, and the connections that come in there.

Whoever connects has to prove that it knows the shared token before it gets or says anything else. Where there is no
token, the port is one of this machine alone, and who connects has to be the same user, or root.
"""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, TypeVar

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.channel.cluster_messages import Challenge, JoinRefused
from mindspore_serving.server.channel.frames import Incoming
from mindspore_serving.server.channel.messages import Stop
from mindspore_serving.server.cluster.link import ALIVE_EVERY_S, HANDSHAKE_S, ClusterLink
from mindspore_serving.server.cluster.token import new_nonce, without_token
from mindspore_serving.server.host.port_owner import bind_fault

_MOST_UNJOINED = 256
"""Connections at a time that have not proved that they know the token."""


_Expected = TypeVar("_Expected")


class AcceptedLink(ClusterLink[_Expected]):
    """The listening end of a connection. Subclasses act on messages, and let the peer in.

    Args:
        port: Where it came in.
        incoming: The messages that may come.
    """

    def __init__(self, port: ListeningPort, incoming: Incoming[_Expected]) -> None:
        super().__init__(incoming)
        self.nonce = new_nonce()
        self._port = port
        self._handshake: asyncio.TimerHandle | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """How logs call the peer."""

    def on_open(self) -> None:
        """Ask for a proof."""
        if not self._port.admits(self):
            self.abort()
            return
        user = None if self._port.token else self.stranger()
        if user is not None:
            self.send(JoinRefused(self._port.refuse(user)))
            self.close()
            return
        self._handshake = asyncio.get_running_loop().call_later(HANDSHAKE_S, self.abort)
        self.send(Challenge(self.nonce))

    def trust(self) -> None:
        """Take the peer for one that knows the token."""
        if self._handshake is not None:
            self._handshake.cancel()
        super().trust()

    def on_lost(self) -> None:
        """Forget the connection."""
        if self._handshake is not None:
            self._handshake.cancel()
        self._port.forget(self)


class ListeningPort(ABC):
    """Listens, and drops peers that fall silent.

    Args:
        what: How errors call the server.
        address: `ip:port` to listen on.
        token: Shared token.
        tls: Certificate; None for plain TCP.
        timeout_s: Seconds of silence after which a peer is dropped.
    """

    def __init__(
        self, what: str, address: str, token: str, tls: ssl.SSLContext | None, timeout_s: float
    ) -> None:
        self.token = token
        self.address = address
        self._what = what
        self._tls = tls
        self._timeout_s = timeout_s
        self._links: set[AcceptedLink[Any]] = set()
        self._refused_users: set[int] = set()
        self._server: asyncio.AbstractServer | None = None
        self._watch: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address} {self._links}>"

    @abstractmethod
    def make_link(self) -> AcceptedLink[Any]:
        """The protocol of a new connection."""

    @property
    def links(self) -> Iterable[AcceptedLink[Any]]:
        """Connections of now."""
        return list(self._links)

    async def start(self) -> None:
        """Listen.

        Raises:
            StartUpError: The address cannot be bound.
        """
        ip, _, port = self.address.rpartition(":")
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self.make_link,
                ip,
                int(port),
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else HANDSHAKE_S,
                reuse_port=False,
            )
        except OSError as cause:
            raise StartUpError(
                f"Serving Error: {self._what} start failed, create server failed, address {self.address}"
                f"{bind_fault(self.address, cause)}"
            ) from cause
        self._watch = asyncio.create_task(self._drop_silent())

    async def stop(self) -> None:
        """Tell all peers to exit, and stop listening; safe to call twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        if self._watch is not None:
            self._watch.cancel()
        for link in self.links:
            link.send(Stop())
            link.close()

    def allowed_silence_s(self, link: AcceptedLink[Any]) -> float:
        """Seconds of silence after which a peer is dropped."""
        return self._timeout_s

    def admits(self, link: AcceptedLink[Any]) -> bool:
        """Take a new connection, unless too many that have not joined are connected."""
        unjoined = sum(not other.joined for other in self._links)
        if unjoined >= _MOST_UNJOINED or self._server is None:
            log.warning("%r is refused: %s connections have not joined", link, unjoined)
            return False
        self._links.add(link)
        return True

    def refuse(self, user: int) -> str:
        """Why a user of this machine may not join without a token; the first time, the log tells it as well.

        Args:
            user: User id, or `UNKNOWN_USER`.
        """
        text = without_token(user, "may join")
        if user not in self._refused_users:
            self._refused_users.add(user)
            log.error("A connection to %s is refused: %s", self.address, text)
        return text

    def forget(self, link: AcceptedLink[Any]) -> None:
        """Drop a connection that has ended."""
        self._links.discard(link)

    async def _drop_silent(self) -> None:
        while True:
            await asyncio.sleep(ALIVE_EVERY_S)
            for link in self.links:
                if link.joined and link.beat() > self.allowed_silence_s(link):
                    log.error("Recv Pong Time Out from %s, host address is %s", link.name, self.address)
                    link.abort()
