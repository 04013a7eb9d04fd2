"""What a backend offers: it loads one model file as a graph, and runs arrays through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import Array


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """One model file to load, and how.

    Attributes:
        path: The file.
        model_format: `mindir`, `mindir_lite`, `onnx`, `paddle` or `om`.
        with_batch_dim: Whether the first dimension of inputs and outputs is the batch.
        without_batch_dim_inputs: Indices of inputs that have no batch dimension although `with_batch_dim` is set.
        max_batch_size: Most rows of one `predict`, where the first dimension is dynamic.
        device_type: `ascend`, `gpu` or `cpu`.
        device_id: Number of the device.
        context: Options for this device type by name.
        thread_num: Threads that compute; -1 leaves it to the backend.
        thread_affinity_core_list: CPU cores for these threads; empty means any.
        enable_parallel: 1 or 0 for operators side by side or not; -1 leaves it to the backend.
        config_file: Configuration for the backend, absolute; None for none.
        options: Options of the library by name, as `declare_model(..., runtime_options=...)` got them. Each backend
            knows its own, and refuses others.
        sharded: Whether the graph talks with those of other ranks while it runs. It must then run when they run, and
            never by itself, to repair itself for example.
        dec_key: Key of an encrypted file; None for a plain one.
        dec_mode: `AES-GCM` or `AES-CBC`.
    """

    path: Path
    with_batch_dim: bool
    without_batch_dim_inputs: tuple[int, ...]
    max_batch_size: int
    device_type: str
    device_id: int
    context: Mapping[str, str] = field(default_factory=dict)
    thread_num: int = -1
    thread_affinity_core_list: tuple[int, ...] = ()
    enable_parallel: int = -1
    model_format: str = "mindir"
    config_file: str | None = None
    options: Mapping[str, str | float] = field(default_factory=dict)
    sharded: bool = False
    dec_key: bytes | None = field(default=None, repr=False)
    dec_mode: str = "AES-GCM"

    def without_batch(self, inputs: int) -> frozenset[int]:
        """Which of so many inputs have a first dimension that is not the batch."""
        return frozenset(self.without_batch_dim_inputs if self.with_batch_dim else range(inputs))


class LoadedGraph(Protocol):
    """A model file that is ready to run."""

    @property
    def signature(self) -> GraphSignature:
        """Inputs and outputs with their full shapes; -1 stands for a dynamic dimension, in any place."""
        ...

    @property
    def dynamic_batch(self) -> bool:
        """Whether any number of rows runs, from 1 to the signature's, or where that has -1 to `max_batch_size`."""
        ...

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        """Run the model once. Any thread may call; calls run one after the other.

        Args:
            arrays: One per input, with the signature's dtype and shape, where a dynamic dimension has any size from 1
                on. With a dynamic batch there may be fewer rows, also where the signature has a number. Text is an
                array of objects, `str` for STRING and `bytes` for BYTES.

        Returns:
            One C-contiguous array per output. They stay as they are, whatever is run later and whatever becomes of
            `arrays`, and the caller may change them. Text is an array of such objects, or of a dtype of text of NumPy.

        Raises:
            InvalidInput: An array does not fit the signature; nothing was run.
            ModelError: The model failed.
        """
        ...

    def close(self) -> None:
        """Unload the model; safe to call twice. `predict` raises ModelError from then on."""
        ...


@runtime_checkable
class ConcurrentGraph(LoadedGraph, Protocol):
    """A graph that runs at the same time as other graphs of the process, each called from a thread of its own."""

    @property
    def concurrent(self) -> Literal[True]:
        """Tells these graphs from others, which must not be called while another one runs, or gain nothing by it."""
        ...


class Backend(Protocol):
    """Loads model files."""

    def load(self, request: LoadRequest) -> LoadedGraph:
        """Load a file and run it once, so that the first `predict` is as quick as any.

        Raises:
            StartUpError: The file cannot be loaded or served; the text says why.
        """
        ...
