"""The way of agents, and of the process that starts them, to their distributed worker."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import TypeVar

from mindspore_serving import log
from mindspore_serving.errors import ChannelError, StartUpError
from mindspore_serving.server.channel.agent_messages import AgentHello, ToAgent
from mindspore_serving.server.channel.cluster_messages import Challenge, JoinRefused, Welcome
from mindspore_serving.server.channel.frames import TO_AGENT
from mindspore_serving.server.channel.messages import Stop
from mindspore_serving.server.cluster.link import HANDSHAKE_S, ClusterLink
from mindspore_serving.server.cluster.token import is_proof, new_nonce, proof, without_token
from mindspore_serving.server.distributed.agent_port import AGENT_ROLE, WORKER_ROLE

_TRIES = 60
_RETRY_S = 1.0
_CONNECT_S = 1.0


class JoiningLink(ClusterLink[ToAgent]):
    """The connection to a distributed worker.

    Args:
        token: Shared token.
        rank: Rank of the agent; `STARTER_RANK` for a process that starts agents.
        address: `ip:port` of the agent, or what logs are to call the process.
        scheduler: `ip:port` of the scheduler, known to rank 0.
    """

    def __init__(self, token: str, rank: int, address: str, scheduler: str = "") -> None:
        super().__init__(TO_AGENT)
        self.decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._token = token
        self._rank = rank
        self._address = address
        self._scheduler = scheduler
        self._nonce = new_nonce()
        self._challenge = ""

    @abstractmethod
    def on_joined_message(self, message: ToAgent) -> None:
        """Act on a message that comes after both ends have proved that they know the token.

        Raises:
            ChannelError: It does not belong here; the connection is closed.
        """

    @abstractmethod
    def on_end(self, reason: str) -> None:
        """Learn that the worker ends, or that the connection is lost; nothing follows."""

    def on_message(self, message: ToAgent) -> None:
        """Join, and pass on what comes then."""
        if isinstance(message, Challenge) and not self._challenge:
            self._challenge = message.nonce
            user = None if self._token else self.stranger()
            if user is not None:
                text = f"Whoever listens at {self.peer} gets no agents: {without_token(user, 'are served')}"
                self._fail(StartUpError(text))
                self.abort()
                return
            answer = proof(self._token, AGENT_ROLE, message.nonce, self._nonce)
            self.send(AgentHello(self._nonce, answer, self._rank, self._address, self._scheduler))
        elif isinstance(message, Welcome) and self._challenge and not self.joined:
            if not is_proof(message.proof, self._token, WORKER_ROLE, self._challenge, self._nonce):
                raise ChannelError("the distributed worker does not know the token")
            self.trust()
            if not self.decided.done():
                self.decided.set_result(None)
        elif isinstance(message, JoinRefused) and not self.joined:
            self._fail(StartUpError(f"The distributed worker {self.peer} refuses: {message.reason}"))
        elif isinstance(message, Stop) and self.joined:
            self.on_end("the distributed worker ends")
        elif self.joined:
            self.on_joined_message(message)
        else:
            raise ChannelError(
                f"the distributed worker sent a {type(message).__name__}, which is not expected now"
            )

    def on_lost(self) -> None:
        """Tell the subclass."""
        self._fail(ConnectionError(self.fault))
        if self.joined:
            self.on_end(f"the connection to the distributed worker {self.peer} is lost")

    def _fail(self, error: Exception) -> None:
        if not self.decided.done():
            self.decided.set_exception(error)


_Link = TypeVar("_Link", bound=JoiningLink)


async def join(make_link: Callable[[], _Link], ip: str, port: int) -> _Link:
    """Connect to a distributed worker and join; it may be started later than this process.

    Args:
        make_link: Makes this end.
        ip: Where the worker listens.
        port: Its port.

    Raises:
        StartUpError: The worker refuses, or is not there after `_TRIES` tries.
    """
    failure: Exception | None = None
    for attempt in range(_TRIES):
        link = make_link()
        opening = asyncio.get_running_loop().create_connection(lambda link=link: link, ip, port)  # type: ignore[misc]
        try:
            await asyncio.wait_for(opening, _CONNECT_S)
            await asyncio.wait_for(link.decided, HANDSHAKE_S)
            return link
        except (OSError, asyncio.TimeoutError) as cause:
            link.abort()
            failure = cause
            log.warning("Distributed worker %s:%s, try %s of %s: %r", ip, port, attempt + 1, _TRIES, cause)
        await asyncio.sleep(_RETRY_S)
    raise StartUpError(
        f"Failed to get Agents configs from Worker, worker is not available. Nothing useful was heard from {ip}:{port} "
        f"in {_TRIES} tries: {failure!r}; is distributed.start_servable called, with this address?"
    )
