"""What there is, as documents of TensorFlow Serving and of KServe."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

from mindspore_serving.server.dialect.kserve_v1.request_body import DEFAULT_SIGNATURE
from mindspore_serving.server.service.catalog import Catalog, VersionInfo, VersionState
from mindspore_serving.server.service.error_text import hidden
from mindspore_serving.server.service.targets import Targets
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType

_STATES: Final = MappingProxyType(
    {
        VersionState.READY: "AVAILABLE",
        VersionState.LOADING: "LOADING",
        VersionState.UNLOADING: "UNLOADING",
        VersionState.UNAVAILABLE: "END",
    }
)
_DTYPES: Final = MappingProxyType(
    {
        DataType.UNKNOWN: "DT_INVALID",
        DataType.BOOL: "DT_BOOL",
        DataType.INT8: "DT_INT8",
        DataType.UINT8: "DT_UINT8",
        DataType.INT16: "DT_INT16",
        DataType.UINT16: "DT_UINT16",
        DataType.INT32: "DT_INT32",
        DataType.UINT32: "DT_UINT32",
        DataType.INT64: "DT_INT64",
        DataType.UINT64: "DT_UINT64",
        DataType.FLOAT16: "DT_HALF",
        DataType.FLOAT32: "DT_FLOAT",
        DataType.FLOAT64: "DT_DOUBLE",
        DataType.STRING: "DT_STRING",
        DataType.BYTES: "DT_STRING",
    }
)
_METHOD_NAME: Final = "tensorflow/serving/predict"


class Models:
    """Tells of models.

    Args:
        catalog: Knows what there is.
        targets: Finds what the names of models mean.
    """

    def __init__(self, catalog: Catalog, targets: Targets) -> None:
        self._catalog = catalog
        self._targets = targets

    def listing(self) -> dict[str, Any]:
        """The names of all models."""
        names = []
        for servable in self._catalog.servables():
            names.append(servable.name)
            methods = {method.name: None for version in servable.versions for method in version.methods}
            if len(methods) > 1:
                names += [f"{servable.name}.{method}" for method in methods]
        return {"models": names}

    def status(self, model: str, version: str) -> tuple[bool, dict[str, Any]]:
        """How a model is.

        Args:
            model: Name of the model.
            version: As it was sent; "" for all.

        Returns:
            Whether it is ready, in one version at least; and the document.

        Raises:
            UnknownTarget: There is no such model or version.
        """
        target = self._targets.find(model, version)
        versions = [target.version] if version else list(target.servable.versions)
        ready = any(one.state is VersionState.READY for one in versions)
        statuses = [_status_of(one) for one in sorted(versions, key=lambda one: -one.number)]
        return ready, {"name": model, "ready": ready, "model_version_status": statuses}

    def metadata(self, model: str, version: str) -> dict[str, Any]:
        """The signatures of a model.

        Args:
            model: Name of the model.
            version: As it was sent; "" for the newest one that is ready.

        Raises:
            UnknownTarget: There is no such model or version.
            ServableUnavailable: It is not ready, so that its methods are not known.
        """
        target, method = self._targets.described(model, version)
        methods = (method,) if target.called else target.version.methods
        signatures = {method.name: _signature_of(method) for method in methods}
        signatures.setdefault(DEFAULT_SIGNATURE, _signature_of(methods[0]))
        spec = {"name": model, "signature_name": "", "version": str(target.version.number)}
        return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": signatures}}}


def _status_of(version: VersionInfo) -> dict[str, Any]:
    gone = version.state is VersionState.UNAVAILABLE
    return {
        "version": str(version.number),
        "state": _STATES[version.state],
        "status": {
            "error_code": "UNAVAILABLE" if gone else "OK",
            "error_message": hidden(version.reason) if gone else "",
        },
    }


def _signature_of(method: MethodSignature) -> dict[str, Any]:
    return {
        "inputs": {one.name: _tensor_of(one) for one in method.inputs},
        "outputs": {one.name: _tensor_of(one) for one in method.outputs},
        "method_name": _METHOD_NAME,
    }


def _tensor_of(one: TensorType) -> dict[str, Any]:
    """A tensor with its rows as the first dimension."""
    sizes = () if one.shape is None else one.shape if one.shared else (-1, *one.shape)
    return {
        "dtype": _DTYPES[one.dtype],
        "tensor_shape": {
            "dim": [{"size": str(size), "name": ""} for size in sizes],
            "unknown_rank": one.shape is None,
        },
        "name": one.name,
    }
