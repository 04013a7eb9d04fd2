"""Calls of methods by other methods: instances that a worker holds, for another servable or its own (ADR 61).

A worker calls for neighbouring instances of one of its batches. They may belong to several requests of clients, each of
which may be urgent, late or gone. So each of them gets a request of its own at the called method, with the priority of
the outer one, which ends when the outer one does. `OpenCall` puts the outcomes together again.

    target = CallTarget(caller, called, running, forget)        # once, when the worker registers
    call = target.start(blocks, callers, on_done)               # for each call

Requests that are called for count for no limit: refusing one would waste what was done for the outer request, which was
admitted. Still they are bounded, by the batches under way at the copies that call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from mindspore_serving.errors import Failure, InvalidInput, Outcome, ServingError, StatusCode, SystemFailure
from mindspore_serving.rows import FailedRows, Group, Reply, Rows
from mindspore_serving.server.dispatch.admitted_inputs import with_parameters
from mindspore_serving.server.dispatch.counting import count_end
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.dispatch.request import CallStep, Request
from mindspore_serving.server.dispatch.running_servables import RunningServables
from mindspore_serving.server.dispatch.servable import RunningServable
from mindspore_serving.signature import CalledMethod
from mindspore_serving.tensor import Specs

DEEPEST_CALLS = 16
"""Methods that call each other in a row; one more is refused."""
_REMEMBERED = 64
"""Kinds of instances whose names are kept: clients choose shapes."""
_Node: TypeAlias = tuple[RunningServable, str]
"""A method of a running servable."""
_ABANDONED = Failure(
    StatusCode.FAILED, "The request that the method was called for has ended", cause=Outcome.CANCELLED
)


class Caller(NamedTuple):
    """For whom a method is called.

    Attributes:
        servable: Whose worker calls.
        method: The method of the batch; "" where nobody knows it.
        requests: Whose the instances are, in order, each with its number of them; None where nobody knows.
    """

    servable: RunningServable
    method: str
    requests: Sequence[tuple[Request | None, int]]


class OpenCall:
    """One call under way.

    Args:
        on_done: Takes the outcome of every instance, in order; not called where the call is cancelled.
        parts: How many requests the instances belong to.
    """

    def __init__(self, on_done: Callable[[Reply], None], parts: int) -> None:
        self._on_done: Callable[[Reply], None] | None = on_done
        self._replies: list[Sequence[Group]] = [()] * parts
        self._pending = parts
        self._parts: list[_Part] = []

    def __repr__(self) -> str:
        return f"<OpenCall {len(self._replies) - self._pending}/{len(self._replies)} done>"

    @property
    def pending(self) -> bool:
        """Whether a part has no outcome yet."""
        return self._pending > 0

    def add(self, part: _Part) -> None:
        """Know a part that has been queued."""
        self._parts.append(part)

    def take(self, index: int, reply: Sequence[Group]) -> None:
        """Take the outcome of one part."""
        self._replies[index] = reply
        self._pending -= 1
        if self._pending == 0 and self._on_done is not None:
            on_done, self._on_done = self._on_done, None
            self._parts.clear()
            on_done([group for reply in self._replies for group in reply])

    def cancel(self) -> None:
        """Give everything up: the worker that calls is gone. Safe to call twice."""
        self._on_done = None
        parts, self._parts = self._parts, []
        for part in parts:
            part.abandon()


class _Part:
    """What a called request has in place of a future: its part of a call.

    Args:
        call: The call.
        index: Which part of it this is.
        outer: The request that it is for; None where nobody knows.
        forget: Takes requests that have ended before their instances did.
    """

    __slots__ = ("_call", "_done", "_forget", "_index", "_outer", "_reply", "request")

    def __init__(
        self, call: OpenCall, index: int, outer: Request | None, forget: Callable[[Request], None]
    ) -> None:
        self.request: Request | None = None
        self._call = call
        self._index = index
        self._outer = outer
        self._forget = forget
        self._done = False
        self._reply: Reply = []

    def done(self) -> bool:
        """Whether it has its outcome."""
        return self._done

    def cancelled(self) -> bool:
        """Whether it was given up without an outcome, which is never so."""
        return False

    def set_result(self, reply: Reply) -> None:
        """Take the outcome."""
        self._done = True
        self._reply = reply
        request, self.request = self.request, None
        if request is not None:
            outer = self._outer
            if outer is not None and outer.calls is not None:
                outer.calls.discard(self)
            count_end(request, time.monotonic())
            if request.pending:
                self._forget(request)
            end_calls(request)
        self._call.take(self._index, reply)

    def result(self) -> Reply:
        """The outcome."""
        return self._reply

    def abandon(self) -> None:
        """Give it up: nobody needs it any more."""
        if self.request is not None:
            self.request.give_up(_ABANDONED)


def end_calls(request: Request) -> None:
    """Give up what was called for a request that has ended."""
    if request.calls:
        for part in list(request.calls):
            part.abandon()


class CallTarget:
    """A method that a worker calls, as of now.

    Args:
        caller: Whose worker it is.
        called: What it calls.
        running: What runs.
        forget: Takes requests that have ended before their instances did.
    """

    def __init__(
        self,
        caller: RunningServable,
        called: CalledMethod,
        running: RunningServables,
        forget: Callable[[Request], None],
    ) -> None:
        self._caller = caller
        self._called = called
        self._running = running
        self._forget = forget
        self._version = called.version_for(caller.name, caller.version)
        self._destination: Destination | None = None
        self._named: dict[Specs, Specs] = {}

    def __repr__(self) -> str:
        return f"<CallTarget {self._called.label}>"

    def start(self, blocks: Sequence[Rows], caller: Caller, on_done: Callable[[Reply], None]) -> OpenCall:
        """Queue instances for the method, whatever limits there are.

        Args:
            blocks: The instances, at least one; their names mean nothing.
            caller: For whom.
            on_done: Takes the outcome of every instance, in order; maybe before this returns.

        Returns:
            The call, to be cancelled where nobody waits for it any more.
        """
        requests = caller.requests
        call = OpenCall(on_done, len(requests))
        try:
            destination = self._find()
            _check_no_circle(caller, destination)
            groups = self._groups(destination, blocks)
        except ServingError as error:
            failure = _not_called(error)
            for index, (_, count) in enumerate(requests):
                call.take(index, [FailedRows(failure, count)])
            return call
        chains: dict[tuple[CallStep, ...], tuple[CallStep, ...] | Failure] = {}
        step = CallStep(caller.servable.name, caller.servable.version, caller.method)
        for index, ((outer, count), own) in enumerate(
            zip(requests, _cut(groups, [count for _, count in requests]), strict=True)
        ):
            before = () if outer is None else outer.chain
            chain = chains.get(before)
            if chain is None:
                chain = chains[before] = _chain(before, step, destination)
            if isinstance(chain, Failure) or (outer is not None and outer.ended):
                failure = chain if isinstance(chain, Failure) else _ABANDONED
                call.take(index, [FailedRows(failure, count)])
                continue
            self._queue(destination, own, _Part(call, index, outer, self._forget), outer, chain)
        return call

    def _queue(
        self,
        destination: Destination,
        groups: Sequence[Group],
        part: _Part,
        outer: Request | None,
        chain: tuple[CallStep, ...],
    ) -> None:
        servable, method = destination.servable, destination.method.name
        request = Request(groups, part, servable.counters[method], 0 if outer is None else outer.priority)
        if part.done():  # all of its instances are refused
            return
        request.chain = chain
        if outer is not None and outer.trace is not None:
            request.trace = outer.trace.calls(servable.name, method)
        part.request = request
        part._call.add(part)
        if outer is not None:
            if outer.calls is None:
                outer.calls = set()
            outer.calls.add(part)
        servable.enqueue(method, request)

    def _find(self) -> Destination:
        """Who answers.

        Raises:
            UnknownTarget: There is no such servable, version or method.
            ServableUnavailable: No worker of it is left.
        """
        found = self._destination
        if found is None or found.generation != self._running.generation:
            called = self._called
            found = self._destination = self._running.find_called(
                called.servable, called.method, self._version
            )
            self._named.clear()
        return found

    def _groups(self, destination: Destination, blocks: Sequence[Rows]) -> Sequence[Group]:
        """The instances with the names of the method's inputs, those that do not fit as failures.

        Raises:
            InvalidInput: The method has another number of inputs.
        """
        named = []
        for block in blocks:
            specs = self._named.get(block.specs)
            if specs is None:
                specs = self._with_names(destination, block.specs)
            named.append(Rows(specs, block.columns, block.count))
        if destination.method.takes_parameters:
            named = with_parameters(named, None)
        return named if destination.check is None else destination.check.checked(named)

    def _with_names(self, destination: Destination, specs: Specs) -> Specs:
        names = destination.method.input_names
        if len(names) != len(specs):
            raise InvalidInput(
                f"Method '{self._called.label}' has the inputs {list(names)}, but it is called with {len(specs)} values"
            )
        if len(self._named) >= _REMEMBERED:
            self._named.clear()
        renamed = tuple(spec._replace(name=name) for spec, name in zip(specs, names, strict=True))
        self._named[specs] = renamed
        return renamed


def _not_called(error: ServingError) -> Failure:
    """Why a method could not be called: the servable has called for what is not there, which is no fault of clients."""
    return SystemFailure(str(error)).failure()


def _chain(
    before: tuple[CallStep, ...], step: CallStep, destination: Destination
) -> tuple[CallStep, ...] | Failure:
    """The methods that wait for a called one; or why it is not called."""
    chain = (*before, step)
    if len(chain) < DEEPEST_CALLS:
        return chain
    target = CallStep(destination.servable.name, destination.servable.version, destination.method.name)
    path = " -> ".join([f"{one.servable}.{one.method}" for one in (*chain, target)])
    return SystemFailure(
        f"The call is refused, at most {DEEPEST_CALLS} may call each other in a row: {path}"
    ).failure()


def _check_no_circle(caller: Caller, destination: Destination) -> None:
    """Check that no methods call each other in a circle, and remember the call.

    Each of them could hold what the next one waits for, also for different requests. What methods call is checked when
    the server starts; what pipelines call shows only here.

    Raises:
        SystemFailure: The called method has called the caller, maybe through others.
    """
    servable, method = caller.servable, caller.method
    seen = servable.called.setdefault(method, set())
    target = destination.servable, destination.method.name
    if target in seen:
        return
    way = _way(target, (servable, method))
    if way:
        path = " -> ".join([f"{one.name}.{name}" for one, name in (*way, target)])
        raise SystemFailure(
            f"The call is refused, methods that call each other in a circle may wait for each other for ever: {path}"
        )
    seen.add(target)


def _way(start: _Node, end: _Node) -> list[_Node]:
    """Methods of which each has called the next, from one to another; empty where there is no such way."""
    before: dict[_Node, _Node] = {}
    left = [start]
    while left:
        node = left.pop()
        if node == end:
            way = [node]
            while way[-1] != start:
                way.append(before[way[-1]])
            return way[::-1]
        servable, method = node
        for one in servable.called.get(method, ()):
            if one not in before and one != start:
                before[one] = node
                left.append(one)
    return []


def _cut(groups: Sequence[Group], counts: Sequence[int]) -> Iterator[Sequence[Group]]:
    """Groups in parts of the given numbers of instances."""
    if len(counts) == 1:
        yield groups
        return
    at, begin = 0, 0
    for count in counts:
        part: list[Group] = []
        while count:
            group = groups[at]
            taken = min(count, group.count - begin)
            part.append(group.take(begin, begin + taken))
            count -= taken
            begin += taken
            if begin == group.count:
                at, begin = at + 1, 0
        yield part


def call_targets(
    caller: RunningServable,
    calls: Sequence[CalledMethod],
    running: RunningServables,
    forget: Callable[[Request], None],
) -> Sequence[CallTarget]:
    """What a worker calls, by its index; arguments as of `CallTarget`."""
    return [CallTarget(caller, called, running, forget) for called in calls]
