"""REST: inference with JSON."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from oip_conformance import sources
from oip_conformance.check import Area, Skip, Tier, expect
from oip_conformance.rest import JSON_TYPE
from oip_conformance.server import Server, as_list, as_object, expect_error, ok_json, outputs_of
from oip_conformance.tensors import BINARY_ONLY, DATATYPES, Tensor, expect_same, json_input

AREA = Area("REST: inference", "http")

_NO_SUCH_MODEL = "oip-conformance-no-such-model"
_FAILED = (
    "A failed inference has an error status, typically 400, and the body is an object with the text error."
)
_CONCURRENT = 8
_LARGE_JSON = 5 << 18


def json_inputs(server: Server, **choice: Any) -> tuple[Tensor, ...]:
    """Return the model's inputs.

    Raises:
        Skip: One of them has no JSON form.
    """
    inputs = server.inputs(**choice)
    for tensor in inputs:
        if tensor.datatype in BINARY_ONLY:
            raise Skip(f"needs a model without {tensor.datatype} inputs: they have no JSON form")
    return inputs


@AREA.check("infer.flat", Tier.REQUIRED, "Data may be a flat array, row-major.", sources.TENSOR_DATA)
def flat(server: Server) -> None:
    """An inference with flat data succeeds."""
    outputs_of(server.infer_json(json_inputs(server, anyway=True)))


@AREA.check("infer.nested", Tier.REQUIRED, "Data may be nested like the shape.", sources.TENSOR_DATA)
def nested(server: Server) -> None:
    """Nested data gives the reply of flat data."""
    reference = server.reference()
    expect_same("the reply", outputs_of(server.infer_json(json_inputs(server), nested=True)), reference)


@AREA.check(
    "infer.fields",
    Tier.REQUIRED,
    "The reply has the model's name, and outputs as an array.",
    sources.INFER_REPLY,
)
def fields(server: Server) -> None:
    """The reply has model_name and outputs."""
    found = as_object(ok_json(server.infer_json(json_inputs(server))), "the reply")
    expect(found.get("model_name") == server.model, f"model_name {server.model!r}", found.get("model_name"))
    as_list(found.get("outputs"), "outputs")


@AREA.check("infer.json_type", Tier.REQUIRED, "The reply is JSON.", sources.INFER_REPLY)
def json_type(server: Server) -> None:
    """The reply of a JSON request has the content type application/json."""
    reply = server.infer_json(json_inputs(server))
    expect(reply.content_type == JSON_TYPE, JSON_TYPE, reply.headers.get("content-type"))


@AREA.check(
    "infer.outputs",
    Tier.REQUIRED,
    "Each output has name, shape, datatype and data; without a choice of outputs all come.",
    sources.REPLY_OUTPUT,
)
def outputs(server: Server) -> None:
    """The reply has all outputs of the metadata, in datatype and shape."""
    found = outputs_of(server.infer_json(json_inputs(server)))
    specs = {spec.name: spec for spec in server.specs("outputs")}
    expect(set(found) == set(specs), f"the outputs {sorted(specs)}", sorted(found))
    for name, tensor in found.items():
        spec = specs[name]
        fits = len(spec.shape) == len(tensor.shape) and all(
            size in (-1, real) for size, real in zip(spec.shape, tensor.shape, strict=True)
        )
        expect(
            tensor.datatype == spec.datatype and fits, f"{name} {spec.datatype} {list(spec.shape)}", tensor
        )


@AREA.check("infer.id", Tier.REQUIRED, "The id of the request is in the reply.", sources.INFER_REQUEST)
def request_id(server: Server) -> None:
    """The id comes back."""
    found = ok_json(server.infer_json(json_inputs(server), id="oip-42"))
    expect(found.get("id") == "oip-42", "id 'oip-42'", found.get("id"))


@AREA.check("infer.id_text", Tier.REQUIRED, "The id of the request is in the reply.", sources.INFER_REQUEST)
def id_of_any_text(server: Server) -> None:
    """An id of any text comes back as it was."""
    text = 'a "quoted" \\ 中文 \U0001f600'
    found = ok_json(server.infer_json(json_inputs(server), id=text))
    expect(found.get("id") == text, f"id {text!r}", repr(found.get("id")))


@AREA.check(
    "infer.one_output", Tier.REQUIRED, "outputs names the outputs that are returned.", sources.INFER_REQUEST
)
def one_output(server: Server) -> None:
    """Only the requested output is returned."""
    specs = server.specs("outputs")
    for spec in specs:
        found = outputs_of(server.infer_json(json_inputs(server), outputs=[{"name": spec.name}]))
        expect(list(found) == [spec.name], f"only {spec.name!r}", list(found))


@AREA.check(
    "infer.no_outputs",
    Tier.TRITON,
    "An empty list of outputs is no choice: all are returned.",
    sources.INFER_REQUEST,
)
def no_outputs(server: Server) -> None:
    """An empty list of outputs returns all."""
    expect_same(
        "the reply", outputs_of(server.infer_json(json_inputs(server), outputs=[])), server.reference()
    )


@AREA.check(
    "infer.output_twice",
    Tier.REQUIRED,
    "outputs names the outputs that are returned: each comes once, or the request is refused.",
    sources.OUTPUT,
)
def output_twice(server: Server) -> None:
    """An output that is asked twice comes once, or is refused."""
    name = server.specs("outputs")[0].name
    reply = server.infer_json(json_inputs(server), outputs=[{"name": name}, {"name": name}])
    if reply.status == 200:
        found = outputs_of(reply)
        expect(list(found) == [name], f"only {name!r}, once", list(found))
    else:
        expect_error(reply)


@AREA.check("infer.order", Tier.REQUIRED, "An input is known by its name.", sources.INPUT)
def order(server: Server) -> None:
    """The order of the inputs does not matter."""
    inputs = json_inputs(server)
    if len(inputs) < 2:
        raise Skip(f"needs a model with two inputs; {server.model!r} has one")
    expect_same("the reply", outputs_of(server.infer_json(inputs[::-1])), server.reference())


@AREA.check("infer.rows", Tier.REQUIRED, "Shape and data hold the whole batch.", sources.INPUT)
def rows(server: Server) -> None:
    """A batch of 3 rows gives outputs of 3 rows, those of each row alone."""
    batch = outputs_of(server.infer_json(json_inputs(server, rows=3)))
    for name, tensor in batch.items():
        expect(bool(tensor.shape) and tensor.shape[0] == 3, f"3 rows in {name!r}", list(tensor.shape))
    inputs = json_inputs(server, rows=3)
    for row in range(3):
        alone = outputs_of(server.infer_json([each.with_array(each.array[row : row + 1]) for each in inputs]))
        expected = {name: each.with_array(each.array[row : row + 1]) for name, each in batch.items()}
        expect_same(f"row {row} alone", alone, expected)


@AREA.check("infer.version", Tier.REQUIRED, "A version may be named in the path.", sources.PATHS)
def version(server: Server) -> None:
    """An inference of a named version succeeds, and the reply names it."""
    asked = server.versions()[0]
    reply = server.infer_json(json_inputs(server), version=asked)
    expect_same("the reply", outputs_of(reply), server.reference())
    found = reply.json().get("model_version")
    expect(found == asked, f"model_version {asked!r}", repr(found))


@AREA.check("infer.unknown_model", Tier.REQUIRED, _FAILED, sources.INFER_ERROR)
def unknown_model(server: Server) -> None:
    """Inference of an unknown model is refused with the error object."""
    expect_error(server.rest.post_json(server.path("/infer", model=_NO_SUCH_MODEL), {"inputs": []}))


@AREA.check("infer.unknown_model_404", Tier.TRITON, "What is not found is 404.", sources.TRITON_CODES)
def unknown_model_404(server: Server) -> None:
    """Inference of an unknown model is 404."""
    inputs = [json_input(tensor) for tensor in json_inputs(server)]
    expect_error(server.rest.post_json(server.path("/infer", model=_NO_SUCH_MODEL), {"inputs": inputs}), 404)


@AREA.check("infer.unknown_version", Tier.REQUIRED, _FAILED, sources.INFER_ERROR)
def unknown_version(server: Server) -> None:
    """Inference of an unknown version is refused with the error object."""
    server.versions()
    expect_error(server.infer_json(json_inputs(server), version="987654"))


@AREA.check(
    "infer.parameters",
    Tier.REQUIRED,
    "Request, inputs and outputs may have parameters: texts, numbers and booleans.",
    sources.PARAMETERS,
)
def parameters(server: Server) -> None:
    """Parameters of request, inputs and outputs are accepted."""
    given = {"oip_text": "a", "oip_number": 2, "oip_flag": True}
    inputs = [{**json_input(tensor), "parameters": given} for tensor in json_inputs(server)]
    outputs = [{"name": spec.name, "parameters": {}} for spec in server.specs("outputs")]
    request = {"inputs": inputs, "outputs": outputs, "parameters": given}
    expect_same(
        "the reply", outputs_of(server.rest.post_json(server.path("/infer"), request)), server.reference()
    )


@AREA.check(
    "infer.no_content_type",
    Tier.TRITON,
    "Triton's clients send no content type.",
    sources.TRITON_CLIENT,
)
def no_content_type(server: Server) -> None:
    """A request without Content-Type is answered."""
    body = json.dumps({"inputs": [json_input(tensor) for tensor in json_inputs(server)]}).encode()
    outputs_of(server.rest.post(server.path("/infer"), body))


@AREA.check("infer.chunked", Tier.TRITON, "A body may come in chunks, without a length.", sources.HTTP_CHUNKS)
def chunked(server: Server) -> None:
    """A request in chunks is answered."""
    body = json.dumps({"inputs": [json_input(tensor) for tensor in json_inputs(server)]}).encode()
    chunks = [body[place : place + 40] for place in range(0, len(body), 40)]
    reply = server.rest.request_chunked(server.path("/infer"), chunks, {"Content-Type": JSON_TYPE})
    expect_same("the reply", outputs_of(reply), server.reference())


@AREA.check("infer.space", Tier.REQUIRED, "A request is any JSON text of this object.", sources.INFER_REQUEST)
def space(server: Server) -> None:
    """White space, the order of keys and escapes do not matter."""
    inputs = [dict(reversed(json_input(tensor).items())) for tensor in json_inputs(server)]
    body = json.dumps({"id": "\u00e9", "inputs": inputs}, indent=3, ensure_ascii=True)
    reply = server.rest.post(server.path("/infer"), f"\n\t {body} \r\n".encode(), {"Content-Type": JSON_TYPE})
    expect_same("the reply", outputs_of(reply), server.reference())
    expect(reply.json().get("id") == "\u00e9", "id 'é'", reply.json().get("id"))


@AREA.check(
    "infer.large",
    Tier.TRITON,
    "Tensors are as large as the model takes them: frameworks' own limits (often 1 MiB) are lifted.",
    sources.INPUT,
)
def large(server: Server) -> None:
    """A JSON request of more than 1 MiB is answered."""
    smallest = min(DATATYPES[tensor.datatype].size or 5 for tensor in json_inputs(server))
    # An element is 3 bytes of JSON or more: a digit, a comma and a space.
    model, inputs = server.large_inputs(_LARGE_JSON // 3 * smallest)
    found = outputs_of(server.infer_json(inputs, model=model))
    names = {spec.name for spec in server.specs("outputs", model)}
    expect(set(found) == names, f"the outputs {sorted(names)}", sorted(found))


@AREA.check(
    "infer.concurrent", Tier.REQUIRED, "The id of the request is in the reply.", sources.INFER_REQUEST
)
def concurrent(server: Server) -> None:
    """Requests sent at once get their own replies, by id and by values."""
    sets = [json_inputs(server, salt=salt) for salt in range(_CONCURRENT)]
    server.reference()
    expected = [outputs_of(server.infer_json(inputs)) for inputs in sets]
    with ThreadPoolExecutor(_CONCURRENT) as threads:
        calls = [
            threads.submit(server.infer_json, inputs, id=f"oip-{place % _CONCURRENT}")
            for place, inputs in enumerate(sets * 4)
        ]
        replies = [call.result() for call in calls]
    for place, reply in enumerate(replies):
        found = ok_json(reply).get("id")
        expect(found == f"oip-{place % _CONCURRENT}", f"id 'oip-{place % _CONCURRENT}'", repr(found))
        expect_same("a concurrent reply", outputs_of(reply), expected[place % _CONCURRENT])


@AREA.check(
    "infer.no_bare_nan",
    Tier.REQUIRED,
    "JSON has no NaN and no infinity: a reply may write null, or refuse.",
    sources.JSON_NUMBERS,
)
def no_bare_nan(server: Server) -> None:
    """A NaN in an output does not make the reply something else than JSON."""
    model = server.echo_of("FP32")
    (tensor,) = server.inputs(model)
    array = tensor.array.copy()
    array.reshape(-1)[0] = np.nan
    reply = server.infer_binary(
        [tensor.with_array(array)], model=model, parameters={"binary_data_output": False}
    )
    if reply.status == 400 and "binary_tensor_data" not in server.extensions():
        raise Skip("needs the extension binary_tensor_data, to send NaN")
    expect(reply.status < 500, "JSON with null, or a refusal with 4xx", reply)
    as_object(reply.json(), "the reply")


@AREA.check(
    "infer.zero_size",
    Tier.REQUIRED,
    "A dimension is an unsigned number: 0 is one. A model may still refuse it.",
    sources.INPUT,
    hostile=True,
)
def zero_size(server: Server) -> None:
    """A tensor of no elements is answered, or refused with 4xx."""
    inputs = json_inputs(server, rows=0)
    reply = server.infer_json(inputs)
    if reply.status == 200:
        found = outputs_of(reply)
        expect(all(0 in tensor.shape for tensor in found.values()), "outputs of no elements", found)
    else:
        expect_error(reply)
