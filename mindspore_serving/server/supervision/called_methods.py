"""What methods call of each other, checked before the server serves: all of it is there, and none waits for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.dispatch.servable import RunningServable
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
            call each other in a circle. The text names both methods, or all of the circle.
    """
    servables = {(worker.servable.name, worker.servable.version): worker.servable for worker in workers}
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
