"""Paddle models on Paddle Inference.

A predictor keeps its inputs and outputs between calls, so one call runs at a time. Paddle keeps the interpreter lock
while a model runs, so that graphs of one process gain nothing by threads of Python: they take turns, and each computes
with as many threads as the worker has cores. Copies of a servable are processes (ADR 56).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.server.backend.dynamic_batch import batch_varies
from mindspore_serving.server.backend.input_check import InputCheck, contiguous
from mindspore_serving.server.backend.paddle.decrypted import decrypted
from mindspore_serving.server.backend.paddle.library import (
    LIBRARY,
    import_paddle,
    printing_nothing,
    reason_of,
)
from mindspore_serving.server.backend.paddle.model_files import ModelFiles, files_of
from mindspore_serving.server.backend.paddle.parameters import check_parameters
from mindspore_serving.server.backend.paddle.program import Program, Value, read_program, spec_of
from mindspore_serving.server.backend.paddle.settings import PaddleSettings, configured, settings_of
from mindspore_serving.server.backend.run_errors import model_closed, run_failed
from mindspore_serving.server.backend.runtime_options import chosen_outputs
from mindspore_serving.server.backend.trial import output_spec, try_model
from mindspore_serving.server.host.core_affinity import threads_on_cores
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import Array

_WITHOUT_MKLDNN = "; oneDNN may lack something that it needs: try runtime_options={'use_mkldnn': False}"


class PaddleBackend:
    """Loads models of Paddle; on CPU, and where the installed package has them on GPU and NPU. Only CPU was tried."""

    def load(self, request: LoadRequest) -> PaddleGraph:
        """Load a model and run it.

        Raises:
            StartUpError: Its files, types or shapes cannot be served, an option or the key is not right, or Paddle is
                missing or cannot load or run the model; the text says why, and what to do where that is known.
        """
        files = files_of(request.path)
        settings = settings_of(request)
        files.content()  # what is missing is said before Paddle takes its seconds to be imported
        with threads_on_cores(request.thread_affinity_core_list):
            paddle = import_paddle()
            plain = (
                nullcontext(files)
                if request.dec_key is None
                else decrypted(paddle, files, request.dec_key, request.dec_mode)
            )
            with plain as there, printing_nothing():
                return _loaded(paddle, there, settings, request)


class PaddleGraph:
    """One model of Paddle as a predictor.

    Args:
        run: Runs it.
        signature: Of the file, and of what it gave when it was tried.
        request: How it was loaded.
    """

    def __init__(self, run: PredictorRun, signature: GraphSignature, request: LoadRequest) -> None:
        unbatched = request.without_batch(len(signature.inputs))
        self.signature = signature
        self.dynamic_batch = batch_varies(signature.inputs, unbatched)
        self._run: PredictorRun | None = run
        self._path = request.path
        self._cores = request.thread_affinity_core_list
        self._lock = threading.Lock()
        self._check = InputCheck(signature, request.max_batch_size, unbatched)

    def __repr__(self) -> str:
        return f"<PaddleGraph {self._path} {'ready' if self._run else 'closed'}>"

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        """Run the model once; any thread may call.

        Raises:
            InvalidInput: An array does not fit; nothing was run.
            ModelError: The model failed; the text has Paddle's reason.
        """
        self._check.rows_of(arrays)
        with self._lock:
            if self._run is None:
                raise model_closed()
            try:
                with threads_on_cores(self._cores):
                    return self._run(contiguous(arrays))
            except Exception as cause:  # Paddle raises errors of many types
                raise run_failed(reason_of(cause)) from cause

    def close(self) -> None:
        """Unload the model, when the run that is under way has ended."""
        with self._lock:
            self._run = None


class PredictorRun:
    """Runs a predictor.

    Args:
        predictor: Paddle's.
        inputs: What it takes, as its program says.
        outputs: Names of the outputs that are wanted.
    """

    def __init__(self, predictor: Any, inputs: Sequence[Value], outputs: Sequence[str]) -> None:
        self._predictor = predictor
        self._inputs = [(predictor.get_input_handle(one.name), one.lod_level > 0) for one in inputs]
        self._outputs = [predictor.get_output_handle(name) for name in outputs]

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        """What the predictor gives, in memory of its own; may raise anything."""
        for (handle, is_sequence), array in zip(self._inputs, arrays, strict=True):
            handle.copy_from_cpu(array)
            if is_sequence:
                handle.set_lod([[0, len(array)]])
        self._predictor.run()
        return [handle.copy_to_cpu() for handle in self._outputs]


def _loaded(paddle: Any, files: ModelFiles, settings: PaddleSettings, request: LoadRequest) -> PaddleGraph:
    program = read_program(paddle, files)
    check_parameters(files, program)
    inputs = tuple(spec_of("input", index, value) for index, value in enumerate(program.inputs))
    outputs = [
        spec_of("output", index, value)
        for index, value in enumerate(chosen_outputs(program.outputs, settings.options.get("outputs")))
    ]
    _check_sequences(program, request)
    try:
        predictor = paddle.inference.create_predictor(configured(paddle, files, settings))
        run = PredictorRun(predictor, program.inputs, [spec.name for spec in outputs])
    except StartUpError:
        raise
    except Exception as cause:  # Paddle raises errors of many types
        hint = _WITHOUT_MKLDNN if settings.uses_mkldnn else ""
        raise StartUpError(f"{LIBRARY} cannot load '{request.path}': {reason_of(cause)}{hint}") from cause
    trial = try_model(run, inputs, request, LIBRARY, reason_of)
    specs = tuple(
        output_spec(spec, [results[index] for results in trial.results], trial.rows, request)
        for index, spec in enumerate(outputs)
    )
    return PaddleGraph(run, GraphSignature(inputs, specs), request)


def _check_sequences(program: Program, request: LoadRequest) -> None:
    """Refuse inputs of sequences of different lengths in one tensor, but for one sequence at a time.

    Raises:
        StartUpError: There is one.
    """
    unbatched = request.without_batch(len(program.inputs))
    for index, value in enumerate(program.inputs):
        if value.lod_level > 1:
            raise StartUpError(
                f"Model input {index} '{value.name}' is a LoD tensor of {value.lod_level} levels, which cannot be "
                "served, expected at most 1; export the model with padded inputs"
            )
        if value.lod_level and index not in unbatched:
            raise StartUpError(
                f"Model input {index} '{value.name}' is a LoD tensor: sequences of different lengths one after the "
                "other, which have no batch; declare_model(..., with_batch_dim=False) serves one sequence at a time"
            )
