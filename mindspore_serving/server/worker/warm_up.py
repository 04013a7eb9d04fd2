"""Runs the examples of methods before a worker is ready, and learns from their results.

Examples warm up what is slow at the first instance, and show that methods work: a worker of which one fails does not
start, also when it is started again. They run one after the other on the main thread, models too, since nothing else is
under way yet. How long they may take is part of how long a start may take.

Examples of a method that calls other methods do not run either: those may not be there yet. They are checked, and shown
to clients.

A worker whose models are elsewhere runs none. It reaches those through the main process, which takes its calls only
once it is ready, and the workers that hold the models run the same examples. So main learns from these.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pybase64

from mindspore_serving import log
from mindspore_serving.errors import InvalidInput, StartUpError
from mindspore_serving.rows import FailedRows, Rows
from mindspore_serving.server.register.definition import MethodDefinition, StageKind
from mindspore_serving.server.register.example import parameters_text, tensor_of
from mindspore_serving.server.worker.engine import Engine
from mindspore_serving.server.worker.job import CallJob
from mindspore_serving.server.worker.method_types import taught
from mindspore_serving.server.worker.servable_loader import LoadedServable
from mindspore_serving.server.worker.traces import InnerTrace
from mindspore_serving.server.worker.values import Values, as_rows
from mindspore_serving.signature import NO_PARAMETERS, MethodSignature
from mindspore_serving.tensor import DATA_TYPE_OF, Array, DataType, is_shape

EXAMPLES_BYTES = 1 << 14
"""Bytes of the examples of a method that clients can ask for; what does not fit any more is left out."""
_NOT_RUN = "is checked, and not run: the method calls other servables, which may not be there yet"
_WRITTEN_AS = {"b": DataType.BOOL, "i": DataType.INT32, "f": DataType.FLOAT32}
"""What numbers of JSON are where a method says nothing of them."""


def warmed_up(servable: LoadedServable, engine: Engine) -> LoadedServable:
    """Run the examples of all methods.

    Args:
        servable: Loaded, with its models in this process, or where this process reaches them.
        engine: Runs its methods; nothing is under way.

    Returns:
        The servable, with what the results tell of its methods.

    Raises:
        StartUpError: An example fails, or its result is not what is declared; the text has the method, the number of
            the example, counted from 1, and the reason.
    """
    definitions = {method.name: method for method in servable.definition.exposed}
    methods = [_run_examples(engine, definitions[method.name], method) for method in servable.methods]
    return replace(servable, methods=tuple(methods))


def _run_examples(engine: Engine, method: MethodDefinition, signature: MethodSignature) -> MethodSignature:
    results, texts, left = [], [], EXAMPLES_BYTES
    runs = all(stage.kind is not StageKind.CALL for stage in method.stages)
    for number, example in enumerate(method.examples, 1):
        where = f"Example {number} of method '{method.name}'"
        # The last line of the log, where it does not end.
        print(f"Serving: {where} {'runs' if runs else _NOT_RUN}", flush=True)
        begin = time.monotonic()
        values = values_of(where, example, method, signature)
        text = _json_of(values, signature, left)
        left -= len(text)
        texts += [text] if text else []
        if runs:
            results.append(_result_of(where, engine, method, values))
            log.info("%s took %.3f ms", where, (time.monotonic() - begin) * 1e3)
    return replace(signature, outputs=taught(signature.outputs, results), examples=tuple(texts))


def values_of(
    where: str, example: Mapping[str, Any], method: MethodDefinition, signature: MethodSignature
) -> list[Array | str | bytes]:
    """The values of an example, in the order of the method's values.

    Raises:
        StartUpError: One does not fit what is known now.
    """
    # The model itself checks a shape that only its file tells: one with as many elements is taken, as of clients.
    known = [one if one.declared else replace(one, shape=None) for one in signature.inputs]
    try:
        values = [tensor_of(example[one.name], one) for one in known]
        if method.parameters in example:
            values.append(parameters_text(example[method.parameters], method.parameters))
        elif method.parameters:
            values.append(NO_PARAMETERS)
    except InvalidInput as cause:
        raise StartUpError(f"{where}: {cause}") from cause
    return values


def _result_of(where: str, engine: Engine, method: MethodDefinition, values: Sequence[Any]) -> Rows:
    """Run one instance.

    Raises:
        StartUpError: It has failed.
    """
    # Functions may write into what they are given: the user's own arrays stay as they are.
    own = [Values(1, objects=[np.array(one) if isinstance(one, np.ndarray) else one]) for one in values]
    job = CallJob(method.name, as_rows(method.value_names, own, 1), time.monotonic())
    engine.run_alone(job)
    [(_, group)] = job.take_outcomes()
    if isinstance(group, FailedRows):
        trace = group.failure.trace
        raise StartUpError(f"{where} failed: {group.failure.text}") from (
            InnerTrace(trace) if trace else None
        )
    return group


def _json_of(values: Sequence[Any], signature: MethodSignature, most_bytes: int) -> str:
    """An example as REST takes an instance; "" where it is longer than may be, or REST cannot send it."""
    if any(isinstance(one, np.ndarray) and not is_shape(one.shape) for one in values):
        return ""
    if sum(len(one) if isinstance(one, (str, bytes)) else one.nbytes for one in values) > most_bytes:
        return ""
    instance = {
        one.name: _json_value(value, signature.number_types.get(one.name))
        for one, value in zip(
            signature.inputs, values, strict=False
        )  # but for the parameters, which REST has not
    }
    text = json.dumps(instance, ensure_ascii=False)
    return text if len(text.encode(errors="replace")) <= most_bytes else ""


def _json_value(value: Array | str | bytes, numbers_become: DataType | None) -> Any:
    """A value in JSON: plain where it is read as what it is, else as base64."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return {"b64": pybase64.b64encode_as_string(value)}
    dtype = DATA_TYPE_OF[value.dtype]
    written = numbers_become if value.dtype.kind != "b" else None
    plain = dtype is (written or _WRITTEN_AS.get(value.dtype.kind))
    if plain and value.size and (value.dtype.kind != "f" or np.isfinite(value).all()):
        return value.tolist()
    data = pybase64.b64encode_as_string(np.ascontiguousarray(value).tobytes())
    return {"b64": data, "type": dtype.name.lower(), "shape": list(value.shape)}
