"""Models on MindSpore Lite.

Lite runs one shape at a time, which `resize` changes in a fraction of a millisecond. So a graph keeps one loaded model
and resizes it when a batch has another number of rows than the one before; a further model per batch size would hold
the weights again. Other dimensions do not vary: after a size of 1, Lite 2.0 gives wrong numbers for larger ones, or
ends the process (ADR 57). Whether a file with a fixed batch gives the same for fewer rows is tried while it loads: a
constant in the model may have the batch size, or an output may depend on all rows.

Graphs share nothing, and Lite has a pool of threads for each: they run side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.lite.convert import HOW_TO_CONVERT
from mindspore_serving.lite.library import MINDIR, MS, LiteError, LiteTensor
from mindspore_serving.lite.reason import NEWER_MINDIR
from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.server.backend.dynamic_batch import (
    agree,
    check_only_batch_varies,
    rows_to_try,
    sample_of,
    varies,
)
from mindspore_serving.server.backend.encrypted_model import mode_of_file
from mindspore_serving.server.backend.input_check import InputCheck, contiguous
from mindspore_serving.server.backend.lite.runtime import RunnableModel, Runtime, find_runtime
from mindspore_serving.server.backend.lite.settings import settings_of
from mindspore_serving.server.backend.model_file import check_path, reading
from mindspore_serving.server.backend.run_errors import model_closed, run_failed
from mindspore_serving.server.host.core_affinity import threads_on_cores
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import DATA_TYPE_OF, Array, TensorSpec

_MS_MARK = b"MSL"
_MS_MARK_AT = 4


class LiteBackend:
    """Loads .mindir and .ms files; on CPU, and, where its package brings that, on GPU and Ascend.

    Args:
        runtime: The way to Lite; None looks for one at the first load.
    """

    def __init__(self, runtime: Runtime | None = None) -> None:
        self._runtime = runtime

    def load(self, request: LoadRequest) -> LiteGraph:
        """Load a model and run it once.

        Raises:
            StartUpError: The file or its shapes cannot be served, Lite is not there, or it cannot load or run the
                model; the text has Lite's reason.
        """
        model_type = _check_file(request)
        if self._runtime is None:
            self._runtime = find_runtime()
        with threads_on_cores(request.thread_affinity_core_list):
            try:
                model = self._runtime.load(
                    request.path, model_type, settings_of(request), request.config_file
                )
                return LiteGraph(model, request)
            except LiteError as cause:
                raise StartUpError(_load_error(request.path, str(cause))) from cause


class LiteGraph:
    """One model file on Lite.

    Args:
        model: The loaded file.
        request: How it was loaded.

    Raises:
        StartUpError: Its shapes or data types cannot be served.
        LiteError: It does not run.
    """

    concurrent: Final = True

    def __init__(self, model: RunnableModel, request: LoadRequest) -> None:
        self._model = model
        self._request = request
        self._lock = threading.Lock()
        self._shapes = [tensor.shape for tensor in model.inputs]
        self._closed = False
        inputs = tuple(_input_spec(index, tensor) for index, tensor in enumerate(model.inputs))
        check_only_batch_varies(inputs, request, "MindSpore Lite")
        self._batched = [
            request.with_batch_dim and index not in request.without_batch_dim_inputs
            for index in range(len(inputs))
        ]
        if any(map(varies, inputs)):
            self.dynamic_batch = True
            self.signature = GraphSignature(inputs, self._outputs_of_any_rows(inputs))
            checked, limit = inputs, request.max_batch_size
        else:
            sample = [sample_of(spec, 1) for spec in inputs]
            outputs = self._run(sample)
            self.signature = GraphSignature(inputs, self._output_specs([output.shape for output in outputs]))
            limit = self._rows()
            self.dynamic_batch = limit > 1 and self._takes_fewer_rows(sample, outputs, limit)
            checked = self._with_any_rows(inputs) if self.dynamic_batch else inputs
        self._check = InputCheck(GraphSignature(tuple(checked), self.signature.outputs), limit)

    def __repr__(self) -> str:
        return f"<LiteGraph {self._request.path} {'closed' if self._closed else 'ready'}>"

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        """Run the model once; any thread may call.

        Raises:
            InvalidInput: An array does not fit; nothing was run.
            ModelError: The model failed; the text has Lite's reason.
        """
        rows = self._check.rows_of(arrays)
        arrays = contiguous(arrays)
        with self._lock:
            if self._closed:
                raise model_closed()
            try:
                outputs = self._run_on_cores(arrays)
            except LiteError as cause:
                raise run_failed(cause) from cause
        self._check_outputs(outputs, rows)
        return outputs

    def close(self) -> None:
        """Unload the model."""
        with self._lock:
            self._closed = True
            self._model.close()

    def _run_on_cores(self, arrays: Sequence[Array]) -> list[Array]:
        """Run where the request says: the calling thread computes as well, beside those of Lite."""
        if not self._request.thread_affinity_core_list:
            return self._run(arrays)
        with threads_on_cores(self._request.thread_affinity_core_list):
            return self._run(arrays)

    def _run(self, arrays: Sequence[Array]) -> list[Array]:
        shapes = [array.shape for array in arrays]
        if shapes != self._shapes:
            self._model.resize(shapes)
            self._shapes = shapes
        return self._model.predict(arrays)

    def _output_specs(self, shapes: Sequence[tuple[int, ...]]) -> tuple[TensorSpec, ...]:
        return tuple(
            _spec("output", index, tensor, shape)
            for index, (tensor, shape) in enumerate(zip(self._model.outputs, shapes, strict=True))
        )

    def _outputs_of_any_rows(self, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
        """Outputs by what runs of different numbers of rows give: only they tell what varies."""
        tried = rows_to_try(self._request.max_batch_size)
        found = [
            [output.shape for output in self._run([sample_of(spec, rows) for spec in inputs])]
            for rows in tried
        ]
        shapes = []
        for index, of_one_output in enumerate(zip(*found, strict=True)):
            if all(shape[:1] == (rows,) for rows, shape in zip(tried, of_one_output, strict=True)):
                of_one_output = tuple((-1, *shape[1:]) for shape in of_one_output)
            if len(set(of_one_output)) > 1:
                raise StartUpError(
                    f"Model '{self._request.path}' gives output {index} of the shapes "
                    f"{[list(shape) for shape in of_one_output]} for {tried} rows, expected only the first dimension "
                    "to follow the rows"
                )
            shapes.append(of_one_output[0])
        return self._output_specs(shapes)

    def _rows(self) -> int:
        """Rows of a fixed batch; 0 where inputs and outputs do not agree on one."""
        specs = [spec for spec, batched in zip(self.signature.inputs, self._batched, strict=True) if batched]
        if not specs:
            return 0
        firsts = {spec.shape[:1] for spec in (*specs, *self.signature.outputs)}
        first = firsts.pop()
        return first[0] if not firsts and first else 0

    def _takes_fewer_rows(self, sample: Sequence[Array], outputs: Sequence[Array], limit: int) -> bool:
        """Whether fewer rows than the file's give what the same rows give in a full batch."""
        try:
            for rows in sorted({1, max(limit // 2, 1)}):
                fewer = self._run([_first(array, rows, self._batched[i]) for i, array in enumerate(sample)])
                if not all(agree(one, other[:rows]) for one, other in zip(fewer, outputs, strict=True)):
                    break
            else:
                return True
        except LiteError as error:
            log.warning(
                "Model %s was tried with fewer rows, which failed and does no harm: %s",
                self._request.path,
                error,
            )
        log.info("Model %s runs only with %d rows; what is missing is filled up", self._request.path, limit)
        self._run(sample)
        return False

    def _with_any_rows(self, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
        return tuple(
            spec._replace(shape=(-1, *spec.shape[1:])) if batched else spec
            for spec, batched in zip(inputs, self._batched, strict=True)
        )

    def _check_outputs(self, outputs: Sequence[Array], rows: int) -> None:
        for index, (output, spec) in enumerate(zip(outputs, self.signature.outputs, strict=True)):
            expected = (rows, *spec.shape[1:]) if rows and self._follows_rows(spec) else spec.shape
            if output.shape != expected:
                raise run_failed(
                    f"model output {index} has the shape {list(output.shape)}, expected {list(expected)}"
                )

    def _follows_rows(self, spec: TensorSpec) -> bool:
        """In a fixed file that takes fewer rows, all outputs begin with the batch."""
        return self.dynamic_batch and (varies(spec) or not any(map(varies, self.signature.inputs)))


def _check_file(request: LoadRequest) -> int:
    """Look at the file before Lite does; returns its format.

    Raises:
        StartUpError: It cannot be read, or is encrypted.
    """
    path = request.path
    check_path(path)
    with reading(path), path.open("rb") as file:
        head = file.read(_MS_MARK_AT + len(_MS_MARK))
    if not head:
        raise StartUpError(f"Model file '{path}': the file is empty, expected a model for MindSpore Lite")
    if request.dec_key is not None or mode_of_file(path):
        raise StartUpError(
            f"Model file '{path}': MindSpore Lite runs no encrypted models, expected a plain file and no dec_key; run "
            "encrypted models with MindSpore: model_format='MindIR' and without enable_lite"
        )
    return MS if head[_MS_MARK_AT:] == _MS_MARK else MINDIR


def _load_error(path: Path, reason: str) -> str:
    hint = ""
    if NEWER_MINDIR in reason:
        hint = f"; MindSpore wrote the file in a format that is newer than MindSpore Lite: {HOW_TO_CONVERT}"
    return f"MindSpore Lite cannot load or run '{path}': {reason}{hint}"


def _input_spec(index: int, tensor: LiteTensor) -> TensorSpec:
    shape = tuple(tensor.shape)
    if any(dim < 1 and dim != -1 for dim in shape):
        raise StartUpError(
            f"The shape of model input {index} is invalid, shape: {list(shape)}, expected dimensions above 0, or -1 "
            "for one of any size"
        )
    return _spec("input", index, tensor, shape)


def _spec(what: str, index: int, tensor: LiteTensor, shape: tuple[int, ...]) -> TensorSpec:
    if tensor.data_type is None:
        known = ", ".join(kind.name for kind in DATA_TYPE_OF.values())
        raise StartUpError(f"The data type of model {what} {index} is unsupported, expected one of {known}")
    return TensorSpec(tensor.name, tensor.data_type, shape)


def _first(array: Array, rows: int, batched: bool) -> Array:
    return array[:rows] if batched else array
