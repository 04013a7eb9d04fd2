"""System shared memory, REST and gRPC. The server must run on this machine."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oip_conformance import sources
from oip_conformance.check import Area, NotOffered, Skip, Tier, expect
from oip_conformance.messages import new, parameter
from oip_conformance.rest import Reply
from oip_conformance.rpc import expect_ok
from oip_conformance.server import (
    Server,
    as_list,
    as_object,
    expect_error,
    offered,
    ok_json,
    outputs_of,
    rpc_offered,
)
from oip_conformance.tensors import from_bytes, json_input, same_values, to_bytes

AREA = Area("System shared memory", "http")

_FOLDER = Path("/dev/shm")
_LOCAL = ("localhost", "127.0.0.1", "::1")
_BASE = "/v2/systemsharedmemory"
# Two pages: systems map from a page's beginning only.
_PAGE = 4096
_SIZE = 2 * _PAGE
_SAYS = "A client registers a region by key, offset and byte_size, names it in tensors, and unregisters it."


@dataclass(frozen=True)
class Region:
    """A memory object of ours, and its name at the server."""

    name: str
    key: str
    path: Path

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes."""
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def read(self, offset: int, size: int) -> bytes:
        """Read bytes."""
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(size)


@contextlib.contextmanager
def _region(server: Server) -> Iterator[Region]:
    """Make a memory object; it is unregistered and removed at the end."""
    if not _FOLDER.is_dir() or server.rest.host not in _LOCAL:
        raise Skip("needs a server on this machine, and /dev/shm")
    name = f"oip_conformance_{os.getpid()}_{uuid.uuid4().hex[:8]}"
    region = Region(name, f"/{name}", _FOLDER / name)
    region.path.write_bytes(bytes(_SIZE))
    try:
        yield region
    finally:
        server.rest.post(f"{_BASE}/region/{name}/unregister")
        region.path.unlink(missing_ok=True)


def _register(server: Server, region: Region, **fields: Any) -> Reply:
    body = {"key": region.key, "offset": 0, "byte_size": _SIZE, **fields}
    return server.rest.post_json(f"{_BASE}/region/{region.name}/register", body)


def _needs_memory(server: Server) -> None:
    """Go on only when regions may be registered."""

    def look() -> str:
        offered(server.rest.get(f"{_BASE}/status"))
        with _region(server) as region:
            reply = _register(server, region)
        return "" if reply.status == 200 else str(reply)

    refusal = server.remembered("registers memory", look)
    if refusal:
        raise NotOffered(f"a registration is refused: {refusal}")


def _status(server: Server, path: str = "") -> list[dict[str, Any]]:
    listed = as_list(ok_json(server.rest.get(f"{_BASE}{path}/status")), "the status")
    return [as_object(each, "an entry") for each in listed]


@AREA.check("memory.status", Tier.TRITON, "The status is an array of regions.", sources.SHARED_MEMORY)
def status(server: Server) -> None:
    """GET of the status answers with an array."""
    as_list(ok_json(offered(server.rest.get(f"{_BASE}/status"))), "the status")


@AREA.check("memory.register", Tier.TRITON, "A registered region is in the status.", sources.SHARED_MEMORY)
def register(server: Server) -> None:
    """A registered region is listed with key, offset and size, and is gone when it is unregistered."""
    _needs_memory(server)
    with _region(server) as region:
        reply = _register(server, region, offset=_PAGE, byte_size=128)
        expect(reply.status == 200, "status 200", reply)
        wanted = {"name": region.name, "key": region.key, "offset": _PAGE, "byte_size": 128}
        found = _status(server, f"/region/{region.name}")
        expect(found == [wanted], str([wanted]), found)
        expect(wanted in _status(server), f"{wanted} in the status of all", _status(server))
        reply = server.rest.post(f"{_BASE}/region/{region.name}/unregister")
        expect(reply.status == 200, "status 200 for the unregistration", reply)
        names = [each.get("name") for each in _status(server)]
        expect(region.name not in names, "no such region afterwards", names)


def _shared(region: Region, size: int, offset: int) -> dict[str, Any]:
    return {
        "shared_memory_region": region.name,
        "shared_memory_byte_size": size,
        "shared_memory_offset": offset,
    }


def _inputs_in(server: Server, region: Region) -> list[dict[str, Any]]:
    offset = 0
    described = []
    for tensor in server.inputs():
        data = to_bytes(tensor)
        region.write(offset, data)
        described.append(
            {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "datatype": tensor.datatype,
                "parameters": _shared(region, len(data), offset),
            }
        )
        offset += len(data)
    return described


@AREA.check("memory.inputs", Tier.TRITON, _SAYS, sources.SHARED_MEMORY)
def inputs(server: Server) -> None:
    """Inputs in shared memory give the outputs of inputs in the request."""
    _needs_memory(server)
    reference = server.reference()
    with _region(server) as region:
        _register(server, region)
        request = {"inputs": _inputs_in(server, region)}
        found = outputs_of(server.rest.post_json(server.path("/infer"), request))
    for name, tensor in reference.items():
        expect(same_values(found[name], tensor), str(tensor), found[name])


@AREA.check(
    "memory.outputs",
    Tier.TRITON,
    "An output in shared memory has no data in the reply.",
    sources.SHARED_MEMORY,
)
def outputs(server: Server) -> None:
    """Outputs are written into shared memory, and the reply has no data for them."""
    _needs_memory(server)
    reference = server.reference()
    with _region(server) as region:
        _register(server, region)
        offset, wanted = 1024, []
        for name, tensor in reference.items():
            wanted.append({"name": name, "parameters": _shared(region, len(to_bytes(tensor)), offset)})
            offset += len(to_bytes(tensor))
        request = {"inputs": [json_input(each) for each in server.inputs()], "outputs": wanted}
        found = as_object(ok_json(server.rest.post_json(server.path("/infer"), request)), "the reply")
        offset = 1024
        for output in as_list(found.get("outputs"), "outputs"):
            expect("data" not in output, "no data", output)
            expected = reference[output["name"]]
            data = region.read(offset, len(to_bytes(expected)))
            got = from_bytes(output["name"], output["datatype"], output["shape"], data)
            expect(same_values(got, expected), f"{expected} in the region", got)
            offset += len(data)


def _refused(check_id: str, title: str, says: str, send: Callable[[Server, Region], Reply]) -> None:
    def run(server: Server) -> None:
        _needs_memory(server)
        with _region(server) as region:
            expect_error(send(server, region))

    AREA.add(f"memory.{check_id}", Tier.TRITON, title, says, sources.SHARED_MEMORY, run, hostile=True)


_KEY = "key is the name of a memory object that exists."
_BOUNDS = "offset and byte_size lie within the memory object."
_USE = "A tensor names a registered region, and a part of it of the tensor's size."

_refused(
    "no_such_key",
    "A key of no memory object is refused",
    _KEY,
    lambda server, region: _register(server, region, key="/oip_no_such"),
)
_refused(
    "key_path",
    "A key that leads elsewhere is refused",
    _KEY,
    lambda server, region: _register(server, region, key="/../../etc/passwd"),
)
_refused(
    "size_beyond",
    "A region larger than its object is refused",
    _BOUNDS,
    lambda server, region: _register(server, region, byte_size=_SIZE * 1024),
)
_refused(
    "offset_beyond",
    "An offset behind the object is refused",
    _BOUNDS,
    lambda server, region: _register(server, region, offset=_SIZE * 1024),
)
_refused(
    "offset_wraps",
    "An offset that wraps at 64 bits is refused",
    _BOUNDS,
    lambda server, region: _register(server, region, offset=2**64 - _PAGE, byte_size=_PAGE + 128),
)
_refused(
    "size_negative",
    "A negative size is refused",
    _BOUNDS,
    lambda server, region: _register(server, region, byte_size=-1),
)


def _twice(server: Server, region: Region) -> Reply:
    _register(server, region)
    return _register(server, region)


_refused("twice", "A name that is registered already is refused", "A name is registered once.", _twice)


def _infer(server: Server, region: Region, **changed: Any) -> Reply:
    _register(server, region)
    described = _inputs_in(server, region)
    for key, value in changed.items():
        if key == "data":
            described[0]["data"] = value
        else:
            described[0]["parameters"][key] = value
    return server.rest.post_json(server.path("/infer"), {"inputs": described})


_refused(
    "use_unknown",
    "An input in an unknown region is refused",
    _USE,
    lambda server, region: _infer(server, region, shared_memory_region="oip-none"),
)
_refused(
    "use_beyond",
    "An input behind the end of its region is refused",
    _USE,
    lambda server, region: _infer(server, region, shared_memory_offset=_SIZE),
)
_refused(
    "use_wraps",
    "An input whose offset wraps at 64 bits is refused",
    _USE,
    lambda server, region: _infer(server, region, shared_memory_offset=2**64 - 4),
)
_refused(
    "use_short",
    "An input of another size than its tensor is refused",
    _USE,
    lambda server, region: _infer(server, region, shared_memory_byte_size=1),
)
_refused(
    "use_and_data",
    "An input in a region and in the request is refused",
    "data is not set beside a region.",
    lambda server, region: _infer(server, region, data=[1]),
)


@AREA.check("memory.grpc", Tier.TRITON, _SAYS, sources.SHARED_MEMORY, transport="both")
def over_grpc(server: Server) -> None:
    """Regions are registered and used over gRPC; the output's raw entry is empty or absent."""
    rpc_offered(server.rpc.call("SystemSharedMemoryStatus", b""))
    _needs_memory(server)
    reference = server.reference()
    with _region(server) as region:
        described = new("Region", name=region.name, key=region.key, byte_size=_SIZE)
        expect_ok(server.rpc.call("SystemSharedMemoryRegister", described))
        found = expect_ok(server.rpc.call("SystemSharedMemoryStatus", new("Name", name=region.name)))
        expect(region.name in found.regions, region.name, sorted(found.regions))
        request = server.infer_request(server.inputs())
        del request.raw_input_contents[:]
        for message, entry in zip(request.inputs, _inputs_in(server, region), strict=True):
            for key, value in entry["parameters"].items():
                message.parameters[key].CopyFrom(parameter(value))
        name, expected = next(iter(reference.items()))
        wanted = request.outputs.add(name=name)
        for key, value in _shared(region, len(to_bytes(expected)), 2048).items():
            wanted.parameters[key].CopyFrom(parameter(value))
        reply = expect_ok(server.rpc.call("ModelInfer", request))
        expect(not any(reply.raw_output_contents), "no bytes for an output in shared memory", reply)
        data = region.read(2048, len(to_bytes(expected)))
        got = from_bytes(name, expected.datatype, expected.shape, data)
        expect(same_values(got, expected), f"{expected} in the region", got)
        expect_ok(server.rpc.call("SystemSharedMemoryUnregister", new("Name", name=region.name)))


@AREA.check("memory.grpc_unknown", Tier.TRITON, _KEY, sources.SHARED_MEMORY, transport="grpc", hostile=True)
def unknown_over_grpc(server: Server) -> None:
    """A key of no memory object is refused over gRPC."""
    rpc_offered(server.rpc.call("SystemSharedMemoryStatus", b""))
    request = new("Region", name="oip_none", key="/oip_no_such", byte_size=64)
    reply = rpc_offered(server.rpc.call("SystemSharedMemoryRegister", request))
    expect(not reply.ok, "an error", reply)
