"""A worker of a cluster: serves the instances that the master sends on the copies of this machine.

The member holds no model. It runs in the user's script, on its event loop, and passes instances to the worker process
that `start_servable` has started, which is supervised as that of any server. While that process is being started again
the member is not connected, so that the master gives its instances to others.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mindspore_serving import log
from mindspore_serving.errors import ChannelError, StartUpError, SystemFailure
from mindspore_serving.rows import FailedRows, Group, Reply, Rows
from mindspore_serving.server.channel.cluster_messages import Challenge, Join, JoinRefused, ToMember, Welcome
from mindspore_serving.server.channel.frames import TO_MEMBER
from mindspore_serving.server.channel.messages import Batch, Exiting, Result, Stop
from mindspore_serving.server.cluster.link import ALIVE_EVERY_S, HANDSHAKE_S, ClusterLink
from mindspore_serving.server.cluster.token import is_proof, new_nonce, proof, warn_of_open_way, without_token
from mindspore_serving.server.dispatch.counting import Relayed
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.dispatch.servable import RunningServable
from mindspore_serving.server.host.port_owner import bind_fault
from mindspore_serving.server.host.waiting import wait_for_event

_TRIES = 60
_RETRY_S = 1.0
_CONNECT_S = 1.0
_GOODBYE_S = 2.0
_MESSAGE_BYTES = 64 << 20
_LARGEST_INSTANCE = 512 << 20
"""Bytes of the results of one instance, the most that a client takes."""


def reserve(ip: str, port: int) -> socket.socket:
    """Take the address that tells this worker from others, so that no other worker takes it.

    Nothing listens there: the worker connects to the master, and not the other way round.

    Raises:
        StartUpError: It is taken, or not of this machine.
    """
    held = socket.socket()
    try:
        held.bind((ip, port))
    except OSError as cause:
        held.close()
        raise StartUpError(
            f"Serving Error: Worker gRPC server start failed, create server failed, address {ip}:{port}"
            f"{bind_fault(f'{ip}:{port}', cause)}"
        ) from cause
    return held


@dataclass(frozen=True, slots=True)
class Membership:
    """How a worker joins.

    Attributes:
        master_ip: Where the master listens.
        master_port: Its port.
        address: `ip:port` of this worker, which tells it from others.
        member: Random text that tells this start of the worker from others.
        token: Shared token.
        tls: What to trust and to show; None for plain TCP.
        timeout_s: Seconds of silence after which the master is taken for lost.
    """

    master_ip: str
    master_port: int
    address: str
    member: str
    token: str
    tls: ssl.SSLContext | None
    timeout_s: float

    @property
    def master(self) -> str:
        """`ip:port` of the master."""
        return f"{self.master_ip}:{self.master_port}"


def messages_of(
    reply: Sequence[Group], most_bytes: int = _MESSAGE_BYTES, largest_instance: int = _LARGEST_INSTANCE
) -> Iterator[tuple[int, tuple[Group, ...]]]:
    """Cut the outcome of a batch into what fits into messages.

    Args:
        reply: The outcome.
        most_bytes: Bytes of a message, unless it holds one instance only.
        largest_instance: Bytes of one instance above which it gets an error in place of its results.

    Yields:
        Index of the first instance, and the outcomes from there on.
    """
    start, groups, size = 0, list[Group](), 0
    for group in reply:
        for part in _parts_of(group, most_bytes, largest_instance):
            bytes_of_part = part.byte_size if isinstance(part, Rows) else 0
            if groups and size + bytes_of_part > most_bytes:
                yield start, tuple(groups)
                start += sum(group.count for group in groups)
                groups, size = [], 0
            groups.append(part)
            size += bytes_of_part
    yield start, tuple(groups)


def _parts_of(group: Group, most_bytes: int, largest_instance: int) -> Iterator[Group]:
    if isinstance(group, FailedRows) or group.byte_size <= min(most_bytes, largest_instance):
        yield group
        return
    rows = max(1, most_bytes * group.count // group.byte_size)
    for start in range(0, group.count, rows):
        part = group.take(start, min(start + rows, group.count))
        if part.count == 1 and part.byte_size > largest_instance:
            text = f"The results of this instance have {part.byte_size} bytes, at most {largest_instance} can be sent"
            yield FailedRows(SystemFailure(text).failure(), part.count)
        else:
            yield part


class MasterLink(ClusterLink[ToMember]):
    """The connection to the master.

    Args:
        membership: How it joins.
        dispatcher: Runs instances here.
        servable: What is served.
        on_stop: Called when the master tells the worker to exit.
    """

    def __init__(
        self,
        membership: Membership,
        dispatcher: Dispatcher,
        servable: RunningServable,
        on_stop: Callable[[], None],
    ) -> None:
        super().__init__(TO_MEMBER)
        self.ended = asyncio.Event()
        self.decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._membership = membership
        self._dispatcher = dispatcher
        self._servable = servable
        self._on_stop = on_stop
        self._nonce = new_nonce()
        self._challenge = ""
        self._under_way: set[asyncio.Future[Reply]] = set()

    def on_message(self, message: ToMember) -> None:
        """Join, and then run batches."""
        if isinstance(message, Batch) and self.joined:
            self._run(message)
        elif isinstance(message, Stop) and self.joined:
            self._on_stop()
        elif isinstance(message, Challenge) and not self._challenge:
            self._join(message)
        elif isinstance(message, Welcome) and self._challenge and not self.joined:
            self._welcome(message)
        elif isinstance(message, JoinRefused) and not self.joined:
            text = f"The master {self._membership.master} refuses this worker: {message.reason}"
            self._decide(StartUpError(text) if message.final else ConnectionError(text))
        else:
            raise ChannelError(f"the master sent a {type(message).__name__}, which is not expected now")

    def on_lost(self) -> None:
        """Drop what is under way: the master gives it to others."""
        for reply in list(self._under_way):
            reply.cancel()
        self._decide(ConnectionError(self.fault))
        self.ended.set()

    def _decide(self, error: Exception | None) -> None:
        if self.decided.done():
            return
        if error is None:
            self.decided.set_result(None)
        else:
            self.decided.set_exception(error)

    def _join(self, challenge: Challenge) -> None:
        self._challenge = challenge.nonce
        membership = self._membership
        user = None if membership.token else self.stranger()
        if user is not None:
            text = (
                f"Whoever listens at {membership.master} is not served: {without_token(user, 'are served')}"
            )
            self._decide(StartUpError(text))
            self.abort()
            return
        self.send(
            Join(
                nonce=self._nonce,
                proof=proof(membership.token, "worker", challenge.nonce, self._nonce),
                address=membership.address,
                member=membership.member,
                pid=os.getpid(),
                servable=self._servable.name,
                version=self._servable.version,
                methods=self._servable.methods,
            )
        )

    def _welcome(self, welcome: Welcome) -> None:
        if not is_proof(welcome.proof, self._membership.token, "master", self._challenge, self._nonce):
            raise ChannelError("the master does not know the token")
        self.trust()
        self._decide(None)

    def _run(self, batch: Batch) -> None:
        request = self._dispatcher.relay(self._servable, batch.method, batch.groups)
        reply = request.future
        self._under_way.add(reply)

        def answer(reply: asyncio.Future[Reply]) -> None:
            self._under_way.discard(reply)
            if reply.cancelled():
                return
            ran = request.relayed or Relayed()
            for start, groups in messages_of(reply.result()):
                if start + sum(group.count for group in groups) < batch.count:
                    self.send(Result(batch.batch_id, batch.slot, start, groups, False))
                else:
                    self.send(Result(batch.batch_id, batch.slot, start, groups, True, *ran.numbers))

        reply.add_done_callback(answer)


class Member:
    """Keeps this worker joined as long as it can serve.

    Args:
        membership: How it joins.
        dispatcher: Runs instances here.
        servable: What is served.
        on_stop: Called when the master tells the worker to exit.
    """

    def __init__(
        self,
        membership: Membership,
        dispatcher: Dispatcher,
        servable: RunningServable,
        on_stop: Callable[[], None],
    ) -> None:
        self._membership = membership
        self._dispatcher = dispatcher
        self._servable = servable
        self._on_stop = on_stop
        self._link: MasterLink | None = None
        self._task: asyncio.Task[None] | None = None
        self._can_serve = asyncio.Event()
        self._leaving = False

    def __repr__(self) -> str:
        return f"<Member {self._membership.address} of {self._membership.master}>"

    async def start(self) -> None:
        """Join; returns once the master has taken this worker in.

        Raises:
            StartUpError: The master refuses it, or has not taken it in after `_TRIES` tries.
        """
        self._servable.on_copies_changed = self._copies_changed
        self._copies_changed()
        warn_of_open_way(self._membership.master_ip, self._membership.token)
        failure: Exception | None = None
        for attempt in range(_TRIES):
            try:
                await self._connect()
                break
            except (OSError, asyncio.TimeoutError, ChannelError) as cause:
                log.warning(
                    "Register to %s failed, try %s of %s: %r",
                    self._membership.master,
                    attempt + 1,
                    _TRIES,
                    cause,
                )
                failure = cause
                await asyncio.sleep(_RETRY_S)
        else:
            raise StartUpError(
                f"Register TimeOut, master {self._membership.master} has not taken this worker in, in {_TRIES} tries: "
                f"{failure!r}; is it started, and at this address?"
            )
        self._task = asyncio.create_task(self._stay())

    async def stop(self) -> None:
        """Leave; safe to call twice."""
        self._leaving = True
        self._servable.on_copies_changed = lambda: None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        link, self._link = self._link, None
        if link is not None:
            link.send(Exiting())
            link.close()
            await wait_for_event(link.ended, _GOODBYE_S)
            link.abort()

    def _copies_changed(self) -> None:
        if self._servable.copies:
            self._can_serve.set()
            return
        self._can_serve.clear()
        if self._link is not None:
            self._link.abort()

    async def _connect(self) -> None:
        """Connect and join.

        Raises:
            StartUpError: The master refuses this worker.
            OSError, TimeoutError, ChannelError: The master is not there.
        """
        membership = self._membership
        link = MasterLink(membership, self._dispatcher, self._servable, self._on_stop)
        opening = asyncio.get_running_loop().create_connection(
            lambda: link, membership.master_ip, membership.master_port, ssl=membership.tls
        )
        try:
            await asyncio.wait_for(opening, _CONNECT_S if membership.tls is None else HANDSHAKE_S)
            try:
                await asyncio.wait_for(link.decided, HANDSHAKE_S)
            except asyncio.TimeoutError:
                raise ConnectionError(f"no master has answered within {HANDSHAKE_S:g} s") from None
        except BaseException:
            link.abort()
            raise
        self._link = link

    async def _stay(self) -> None:
        """Watch the connection, and make it again when it was lost."""
        while not self._leaving:
            link = self._link
            assert link is not None
            while not link.ended.is_set():
                if link.beat() > self._membership.timeout_s:
                    self._master_is_lost()
                    link.abort()
                await wait_for_event(link.ended, ALIVE_EVERY_S)
            await self._rejoin()

    async def _rejoin(self) -> None:
        lost_at = asyncio.get_running_loop().time()
        told = False
        while not self._leaving:
            await self._can_serve.wait()
            try:
                await self._connect()
                log.warning("This worker has joined master %s again", self._membership.master)
                return
            except StartUpError as refusal:
                log.error("%s", refusal)
            except (OSError, asyncio.TimeoutError, ChannelError):
                silent = asyncio.get_running_loop().time() - lost_at
                if not told and silent > self._membership.timeout_s:
                    told = True
                    self._master_is_lost()
            await asyncio.sleep(_RETRY_S)

    def _master_is_lost(self) -> None:
        log.error(
            "Recv Ping Time Out from %s, host address is %s",
            self._membership.master,
            self._membership.address,
        )
