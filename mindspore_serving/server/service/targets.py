"""Which method of which servable a model's name and version mean, in dialects that know models and no methods.

| model | means |
|---|---|
| `servable` | its first method, or the one that the request says beside that |
| `servable.method` | that method |
| none | `predict`, or the first method, of the default servable, or of the only one there is |

Names of servables may have dots, names of methods have none. So a servable of the whole name goes before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final, NamedTuple

from mindspore_serving.errors import InvalidInput, ServableUnavailable, UnknownTarget, excerpt
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.service.catalog import ServableInfo, VersionInfo
from mindspore_serving.server.service.service import Service
from mindspore_serving.signature import MethodSignature
from mindspore_serving.version_folders import LARGEST_VERSION

_PREDICT: Final = "predict"
_MOST_LISTED = 10
_MOST_FOUND = 1024
"""Destinations that are kept; clients choose the names."""


class Target(NamedTuple):
    """What a model's name and version mean.

    Attributes:
        servable: It, with all its versions.
        version: The one that is meant.
        method: What is meant; None where nothing is known of its methods yet.
        called: Name of the method; "" where the model's name has none.
    """

    servable: ServableInfo
    version: VersionInfo
    method: MethodSignature | None
    called: str


def version_number(model: str, version: str) -> int:
    """The number of a version; 0 for the newest one that is ready.

    Args:
        model: Name of the model.
        version: As it was sent; "" for the newest.

    Raises:
        UnknownTarget: It is no number above 0.
    """
    if not version:
        return 0
    known = version.isascii() and version.isdigit() and len(version) <= 20
    if known and 0 < int(version) <= LARGEST_VERSION:
        return int(version)
    raise UnknownTarget(
        f"Model '{excerpt(model)}' has no version '{excerpt(version)}'; versions are numbers from 1 on"
    )


class Targets:
    """Finds what the names of models mean.

    Args:
        service: Knows what there is.
        listing: Request that lists the models, for error texts.
    """

    def __init__(self, service: Service, listing: str) -> None:
        self._dispatcher = service.dispatcher
        self._catalog = service.catalog
        self._listing = listing
        self._found: dict[tuple[str, str, str], Destination] = {}
        self._predicting: dict[str, Destination] = {}
        self._seen: asyncio.Event | None = None

    def find(self, model: str, version: str, method: str = "") -> Target:
        """What a name means, whether it is ready or not.

        Args:
            model: Name of the model.
            version: As it was sent; "" for the newest one that is ready.
            method: The method that the request asks for beside that; "" for none.

        Raises:
            UnknownTarget: There is no such model, version or method.
            InvalidInput: The name of the model says another method.
        """
        number = version_number(model, version)
        for name, called in _readings(model):
            servable = self._catalog.servable(name)
            if servable is None:
                continue
            found = servable.version(number)
            if found is None:
                numbers = ", ".join(str(one.number) for one in servable.versions)
                raise UnknownTarget(f"Model '{excerpt(model)}' has no version {number}; it has {numbers}")
            if called and method and called != method:
                raise InvalidInput(
                    f"Model '{excerpt(model)}' is the method {called}, but the request asks for '{excerpt(method)}'"
                )
            return Target(servable, found, _method_of(model, found, called or method), called or method)
        raise UnknownTarget(f"There is no model '{excerpt(model)}'; {self._listing} lists those there are")

    def unnamed(self) -> Destination:
        """Where a request for inference goes that names no model.

        Raises:
            InvalidInput: There are several servables, and nobody has said which is meant.
            UnknownTarget: There is none, or not the one that is meant.
            ServableUnavailable: It is not ready.
            ServerStopping: The server drains.
        """
        return self.predicting("")

    def predicting(self, model: str) -> Destination:
        """Where a request goes that names no method: to `predict`, or the first one where there is none of that name.

        Args:
            model: Name of the model; "" where the request names none.

        Raises:
            ServingError: As `destination`, and as `unnamed`.
        """
        self._forget_what_has_changed()
        destination = self._predicting.get(model)
        if destination is None:
            name = model or self._catalog.default or self._only_servable()
            target = self.find(name, "")
            has_predict = not target.called and target.version.method(_PREDICT) is not None
            destination = self._destination(name, "", _PREDICT if has_predict else "")
            if len(self._predicting) >= _MOST_FOUND:
                self._predicting.clear()
            self._predicting[model] = destination
        return destination

    def _only_servable(self) -> str:
        names = [one.name for one in self._catalog.servables()]
        if len(names) == 1:
            return names[0]
        if not names:
            raise UnknownTarget("There is no servable yet, and the request names none")
        listed = ", ".join(names[:_MOST_LISTED]) + (", ..." if len(names) > _MOST_LISTED else "")
        raise InvalidInput(
            f"The request names no servable, and there are {len(names)}: {listed}. Start the server with "
            "default_servable, one of them, or ask in a way that names one"
        )

    def described(self, model: str, version: str) -> tuple[Target, MethodSignature]:
        """What a name means, and the method of which that is to be said.

        Args:
            model: As of `find`.
            version: As of `find`.

        Raises:
            UnknownTarget: As `find`.
            ServableUnavailable: It is not ready, so that its methods are not known.
        """
        target = self.find(model, version)
        if target.method is None:
            raise _not_ready(model, target.version)
        return target, target.method

    def destination(self, model: str, version: str, method: str = "") -> Destination:
        """Where a request for inference goes.

        Args:
            model: As of `find`.
            version: As of `find`.
            method: As of `find`.

        Raises:
            UnknownTarget: As `find`.
            InvalidInput: As `find`.
            ServableUnavailable: It is not ready.
            ServerStopping: The server drains.
        """
        self._forget_what_has_changed()
        key = (model, version, method)
        destination = self._found.get(key)
        if destination is None:
            destination = self._destination(model, version, method)
            if len(self._found) >= _MOST_FOUND:
                self._found.clear()
            self._found[key] = destination
        return destination

    def _forget_what_has_changed(self) -> None:
        if self._seen is not self._catalog.changed:  # anything may mean something else now
            self._found.clear()
            self._predicting.clear()
            self._seen = self._catalog.changed

    def _destination(self, model: str, version: str, method: str) -> Destination:
        target = self.find(model, version, method)
        info = target.version
        if target.method is not None:
            try:
                return self._dispatcher.resolve(target.servable.name, target.method.name, info.number)
            except UnknownTarget:  # it is to be served, and is not
                pass
        raise _not_ready(model, info)


def _not_ready(model: str, version: VersionInfo) -> ServableUnavailable:
    reason = version.reason or version.state.value
    return ServableUnavailable(f"Model '{excerpt(model)}' version {version.number} is not ready: {reason}")


def _readings(model: str) -> Iterator[tuple[str, str]]:
    """Names of servables and methods that a model's name may stand for, the longest servable first."""
    yield model, ""
    servable, dot, method = model.rpartition(".")
    if dot and servable and method:
        yield servable, method


def _method_of(model: str, version: VersionInfo, called: str) -> MethodSignature | None:
    """The method that is called, the first one where none is.

    Raises:
        UnknownTarget: There is none of that name.
    """
    if not version.methods:
        return None
    if not called:
        return version.methods[0]
    method = version.method(called)
    if method is None:
        names = ", ".join(one.name for one in version.methods)
        raise UnknownTarget(
            f"Model '{excerpt(model)}' version {version.number} has no method '{excerpt(called)}'; it has {names}"
        )
    return method
