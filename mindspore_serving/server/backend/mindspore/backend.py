"""MindIR models on MindSpore.

MindSpore is made for training: a graph takes any shape and compiles anew for it, outputs may share memory with inputs
or with constants of the graph, and a graph that failed once refuses every further run. A served model may do none of
this. So a graph here is compiled and run while it loads, arrays are checked before each run, outputs own their memory,
and a graph that failed is compiled again. What a model keeps from run to run begins with the first request, and
anew when it was compiled again (ADR 5, ADR 31).
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.server.backend.dynamic_batch import agree
from mindspore_serving.server.backend.encrypted_model import mode_of_file
from mindspore_serving.server.backend.input_check import InputCheck, contiguous
from mindspore_serving.server.backend.mindspore.exclusive_turn import TURN
from mindspore_serving.server.backend.mindspore.inputs import Inputs, KeptTensors, NewTensors, can_be_kept
from mindspore_serving.server.backend.mindspore.mindir_metadata import read_signature
from mindspore_serving.server.backend.mindspore.outputs import OutputReader, tensors_of
from mindspore_serving.server.backend.mindspore.runtime import apply_options, reason_of, start_mindspore
from mindspore_serving.server.backend.mindspore.samples import Samples
from mindspore_serving.server.backend.mindspore.tried_sizes import TriedSizes
from mindspore_serving.server.backend.model_file import check_path
from mindspore_serving.server.backend.run_errors import model_closed, run_failed
from mindspore_serving.server.host.core_affinity import threads_on_cores
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import NUMPY_OF, Array, DataType, TensorSpec, fits

_Run: TypeAlias = Callable[[Sequence[Array]], "list[Any]"]
"""Gives MindSpore's tensors for arrays."""


class MindSporeBackend:
    """Loads MindIR files on CPU, GPU or Ascend; only CPU could be tried."""

    def load(self, request: LoadRequest) -> MindSporeGraph:
        """Load a model, compile it, and run it once.

        Raises:
            StartUpError: The file or its shapes cannot be served, its key is not right, or MindSpore cannot load or
                run the model.
        """
        check_path(request.path)
        signature = read_signature(request.path, request.dec_key)
        _warn_of_other_mode(request)
        samples = Samples(signature.inputs, request)
        with TURN, threads_on_cores(request.thread_affinity_core_list):
            mindspore = start_mindspore(request.device_type, request.device_id)
            apply_options(mindspore, request)
            graph = MindSporeGraph(mindspore, request, signature, samples)
            graph.compile()
        return graph


class MindSporeGraph:
    """One MindIR file as a compiled graph.

    Args:
        mindspore: The module.
        request: What to load.
        signature: Of the file.
        samples: What to try it with.
    """

    def __init__(
        self, mindspore: Any, request: LoadRequest, signature: GraphSignature, samples: Samples
    ) -> None:
        self.signature = signature
        self.dynamic_batch = samples.dynamic_batch
        self._samples = samples
        self._sizes = samples.sizes  # to try it with; when it has run, the one that it has run with
        self._mindspore = mindspore
        self._path = request.path
        self._dec_key = request.dec_key
        self._sharded = request.sharded
        self._keeps_inputs = can_be_kept(signature.inputs, request.device_type)
        self._check = InputCheck(
            signature, request.max_batch_size, request.without_batch(len(signature.inputs))
        )
        self._tried = TriedSizes(signature.inputs, request.without_batch(len(signature.inputs)))
        self._run: _Run | None = None
        self._outputs: OutputReader  # how to read what `_run` gives; `compile` sets both
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "ready" if self._run else "not compiled"
        return f"<MindSporeGraph {self._path} {state}>"

    def compile(self) -> None:
        """Load and compile the graph, try it, and find the quickest way to run it. Only within `TURN`.

        Raises:
            StartUpError: MindSpore cannot load or run the model, or it gives something else than its file says.
        """
        self._run = None
        try:
            self._run = self._compiled_run()
        except StartUpError:
            raise
        except Exception as cause:  # a damaged or unfit model makes MindSpore raise errors of any type
            raise StartUpError(f"MindSpore cannot load or run '{self._path}': {reason_of(cause)}") from cause

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        """Run the model once; any thread may call.

        Raises:
            InvalidInput: An array does not fit; nothing was run.
            ModelError: The model failed. It was compiled again before this is raised, unless it is sharded: it then
                refuses every further run, and is to be loaded anew when all ranks do that.
        """
        self._check.rows_of(arrays)
        arrays = contiguous(arrays)
        with TURN:
            return self._run_or_repair(arrays)

    def close(self) -> None:
        """Unload the graph."""
        with TURN:
            self._closed = True
            self._run = None

    def _compiled_run(self) -> _Run:
        """A way to run the graph, which has been tried; of what was tried nothing is left in the model's state."""
        runs_by_executor = self._try()
        self._tried.ran(self._samples.batches(self._sizes[0])[-1])
        # A model may count its runs, or draw random numbers. So what was run goes, and what is served is loaded anew.
        # It has gone by now: when any cell goes, MindSpore numbers its compiled graphs anew, and the others compile
        # again at their next run.
        cell = self._new_cell()
        try:
            self._compile_only(cell)
            return self._executor_run(cell) if runs_by_executor else _CellRun(self._mindspore, cell)
        except Exception as cause:  # an interface that is not public may fail in any way
            log.warning(
                "Model %s is compiled by its first run, which takes longer: %s", self._path, reason_of(cause)
            )
        del cell
        return _CellRun(self._mindspore, self._new_cell())

    def _compile_only(self, cell: Any) -> None:
        """Compile without a run, as a cell does before its first one."""
        cell.phase = "graph_load_from_mindir"
        cell._add_attr("graph_load_from_mindir", cell.graph)
        cell.compile(*map(self._mindspore.Tensor.from_numpy, self._samples.batches(self._sizes[0])[-1]))

    def _try(self) -> bool:
        """Run the graph, and compare what it gives with what its file says.

        Returns:
            Whether the executor below the cell gives what the cell gives.
        """
        cell, expected = self._run_samples()
        samples = self._samples.batches(self._sizes[0])
        run: _Run | None = self._quick_run(cell, samples, expected)
        if run is None:
            # The attempt may have left the cell unusable. It goes before the next one comes: when any cell goes,
            # MindSpore numbers its compiled graphs anew, and the others compile again at their next run.
            del cell
            run = _CellRun(self._mindspore, self._new_cell())
        self._outputs = OutputReader.tried(self.signature.outputs, run(samples[-1]), run(samples[-1]))
        if not self._outputs.by_bytes:
            log.warning(
                "Model %s: its outputs are read by asnumpy, which is slower for small ones", self._path
            )
        return isinstance(run, _ExecutorRun)

    def _run_samples(self) -> tuple[Any, list[list[Array]]]:
        """Run the graph as MindSpore's users do, with the first size of its dynamic dimensions that it takes.

        Returns:
            The cell, and its outputs for each sample.

        Raises:
            StartUpError: Its outputs are not what its file says.
        """
        for size in self._sizes:
            try:
                cell, expected = self._run_with(size)
                break
            except Exception as cause:  # a model may raise anything for a size that it does not take
                if size == self._sizes[-1]:
                    raise
                log.info(
                    "Model %s does not run with dimensions of %s: %s", self._path, size, reason_of(cause)
                )
        self._sizes = (size,)
        for rows, outputs in zip(self._samples.rows, expected, strict=True):
            self._check_outputs(outputs, rows)
        return cell, expected

    def _run_with(self, size: int) -> tuple[Any, list[list[Array]]]:
        """The graph as a cell that no other run has left unusable, and its outputs for each sample of a size."""
        cell = self._new_cell()
        run = _CellRun(self._mindspore, cell)
        return cell, [_arrays_of(run(arrays)) for arrays in self._samples.batches(size)]

    def _new_cell(self) -> Any:
        """The graph as MindSpore wraps it; with dynamic dimensions it compiles once, for all sizes."""
        ms = self._mindspore
        cell = ms.nn.GraphCell(self._load())
        if self._samples.dynamic:
            cell.set_inputs(
                *(
                    ms.Tensor(
                        shape=[None if dim == -1 else dim for dim in spec.shape], dtype=_dtype(ms, spec)
                    )
                    for spec in self.signature.inputs
                )
            )
        return cell

    def _load(self) -> Any:
        """The graph; MindSpore decrypts an encrypted file as it reads it, nothing plain is written anywhere."""
        if self._dec_key is None:
            return self._mindspore.load(str(self._path))
        mode = mode_of_file(self._path)
        return self._mindspore.load(str(self._path), dec_key=self._dec_key, dec_mode=mode)

    def _quick_run(
        self, cell: Any, samples: Sequence[Sequence[Array]], expected: Sequence[Sequence[Array]]
    ) -> _Run | None:
        """The graph executor below the cell: half the time for a small model, but not a public interface.

        Returns:
            None where it is not there, or does not give what the cell gives.
        """
        try:
            run = self._executor_run(cell)
            run(
                [np.roll(array, 1) for array in samples[0]]
            )  # of these inputs nothing may be left in the next run
            for arrays, outputs in zip(samples, expected, strict=True):
                # A model that is random or counts its runs does not even agree with itself.
                repeatable = not _difference(_arrays_of(_CellRun(self._mindspore, cell)(arrays)), outputs)
                problem = _difference(_arrays_of(run(arrays)), outputs, repeatable)
                if problem:
                    raise ValueError(problem)
        except Exception as cause:  # an interface that is not public may fail in any way
            log.warning("Model %s runs by its GraphCell, which is slower: %s", self._path, reason_of(cause))
            return None
        return run

    def _executor_run(self, cell: Any) -> _ExecutorRun:
        from_numpy = self._mindspore.Tensor.from_numpy
        if self._keeps_inputs:
            return _ExecutorRun(cell, KeptTensors(from_numpy, self.signature.inputs))
        return _ExecutorRun(cell, NewTensors(from_numpy))

    def _check_outputs(self, outputs: Sequence[Array], rows: int) -> None:
        """Check what the model really gives against what its file says."""
        specs = self.signature.outputs
        if len(outputs) != len(specs):
            raise StartUpError(
                f"Model '{self._path}' gives {len(outputs)} outputs, its file says {len(specs)}"
            )
        for index, (output, spec) in enumerate(zip(outputs, specs, strict=True)):
            shape = (rows, *spec.shape[1:]) if rows and spec.shape[:1] == (-1,) else spec.shape
            if output.dtype != NUMPY_OF[spec.dtype] or not fits(output.shape, shape):
                raise StartUpError(
                    f"Model '{self._path}' gives {output.dtype} {list(output.shape)} as output {index}, expected "
                    f"{NUMPY_OF[spec.dtype]} {list(shape)} by its file"
                )

    def _run_or_repair(self, arrays: Sequence[Array]) -> list[Array]:
        if self._closed:
            raise model_closed()
        if self._run is None and not self._sharded:
            self._repair()
        if self._run is None:
            raise run_failed("the model failed before and cannot be compiled again")
        begun = time.monotonic()
        refused_s = self._tried.refused_for(arrays, begun)
        if refused_s:
            raise run_failed(
                f"the shapes {[list(array.shape) for array in arrays]} are not tried within {refused_s:.0f} s, since "
                "the model has failed with these or with similar ones, and has never run with such"
            )
        try:
            outputs = self._outputs.read(self._run(arrays), arrays)
        except Exception as cause:  # a kernel of the model may raise anything; it is this batch's error
            self._run = None
            if not self._sharded:
                self._repair()
                now = time.monotonic()
                self._tried.failed(arrays, now - begun, now)
            raise run_failed(reason_of(cause)) from cause
        self._tried.ran(arrays)
        return outputs

    def _repair(self) -> None:
        """Compile again after a failed run; MindSpore would refuse every further one."""
        try:
            self.compile()
            log.warning(
                "Model %s failed and was compiled again; what it keeps from run to run begins anew",
                self._path,
            )
        except StartUpError as error:
            log.error("Model %s failed and cannot be compiled again: %s", self._path, error)


def _warn_of_other_mode(request: LoadRequest) -> None:
    """Tell that a file, which was decrypted, is encrypted in another mode than the start script says."""
    if request.dec_key is None:
        return
    mode = mode_of_file(request.path)
    if mode != request.dec_mode:
        log.warning(
            "Model file '%s' is encrypted with %s, but dec_mode is '%s'; it is loaded with %s",
            request.path,
            mode,
            request.dec_mode,
            mode,
        )


def _dtype(mindspore: Any, spec: TensorSpec) -> Any:
    name = "bool_" if spec.dtype is DataType.BOOL else spec.dtype.name.lower()
    return getattr(mindspore, name)


class _CellRun:
    """Runs a cell as MindSpore's users do; the first run compiles."""

    def __init__(self, mindspore: Any, cell: Any) -> None:
        self._inputs = NewTensors(mindspore.Tensor.from_numpy)
        self._cell = cell

    def __call__(self, arrays: Sequence[Array]) -> list[Any]:
        return tensors_of(self._cell(*self._inputs(arrays)))


class _ExecutorRun:
    """Runs what a cell has compiled, which lives as long as the cell."""

    def __init__(self, cell: Any, inputs: Inputs) -> None:
        self._inputs = inputs
        self._cell = cell
        self._phase = cell.current_phase
        self._executor = importlib.import_module("mindspore.graph.api")._cell_graph_executor._graph_executor

    def __call__(self, arrays: Sequence[Array]) -> list[Any]:
        return tensors_of(self._executor(self._inputs(arrays), self._phase))


def _arrays_of(tensors: Sequence[Any]) -> list[Array]:
    return [tensor.asnumpy() for tensor in tensors]


def _difference(outputs: Sequence[Array], expected: Sequence[Array], by_value: bool = True) -> str:
    """What two results differ in; empty where they agree, but for rounding."""
    if len(outputs) != len(expected):
        return f"{len(outputs)} outputs instead of {len(expected)}"
    for index, (output, other) in enumerate(zip(outputs, expected, strict=True)):
        if (output.dtype, output.shape) != (other.dtype, other.shape):
            return f"output {index} is {output.dtype} {output.shape} instead of {other.dtype} {other.shape}"
        if by_value and not agree(output, other):
            return f"output {index} has other values"
    return ""
