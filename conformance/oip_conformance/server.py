"""The server under test: what it announces, and legal requests for its models."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from oip_conformance.check import Deviation, NoReply, NotOffered, Remark, Skip, expect
from oip_conformance.messages import new, parameter
from oip_conformance.rest import HEADER_LENGTH, Reply, RestClient, quoted
from oip_conformance.rpc import RpcClient, RpcReply, expect_ok
from oip_conformance.tensors import (
    BINARY_ONLY,
    DATATYPES,
    Tensor,
    binary_input,
    expect_same,
    filled,
    from_bytes,
    from_json,
    from_reply_tensor,
    json_input,
    raw_input,
    same_values,
    to_bytes,
    typed_input,
)
from oip_conformance.trail import Trail

# Sends inputs to a model and returns the outputs.
Form = Callable[[Sequence[Tensor], str], dict[str, Tensor]]
# A status that says: there is no such thing here.
ABSENT = (404, 405, 501)
# Sizes tried for dimensions that may have any size.
_SIZES = (2, 1, 3, 4, 8)


@dataclass(frozen=True)
class TensorSpec:
    """A tensor as metadata describes it; -1 is a dimension of any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Target:
    """What the user asked for.

    Args:
        http: URL; empty without REST.
        grpc: HOST:PORT; empty without gRPC.
        model: The model that most checks ask.
        also: Further models, for datatypes that the first one does not take.
        shapes: Input name to the shape that is sent.
        inputs: Inputs of the model, where its metadata does not list them.
        spare: A model that may be unloaded and loaded; empty for none.
        timeout_s: Limit of one request.
        settle_s: How long statistics may lag behind replies.
        large: Factor for the sizes of large requests.
        headers: Sent with every request, as headers or metadata.
    """

    model: str
    http: str = ""
    grpc: str = ""
    also: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    inputs: tuple[TensorSpec, ...] = ()
    spare: str = ""
    timeout_s: float = 10.0
    settle_s: float = 3.0
    large: float = 1.0
    headers: tuple[tuple[str, str], ...] = ()


class Server:
    """Everything that a check may ask."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.model = target.model
        self.trail = Trail()
        headers = dict(target.headers)
        self._rest = RestClient(target.http, target.timeout_s, self.trail, headers) if target.http else None
        metadata = [(name.lower(), value) for name, value in target.headers]
        self._rpc = RpcClient(target.grpc, target.timeout_s, self.trail, metadata) if target.grpc else None
        self._memory: dict[str, Any] = {}

    def close(self) -> None:
        """Close what is open."""
        if self._rpc is not None:
            self._rpc.close()

    @property
    def rest(self) -> RestClient:
        """The REST client.

        Raises:
            Skip: No URL was given.
        """
        if self._rest is None:
            raise Skip("needs --http")
        return self._rest

    @property
    def rpc(self) -> RpcClient:
        """The gRPC client.

        Raises:
            Skip: No address was given.
        """
        if self._rpc is None:
            raise Skip("needs --grpc")
        return self._rpc

    def speaks(self, transport: str) -> bool:
        """Whether the target has all that a check of this transport needs."""
        needed = {"http": (self._rest,), "grpc": (self._rpc,), "both": (self._rest, self._rpc)}[transport]
        return all(client is not None for client in needed)

    def remembered(self, key: str, make: Callable[[], Any]) -> Any:
        """Return what ``make`` gave or raised the first time."""
        if key not in self._memory:
            try:
                self._memory[key] = make()
            except (Deviation, NoReply, NotOffered, Skip) as found:
                self._memory[key] = found
        if isinstance(self._memory[key], Exception):
            raise self._memory[key]
        return self._memory[key]

    # --- What is announced --------------------------------------------------------------------------------------------

    def path(self, suffix: str = "", *, model: str = "", version: str = "") -> str:
        """Return the path of a model; the suffix begins with a slash."""
        versions = f"/versions/{quoted(version)}" if version else ""
        return f"/v2/models/{quoted(model or self.model)}{versions}{suffix}"

    def extensions(self) -> list[str]:
        """Return the announced extensions; empty where the metadata cannot be read."""
        return list(self.remembered("extensions", self._extensions))

    def _extensions(self) -> list[str]:
        try:
            if self._rest is not None:
                found = self._rest.get("/v2").json()
                listed = found.get("extensions") if isinstance(found, dict) else None
                return [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []
            return list(expect_ok(self.rpc.call("ServerMetadata", b"")).extensions)
        except (Deviation, NoReply):
            return []

    def announced(self, extension: str) -> None:
        """Go on only when the server announces the extension.

        Raises:
            NotOffered: It does not.
        """
        if extension not in self.extensions():
            raise NotOffered(f"{extension} is not among the announced extensions")

    def versions(self) -> list[str]:
        """Return the versions of the model that may be asked for.

        Raises:
            Skip: It has none.
        """
        found = self.remembered("versions", self._versions)
        if not found:
            raise Skip(f"needs a model with versions; {self.model!r} lists none")
        return list(found)

    def _versions(self) -> list[str]:
        if self._rest is not None:
            listed = self._rest.get(self.path()).json().get("versions", [])
            return [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []
        return list(expect_ok(self.rpc.call("ModelMetadata", new("NameVersion", name=self.model))).versions)

    def specs(self, side: str = "inputs", model: str = "") -> tuple[TensorSpec, ...]:
        """Return the inputs or the outputs that the metadata of a model lists.

        Raises:
            Skip: It lists none.
        """
        name = model or self.model
        if side == "inputs" and self.target.inputs and name == self.model:
            return self.target.inputs
        found: tuple[TensorSpec, ...] = self.remembered(f"{side} of {name}", lambda: self._specs(side, name))
        if not found:
            raise Skip(f"needs a model whose metadata lists its {side}; {name!r} lists none")
        return found

    def _specs(self, side: str, model: str) -> tuple[TensorSpec, ...]:
        try:
            if self._rest is not None:
                listed = self._rest.get(self.path(model=model)).json()[side]
                return tuple(
                    TensorSpec(each["name"], each["datatype"], tuple(int(size) for size in each["shape"]))
                    for each in listed
                )
            found = expect_ok(self.rpc.call("ModelMetadata", new("NameVersion", name=model)))
            return tuple(
                TensorSpec(each.name, each.datatype, tuple(each.shape)) for each in getattr(found, side)
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Skip(
                f"needs a model whose metadata lists its {side}; that of {model!r} cannot be read"
            ) from error

    # --- Legal inputs -------------------------------------------------------------------------------------------------

    def inputs(
        self, model: str = "", *, rows: int | None = None, salt: int = 0, anyway: bool = False
    ) -> tuple[Tensor, ...]:
        """Return legal inputs of a model.

        Args:
            model: By default the model of the target.
            rows: Size of the first dimension; it must be free.
            salt: Another number gives other values.
            anyway: Return inputs also where no size was accepted: the check is about their acceptance.

        Raises:
            Skip: The metadata does not tell the inputs, or no size of the free dimensions was accepted.
        """
        name = model or self.model
        self.specs(model=name)
        try:
            size: int = self.remembered(f"size of {name}", lambda: self._accepted(name)[0])
        except Skip:
            if not anyway:
                raise
            size = _SIZES[0]
        return self._filled(name, size, rows, salt)

    def _filled(self, model: str, size: int, rows: int | None, salt: int) -> tuple[Tensor, ...]:
        tensors = []
        for place, spec in enumerate(self.specs(model=model)):
            if spec.datatype not in DATATYPES:
                raise Skip(
                    f"needs inputs of known datatypes; {spec.name!r} of {model!r} is {spec.datatype!r}"
                )
            shape = list(
                self.target.shapes.get(spec.name, [size if each < 0 else each for each in spec.shape])
            )
            if rows is not None:
                if not spec.shape or spec.shape[0] >= 0:
                    raise Skip(
                        f"needs a model whose first dimension is free; {spec.name!r} is {list(spec.shape)}"
                    )
                shape[0] = rows
            tensors.append(filled(spec.name, spec.datatype, shape, salt + place))
        return tuple(tensors)

    def _accepted(self, model: str) -> tuple[int, Form]:
        """Return the first size of free dimensions that is accepted, and the form of tensors in which it is."""
        return cast(
            tuple[int, Form], self.remembered(f"accepted of {model}", lambda: self._look_for_size(model))
        )

    def _look_for_size(self, model: str) -> tuple[int, Form]:
        free = any(size < 0 for spec in self.specs(model=model) for size in spec.shape)
        for size in _SIZES if free else _SIZES[:1]:
            inputs = self._filled(model, size, None, 0)
            for form in self._forms(inputs):
                try:
                    form(inputs, model)
                except (Deviation, NoReply):
                    continue
                return size, form
        raise Skip(
            f"needs an inference of {model!r} that the server accepts; none was with free dimensions of "
            f"{', '.join(map(str, _SIZES))}: give --shape NAME:SIZES"
        )

    def _forms(self, inputs: Sequence[Tensor]) -> list[Form]:
        """Return the ways to send inputs, the usual one first."""
        forms: list[Form] = []
        if self._rest is not None and not any(tensor.datatype in BINARY_ONLY for tensor in inputs):
            forms.append(lambda tensors, model: outputs_of(self.infer_json(tensors, model=model)))
        if self._rpc is not None:
            forms.append(lambda tensors, model: rpc_outputs_of(self.infer_raw(tensors, model=model)))
        if self._rest is not None:
            forms.append(lambda tensors, model: outputs_of(self.infer_binary(tensors, model=model)))
        return forms

    def models(self) -> tuple[str, ...]:
        """Return the models that may be asked."""
        return (self.model, *self.target.also)

    def model_with(self, datatype: str) -> str:
        """Return a model that has an input of the datatype, all others being of the same.

        Raises:
            Skip: There is none.
        """
        for model in self.models():
            try:
                kinds = {spec.datatype for spec in self.specs(model=model)}
            except (Skip, Deviation, NoReply):
                continue
            if kinds == {datatype}:
                return model
        raise Skip(f"needs a model whose inputs are {datatype}; give one with --also NAME")

    def echo_of(self, datatype: str) -> str:
        """Return a model of the datatype that returns its one input.

        Raises:
            Skip: There is none.
        """
        for model in self.models():
            try:
                if {spec.datatype for spec in self.specs(model=model)} == {datatype} and self._echoes(model):
                    return model
            except (Skip, Deviation, NoReply):
                continue
        raise Skip(f"needs a model that returns its one {datatype} input; give one with --also NAME")

    def _echoes(self, model: str) -> bool:
        def look() -> bool:
            inputs = self.inputs(model, salt=3)
            if len(inputs) != 1:
                return False
            outputs = list(self.infer(inputs, model=model).values())
            return len(outputs) == 1 and same_values(
                outputs[0], Tensor("", inputs[0].datatype, inputs[0].array)
            )

        return bool(self.remembered(f"echo {model}", look))

    def infer(self, inputs: Sequence[Tensor], model: str = "") -> dict[str, Tensor]:
        """Return the outputs, in the form in which the server has accepted the model's inputs."""
        _, form = self._accepted(model or self.model)
        return form(inputs, model or self.model)

    def max_batch_size(self) -> int | None:
        """Return the limit of rows that the configuration names; 0 without batching, None without configuration."""

        def look() -> int | None:
            try:
                if self._rest is not None:
                    reply = self._rest.get(self.path("/config"))
                    found = reply.json() if reply.status == 200 else None
                    return int(found.get("max_batch_size", 0)) if isinstance(found, dict) else None
                config = self.rpc.call("ModelConfig", new("NameVersion", name=self.model))
                return int(config.message.config.max_batch_size) if config.ok else None
            except (Deviation, NoReply, ValueError, TypeError):
                return None

        found: int | None = self.remembered("max_batch_size", look)
        return found

    def large_inputs(self, wanted_bytes: int) -> tuple[str, tuple[Tensor, ...]]:
        """Return a model, and inputs of it of at least so many bytes.

        A model with a free dimension beside that of the rows is taken first: servers may look at rows one by one.

        Raises:
            Skip: No model takes so many bytes.
        """
        wanted = math.ceil(wanted_bytes * self.target.large)
        for model in self.models():
            inputs = self._wide(model, wanted)
            if inputs:
                return model, inputs
        one = sum(max(len(to_bytes(tensor)), 1) for tensor in self.inputs(rows=1))
        rows = math.ceil(wanted / one)
        limit = self.max_batch_size()
        if limit is not None and 0 < limit < rows and not self._takes_more_than(limit):
            raise Skip(f"needs a model that takes {rows} rows; {self.model!r} has max_batch_size {limit}")
        return self.model, self.inputs(rows=rows)

    def _wide(self, model: str, wanted: int) -> tuple[Tensor, ...]:
        """Return one row of a model whose one input has a free dimension of numbers behind the rows; none otherwise."""
        try:
            specs = self.specs(model=model)
        except (Skip, Deviation, NoReply):
            return ()
        known = DATATYPES.get(specs[0].datatype)
        if len(specs) != 1 or specs[0].shape != (-1, -1) or known is None or not known.size:
            return ()
        return (filled(specs[0].name, specs[0].datatype, (1, math.ceil(wanted / known.size))),)

    def _takes_more_than(self, rows: int) -> bool:
        """Whether a server splits requests that are larger than a batch of its model."""

        def look() -> bool:
            try:
                return bool(self.infer(self.inputs(rows=rows + 1)))
            except (Deviation, NoReply):
                return False

        return bool(self.remembered("takes more rows", look))

    # --- REST inference -----------------------------------------------------------------------------------------------

    def infer_json(
        self,
        inputs: Sequence[Tensor],
        *,
        model: str = "",
        version: str = "",
        nested: bool = False,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> Reply:
        """POST an inference with JSON data; ``fields`` go into the request as they are."""
        request = {"inputs": [json_input(tensor, nested=nested) for tensor in inputs], **fields}
        return self.rest.post_json(self.path("/infer", model=model, version=version), request, headers)

    def infer_binary(
        self,
        inputs: Sequence[Tensor],
        *,
        model: str = "",
        json_names: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> Reply:
        """POST an inference with binary data, but the inputs of ``json_names``; all outputs are asked as binary."""
        fields.setdefault("parameters", {"binary_data_output": True})
        body, sent = binary_request(inputs, json_names=json_names, **fields)
        return self.rest.post(self.path("/infer", model=model), body, {**sent, **(headers or {})})

    def reference(self, model: str = "") -> dict[str, Tensor]:
        """Return the outputs of the model's legal inputs, to compare others with.

        Raises:
            Skip: The model answers the same inputs differently.
        """
        name = model or self.model

        def look() -> dict[str, Tensor]:
            inputs = self.inputs(name)
            first = self.infer(inputs, name)
            try:
                expect_same("a second reply", self.infer(inputs, name), first)
            except Deviation as error:
                raise Skip(
                    f"needs a model that answers the same inputs alike; {name!r} does not: {error}"
                ) from error
            return first

        found: dict[str, Tensor] = self.remembered(f"reference of {name}", look)
        return found

    # --- gRPC inference -----------------------------------------------------------------------------------------------

    def infer_request(
        self,
        inputs: Sequence[Tensor],
        *,
        model: str = "",
        version: str = "",
        typed: bool = False,
        **fields: Any,
    ) -> Any:
        """Return a ModelInferRequest with raw or typed contents."""
        parameters: Mapping[str, Any] = fields.pop("parameters", {})
        request = new("ModelInferRequest", model_name=model or self.model, model_version=version, **fields)
        for tensor in inputs:
            request.inputs.append(typed_input(tensor) if typed else raw_input(tensor))
            if not typed:
                request.raw_input_contents.append(to_bytes(tensor))
        for name, value in parameters.items():
            request.parameters[name].CopyFrom(parameter(value))
        return request

    def infer_raw(self, inputs: Sequence[Tensor], **fields: Any) -> RpcReply:
        """Call ModelInfer with raw contents."""
        return self.rpc.call("ModelInfer", self.infer_request(inputs, **fields))

    def infer_typed(self, inputs: Sequence[Tensor], **fields: Any) -> RpcReply:
        """Call ModelInfer with typed contents.

        Raises:
            Skip: A datatype has no typed contents.
        """
        for tensor in inputs:
            if not DATATYPES[tensor.datatype].contents:
                raise Skip(f"needs a model without {tensor.datatype} inputs")
        return self.rpc.call("ModelInfer", self.infer_request(inputs, typed=True, **fields))

    # --- After a malformed request ------------------------------------------------------------------------------------

    def still_serves(self, transport: str) -> None:
        """Send a good request.

        Raises:
            Deviation: It is not answered well.
        """
        inputs = self.inputs()
        try:
            if transport == "grpc":
                rpc_outputs_of(self.infer_raw(inputs))
            elif any(tensor.datatype in BINARY_ONLY for tensor in inputs):
                outputs_of(self.infer_binary(inputs))
            else:
                outputs_of(self.infer_json(inputs))
        except (Deviation, NoReply) as error:
            raise Deviation("a good request that is answered afterwards", str(error)) from error


# --- Requests and replies ---------------------------------------------------------------------------------------------


def binary_request(
    inputs: Sequence[Tensor], *, json_names: Sequence[str] = (), **fields: Any
) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a binary request."""
    described, blobs = [], []
    for tensor in inputs:
        if tensor.name in json_names:
            described.append(json_input(tensor))
        else:
            described.append(binary_input(tensor))
            blobs.append(to_bytes(tensor))
    return framed({"inputs": described, **fields}, *blobs)


def framed(request: Any, *blobs: bytes) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a JSON header with bytes behind it."""
    header = json.dumps(request).encode()
    return header + b"".join(blobs), {
        HEADER_LENGTH: str(len(header)),
        "Content-Type": "application/octet-stream",
    }


def ok_json(reply: Reply) -> Any:
    """Return the JSON of a reply that must be 200.

    Raises:
        Deviation: It is not.
    """
    expect(reply.status == 200, "status 200", reply)
    return reply.json()


def offered(reply: Reply) -> Reply:
    """Return the reply, unless it says that there is no such path.

    Raises:
        NotOffered: It does.
    """
    if reply.status in ABSENT:
        raise NotOffered(f"status {reply.status}")
    return reply


def rpc_offered(reply: RpcReply) -> RpcReply:
    """Return the reply, unless it says that there is no such method.

    Raises:
        NotOffered: It does.
    """
    if reply.code.name == "UNIMPLEMENTED":
        raise NotOffered(f"UNIMPLEMENTED {reply.details[:100]!r}")
    return reply


def as_object(value: Any, what: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        Deviation: It is something else.
    """
    expect(isinstance(value, dict), f"a JSON object as {what}", json.dumps(value)[:200])
    found: dict[str, Any] = value
    return found


def as_list(value: Any, what: str) -> list[Any]:
    """Return a JSON array.

    Raises:
        Deviation: It is something else.
    """
    expect(isinstance(value, list), f"an array as {what}", json.dumps(value)[:200])
    found: list[Any] = value
    return found


def split_reply(reply: Reply) -> tuple[dict[str, Any], bytes]:
    """Return the JSON object of an inference reply and the bytes behind it.

    Raises:
        Deviation: It is not a reply of an inference.
    """
    expect(reply.status == 200, "status 200", reply)
    length = reply.headers.get(HEADER_LENGTH.lower())
    if length is None:
        return as_object(reply.json(), "the reply"), b""
    expect(
        length.isdigit() and int(length) <= len(reply.body),
        f"{HEADER_LENGTH} of at most {len(reply.body)}",
        length,
    )
    header = Reply(reply.status, reply.headers, reply.body[: int(length)])
    return as_object(header.json(), "the reply"), reply.body[int(length) :]


def outputs_of(reply: Reply) -> dict[str, Tensor]:
    """Return the outputs of an inference reply, JSON or binary, by name.

    Raises:
        Deviation: It is not such a reply, or its parts do not fit together.
    """
    found, tail = split_reply(reply)
    outputs: dict[str, Tensor] = {}
    place = 0
    for output in as_list(found.get("outputs"), "outputs"):
        tensor, place = _output_of(as_object(output, "an output"), tail, place)
        expect(tensor.name not in outputs, "each output once", f"{tensor.name!r} twice")
        outputs[tensor.name] = tensor
    expect(
        place == len(tail), f"{place} bytes behind the JSON, as binary_data_size says", f"{len(tail)} bytes"
    )
    return outputs


def _output_of(output: dict[str, Any], tail: bytes, place: int) -> tuple[Tensor, int]:
    name, datatype, shape = output.get("name"), output.get("datatype"), output.get("shape")
    expect(isinstance(name, str), "a name for each output", repr(name))
    dimensions = as_list(shape, f"the shape of {name!r}")
    legal = all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in dimensions)
    expect(legal, f"whole numbers of 0 or more as the shape of {name!r}", dimensions)
    size = (output.get("parameters") or {}).get("binary_data_size")
    if size is None:
        return from_json(str(name), str(datatype), dimensions, output.get("data")), place
    expect("data" not in output, f"no data beside the binary data of {name!r}", "both")
    expect(
        isinstance(size, int) and place + size <= len(tail),
        f"{size} bytes for {name!r}",
        f"{len(tail) - place}",
    )
    return from_bytes(str(name), str(datatype), dimensions, tail[place : place + size]), place + size


def rpc_outputs_of(reply: RpcReply) -> dict[str, Tensor]:
    """Return the outputs of a gRPC inference, by name.

    Raises:
        Deviation: The reply is not OK, or its parts do not fit together.
    """
    return message_outputs_of(expect_ok(reply))


def message_outputs_of(message: Any) -> dict[str, Tensor]:
    """Return the outputs of a ModelInferResponse, by name.

    Raises:
        Deviation: Its parts do not fit together.
    """
    raw = list(message.raw_output_contents)
    if raw:
        count = len(message.outputs)
        expect(len(raw) == count, f"{count} raw_output_contents, one for each output", f"{len(raw)}")
    outputs: dict[str, Tensor] = {}
    for place, output in enumerate(message.outputs):
        empty = not raw and 0 in output.shape
        content = raw[place] if raw else b"" if empty else None
        outputs[output.name] = from_reply_tensor(output, content)
    return outputs


def expect_error(reply: Reply, *statuses: int) -> None:
    """Raise a deviation unless the reply is an error of the client, with the error object.

    Args:
        reply: Of the server.
        statuses: Those that are right; none for any error.

    Raises:
        Deviation: It is not.
        Remark: It is an error, but says that the server has failed.
    """
    wanted = f"status {' or '.join(map(str, statuses))}" if statuses else "an error status, typically 400"
    right = reply.status in statuses if statuses else reply.status >= 400
    expect(right, f'{wanted}, and {{"error": text}}', reply)
    expect_error_object(reply)
    if reply.status >= 500 and not statuses:
        raise Remark("a status of 400 to 499: the mistake is the client's", str(reply))


def expect_error_object(reply: Reply) -> None:
    """Raise a deviation unless the body is ``{"error": text}``.

    Raises:
        Deviation: It is not.
    """
    found = reply.json()
    named = isinstance(found, dict) and isinstance(found.get("error"), str) and bool(found["error"])
    expect(named, 'a body {"error": text}', reply)
