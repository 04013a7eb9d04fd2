"""What methods call of each other: checked before the server serves, and what methods know of themselves by it.

All that is called has to be there, none may wait for itself, and what methods declare has to fit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.dispatch.servable import RunningServable
from mindspore_serving.server.supervision.called_types import with_called_types
from mindspore_serving.server.supervision.supervised_worker import SupervisedWorker
from mindspore_serving.signature import CalledMethod, MethodSignature


class _Method(NamedTuple):
    """A method of one version of a servable."""

    servable: str
    version: int
    name: str

    def __str__(self) -> str:
        return f"{self.servable}.{self.name}"


def check_calls(workers: Sequence[SupervisedWorker]) -> None:
    """Check what the methods of all workers call.

    Args:
        workers: All of the server, each of which has registered.

    Raises:
        StartUpError: A method calls what is not there, with another number of inputs or outputs than it has; or methods
            call each other in a circle; or what it declares does not fit. The text names both methods, or all of the
            circle.
    """
    servables = _servables_of(workers)
    edges: dict[_Method, list[_Method]] = {}
    seen: set[tuple[str, int]] = set()
    for worker in workers:
        own = worker.servable.name, worker.servable.version
        if own in seen:  # all copies of a servable call the same
            continue
        seen.add(own)
        for called in worker.calls:
            target = _target(worker.servable, called, servables)
            _check_counts(worker.servable, called, target.method(called.method))
            if called.caller:  # which pipeline calls is not known before it does
                step = _Method(*own, called.caller)
                edges.setdefault(step, []).append(_Method(target.name, target.version, called.method))
    circle = _circle_in(edges)
    if circle:
        raise StartUpError(
            f"Methods call each other in a circle, which would never end: {' -> '.join(map(str, circle))}. Remove one "
            "of these calls, in the servable_config.py of its servable"
        )
    problems = complete_types(workers)
    if problems:
        raise StartUpError(problems[0])


def complete_types(workers: Sequence[SupervisedWorker]) -> list[str]:
    """Let methods know the types of what they call, as far as that has registered.

    Args:
        workers: All of the server.

    Returns:
        What is declared but does not fit, a text for each method; such a method knows what its worker does.
    """
    calls: dict[_Method, list[CalledMethod]] = {}
    for worker in workers:
        for called in worker.calls if worker.copy is not None else ():
            step = _Method(worker.servable.name, worker.servable.version, called.caller)
            known = calls.setdefault(step, [])
            if called not in known:  # copies of a servable call the same
                known.append(called)
    return _Completion(_servables_of(workers), calls).run()


class _Completion:
    """One look at all methods that call.

    Args:
        servables: All that have workers.
        calls: What each method calls.
    """

    def __init__(
        self,
        servables: dict[tuple[str, int], RunningServable],
        calls: dict[_Method, list[CalledMethod]],
    ) -> None:
        self._servables = servables
        self._calls = calls
        self._known: dict[_Method, MethodSignature | None] = {}
        self._problems: list[str] = []

    def run(self) -> list[str]:
        """Complete all; returns what does not fit."""
        for step in self._calls:
            self._signature(step)
        return self._problems

    def _signature(self, step: _Method) -> MethodSignature | None:
        """A method with what its calls tell, which are looked at before it; None while nobody has registered it."""
        if step in self._known:
            return self._known[step]
        servable = self._servables[step.servable, step.version]
        signature = self._known[step] = servable.registered(
            step.name
        )  # where calls come back here in a circle
        if signature is None or signature.is_pipeline or step not in self._calls:
            return signature
        found = []
        for called in self._calls[step]:
            with contextlib.suppress(StartUpError):  # it is not there yet
                target = _target(servable, called, self._servables)
                inner = self._signature(_Method(target.name, target.version, called.method))
                found += [(called, inner)] if inner is not None else []
        try:
            signature = with_called_types(f"method '{step}'", signature, found)
        except StartUpError as problem:
            self._problems.append(str(problem))
        servable.complete(signature)
        self._known[step] = signature
        return signature


def _servables_of(workers: Sequence[SupervisedWorker]) -> dict[tuple[str, int], RunningServable]:
    return {(worker.servable.name, worker.servable.version): worker.servable for worker in workers}


def _target(
    caller: RunningServable, called: CalledMethod, servables: dict[tuple[str, int], RunningServable]
) -> RunningServable:
    """The servable version that is called.

    Raises:
        StartUpError: It is not there.
    """
    versions = {version: one for (name, version), one in servables.items() if name == called.servable}
    if not versions:
        names = sorted({name for name, _ in servables})
        raise StartUpError(
            f"{_who(caller, called)} calls '{called.label}', but this server starts no servable '{called.servable}', "
            f"only {names}. Start it with the same start_servables: servables of other servers, also of other workers "
            "of a cluster, cannot be called"
        )
    number = called.version_for(caller.name, caller.version) or max(versions)
    if number not in versions:
        raise StartUpError(
            f"{_who(caller, called)} calls '{called.label}', but this server starts the versions {sorted(versions)} of "
            f"servable '{called.servable}'"
        )
    return versions[number]


def _check_counts(caller: RunningServable, called: CalledMethod, method: MethodSignature | None) -> None:
    """Check that a method is there, and has the inputs and outputs that a call expects.

    Raises:
        StartUpError: It is not, or has not.
    """
    if method is None:
        raise StartUpError(
            f"{_who(caller, called)} calls '{called.label}', but servable '{called.servable}' has no method "
            f"'{called.method}'"
        )
    for what, given, names in (
        ("inputs", called.inputs_count, method.input_names),
        ("outputs", called.outputs_count, method.output_names),
    ):
        if given not in (-1, len(names)):
            raise StartUpError(
                f"{_who(caller, called)} calls '{called.label}' with {given} {what}, but that has {len(names)}: "
                f"{list(names)}"
            )


def _who(caller: RunningServable, called: CalledMethod) -> str:
    return f"Method '{caller.name}.{called.caller}'" if called.caller else f"A pipeline of '{caller.name}'"


def _circle_in(edges: dict[_Method, list[_Method]]) -> list[_Method]:
    """Methods of which each calls the next, and the last one is the first; empty where there are none."""
    done: set[_Method] = set()
    for start in edges:
        path: list[_Method] = []
        left = [iter([start])]
        while left:
            method = next(left[-1], None)
            if method is None:
                left.pop()
                if path:
                    done.add(path.pop())
            elif method in path:
                return [*path[path.index(method) :], method]
            elif method not in done:
                path.append(method)
                left.append(iter(edges.get(method, ())))
    return []
