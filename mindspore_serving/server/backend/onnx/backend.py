"""ONNX models on ONNX Runtime.

A session takes any shape that its file allows, arrays of any layout, and several runs at a time. It has a pool of
threads of its own: as many as the worker has cores, so that the copies of a servable, which share the cores of the
machine, do not get in each other's way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.server.backend.dynamic_batch import batch_varies
from mindspore_serving.server.backend.input_check import InputCheck
from mindspore_serving.server.backend.onnx.model_header import read_header
from mindspore_serving.server.backend.onnx.session import open_session, reason_of, run_options
from mindspore_serving.server.backend.onnx.settings import LIBRARY, settings_of
from mindspore_serving.server.backend.onnx.values import OutputReader, input_spec, reader_of
from mindspore_serving.server.backend.run_errors import model_closed, run_failed
from mindspore_serving.server.backend.runtime_options import chosen_outputs
from mindspore_serving.server.backend.trial import output_spec, try_model
from mindspore_serving.server.host.core_affinity import threads_on_cores
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import Array


class OnnxBackend:
    """Loads ONNX files; on CPU, and where the installed package has their providers on GPU and Ascend."""

    def load(self, request: LoadRequest) -> OnnxGraph:
        """Load a model and run it.

        Raises:
            StartUpError: The file, its types or its shapes cannot be served, an option is not right, or ONNX Runtime
                cannot load or run the model; the text says why, and what to do where that is known.
        """
        header = read_header(request.path)
        if request.dec_key is not None:
            raise StartUpError(
                f"Model file '{request.path}': ONNX models are not encrypted, but dec_key was given; leave it out"
            )
        with threads_on_cores(request.thread_affinity_core_list):
            settings = settings_of(request)
            session = open_session(request.path, header, settings)
            outputs = chosen_outputs(session.get_outputs(), settings.options.get("outputs"))
            return _tried_graph(session, outputs, request)


class OnnxGraph:
    """One ONNX file as a session.

    Args:
        run: Runs it.
        signature: Of the file, and of what it gave when it was tried.
        readers: How to read the outputs.
        request: How it was loaded.
    """

    concurrent: Final = True

    def __init__(
        self,
        run: SessionRun,
        signature: GraphSignature,
        readers: Sequence[OutputReader],
        request: LoadRequest,
    ) -> None:
        unbatched = request.without_batch(len(signature.inputs))
        self.signature = signature
        self.dynamic_batch = batch_varies(signature.inputs, unbatched)
        self._run: SessionRun | None = run
        self._readers = readers
        self._path = request.path
        self._cores = request.thread_affinity_core_list
        self._check = InputCheck(signature, request.max_batch_size, unbatched)

    def __repr__(self) -> str:
        return f"<OnnxGraph {self._path} {'ready' if self._run else 'closed'}>"

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        """Run the model once; any thread may call, also several at a time.

        Raises:
            InvalidInput: An array does not fit; nothing was run.
            ModelError: The model failed; the text has ONNX Runtime's reason.
        """
        self._check.rows_of(arrays)
        run = self._run
        if run is None:
            raise model_closed()
        try:
            results = self._run_on_cores(run, arrays)
        except Exception as cause:  # classes of errors of the library have no base of their own
            raise run_failed(reason_of(cause)) from cause
        return [reader.read(result) for reader, result in zip(self._readers, results, strict=True)]

    def close(self) -> None:
        """Unload the model, when the runs that are under way have ended."""
        self._run = None

    def _run_on_cores(self, run: SessionRun, arrays: Sequence[Array]) -> list[Any]:
        """Run where the request says: the calling thread computes as well, beside those of the session."""
        if not self._cores:
            return run(arrays)
        with threads_on_cores(self._cores):
            return run(arrays)


class SessionRun:
    """Runs a session.

    Args:
        session: The loaded file.
        inputs: Names of its inputs.
        outputs: Names of the outputs that are wanted.
    """

    def __init__(self, session: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self._session = session
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._options = run_options()

    def __call__(self, arrays: Sequence[Array]) -> list[Any]:
        """What the session gives, which may raise anything."""
        results: list[Any] = self._session.run(
            self._outputs, dict(zip(self._inputs, arrays, strict=True)), self._options
        )
        return results


def _tried_graph(session: Any, outputs: Sequence[Any], request: LoadRequest) -> OnnxGraph:
    """Run a session, and make a graph of it.

    Raises:
        StartUpError: Its types or shapes cannot be served, or it does not run.
    """
    inputs = tuple(input_spec(i, value) for i, value in enumerate(session.get_inputs()))
    readers = [reader_of(i, value) for i, value in enumerate(outputs)]
    run = SessionRun(session, [spec.name for spec in inputs], [reader.spec.name for reader in readers])
    trial = try_model(run, inputs, request, LIBRARY, reason_of)
    arrays = [[reader.read(results[i]) for results in trial.results] for i, reader in enumerate(readers)]
    specs = tuple(
        output_spec(reader.spec, found, trial.rows, request)
        for reader, found in zip(readers, arrays, strict=True)
    )
    return OnnxGraph(run, GraphSignature(inputs, specs), readers, request)
