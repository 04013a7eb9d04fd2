"""REST: malformed inferences. Each is refused with 4xx and the error object, and the server goes on."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

from oip_conformance import sources
from oip_conformance.areas.rest_binary import needs_binary
from oip_conformance.areas.rest_infer import json_inputs
from oip_conformance.check import Area, Skip, Tier
from oip_conformance.rest import HEADER_LENGTH, JSON_TYPE, Reply
from oip_conformance.server import Server, binary_request, expect_error, framed
from oip_conformance.tensors import DATATYPES, Tensor, filled, json_input, to_bytes

AREA = Area("REST: malformed requests", "http")
BINARY = Area("REST: malformed binary requests", "http")
# Such requests have ended whole processes: these checks run last.
DEEP = Area("REST: requests that are nested too deep", "http")

_REFUSED = (
    "A failed inference has an error status, typically 400, and the body is an object with the text error "
    "(required_api.md, Inference Response JSON Error Object); 4xx is the class of a client's mistake (RFC 9110, 15.5)."
)
Request = dict[str, Any]
_DEPTH = 100_000
_DIGITS = 20_000


def _post(server: Server, body: bytes) -> Reply:
    return server.rest.post(server.path("/infer"), body, {"Content-Type": JSON_TYPE})


def _refused(
    check_id: str, title: str, says: str, source: sources.Source, tier: Tier, send: Callable[[Server], Reply]
) -> None:
    def run(server: Server) -> None:
        expect_error(send(server))

    area = DEEP if check_id.startswith("nested_") else AREA
    area.add(f"refused.{check_id}", tier, title, f"{says} {_REFUSED}", source, run, hostile=True)


# --- Bodies that are no request ---------------------------------------------------------------------------------------

_BODIES: Sequence[tuple[str, str, bytes]] = (
    ("empty_body", "An empty body", b""),
    ("not_json", "A body that is not JSON", b"this is not JSON"),
    ("cut_json", "JSON that ends too early", b'{"inputs": [{"name": "x"'),
    ("trailing_text", "JSON with text behind it", b'{"inputs": []} {"inputs": []}'),
    ("not_utf8", "A body that is not UTF-8", b'{"inputs": [], "id": "\xff\xfe"}'),
    ("json_array", "An array instead of an object", b"[1, 2, 3]"),
    ("json_number", "A number instead of an object", b"42"),
    ("json_null", "null instead of an object", b"null"),
    ("nested_arrays", f"{_DEPTH} nested arrays", b"[" * _DEPTH + b"]" * _DEPTH),
    ("nested_objects", f"{_DEPTH} nested objects", b'{"a":' * _DEPTH + b"1" + b"}" * _DEPTH),
    ("nested_open", f"{_DEPTH} arrays that do not end", b'{"inputs": ' + b"[" * _DEPTH),
    ("inputs_absent", "No inputs", b"{}"),
    ("inputs_number", "A number as inputs", b'{"inputs": 5}'),
    ("inputs_null", "null as inputs", b'{"inputs": null}'),
    ("inputs_object", "An object as inputs", b'{"inputs": {"name": "x"}}'),
    ("input_text", "A text as an input", b'{"inputs": ["x"]}'),
    ("input_null", "null as an input", b'{"inputs": [null]}'),
)


def _collect_body(check_id: str, title: str, body: bytes) -> None:
    says = "The body is the request object, which has the array inputs."
    _refused(check_id, title, says, sources.INFER_REQUEST, Tier.REQUIRED, lambda server: _post(server, body))


for _row in _BODIES:
    _collect_body(*_row)


# --- A good request with one mistake ----------------------------------------------------------------------------------


def _good(server: Server) -> Request:
    return {"inputs": [json_input(tensor) for tensor in json_inputs(server)]}


def _mistaken(
    check_id: str,
    title: str,
    says: str,
    change: Callable[[Request, Server], Any],
    *,
    source: sources.Source = sources.INPUT,
    tier: Tier = Tier.REQUIRED,
) -> None:
    def send(server: Server) -> Reply:
        request = copy.deepcopy(_good(server))
        changed = change(request, server)
        return _post(server, changed if isinstance(changed, bytes) else json.dumps(request).encode())

    _refused(check_id, title, says, source, tier, send)


def _set(key: str, value: Any) -> Callable[[Request, Server], None]:
    def change(request: Request, _: Server) -> None:
        request["inputs"][0][key] = value

    return change


def _drop(key: str) -> Callable[[Request, Server], None]:
    def change(request: Request, _: Server) -> None:
        del request["inputs"][0][key]

    return change


def _top(key: str, value: Any) -> Callable[[Request, Server], None]:
    def change(request: Request, _: Server) -> None:
        request[key] = value

    return change


for _key in ("name", "shape", "datatype", "data"):
    _mistaken(f"no_{_key}", f"An input without {_key}", f"An input has {_key}.", _drop(_key))
_mistaken("name_number", "A number as an input's name", "name is a text.", _set("name", 5))
_mistaken(
    "datatype_unknown", "An unknown datatype", "datatype is one of the table.", _set("datatype", "FP31")
)
_mistaken("datatype_number", "A number as the datatype", "datatype is a text.", _set("datatype", 32))
_mistaken(
    "datatype_case",
    "A datatype in small letters",
    "All texts have case.",
    _set("datatype", "fp32"),
    source=sources.STRINGS,
)
_mistaken("shape_number", "A number as the shape", "shape is an array.", _set("shape", 4))
_mistaken(
    "shape_texts", "Texts in the shape", "shape is an array of whole numbers.", _set("shape", ["2", "2"])
)
_mistaken(
    "shape_fraction", "A fraction in the shape", "A dimension is a whole number.", _set("shape", [1.5, 2])
)
_mistaken("shape_null", "null as the shape", "shape is an array.", _set("shape", None))
_mistaken("data_number", "A number as data", "data is an array.", _set("data", 5))
_mistaken("data_null", "null as data", "data is an array.", _set("data", None), source=sources.TENSOR_DATA)
_mistaken(
    "data_object",
    "An object as data",
    "data is an array.",
    _set("data", {"a": 1}),
    source=sources.TENSOR_DATA,
)
_mistaken(
    "parameters_array",
    "An array as parameters",
    "parameters is an object.",
    _top("parameters", [1]),
    source=sources.PARAMETERS,
)
_mistaken(
    "outputs_number",
    "A number as outputs",
    "outputs is an array.",
    _top("outputs", 5),
    source=sources.INFER_REQUEST,
)
_mistaken(
    "output_no_name",
    "A requested output without name",
    "A requested output has a name.",
    _top("outputs", [{}]),
    source=sources.OUTPUT,
)
_mistaken(
    "output_unknown",
    "A requested output that the model has not",
    "outputs names outputs of the model.",
    _top("outputs", [{"name": "oip-no-such-output"}]),
    source=sources.OUTPUT,
)


def _mistake(
    check_id: str, says: str, *, source: sources.Source = sources.INPUT, tier: Tier = Tier.REQUIRED
) -> Callable[[Callable[[Request, Server], Any]], Callable[[Request, Server], Any]]:
    """Make a check of a function that changes a good request; its docstring is the title."""

    def collect(change: Callable[[Request, Server], Any]) -> Callable[[Request, Server], Any]:
        title = (change.__doc__ or "").splitlines()[0].rstrip(".")
        _mistaken(check_id, title, says, change, source=source, tier=tier)
        return change

    return collect


@_mistake("shape_negative", "A dimension is an unsigned number.")
def _shape_negative(request: Request, _: Server) -> None:
    """A negative dimension."""
    request["inputs"][0]["shape"] = [-size for size in request["inputs"][0]["shape"]]


@_mistake("shape_product_overflow", "The shape says how many values there are.")
def _shape_overflow(request: Request, _: Server) -> None:
    """A shape whose product is beyond 64 bits."""
    shape = request["inputs"][0]["shape"]
    request["inputs"][0]["shape"] = [2**62 + 1, 4, *shape[2:]][: max(len(shape), 2)]


@_mistake("shape_wraps", "The shape says how many values there are.")
def _shape_wraps(request: Request, _: Server) -> None:
    """A shape whose product is the number of values only after a 64-bit overflow."""
    first = request["inputs"][0]
    count = len(first["data"])
    # Odd factors have an inverse modulo 2**64: the product of both dimensions wraps round to the count.
    first["shape"] = [pow(3, -1, 2**64) * count % 2**64, 3]


@_mistake("shape_beyond", "A dimension fits 64 bits.")
def _shape_beyond(request: Request, _: Server) -> None:
    """A dimension beyond 64 bits."""
    shape = request["inputs"][0]["shape"]
    request["inputs"][0]["shape"] = [2**70, *shape[1:]]


@_mistake("too_few", "Data has as many values as the shape says.", source=sources.TENSOR_DATA)
def _too_few(request: Request, _: Server) -> None:
    """Fewer values than the shape says."""
    request["inputs"][0]["data"].pop()


@_mistake("too_many", "Data has as many values as the shape says.", source=sources.TENSOR_DATA)
def _too_many(request: Request, _: Server) -> None:
    """More values than the shape says."""
    request["inputs"][0]["data"] *= 2


@_mistake("no_values", "Data has as many values as the shape says.", source=sources.TENSOR_DATA)
def _no_values(request: Request, _: Server) -> None:
    """No values for a shape that has some."""
    request["inputs"][0]["data"] = []


@_mistake("ragged", "Nested data has the shape's own nesting.", source=sources.TENSOR_DATA)
def _ragged(request: Request, _: Server) -> None:
    """Nested data of rows that differ in length."""
    data = request["inputs"][0]["data"]
    if len(data) < 3:
        raise Skip("needs an input of 3 values or more; give --shape")
    request["inputs"][0]["data"] = [data[:1], data[1:-1]]


@_mistake("text_for_number", "Values are of the datatype, or can be made so.", source=sources.TENSOR_DATA)
def _text_for_number(request: Request, _: Server) -> None:
    """A text where the datatype has numbers."""
    if request["inputs"][0]["datatype"] == "BYTES":
        raise Skip("needs a model whose first input has numbers")
    request["inputs"][0]["data"][0] = "oip"


@_mistake(
    "null_value", "A value is a number, a text or a boolean.", source=sources.TENSOR_DATA, tier=Tier.TRITON
)
def _null_value(request: Request, _: Server) -> None:
    """Null as a value."""
    request["inputs"][0]["data"][0] = None


@_mistake("object_value", "A value is a number, a text or a boolean.", source=sources.TENSOR_DATA)
def _object_value(request: Request, _: Server) -> None:
    """An object as a value."""
    request["inputs"][0]["data"][0] = {"value": 1}


@_mistake("endless_number", "Values are of the datatype, or can be made so.", source=sources.TENSOR_DATA)
def _endless_number(request: Request, _: Server) -> bytes:
    """A whole number of 20000 digits."""
    if not DATATYPES[request["inputs"][0]["datatype"]].is_integer:
        request["inputs"][0]["shape"][0] += 1
    request["inputs"][0]["data"][0] = "oip-digits"
    return json.dumps(request).replace('"oip-digits"', "9" * _DIGITS).encode()


@_mistake("nested_parameters", "A parameter is a text, a number or a boolean.", source=sources.PARAMETERS)
def _nested_parameters(request: Request, _: Server) -> bytes:
    """Parameters of 100000 nested objects."""
    request["parameters"] = "oip-bomb"
    return json.dumps(request).replace('"oip-bomb"', '{"a":' * _DEPTH + "1" + "}" * _DEPTH).encode()


@_mistake("nested_values", "Data is nested as deep as the shape.", source=sources.TENSOR_DATA)
def _nested_values(request: Request, _: Server) -> bytes:
    """Data of 100000 nested arrays."""
    request["inputs"][0]["data"] = "oip-bomb"
    return json.dumps(request).replace('"oip-bomb"', "[" * _DEPTH + "1" + "]" * _DEPTH).encode()


@_mistake("input_twice", "An input is known by its name.")
def _input_twice(request: Request, _: Server) -> None:
    """An input that comes twice."""
    request["inputs"].append(request["inputs"][0])


@_mistake(
    "input_missing", "The metadata lists the inputs that the model requires.", source=sources.MODEL_METADATA
)
def _input_missing(request: Request, _: Server) -> None:
    """A request without one of the model's inputs."""
    request["inputs"].pop()


@_mistake(
    "input_unknown", "The metadata lists the inputs that the model requires.", source=sources.MODEL_METADATA
)
def _input_unknown(request: Request, _: Server) -> None:
    """An input of another name in the place of a required one."""
    request["inputs"][0]["name"] = "oip-no-such-input"


@_mistake(
    "input_more", "Triton refuses what a model does not take.", source=sources.TRITON_CODES, tier=Tier.TRITON
)
def _input_more(request: Request, _: Server) -> None:
    """One input more than the model has."""
    request["inputs"].append({**request["inputs"][0], "name": "oip-no-such-input"})


@_mistake(
    "datatype_other",
    "Triton refuses what a model does not take.",
    source=sources.TRITON_CODES,
    tier=Tier.TRITON,
)
def _datatype_other(request: Request, server: Server) -> None:
    """A datatype that the model's input has not."""
    first = json_inputs(server)[0]
    other = "INT32" if first.datatype != "INT32" else "FP32"
    request["inputs"][0] = json_input(filled(first.name, other, first.shape))


@_mistake(
    "rank_other", "Triton refuses what a model does not take.", source=sources.TRITON_CODES, tier=Tier.TRITON
)
def _rank_other(request: Request, _: Server) -> None:
    """One dimension more than the model's input has."""
    request["inputs"][0]["shape"] = [*request["inputs"][0]["shape"], 1]


@_mistake(
    "dimension_other",
    "Triton refuses what a model does not take.",
    source=sources.TRITON_CODES,
    tier=Tier.TRITON,
)
def _dimension_other(request: Request, server: Server) -> None:
    """Another size where the model's input has a fixed one."""
    spec = server.specs()[0]
    fixed = [place for place, size in enumerate(spec.shape) if size > 0]
    if not fixed:
        raise Skip("needs a model whose first input has a fixed dimension")
    shape = list(json_inputs(server)[0].shape)
    shape[fixed[-1]] += 1
    request["inputs"][0] = json_input(filled(spec.name, spec.datatype, shape))


@_mistake(
    "rows_differ",
    "Triton refuses inputs of different batch sizes.",
    source=sources.TRITON_CODES,
    tier=Tier.TRITON,
)
def _rows_differ(request: Request, server: Server) -> None:
    """Two inputs of 2 and of 3 rows."""
    if len(request["inputs"]) < 2:
        raise Skip(f"needs a model with two inputs; {server.model!r} has one")
    request["inputs"][0] = json_input(json_inputs(server, rows=2)[0])
    request["inputs"][1] = json_input(json_inputs(server, rows=3)[1])


@AREA.check(
    "refused.cut_body",
    Tier.REQUIRED,
    "A client may go away in the middle of a request; nobody else notices.",
    sources.HTTP_CONNECTIONS,
    hostile=True,
)
def cut_body(server: Server) -> None:
    """A connection that closes in the middle of a body does not harm the server."""
    with server.rest.open() as connection:
        connection.send(
            server.rest.head("POST", server.path("/infer"), {"Content-Length": "1000"}) + b'{"inputs"'
        )
        connection.leave()


# --- Binary requests --------------------------------------------------------------------------------------------------


def _bad_frame(
    check_id: str, says: str, *, tier: Tier = Tier.TRITON
) -> Callable[
    [Callable[[Server], tuple[bytes, dict[str, str]]]], Callable[[Server], tuple[bytes, dict[str, str]]]
]:
    """Make a check of a function that returns body and headers; its docstring is the title."""

    def collect(
        make: Callable[[Server], tuple[bytes, dict[str, str]]],
    ) -> Callable[[Server], tuple[bytes, dict[str, str]]]:
        def run(server: Server) -> None:
            needs_binary(server)
            body, headers = make(server)
            expect_error(server.rest.post(server.path("/infer"), body, headers))

        title = (make.__doc__ or "").splitlines()[0].rstrip(".")
        BINARY.add(
            f"refused.binary.{check_id}", tier, title, f"{says} {_REFUSED}", sources.BINARY, run, hostile=True
        )
        return make

    return collect


_LENGTH = f"{HEADER_LENGTH} is the length of the JSON within the body."
_SIZES = "binary_data_size is the size of the tensor, and all sizes together are the bytes behind the JSON."


def _with_length(server: Server, length: str) -> tuple[bytes, dict[str, str]]:
    body, headers = binary_request(server.inputs())
    return body, {**headers, HEADER_LENGTH: length}


@_bad_frame("length_beyond", _LENGTH)
def _length_beyond(server: Server) -> tuple[bytes, dict[str, str]]:
    """A header length larger than the body."""
    return _with_length(server, "100000")


@_bad_frame("length_negative", _LENGTH)
def _length_negative(server: Server) -> tuple[bytes, dict[str, str]]:
    """A negative header length."""
    return _with_length(server, "-5")


@_bad_frame("length_text", _LENGTH)
def _length_text(server: Server) -> tuple[bytes, dict[str, str]]:
    """A header length that is not a number."""
    return _with_length(server, "oip")


@_bad_frame("length_overflow", _LENGTH)
def _length_overflow(server: Server) -> tuple[bytes, dict[str, str]]:
    """A header length beyond 64 bits."""
    return _with_length(server, str(2**64 + 10))


@_bad_frame("length_short", _LENGTH)
def _length_short(server: Server) -> tuple[bytes, dict[str, str]]:
    """A header length in the middle of the JSON."""
    return _with_length(server, "10")


@_bad_frame("length_absent", _LENGTH)
def _length_absent(server: Server) -> tuple[bytes, dict[str, str]]:
    """Bytes behind the JSON without the header."""
    body, headers = binary_request(server.inputs())
    del headers[HEADER_LENGTH]
    return body, headers


@_bad_frame("length_zero", "With a header length of 0 the body is the one input of the model.")
def _length_zero(server: Server) -> tuple[bytes, dict[str, str]]:
    """A header length of 0 for a model with several inputs."""
    if len(server.inputs()) < 2:
        raise Skip(f"needs a model with two inputs; {server.model!r} has one")
    return b"\0" * 16, {HEADER_LENGTH: "0"}


def _with_sizes(server: Server, *sizes: Any, tail: bytes | None = None) -> tuple[bytes, dict[str, str]]:
    inputs = server.inputs()
    described = [
        {"name": each.name, "shape": list(each.shape), "datatype": each.datatype, "parameters": {}}
        for each in inputs
    ]
    for place, each in enumerate(inputs):
        described[place]["parameters"] = {"binary_data_size": len(to_bytes(each))}
    for place, size in enumerate(sizes[: len(described)]):
        described[place]["parameters"] = {"binary_data_size": size}
    blobs = b"".join(to_bytes(each) for each in inputs) if tail is None else tail
    return framed({"inputs": described}, blobs)


@_bad_frame("tail_short", _SIZES)
def _tail_short(server: Server) -> tuple[bytes, dict[str, str]]:
    """Fewer bytes than the sizes say."""
    return _with_sizes(server, tail=b"".join(to_bytes(each) for each in server.inputs())[:-1])


@_bad_frame("tail_long", _SIZES)
def _tail_long(server: Server) -> tuple[bytes, dict[str, str]]:
    """More bytes than the sizes say."""
    return _with_sizes(server, tail=b"".join(to_bytes(each) for each in server.inputs()) + b"\0\0\0\0")


@_bad_frame("tail_absent", _SIZES)
def _tail_absent(server: Server) -> tuple[bytes, dict[str, str]]:
    """No bytes at all."""
    return _with_sizes(server, tail=b"")


@_bad_frame("size_other", _SIZES)
def _size_other(server: Server) -> tuple[bytes, dict[str, str]]:
    """A size that is not that of shape and datatype."""
    first, *others = server.inputs()
    data = to_bytes(first)[:-1]
    return _with_sizes(server, len(data), tail=data + b"".join(to_bytes(each) for each in others))


@_bad_frame("size_negative", _SIZES)
def _size_negative(server: Server) -> tuple[bytes, dict[str, str]]:
    """A negative size."""
    return _with_sizes(server, -4)


@_bad_frame("size_text", _SIZES)
def _size_text(server: Server) -> tuple[bytes, dict[str, str]]:
    """A text as the size."""
    return _with_sizes(server, "16")


@_bad_frame("size_huge", _SIZES)
def _size_huge(server: Server) -> tuple[bytes, dict[str, str]]:
    """A size of almost 64 bits."""
    return _with_sizes(server, 2**63 - 1)


@_bad_frame("sizes_wrap", _SIZES)
def _sizes_wrap(server: Server) -> tuple[bytes, dict[str, str]]:
    """Two sizes whose sum is right only after a 64-bit overflow."""
    inputs = server.inputs()
    if len(inputs) < 2:
        raise Skip(f"needs a model with two inputs; {server.model!r} has one")
    total = sum(len(to_bytes(each)) for each in inputs)
    return _with_sizes(server, 2**64 - 8, total + 8)


@_bad_frame("data_and_size", "An input has data, or binary_data_size, not both.")
def _data_and_size(server: Server) -> tuple[bytes, dict[str, str]]:
    """An input with JSON data and with a binary size."""
    first, *others = json_inputs(server)
    size = len(to_bytes(first))
    described = [{**json_input(first), "parameters": {"binary_data_size": size}}, *map(json_input, others)]
    return framed({"inputs": described}, to_bytes(first))


def _bytes_model(server: Server) -> tuple[str, Tensor]:
    model = server.model_with("BYTES")
    return model, server.inputs(model)[0]


def _bad_elements(check_id: str, title: str, spoil: Callable[[bytes], bytes]) -> None:
    def run(server: Server) -> None:
        needs_binary(server)
        model, tensor = _bytes_model(server)
        if len(server.inputs(model)) > 1:
            raise Skip("needs a model with one BYTES input; give one with --also NAME")
        data = spoil(to_bytes(tensor))
        described = {
            "name": tensor.name,
            "shape": list(tensor.shape),
            "datatype": "BYTES",
            "parameters": {"binary_data_size": len(data)},
        }
        body, headers = framed({"inputs": [described]}, data)
        expect_error(server.rest.post(server.path("/infer", model=model), body, headers))

    says = (
        "An element of BYTES is a length of 4 bytes and so many bytes; there are as many as the shape says."
    )
    BINARY.add(
        f"refused.binary.{check_id}",
        Tier.TRITON,
        title,
        f"{says} {_REFUSED}",
        sources.BINARY,
        run,
        hostile=True,
    )


_bad_elements(
    "bytes_length_beyond", "BYTES: a length beyond the data", lambda data: b"\xff\xff\xff\x7f" + data[4:]
)
_bad_elements("bytes_cut_length", "BYTES: a length of 2 bytes", lambda data: data + b"\1\0")
_bad_elements(
    "bytes_more_elements", "BYTES: more elements than the shape says", lambda data: data + b"\1\0\0\0a"
)
_bad_elements(
    "bytes_fewer_elements", "BYTES: fewer elements than the shape says", lambda data: data[: len(data) // 2]
)
