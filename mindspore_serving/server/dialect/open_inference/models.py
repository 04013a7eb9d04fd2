"""What there is, as the documents of REST: metadata, configuration, statistics, and the index.

A servable of one method is one model: `servable`. One of several methods is a model for each, `servable.method`, and
`servable` stands for the first of them. So of statistics of all models, each method has one entry: nothing is counted
twice by who adds them up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mindspore_serving import __version__
from mindspore_serving.server.dialect.open_inference.messages import LISTING
from mindspore_serving.server.dialect.open_inference.shared_memory import SharedMemoryRegions
from mindspore_serving.server.dialect.open_inference.statistics_document import statistics_of
from mindspore_serving.server.dialect.open_inference.tensor_documents import config_of, metadata_of
from mindspore_serving.server.service.catalog import ServableInfo, VersionInfo, VersionState
from mindspore_serving.server.service.error_text import hidden
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.service.targets import Target, Targets
from mindspore_serving.signature import MethodSignature

SERVER_NAME = "mindspore_serving"
_EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "statistics",
    "schedule_policy",
    "parameters",
    "generate",
)


class Models:
    """Describes the server and its models.

    Args:
        service: Knows what there is.
        regions: Shared memory of clients.
    """

    def __init__(self, service: Service, regions: SharedMemoryRegions) -> None:
        self._catalog = service.catalog
        self._statistics = service.statistics
        self._targets = Targets(service, LISTING)
        self._regions = regions

    # --- The server ---

    def server_metadata(self) -> dict[str, Any]:
        """Name and version of the server, and the extensions that it has."""
        extensions = list(_EXTENSIONS)
        if self._regions.allowed:
            extensions.append("system_shared_memory")
        return {"name": SERVER_NAME, "version": __version__, "extensions": extensions}

    def server_ready(self) -> bool:
        """Whether all that is to be served is, and the server takes requests."""
        return self._catalog.health().ready

    def index(self, *, ready: bool = False) -> list[dict[str, str]]:
        """The models, one entry for each version.

        Args:
            ready: Whether to leave out what is not ready.
        """
        return [
            {
                "name": name,
                "version": str(version.number),
                "state": version.state.name,
                "reason": _reason(version),
            }
            for servable in self._catalog.servables()
            for version in servable.versions
            if version.state is VersionState.READY or not ready
            for name in _names(servable, version)
        ]

    def listing(self) -> dict[str, Any]:
        """Names of models, and all that is known of each method."""
        servables = self._catalog.servables()
        names = [name for one in servables for version in one.versions for name in _names(one, version)]
        return {
            "models": list(dict.fromkeys(names)),
            "methods": [
                _method_document(servable, version, method)
                for servable in servables
                for version in servable.versions
                for method in version.methods
            ],
        }

    # --- One model ---

    def ready(self, model: str, version: str) -> bool:
        """Whether a model is ready.

        Args:
            model: Name of the model.
            version: As it was sent; "" for any version.

        Raises:
            UnknownTarget: There is no such model or version.
        """
        target = self._targets.find(model, version)
        return target.method is not None and target.version.state is VersionState.READY

    def metadata(self, model: str, version: str) -> dict[str, Any]:
        """Name, versions, platform, inputs and outputs of a model.

        Args:
            model: Name of the model.
            version: As it was sent; "" for the newest one that is ready.

        Raises:
            UnknownTarget: There is no such model or version.
            ServableUnavailable: Its methods are not known yet.
        """
        target, method = self._targets.described(model, version)
        return {
            "name": model,
            "versions": _versions(target, method),
            "platform": method.platform or "python",
            **metadata_of(method),
        }

    def config(self, model: str, version: str) -> dict[str, Any]:
        """The configuration of a model, as Triton has it.

        Args:
            model: As of `metadata`.
            version: As of `metadata`.

        Raises:
            UnknownTarget: As `metadata`.
            ServableUnavailable: As `metadata`.
        """
        target, method = self._targets.described(model, version)
        most = max(method.batch_limit, method.full) if method.rows else 0
        copies = sum(worker.serves for worker in target.version.workers)
        document: dict[str, Any] = {
            "name": model,
            "platform": method.platform or "python",
            "backend": SERVER_NAME,
            "version_policy": {"all": {}},
            "max_batch_size": most,
            **config_of(method),
            "instance_group": [{"name": model, "kind": "KIND_MODEL", "count": copies, "gpus": []}],
            "model_transaction_policy": {"decoupled": False},
        }
        if most:
            # Rows of several requests run together, always.
            document["dynamic_batching"] = {"preferred_batch_size": [method.full] if method.full > 1 else []}
        return document

    def statistics(self, model: str = "", version: str = "") -> dict[str, Any]:
        """What was counted.

        Args:
            model: Name of the model; "" for all.
            version: As it was sent; "" for all.

        Raises:
            UnknownTarget: There is no such model or version.
        """
        entries = self._statistics_of(model, version) if model else self._all_statistics()
        return {"model_stats": list(entries)}

    def _all_statistics(self) -> Iterator[dict[str, Any]]:
        for servable in self._catalog.servables():
            for version in servable.versions:
                for method in version.methods:
                    name = servable.name
                    if len(version.methods) > 1:
                        name = f"{name}.{method.name}"
                    yield self._entry(name, servable, version, method)

    def _statistics_of(self, model: str, version: str) -> Iterator[dict[str, Any]]:
        target = self._targets.find(model, version)
        for one in [target.version] if version else target.servable.versions:
            method = one.method(target.called) if target.called else next(iter(one.methods), None)
            if method is not None:
                yield self._entry(model, target.servable, one, method)

    def _entry(
        self, name: str, servable: ServableInfo, version: VersionInfo, method: MethodSignature
    ) -> dict[str, Any]:
        counted = self._statistics.of(servable.name, version.number, method.name)
        return statistics_of(name, version.number, counted)


def _names(servable: ServableInfo, version: VersionInfo) -> list[str]:
    """The models that a version of a servable is."""
    names = [servable.name]
    if len(version.methods) > 1:
        names += [f"{servable.name}.{method.name}" for method in version.methods]
    return names


def _versions(target: Target, method: MethodSignature) -> list[str]:
    """Versions of a model that are ready."""
    return [
        str(version.number)
        for version in target.servable.versions
        if version.state is VersionState.READY
        and version.methods
        and (not target.called or version.method(method.name) is not None)
    ]


def _method_document(servable: ServableInfo, version: VersionInfo, method: MethodSignature) -> dict[str, Any]:
    return {
        "name": f"{servable.name}.{method.name}",
        "servable": servable.name,
        "method": method.name,
        "version": str(version.number),
        "state": version.state.name,
        "reason": _reason(version),
        "rows": method.rows,
        **metadata_of(method),
        "description": method.description,
    }


def _reason(version: VersionInfo) -> str:
    return "" if version.state is VersionState.READY else hidden(version.reason)
