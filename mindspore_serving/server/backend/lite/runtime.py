"""The two ways to Lite (ADR 12): package `mindspore_lite`, and the C interface that `mindspore_serving.lite` has."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from mindspore_serving import log
from mindspore_serving.lite.library import LiteContext, LiteError, LiteModel, LiteTensor, load_library
from mindspore_serving.server.backend.lite.settings import LiteSettings
from mindspore_serving.tensor import Array

_MINDSPORE_CORE = "mindspore._c_expression"


class RunnableModel(Protocol):
    """A model file that Lite has loaded. One thread at a time may use it; others may use other models meanwhile."""

    @property
    def inputs(self) -> Sequence[LiteTensor]:
        """The inputs, with the shapes of the file, or of the last resize."""
        ...

    @property
    def outputs(self) -> Sequence[LiteTensor]:
        """The outputs, complete after the first run; their shapes are of no account."""
        ...

    def resize(self, shapes: Sequence[Sequence[int]]) -> None:
        """Give the inputs new shapes; raises LiteError, and changes nothing, where the model cannot have them."""
        ...

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        """Run the model on C-contiguous arrays of the inputs' dtypes and shapes; raises LiteError."""
        ...

    def close(self) -> None:
        """Unload the model; safe to call twice."""
        ...


class Runtime(Protocol):
    """Loads model files with Lite."""

    def load(
        self, path: Path, model_type: int, settings: LiteSettings, config_file: str | None
    ) -> RunnableModel:
        """Load a file.

        Args:
            path: The file.
            model_type: `MINDIR` or `MS`.
            settings: Where and how it runs.
            config_file: Further settings; None for none.

        Raises:
            LiteError: Lite cannot load it; the text is Lite's reason.
        """
        ...


class CompiledRuntime:
    """Lite through the C interface that was built for this Python."""

    def load(self, path: Path, model_type: int, settings: LiteSettings, config_file: str | None) -> LiteModel:
        """Load a file; see `Runtime.load`.

        MindSpore and Lite bring libraries of the same name: whichever comes second fails or crashes.
        """
        if _MINDSPORE_CORE in sys.modules:
            raise LiteError(
                "MindSpore is loaded in this process, which excludes MindSpore Lite; run all models of the servable "
                "with one of them, by model_format or enable_lite, and import no MindSpore in the servable beside Lite"
            )
        library = load_library()
        return LiteModel(library, path, model_type, context_of(settings), config_file)


def context_of(settings: LiteSettings) -> LiteContext:
    """Settings as Lite holds them.

    Raises:
        LiteError: Lite does not know an option; or it is not built.
    """
    return LiteContext(
        load_library(), settings.thread_num, settings.parallel_num, settings.cores, settings.devices
    )


def find_runtime() -> Runtime:
    """The package where it can be imported, else the C interface."""
    spec = importlib.util.find_spec("mindspore_lite")
    if spec is not None and spec.origin is not None:  # else a mere folder of that name
        try:
            package = importlib.import_module("mindspore_lite")
        except ImportError as error:
            log.warning("The installed package mindspore_lite cannot be imported and is not used: %s", error)
        else:
            from mindspore_serving.server.backend.lite.package import PackageRuntime

            return PackageRuntime(package)
    return CompiledRuntime()


__all__ = [
    "CompiledRuntime",
    "LiteError",
    "LiteTensor",
    "RunnableModel",
    "Runtime",
    "context_of",
    "find_runtime",
]
