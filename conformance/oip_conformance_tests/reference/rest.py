"""REST of the reference server."""

from __future__ import annotations

import gzip
import json
import re
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from oip_conformance.check import Deviation
from oip_conformance.rest import HEADER_LENGTH
from oip_conformance.tensors import BINARY_ONLY, DATATYPES, Tensor, from_json, to_bytes, to_json

from .core import (
    EXTENSIONS,
    MOST_ROWS,
    NAME,
    VERSION,
    Core,
    Model,
    Refused,
    checked_shape,
    classified,
    decoded,
)

# Status, headers and body.
Answer = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: Any
    body: bytes


# A request and its answer -> what is sent instead. Status 0 closes the connection.
Edit = Callable[[Asked, Answer], Answer]

_MODEL = re.compile(r"/v2/models/(?P<name>[^/]+)(/versions/(?P<version>[^/]+))?(?P<rest>/.*)?")
_MOST_BYTES = 32 << 20


def told(value: Any, status: int = 200) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


class Front:
    """Answers requests.

    Args:
        core: The state.
        edit: Changes answers; by default none.
        base: Path before ``/v2``.
    """

    def __init__(self, core: Core, edit: Edit | None = None, base: str = "") -> None:
        self.core = core
        self.base = base
        self._edit = edit or (lambda _, answer: answer)

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        path = path.removeprefix(self.base)
        try:
            if self.core.broken:
                raise Refused("broken", 500)
            found = self._route(method, path, headers, body)
        except Refused as error:
            self.core.broken = "dies" in self.core.quirks and "/infer" in path and error.status == 400
            found = told({"error": str(error)}, error.status)
            if "lenient" in self.core.quirks and method == "POST":
                found = self._lenient(path)
        except (Deviation, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            found = told({"error": f"malformed: {error}"}, 400)
            if "lenient" in self.core.quirks:
                found = self._lenient(path)
        status, sent, data = self._edit(Asked(method, path, headers, body), found)
        asked = headers.get("Accept-Encoding", "")
        if path.endswith("/infer") and status == 200 and "gzip" in asked:
            return status, {**sent, "Content-Encoding": "gzip"}, gzip.compress(data)
        if path.endswith("/infer") and status == 200 and "deflate" in asked:
            return status, {**sent, "Content-Encoding": "deflate"}, zlib.compress(data)
        return status, sent, data

    def _lenient(self, path: str) -> Answer:
        return told([] if "repository" in path or "memory" in path else {"model_name": "add", "outputs": []})

    def _route(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        fixed = {
            ("GET", "/v2"): self._metadata,
            ("GET", "/v2/"): self._metadata,
            ("GET", "/v2/health/live"): lambda _: told({"live": True}),
            ("GET", "/v2/health/ready"): lambda _: told({"ready": True, "live": True}),
            ("GET", "/v2/models"): lambda _: told({"models": sorted(self.core.models)}),
            ("GET", "/v2/models/stats"): lambda _: told(
                {"model_stats": [self.core.statistics(name) for name in self.core.models]}
            ),
            ("POST", "/v2/repository/index"): self._index,
            ("GET", "/v2/trace/setting"): self._trace,
            ("GET", "/v2/logging"): self._log,
        }
        if (method, path) in fixed:
            return fixed[method, path](body)
        if any(path == known for _, known in fixed):
            raise Refused("wrong method", 405)
        if path.startswith("/v2/repository/models/"):
            return self._load(path)
        if path.startswith("/v2/systemsharedmemory"):
            return self._memory(method, path, body)
        return self._of_model(method, path, headers, body)

    def _metadata(self, _: bytes) -> Answer:
        return told({"name": NAME, "version": VERSION, "extensions": list(EXTENSIONS)})

    def _trace(self, _: bytes) -> Answer:
        return told({"trace_level": ["OFF"], "trace_rate": "1000"})

    def _log(self, _: bytes) -> Answer:
        levels = {"log_info": True, "log_warning": True, "log_error": True}
        return told({**levels, "log_verbose_level": 0, "log_format": "default"})

    def _index(self, body: bytes) -> Answer:
        wanted = json.loads(body or b"{}").get("ready", False)
        if not isinstance(wanted, bool):
            raise Refused("ready is not a boolean")
        return told(index(self.core, wanted))

    def _load(self, path: str) -> Answer:
        _, _, _, _, name, verb = path.split("/")
        if name not in self.core.models:
            raise Refused(f"no model {name!r}")
        if verb == "load":
            if "never_loads" not in self.core.quirks:
                self.core.loaded.add(name)
        else:
            self.core.loaded.discard(name)
        return told({})

    def _memory(self, method: str, path: str, body: bytes) -> Answer:
        match = re.fullmatch(r"/v2/systemsharedmemory(/region/(?P<name>[^/]+))?/(?P<verb>\w+)", path)
        if match is None:
            raise Refused("no such path", 404)
        name = match["name"] or ""
        if match["verb"] == "status" and method == "GET":
            return told(self.core.entries(name))
        if match["verb"] == "register":
            wanted = json.loads(body)
            self.core.register(name, wanted["key"], wanted.get("offset", 0), wanted["byte_size"])
        elif name and "keeps_regions" in self.core.quirks:
            return told({})
        elif name:
            self.core.regions.pop(name, None)
        else:
            self.core.regions.clear()
        return told({})

    def _of_model(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        match = _MODEL.fullmatch(path)
        if match is None:
            raise Refused("no such path", 404)
        model = self.core.model(unquote(match["name"]), match["version"] or "")
        rest = match["rest"] or ""
        reads = {
            "": lambda: told(metadata(model)),
            "/ready": lambda: told({"name": model.name, "ready": True}),
            "/config": lambda: told(configuration(model)),
            "/stats": lambda: told({"model_stats": [self.core.statistics(model.name)]}),
            "/trace/setting": lambda: self._trace(b""),
        }
        if rest in reads and method == "GET":
            return reads[rest]()
        posts = {"/infer": self._infer, "/infer_stream": self._infer_stream, "/generate": self._generate}
        posts["/generate_stream"] = self._generate_stream
        if rest in posts and method == "POST":
            return posts[rest](model, headers, self._plain(headers, body))
        raise Refused("wrong method or path", 405 if rest in posts or rest in reads else 404)

    def _plain(self, headers: Any, body: bytes) -> bytes:
        coding = headers.get("Content-Encoding", "identity")
        if coding == "identity":
            return body
        if coding not in ("gzip", "deflate"):
            raise Refused(f"coding {coding!r}", 415)
        unpack = zlib.decompressobj(31 if coding == "gzip" else 15)
        try:
            plain = unpack.decompress(body, _MOST_BYTES)
        except zlib.error as error:
            raise Refused(str(error)) from error
        if not unpack.eof:
            raise Refused("the body is cut or too large")
        return plain

    def _infer(self, model: Model, headers: Any, body: bytes) -> Answer:
        length = headers.get(HEADER_LENGTH)
        if "header_case" in self.core.quirks and HEADER_LENGTH not in set(headers):
            length = None
        if length is not None and (not length.isdigit() or int(length) > len(body)):
            raise Refused(f"{HEADER_LENGTH} {length!r}")
        if length == "0":
            return self._raw(model, body)
        size = len(body) if length is None else int(length)
        request = json.loads(body[:size].decode(), parse_int=_whole)
        return self._run(model, request, body[size:])

    def _raw(self, model: Model, body: bytes) -> Answer:
        if len(model.inputs) != 1:
            raise Refused("several inputs")
        ((name, datatype),) = model.inputs.items()
        tensor = decoded(name, datatype, [1, 2], body)
        return self._reply(
            model, {"parameters": {"binary_data_output": True}}, self.core.infer(model, [tensor], [])
        )

    def _run(self, model: Model, request: dict[str, Any], tail: bytes) -> Answer:
        inputs = []
        for given in request["inputs"]:
            tensor, tail = self._input(given, tail)
            inputs.append(tensor)
        if tail:
            raise Refused(f"{len(tail)} bytes too many")
        wanted = request.get("outputs") or []
        if not isinstance(request.get("parameters", {}), dict) or not isinstance(wanted, list):
            raise Refused("parameters or outputs")
        return self._reply(model, request, self.core.infer(model, inputs, [each["name"] for each in wanted]))

    def _input(self, given: dict[str, Any], tail: bytes) -> tuple[Tensor, bytes]:
        parameters = given.get("parameters", {})
        name, datatype, shape = given["name"], given["datatype"], checked_shape(given["shape"])
        if not isinstance(name, str) or datatype not in DATATYPES:
            raise Refused("name or datatype")
        if "shared_memory_region" in parameters:
            if "data" in given:
                raise Refused("data beside a region")
            return decoded(name, datatype, shape, self.core.read_shared(parameters)), tail
        if "binary_data_size" in parameters:
            size = parameters["binary_data_size"]
            if "data" in given or not isinstance(size, int) or not 0 <= size <= len(tail):
                raise Refused("binary_data_size")
            return decoded(name, datatype, shape, tail[:size]), tail[size:]
        if datatype in BINARY_ONLY:
            raise Refused(f"{datatype} has no JSON form")
        data = given["data"]
        if any(isinstance(each, list) for each in data) and any(len(each) != shape[-1] for each in data):
            raise Refused("ragged")
        return from_json(name, datatype, shape, data), tail

    def _reply(self, model: Model, request: dict[str, Any], found: list[Tensor]) -> Answer:
        asked = {each["name"]: each.get("parameters", {}) for each in request.get("outputs") or []}
        everything = request.get("parameters", {}).get("binary_data_output", False)
        outputs, blobs = [], []
        for tensor in found:
            parameters = asked.get(tensor.name, {})
            if "classification" in parameters:
                tensor = classified(tensor, parameters["classification"])
            output: dict[str, Any] = {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": list(tensor.shape),
            }
            if "shared_memory_region" in parameters:
                self.core.write_shared(parameters, tensor)
                output["parameters"] = parameters
            elif parameters.get("binary_data", everything):
                blobs.append(to_bytes(tensor))
                output["parameters"] = {"binary_data_size": len(blobs[-1])}
            else:
                output["data"] = (
                    to_json(tensor) if "bare_nan" in self.core.quirks else _no_nan(to_json(tensor))
                )
            outputs.append(output)
        reply: dict[str, Any] = {"model_name": model.name, "model_version": "1", "outputs": outputs}
        if "id" in request:
            reply["id"] = request["id"]
        status, headers, header = told(reply)
        if not blobs:
            return status, headers, header
        headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(header))}
        return status, headers, header + b"".join(blobs)

    def _infer_stream(self, model: Model, _: Any, body: bytes) -> Answer:
        return _events(self._run(model, json.loads(body), b"")[2])

    def _generate(self, model: Model, _: Any, body: bytes) -> Answer:
        request = json.loads(body)
        inputs = []
        for name, datatype in model.inputs.items():
            data = request[name] if isinstance(request[name], list) else [request[name]]
            inputs.append(from_json(name, datatype, [1, len(data)], data))
        found = {tensor.name: to_json(tensor) for tensor in self.core.infer(model, inputs, [])}
        named = {"id": request["id"]} if "id" in request else {}
        return told({**named, "model_name": model.name, "model_version": "1", **found})

    def _generate_stream(self, model: Model, headers: Any, body: bytes) -> Answer:
        return _events(self._generate(model, headers, body)[2])


def _whole(digits: str) -> int:
    if len(digits) > 1000:
        raise Refused("a number of too many digits")
    return int(digits)


def _no_nan(values: list[Any]) -> list[Any]:
    return [None if isinstance(each, float) and each - each != 0 else each for each in values]


def _events(data: bytes) -> Answer:
    return 200, {"Content-Type": "text/event-stream; charset=utf-8"}, b"data: " + data + b"\n\n"


def index(core: Core, only_ready: bool) -> list[dict[str, str]]:
    entries = []
    for name in core.models:
        if name in core.loaded:
            entries.append({"name": name, "version": "1", "state": "READY", "reason": ""})
        elif not only_ready:
            entries.append({"name": name, "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"})
    return entries


def metadata(model: Model) -> dict[str, Any]:
    def side(tensors: dict[str, str]) -> list[dict[str, Any]]:
        return [{"name": name, "datatype": kind, "shape": [-1, 2]} for name, kind in tensors.items()]

    named = {"name": model.name, "versions": ["1"], "platform": "reference_numpy"}
    return {**named, "inputs": side(model.inputs), "outputs": side(model.outputs)}


def configuration(model: Model) -> dict[str, Any]:
    def side(tensors: dict[str, str]) -> list[dict[str, Any]]:
        names = {kind: f"TYPE_{'STRING' if kind == 'BYTES' else kind}" for kind in tensors.values()}
        return [{"name": name, "data_type": names[kind], "dims": [2]} for name, kind in tensors.items()]

    named = {"name": model.name, "platform": "reference", "max_batch_size": MOST_ROWS}
    return {**named, "input": side(model.inputs), "output": side(model.outputs)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    front: Front

    def _answer(self) -> None:
        body = self._body()
        if body is None:
            self.close_connection = True
            return
        status, headers, data = self.front.answer(self.command, self.path, self.headers, body)
        if status == 0:
            # A server that closes the connection instead of an answer.
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = headers.get("Connection") == "close"

    do_GET = do_POST = _answer

    def _body(self) -> bytes | None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) == length:
            return body
        self.front.core.broken = "dies_when_left" in self.front.core.quirks
        return None

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        pass


def serve(front: Front) -> ThreadingHTTPServer:
    """Serve on a free port of loopback, in a thread."""
    handler = type("Handler", (_Handler,), {"front": front})
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server
