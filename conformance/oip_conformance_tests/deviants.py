"""Servers that break one rule each, and the checks that must find it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from oip_conformance.messages import new
from oip_conformance.rest import HEADER_LENGTH

from .reference import rest, rpc
from .reference.rest import Answer, Asked


@dataclass(frozen=True)
class Deviant:
    """A server that breaks a rule.

    Args:
        name: What it does.
        fails: Ids of the checks that must fail, with ``*``.
        rest: Changes what REST answers.
        rpc: Changes what gRPC answers.
        quirks: Rules that the server itself breaks.
    """

    name: str
    fails: tuple[str, ...]
    rest: rest.Edit | None = None
    rpc: rpc.Edit | None = None
    quirks: tuple[str, ...] = ()


# --- Edits of REST ----------------------------------------------------------------------------------------------------

When = Callable[[Asked], bool]


def _always(_: Asked) -> bool:
    return True


def _with(text: bytes) -> When:
    return lambda asked: text in asked.body


def _header(name: str) -> When:
    return lambda asked: name in asked.headers


def _lacks(name: str) -> When:
    return lambda asked: name not in asked.headers


def status(path: str, code: int, when: When = _always, method: str = "") -> rest.Edit:
    """Answer with a status and no body where the path matches."""

    def edit(asked: Asked, answer: Answer) -> Answer:
        if re.fullmatch(path, asked.path) and when(asked) and method in ("", asked.method):
            return code, {}, b""
        return answer

    return edit


def body(
    path: str, change: Callable[[Any], Any], when: When = _always, codes: tuple[int, ...] = (200,)
) -> rest.Edit:
    """Change the JSON of answers where the path matches; bytes behind it stay."""

    def edit(asked: Asked, answer: Answer) -> Answer:
        code, headers, data = answer
        if not re.fullmatch(path, asked.path) or code not in codes or not when(asked):
            return answer
        events = data.startswith(b"data: ")
        length = int(headers.get(HEADER_LENGTH, len(data)))
        value = json.loads(data[6:] if events else data[:length])
        changed = change(value)
        header = json.dumps(value if changed is None else changed).encode()
        if events:
            return code, headers, b"data: " + header + b"\n\n"
        if HEADER_LENGTH in headers:
            headers = {**headers, HEADER_LENGTH: str(len(header))}
        return code, headers, header + data[length:]

    return edit


def header(path: str, name: str, value: str | None, codes: tuple[int, ...] = (200,)) -> rest.Edit:
    """Set a header of answers, or take it away."""

    def edit(asked: Asked, answer: Answer) -> Answer:
        code, headers, data = answer
        if not re.fullmatch(path, asked.path) or code not in codes:
            return answer
        others = {key: each for key, each in headers.items() if key != name}
        return code, others if value is None else {**others, name: value}, data

    return edit


def tail(path: str, change: Callable[[bytes], bytes]) -> rest.Edit:
    """Change the bytes behind the JSON."""

    def edit(asked: Asked, answer: Answer) -> Answer:
        code, headers, data = answer
        if HEADER_LENGTH not in headers or not re.fullmatch(path, asked.path):
            return answer
        length = int(headers[HEADER_LENGTH])
        return code, headers, data[:length] + change(data[length:])

    return edit


def recode(code: int, to: int) -> rest.Edit:
    """Answer with another status, and the body as it was."""
    return lambda _, answer: (to if answer[0] == code else answer[0], answer[1], answer[2])


def _put(**fields: Any) -> Callable[[Any], None]:
    return lambda value: value.update(fields)


def _drop(*keys: str) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        for key in keys:
            value.pop(key, None)

    return change


def _each_output(change: Callable[[dict[str, Any]], None]) -> Callable[[Any], None]:
    def edit(value: Any) -> None:
        for output in value["outputs"]:
            change(output)

    return edit


def _spoil(output: dict[str, Any]) -> None:
    """Change the last value of an output's data."""
    if output.get("data"):
        last = output["data"][-1]
        other = (
            f"{last}x" if isinstance(last, str) else not last if isinstance(last, bool) else (last or 0) + 1
        )
        output["data"] = [*output["data"][:-1], other]


_WRONG = _each_output(_spoil)
INFER = r".*/infer"
_ECHO = r".*/echo_[^/]*/infer"
_MODEL = r"/v2/models/[^/]+(/versions/[^/]+)?"


def _flip_all(data: bytes) -> bytes:
    """Change every byte: no datatype's values stay as they are."""
    return bytes(byte ^ 0x41 for byte in data)


def _as_json(output: dict[str, Any]) -> None:
    output.pop("parameters", None)
    output["data"] = [0.0] * 4


def _all_json(asked: Asked, answer: Answer) -> Answer:
    """Answer an inference with JSON although bytes are asked."""
    _, headers, data = answer
    if HEADER_LENGTH not in headers:
        return answer
    value = json.loads(data[: int(headers[HEADER_LENGTH])])
    for output in value["outputs"]:
        if "binary_data_size" in output.get("parameters", {}):
            _as_json(output)
    return rest.told(value)


def _all_binary(asked: Asked, answer: Answer) -> Answer:
    """Answer an inference with bytes although JSON is asked."""
    code, headers, data = answer
    if code != 200 or not asked.path.endswith("/infer") or HEADER_LENGTH not in asked.headers:
        return answer
    length = int(headers.get(HEADER_LENGTH, len(data)))
    value, blobs = json.loads(data[:length]), data[length:]
    for output in value["outputs"]:
        if "data" in output:
            del output["data"]
            output["parameters"] = {"binary_data_size": 16}
            blobs += bytes(16)
    text = json.dumps(value).encode()
    return code, {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(text))}, text + blobs


def _too_large(asked: Asked, answer: Answer) -> Answer:
    return (413, {}, b"") if len(asked.body) > 15_000 else answer


def _hang_up(asked: Asked, answer: Answer) -> Answer:
    return (0, {}, b"") if answer[0] >= 400 else answer


def _detail(asked: Asked, answer: Answer) -> Answer:
    return rest.told({"detail": "as some frameworks say it"}, answer[0]) if answer[0] >= 400 else answer


def _refuse_form(text: bytes) -> rest.Edit:
    """Refuse JSON data of a datatype."""
    return status(INFER, 400, lambda asked: text in asked.body and HEADER_LENGTH not in asked.headers)


# --- Edits of gRPC ----------------------------------------------------------------------------------------------------


def reply(
    method: str, change: Callable[[Any], Any], when: Callable[[Any], bool] = lambda _: True
) -> rpc.Edit:
    """Change a reply in place, or give another one."""

    def edit(called: str, request: Any, message: Any) -> Any:
        if called != method or not when(request):
            return message
        changed = change(message)
        return message if changed is None else changed

    return edit


def fails(method: str, code: str = "INTERNAL", when: Callable[[Any], bool] = lambda _: True) -> rpc.Edit:
    """Answer with a status."""
    return reply(method, lambda _: grpc.StatusCode[code], when)


def _set(**fields: Any) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        for name, value in fields.items():
            setattr(message, name, value)

    return change


def _flip_raw(message: Any) -> None:
    for place, data in enumerate(message.raw_output_contents):
        message.raw_output_contents[place] = _flip_all(data)


def _is_typed(request: Any) -> bool:
    return not request.raw_input_contents


def _is_raw(request: Any) -> bool:
    return bool(request.raw_input_contents)


def _typed_only(message: Any) -> None:
    del message.raw_output_contents[:]
    for output in message.outputs:
        output.contents.fp32_contents.extend([0.0] * 4)


def _both_forms(message: Any) -> None:
    for output in message.outputs:
        output.contents.fp32_contents.extend([0.0] * 4)


def _reversed(request: Any) -> bool:
    return [each.name for each in request.inputs] == ["x2", "x1"]


def _rows(count: int) -> Callable[[Any], bool]:
    return lambda request: request.inputs[0].shape[0] == count


def _unwrapped(message: Any) -> Any:
    return message.infer_response


def _no_error(message: Any) -> Any:
    return (
        new("ModelStreamInferResponse", infer_response=new("ModelInferResponse"))
        if message.error_message
        else None
    )


def _end_at_error(called: str, request: Any, message: Any) -> Any:
    return None if called == "ModelStreamInfer" and message.error_message else message


def _end_at_second(called: str, request: Any, message: Any) -> Any:
    second = request.id == "oip-2" if called == "ModelStreamInfer" else False
    return None if second else message


# --- The table --------------------------------------------------------------------------------------------------------


def _rest_rules() -> Iterator[Deviant]:
    live, ready = "/v2/health/live", "/v2/health/ready"
    yield Deviant(
        "live is 503", ("health.live", "http.keep_alive", "http.error_keeps_connection"), status(live, 503)
    )
    yield Deviant("ready is 503", ("health.ready",), status(ready, 503))
    ready_of_model = f"{_MODEL}/ready"
    yield Deviant(
        "a model is not ready", ("health.model", "health.model_version"), status(ready_of_model, 503)
    )
    yield Deviant("all is ready", ("health.unknown_*",), status(ready_of_model, 200))
    bodies = ("health.live_body", "health.ready_body", "health.model_body")
    yield Deviant("health has no bodies", bodies, status(".*/(live|ready)", 200))
    yield Deviant(
        "health says false", bodies, body(".*/(live|ready)", lambda _: {"live": False, "ready": False})
    )
    close = header(".*", "Connection", "close")
    yield Deviant("connections are closed", ("http.keep_alive",), close)
    yield Deviant("a refusal is no answer", ("http.error_keeps_connection", "refused.not_json"), _hang_up)
    gone = ("http.unknown_path", "metadata.unknown_model", "metadata.unknown_version", "metadata.case")
    found = ("infer.unknown_model", "infer.unknown_version", "statistics.unknown", "config.unknown")
    yield Deviant("404 is 200", (*gone, *found), recode(404, 200))
    codes = ("http.unknown_path", "metadata.unknown_model_404", "infer.unknown_model_404")
    yield Deviant("404 is 400", codes, recode(404, 400))
    yield Deviant("405 is 200", ("http.wrong_method", "http.wrong_method_405"), recode(405, 200))
    details = ("http.unknown_path_body", *gone[1:], *found, "repository.*_text", "repository.not_json")
    more = ("repository.load_unknown", "compression.unknown", "compression.c[ou]*", "compression.bomb")
    events = ("generate.missing", "generate.not_json", "*stream*refused", "classification.text")
    refused = (
        "refused.[abd-fi-z]*",
        "refused.cut_json",
        "memory.no*",
        "memory.key*",
        "memory.size*",
        "memory.off*",
        "memory.tw*",
        "memory.use*",
    )
    yield Deviant("errors have a detail", (*details, *more, *events, *refused, "type.fp16.json"), _detail)
    charset = header(".*", "Content-Type", "application/json; charset=utf-8")
    yield Deviant("the content type has a charset", ("http.content_type_exact",), charset)
    types = (
        "metadata.json_type",
        "infer.json_type",
        "binary.not_asked",
        "binary.content_type",
        "generate.stream",
    )
    yield Deviant("the content type is text", types, header(".*", "Content-Type", "text/plain"))
    coded = status(r".*%.*", 404)
    yield Deviant("names are not decoded", ("http.percent_encoding",), coded)
    yield Deviant("names of headers have case", ("http.header_case",), quirks=("header_case",))
    yield Deviant("/v2/ is 404", ("metadata.slash",), status("/v2/", 404))
    yield Deviant(
        "the server has no name", ("metadata.server", "metadata.grpc_agrees"), body("/v2", _drop("name"))
    )
    yield Deviant("the server has no extensions", ("metadata.extensions",), body("/v2", _drop("extensions")))
    named = ("metadata.model", "metadata.version", "metadata.grpc_agrees")
    yield Deviant("a model has another name", named, body(_MODEL, _put(name="other", inputs=[])))
    twice = [{"name": "x", "datatype": "FP32", "shape": [-1]}] * 2
    yield Deviant("two inputs have one name", ("metadata.unique_tensors",), body(_MODEL, _put(inputs=twice)))
    wrong = [{"name": "x", "datatype": "float32", "shape": [-1]}]
    yield Deviant("a datatype is unknown", ("metadata.tensors",), body(_MODEL, _put(inputs=wrong)))
    yield Deviant("versions are numbers", ("metadata.versions",), body(_MODEL, _put(versions=[1])))
    yield Deviant("the list lacks a model", ("metadata.models",), body("/v2/models", _put(models=[])))
    yield Deviant("an announced path is 404", ("metadata.honest",), status("/v2/logging", 404))


def _infer_rules() -> Iterator[Deviant]:
    yield Deviant("JSON is refused", ("infer.flat",), status(INFER, 400))
    yield Deviant("nested data is misread", ("infer.nested",), body(INFER, _WRONG, _with(b'"data": [[')))
    yield Deviant("model_name is missing", ("infer.fields",), body(INFER, _drop("model_name")))
    doubled = _each_output(lambda output: output.update(datatype="FP64"))
    yield Deviant("outputs have another datatype", ("infer.outputs",), body(INFER, doubled))
    ids = ("infer.id", "infer.id_text", "binary.id", "infer.concurrent", "infer.space")
    yield Deviant(
        "ids are lost", (*ids, "infer_stream.id", "generate.parameters"), body("/v2/models/.*", _drop("id"))
    )
    yield Deviant("ids are cut to ASCII", ("infer.id_text",), body(INFER, _put(id="a"), _with(b"\\u")))
    mixed_up = body(INFER, _put(id="oip-0"), _with(b"oip-"))
    yield Deviant("replies are mixed up", ("infer.concurrent",), mixed_up)
    chosen = ("infer.one_output", "grpc.infer.one_output", "infer.output_twice")
    yield Deviant("all outputs come always", chosen, quirks=("all_outputs",))
    none = body(INFER, _put(outputs=[]), _with(b'"outputs": []'))
    yield Deviant("no outputs is none", ("infer.no_outputs",), none)
    swapped = body(INFER, _WRONG, lambda asked: asked.body.find(b'"x2"') < asked.body.find(b'"x1"'))
    yield Deviant("inputs are taken by place", ("infer.order", "binary.order"), swapped)
    two_rows = _each_output(lambda output: output.update(shape=[2, 2], data=output["data"][:4]))
    three = _with(b'"shape": [3, 2]')
    yield Deviant("the third row is dropped", ("infer.rows",), body(INFER, two_rows, three))
    yield Deviant("the version is another", ("infer.version",), body(INFER, _put(model_version="7")))
    yield Deviant("parameters are refused", ("infer.parameters",), status(INFER, 400, _with(b"oip_text")))
    content = status(INFER, 415, _lacks("Content-Type"))
    yield Deviant("a content type is asked for", ("infer.no_content_type", "binary.no_content_type"), content)
    yield Deviant("chunks are refused", ("infer.chunked",), status(INFER, 411, _header("Transfer-Encoding")))
    yield Deviant(
        "space is refused", ("infer.space",), status(INFER, 400, lambda asked: asked.body[:1].isspace())
    )
    yield Deviant("bodies are limited", ("infer.large", "binary.large"), _too_large)
    yield Deviant("NaN is written", ("infer.no_bare_nan",), quirks=("bare_nan",))
    yield Deviant(
        "zero rows are a crash", ("infer.zero_size",), status(INFER, 500, _with(b'"shape": [0, 2]'))
    )


def _binary_rules() -> Iterator[Deviant]:
    binary = _header(HEADER_LENGTH)
    values = ("binary.input", "binary.mixed", "binary.json_only", "binary.order", "binary.no_content_type")
    yield Deviant("binary inputs are misread", values, body(INFER, _WRONG, binary))
    sized = (
        "binary.output",
        "binary.all_outputs",
        "binary.header",
        "binary.large",
        "binary.from_json",
        "http.header_case",
    )
    yield Deviant("binary replies are short", sized, tail(INFER, lambda data: data[:-1]))
    flipped = ("binary.output", "binary.all_outputs", "binary.override", "binary.from_json")
    yield Deviant("binary replies are wrong", flipped, tail(INFER, lambda data: data[:-2] + bytes(2)))
    asked = (
        "binary.output",
        "binary.all_outputs",
        "binary.override",
        "binary.from_json",
        "binary.content_type",
    )
    yield Deviant("bytes are not given", (*asked, "binary.header"), _all_json)
    yield Deviant("bytes are always given", ("binary.not_asked", "binary.override"), _all_binary)
    yield Deviant(
        "binary is called JSON", ("binary.content_type",), header(INFER, "Content-Type", "application/json")
    )
    raw = status(INFER, 400, lambda asked: asked.headers.get(HEADER_LENGTH) == "0")
    yield Deviant("raw requests are refused", ("binary.raw_request",), raw)


def _datatype_rules() -> Iterator[Deviant]:
    for name in (
        "BOOL",
        "UINT8",
        "UINT16",
        "UINT32",
        "UINT64",
        "INT8",
        "INT16",
        "INT32",
        "INT64",
        "FP32",
        "FP64",
        "BYTES",
    ):
        yield Deviant(
            f"{name} has no JSON", (f"type.{name.lower()}.json",), _refuse_form(f'"{name}"'.encode())
        )
    edges = ("type.*.json_edges",)
    yield Deviant("values at the edges are wrong in JSON", edges, body(_ECHO, _WRONG, _edge_of_json))
    numbers = body(INFER, _WRONG, lambda asked: bool(re.search(rb'"BOOL", "data": \[[01]', asked.body)))
    yield Deviant("0 and 1 are misread as booleans", ("type.bool.numbers",), numbers)
    binary = ("type.*.binary", "type.*.binary_edges", "type.fp32.nan_binary", "type.bytes.any_binary")
    yield Deviant("echoed bytes are wrong", (*binary, "binary.raw_request"), tail(INFER, _flip_all))
    raw = (
        "type.*int*.raw*",
        "type.bool.raw*",
        "type.bytes.raw*",
        "type.fp32.*raw*",
        "type.fp64.raw*",
        "type.bytes.any_raw",
    )
    yield Deviant("echoed raw contents are wrong", raw, rpc=reply("ModelInfer", _flip_raw, _is_raw))
    short = ("type.fp16.raw", "type.bf16.raw")
    yield Deviant(
        "16-bit floats are refused raw", short, rpc=fails("ModelInfer", "INVALID_ARGUMENT", _is_short_float)
    )
    edges = ("type.fp16.raw_edges", "type.bf16.raw_edges")
    yield Deviant(
        "large 16-bit floats are wrong", edges, rpc=reply("ModelInfer", _flip_raw, _is_large_short_float)
    )
    typed = ("type.*.typed", "type.*.typed_edges", "type.bytes.any_typed")
    yield Deviant("echoed typed contents are wrong", typed, rpc=reply("ModelInfer", _flip_raw, _is_typed))


def _is_short_float(request: Any) -> bool:
    return request.model_name in ("echo_fp16", "echo_bf16")


def _is_large_short_float(request: Any) -> bool:
    return _is_short_float(request) and request.raw_input_contents[0][1] > 64


def _edge_of_json(asked: Asked) -> bool:
    """Whether the request is not one of the ordinary ones, whose values are 0, 1, 2 ... or 0.25, 0.5 ..."""
    try:
        values = json.loads(asked.body)["inputs"][0]["data"]
    except (ValueError, KeyError):
        return False
    ordinary = {str(number) for number in range(7)} | {str(number / 4 + 0.25) for number in range(7)}
    bools = [True, False, True, False], [False, True, False, True]
    if values and isinstance(values[0], bool):
        return values not in bools or values == bools[0]
    return not {str(value) for value in values} <= ordinary


def _extension_rules() -> Iterator[Deviant]:
    stats = r".*/stats"

    def entry(change: Callable[[Any], Any]) -> Callable[[Any], None]:
        def edit(value: Any) -> None:
            for each in value["model_stats"]:
                change(each)

        return edit

    yield Deviant("counts are missing", ("statistics.model",), body(stats, entry(_drop("execution_count"))))
    yield Deviant("the version is a number", ("statistics.version",), body(stats, entry(_put(version=1))))
    yield Deviant(
        "durations are missing", ("statistics.durations",), body(stats, entry(_put(inference_stats={})))
    )
    yield Deviant("batches are missing", ("statistics.batches",), body(stats, entry(_put(batch_stats=[]))))
    yield Deviant(
        "no statistics", ("statistics.all", "statistics.of_version"), body(stats, _put(model_stats=[]))
    )
    still = entry(_put(inference_count=5, execution_count=5, last_inference=5))
    counts = ("statistics.inference_count", "statistics.executions", "statistics.last_inference")
    yield Deviant("counts stand still", counts, body(stats, still))
    nothing = {"success": {"count": 1, "ns": 1}}
    yield Deviant(
        "successes stand still", ("statistics.success",), body(stats, entry(_put(inference_stats=nothing)))
    )
    empty = reply("ModelStatistics", lambda _: new("ModelStatisticsResponse"))
    yield Deviant("no statistics over gRPC", ("statistics.grpc", "statistics.grpc_all"), rpc=empty)
    config = r".*/config"
    yield Deviant(
        "the configuration has another name", ("config.model", "config.version"), body(config, _put(name="b"))
    )
    old = {"input": [{"name": "x1", "data_type": "FP32", "dims": ["2"]}]}
    yield Deviant(
        "the configuration has other types", ("config.tensors", "config.agrees"), body(config, _put(**old))
    )
    other = reply("ModelConfig", lambda _: new("ModelConfigResponse"))
    yield Deviant("the configuration over gRPC is empty", ("config.grpc",), rpc=other)
    index = "/v2/repository/index"
    indexed = ("repository.index", "repository.ready", "repository.grpc")
    yield Deviant("the index is empty", indexed, body(index, lambda _: []))
    running = body(index, lambda value: [{**each, "state": "RUNNING"} for each in value])
    yield Deviant(
        "states are unknown", ("repository.entries", "repository.index", "repository.ready"), running
    )
    needed = status(index, 400, lambda asked: not asked.body)
    yield Deviant("an index needs a body", ("repository.index_empty",), needed)
    yield Deviant("nothing is loaded", ("repository.unload",), quirks=("never_loads",))
    none = reply("RepositoryIndex", lambda _: new("RepositoryIndexResponse"))
    yield Deviant("the index over gRPC is empty", ("repository.grpc", "repository.grpc_ready"), rpc=none)
    ignored = body(
        INFER,
        _each_output(lambda output: output.update(datatype="FP32", shape=[2, 2], data=[0.0] * 4)),
        _with(b"classification"),
    )
    yield Deviant("classification is ignored", ("classification.one", "classification.two"), ignored)
    smallest = body(
        INFER, _each_output(lambda output: output.update(data=output["data"][::-1])), _with(b"classification")
    )
    yield Deviant("the smallest come first", ("classification.one", "classification.two"), smallest)
    classes = fails(
        "ModelInfer",
        "INTERNAL",
        lambda request: any("classification" in each.parameters for each in request.outputs),
    )
    yield Deviant("classification fails over gRPC", ("classification.grpc",), rpc=classes)
    yield Deviant(
        "generate has no outputs",
        ("generate.reply", "generate.stream"),
        body(".*/generate.*", _drop("y", "z")),
    )
    yield Deviant(
        "events are none",
        ("generate.stream", "infer_stream.reply"),
        header(".*stream", "Content-Type", "application/json"),
    )
    yield Deviant(
        "events have another model", ("infer_stream.reply",), body(".*/infer_stream", _put(model_name="b"))
    )
    settings = ("settings.trace", "settings.trace_model", "settings.log")
    yield Deviant("settings are empty", settings, body(".*/(setting|logging)", lambda _: {}))
    traced = reply("TraceSetting", lambda _: new("TraceSettings"))
    yield Deviant("trace settings over gRPC are empty", ("settings.trace_grpc",), rpc=traced)
    logged = reply("LogSettings", lambda _: new("LogSettings"))
    yield Deviant("log settings over gRPC are empty", ("settings.log_grpc",), rpc=logged)
    packed = body(INFER, _WRONG, _header("Content-Encoding"))
    yield Deviant(
        "compressed requests are misread",
        ("compression.gzip", "compression.deflate", "compression.binary"),
        packed,
    )
    replies = ("compression.gzip_reply", "compression.deflate_reply")
    yield Deviant(
        "compressed replies are wrong", replies, body(INFER, _WRONG, lambda asked: _asks_coding(asked))
    )
    coded = header(INFER, "Content-Encoding", "gzip")
    yield Deviant("all replies are compressed", ("compression.not_asked",), coded)
    memory = "/v2/systemsharedmemory.*/status"
    yield Deviant("the status is an object", ("memory.status", "memory.register"), body(memory, lambda _: {}))
    yield Deviant("unregistered regions stay", ("memory.register",), quirks=("keeps_regions",))
    shared = body(INFER, _WRONG, _with(b'"shared_memory_region"'))
    yield Deviant("shared inputs are misread", ("memory.inputs",), shared)
    beside = body(INFER, _each_output(_put(data=[0.0])), _with(b'"shared_memory_region"'))
    yield Deviant("shared outputs have data, too", ("memory.outputs",), beside)
    lost = reply("SystemSharedMemoryStatus", lambda _: new("SharedMemoryStatus"))
    yield Deviant("regions are lost over gRPC", ("memory.grpc",), rpc=lost)


def _asks_coding(asked: Asked) -> bool:
    return asked.headers.get("Accept-Encoding", "identity") != "identity"


def _grpc_rules() -> Iterator[Deviant]:
    yield Deviant("gRPC is not live", ("grpc.live",), rpc=reply("ServerLive", _set(live=False)))
    yield Deviant("gRPC is not ready", ("grpc.ready",), rpc=reply("ServerReady", _set(ready=False)))
    unready = reply("ModelReady", _set(ready=False))
    yield Deviant("a model is not ready over gRPC", ("grpc.model_ready", "grpc.version_ready"), rpc=unready)
    nameless = reply("ServerMetadata", _set(name=""))
    yield Deviant("no name over gRPC", ("grpc.server_metadata", "metadata.grpc_agrees"), rpc=nameless)
    other = reply("ModelMetadata", _set(name="other"))
    yield Deviant("another name over gRPC", ("grpc.model_metadata", "grpc.version_metadata"), rpc=other)
    yield Deviant("all methods are there", ("grpc.unknown_method",), quirks=("all_methods",))
    yield Deviant("not found is another code", ("grpc.unknown_model_code",), quirks=("plain_codes",))
    yield Deviant("an unknown model is ready", ("grpc.unknown_not_ready",), quirks=("all_ready",))
    raw = (
        "grpc.infer.raw",
        "grpc.infer.rest",
        "grpc.infer.order",
        "grpc.infer.parameters",
        "grpc.infer.gzip",
    )
    yield Deviant("raw contents are misread", raw, rpc=reply("ModelInfer", _flip_raw, _is_raw))
    yield Deviant(
        "typed contents are misread",
        ("grpc.infer.typed",),
        rpc=reply("ModelInfer", _flip_raw, _is_typed),
    )
    yield Deviant(
        "inputs are taken by place over gRPC",
        ("grpc.infer.order",),
        rpc=reply("ModelInfer", _flip_raw, _reversed),
    )
    named = reply("ModelInfer", _set(model_name="", model_version=""))
    yield Deviant("no model_name over gRPC", ("grpc.infer.fields", "grpc.infer.version"), rpc=named)
    ids = ("grpc.infer.id", "grpc.infer.concurrent")
    yield Deviant("ids are lost over gRPC", ids, rpc=reply("ModelInfer", _set(id="")))
    fewer = reply(
        "ModelInfer", lambda message: message.outputs.pop() and message.raw_output_contents.pop() and None
    )
    yield Deviant("an output is lost over gRPC", ("grpc.infer.outputs",), rpc=fewer)
    yield Deviant("replies have both forms", ("grpc.infer.one_form",), rpc=reply("ModelInfer", _both_forms))
    yield Deviant("replies are typed", ("grpc.infer.raw_reply",), rpc=reply("ModelInfer", _typed_only))
    yield Deviant(
        "a batch of 3 is misread", ("grpc.infer.rows",), rpc=reply("ModelInfer", _flip_raw, _rows(3))
    )
    zero = fails("ModelInfer", "UNAVAILABLE", _rows(0))
    yield Deviant("zero rows are a crash over gRPC", ("grpc.infer.zero_size",), rpc=zero)
    many = fails("ModelInfer", "RESOURCE_EXHAUSTED", lambda request: request.inputs[0].shape[0] > 1000)
    yield Deviant("messages are limited", ("grpc.infer.large",), rpc=many)
    yield Deviant("an inference fails", ("grpc.infer.cancel",), rpc=fails("ModelInfer", "DATA_LOSS"))
    yield Deviant("replies are not wrapped", ("stream.one",), rpc=reply("ModelStreamInfer", _unwrapped))
    lost = reply(
        "ModelStreamInfer",
        lambda message: message.infer_response.Clear(),
        lambda request: request.id != "oip-1",
    )
    yield Deviant("streamed replies are empty", ("stream.several", "stream.later", "stream.final"), rpc=lost)
    yield Deviant("an error ends the stream", ("stream.error", "stream.malformed"), rpc=_end_at_error)
    yield Deviant(
        "an error is no error", ("stream.error", "stream.malformed"), rpc=reply("ModelStreamInfer", _no_error)
    )
    yield Deviant("a stream ends early", ("stream.later", "stream.several"), rpc=_end_at_second)
    yield Deviant("an empty stream fails", ("stream.empty",), quirks=("empty_stream_fails",))
    yield Deviant("a stream that is left does harm", ("stream.gone",), quirks=("dies_when_left",))
    down = ("health_service.all", "health_service.named", "health_service.watch")
    yield Deviant("health is not serving", down, rpc=reply("Check", _set(status=2)))
    yield Deviant("all services are known", ("health_service.unknown",), quirks=("knows_all",))
    listed = reply("Reflection", lambda message: message.list_services_response.Clear())
    yield Deviant("reflection lists nothing", ("reflection.services", "reflection.v1"), rpc=listed)
    nothing = reply("Reflection", lambda _: new("ReflectionReply"))
    yield Deviant("reflection says nothing", ("reflection.numbers", "reflection.unknown"), rpc=nothing)


def _refusals() -> Iterator[Deviant]:
    refused = (
        "refused.[abd-fh-z]*",
        "refused.cut_json",
        "refused.grpc.[a-mo-tv-z]*",
        "refused.grpc.no_*",
        "memory.grpc_unknown",
        "grpc.unknown_model*",
        "grpc.unknown_version",
        "compression.c[ou]*",
        "compression.bomb",
    )
    memory = ("memory.no*", "memory.key*", "memory.size*", "memory.off*", "memory.tw*", "memory.use*")
    yield Deviant("all is accepted", (*refused, *memory), quirks=("lenient",))
    killed = ("refused.input_missing", "refused.grpc.raw_short", "refused.grpc.not_a_message")
    yield Deviant("a malformed request kills the server", killed, quirks=("dies",))
    yield Deviant("a client that leaves kills the server", ("refused.cut_body",), quirks=("dies_when_left",))
    yield Deviant("unknown fields are refused", ("refused.grpc.unknown_field",), rpc=fails("ModelInfer"))


DEVIANTS: tuple[Deviant, ...] = (
    *_rest_rules(),
    *_infer_rules(),
    *_binary_rules(),
    *_datatype_rules(),
    *_extension_rules(),
    *_grpc_rules(),
    *_refusals(),
)
