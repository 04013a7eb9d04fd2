"""Tensors of tritonclient in shared memory, in and out, at a server that allows it; one that does not refuses it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import serialize_byte_tensor, shared_memory

from tests.clients.servables import clients_server
from tests.clients.triton import INVALID, KINDS, NOT_FOUND, NOT_SUPPORTED, Array, Triton, plain, texts
from tests.support.serving import RunningServer

PAGE = 4096
SIZE = 2 * PAGE


@pytest.fixture(scope="module")
def allowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("memory")
    with clients_server(folder, start_options="allow_client_shared_memory=True") as running:
        yield running


@pytest.fixture(scope="module", params=KINDS)
def client(request: pytest.FixtureRequest, allowing: RunningServer) -> Iterator[Triton]:
    with Triton(request.param, allowing) as made:
        yield made


@dataclass(frozen=True)
class Region:
    """Memory that a test has made.

    Attributes:
        name: What the server is to call it.
        key: Its name in the system.
        handle: Of tritonclient.
    """

    name: str
    key: str
    handle: Any

    def write(self, *values: Array, offset: int = 0) -> None:
        shared_memory.set_shared_memory_region(self.handle, list(values), offset)

    def read(self, kind: Any, shape: tuple[int, ...], offset: int = 0) -> Array:
        found: Array = shared_memory.get_contents_as_numpy(self.handle, kind, shape, offset).copy()
        return found


@contextlib.contextmanager
def region_of(client: Triton, size: int = SIZE, *, register: bool = True) -> Iterator[Region]:
    """A region with a name of its own; by default the server knows it."""
    name = f"region-{uuid.uuid4().hex}"
    key = f"/serving_test_{uuid.uuid4().hex}"
    region = Region(name, key, shared_memory.create_shared_memory_region(name, key, size, create_only=True))
    try:
        if register:
            client.call("register_system_shared_memory", name, key, size)
        yield region
    finally:
        with contextlib.suppress(Exception):  # a test may have unregistered it
            client.call("unregister_system_shared_memory", name)
        shared_memory.destroy_shared_memory_region(region.handle)


def shared_input(client: Triton, region: Region, value: Array, name: str = "x", offset: int = 0) -> Any:
    datatype = client.input(name, value).datatype()
    tensor = client.module.InferInput(name, list(value.shape), datatype)
    return tensor.set_shared_memory(region.name, value.nbytes, offset=offset)


def shared_output(client: Triton, region: Region, size: int, name: str = "y", offset: int = 0) -> Any:
    output = client.output(name)
    output.set_shared_memory(region.name, size, offset=offset)
    return output


def status_of(client: Triton, name: str = "") -> list[dict[str, Any]]:
    status = client.call("get_system_shared_memory_status", name)
    return status if client.http else [*plain(status)["regions"].values()]


def test_registered_regions_are_listed(client: Triton) -> None:
    with region_of(client) as first, region_of(client, register=False) as second:
        client.call("register_system_shared_memory", second.name, second.key, 256, PAGE)
        listed = {entry["name"]: entry for entry in status_of(client)}
        assert {first.name, second.name} <= set(listed)
        for region, offset, size in ((first, 0, SIZE), (second, PAGE, 256)):
            [entry] = status_of(client, region.name)
            assert entry == listed[region.name]
            assert entry["key"] == region.key
            assert (int(entry.get("offset", 0)), int(entry["byte_size"])) == (offset, size)
        client.call("unregister_system_shared_memory", first.name)
        assert first.name not in {entry["name"] for entry in status_of(client)}
        assert second.name in {entry["name"] for entry in status_of(client)}


def test_all_are_unregistered_at_once(client: Triton) -> None:
    with region_of(client), region_of(client):
        assert len(status_of(client)) == 2
        client.call("unregister_system_shared_memory")
        assert status_of(client) == []


@pytest.mark.parametrize("offset", [0, 64])
def test_input_and_output_in_memory(client: Triton, offset: int) -> None:
    sent = np.arange(12, dtype=np.int64).reshape(3, 4)
    with region_of(client) as source, region_of(client) as target:
        source.write(sent, offset=offset)
        result = client.infer(
            "echo.identity_int64",
            [shared_input(client, source, sent, offset=offset)],
            outputs=[shared_output(client, target, sent.nbytes, offset=offset)],
        )
        output = result.get_output("y")
        assert list(output["shape"] if client.http else output.shape) == [3, 4]
        np.testing.assert_array_equal(target.read(np.int64, (3, 4), offset), sent)


def test_an_offset_of_the_region_counts_as_well(client: Triton) -> None:
    sent = np.arange(4, dtype=np.float32).reshape(1, 4)
    with region_of(client, register=False) as region:
        client.call("register_system_shared_memory", region.name, region.key, 1024, PAGE)
        region.write(sent, offset=PAGE + 32)
        result = client.infer("echo.scores", [shared_input(client, region, sent, offset=32)])
        np.testing.assert_array_equal(result.as_numpy("y"), sent)


def test_one_input_in_memory_and_one_in_the_request(client: Triton) -> None:
    """Bytes of a request belong to the inputs that are not in memory."""
    a, b = np.full((1, 3), 4, np.float32), np.full((1, 3), 1, np.float32)
    for in_memory, other in (("a", "b"), ("b", "a")):
        values = {"a": a, "b": b}
        with region_of(client) as region:
            region.write(values[in_memory])
            inputs = {
                in_memory: shared_input(client, region, values[in_memory], in_memory),
                other: client.input(other, values[other]),
            }
            result = client.infer(
                "echo.add_sub",
                [inputs["a"], inputs["b"]],
                outputs=[shared_output(client, region, 12, "total", 2048), client.output("difference")],
            )
            np.testing.assert_array_equal(region.read(np.float32, (1, 3), 2048), a + b)
            np.testing.assert_array_equal(result.as_numpy("difference"), a - b)


def test_texts_in_memory(client: Triton) -> None:
    sent = texts("one", "你好", "")
    packed = serialize_byte_tensor(sent)
    size = len(packed.item())
    with region_of(client) as source, region_of(client) as target:
        source.write(packed)
        tensor = client.module.InferInput("x", [3], "BYTES").set_shared_memory(source.name, size)
        client.infer("echo.identity_text", [tensor], outputs=[shared_output(client, target, size)])
        found = target.read(np.object_, (3,))
        assert [one.decode() for one in found] == list(sent)


def test_a_region_is_used_again_and_again(client: Triton) -> None:
    with region_of(client) as source, region_of(client) as target:
        for number in range(20):
            sent = np.full((1, 4), number, np.float32)
            source.write(sent)
            client.infer(
                "echo.scores",
                [shared_input(client, source, sent)],
                outputs=[shared_output(client, target, sent.nbytes)],
            )
            np.testing.assert_array_equal(target.read(np.float32, (1, 4)), sent)


def test_the_reply_is_the_clients_own_after_the_memory_changes(client: Triton) -> None:
    """What came back in the reply does not follow the memory that the input was in."""
    sent = np.full((1, 4), 3, np.float32)
    with region_of(client) as region:
        region.write(sent)
        result = client.infer("echo.scores", [shared_input(client, region, sent)])
        region.write(sent * 2)
        np.testing.assert_array_equal(result.as_numpy("y"), sent)


@pytest.mark.parametrize(
    ("size", "offset"), [(SIZE + 16, 0), (16, SIZE), (16, SIZE - 8), (16, 2**63 - 8)], ids=str
)
def test_tensors_outside_of_their_region_are_refused(client: Triton, size: int, offset: int) -> None:
    with region_of(client) as region:
        tensor = client.module.InferInput("x", [size // 16, 4], "FP32")
        tensor.set_shared_memory(region.name, size, offset=offset)
        assert region.name in client.refused(INVALID, "echo.scores", [tensor])


def test_sizes_that_are_not_the_tensors_are_refused(client: Triton) -> None:
    with region_of(client) as region:
        tensor = client.module.InferInput("x", [2, 4], "FP32").set_shared_memory(region.name, 16)
        text = client.refused(INVALID, "echo.scores", [tensor])
        assert all(number in text for number in ("16", "32")), text
        sent = np.zeros((2, 4), np.float32)
        outputs = [shared_output(client, region, 16)]
        text = client.refused(INVALID, "echo.scores", {"x": sent}, outputs=outputs)
        assert all(number in text for number in ("16", "32")), text


def test_unknown_regions_are_refused_by_name(client: Triton) -> None:
    sent = np.zeros((1, 4), np.float32)
    tensor = client.module.InferInput("x", [1, 4], "FP32").set_shared_memory("nowhere", 16)
    assert "nowhere" in client.refused(NOT_FOUND, "echo.scores", [tensor])
    output = client.output("y")
    output.set_shared_memory("nowhere", 16)
    assert "nowhere" in client.refused(NOT_FOUND, "echo.scores", {"x": sent}, outputs=[output])


@pytest.mark.parametrize(
    "key", ["/no_such_memory", "", "/", "///", "../shm/x", "/a/b", "/triton_python_backend_shm_region_x"]
)
def test_keys_that_name_no_memory_of_the_client_are_refused(client: Triton, key: str) -> None:
    assert client.call_refused(INVALID, "register_system_shared_memory", "bad", key, 16)
    assert "bad" not in {entry["name"] for entry in status_of(client)}


@pytest.mark.parametrize(("size", "offset"), [(SIZE + 1, 0), (16, SIZE), (2**62, 2**62)], ids=str)
def test_registrations_beyond_the_memory_are_refused(client: Triton, size: int, offset: int) -> None:
    with region_of(client, register=False) as region:
        assert client.call_refused(
            INVALID, "register_system_shared_memory", region.name, region.key, size, offset
        )
        assert region.name not in {entry["name"] for entry in status_of(client)}


def test_a_name_is_registered_once(client: Triton) -> None:
    with region_of(client) as region, region_of(client, register=False) as other:
        text = client.call_refused(
            (INVALID[0], "StatusCode.ALREADY_EXISTS"),
            "register_system_shared_memory",
            region.name,
            other.key,
            SIZE,
        )
        assert region.name in text


def test_the_server_says_that_it_allows_it(client: Triton) -> None:
    assert "system_shared_memory" in plain(client.call("get_server_metadata"))["extensions"]


def test_a_server_that_was_not_told_to_allow_it_refuses(triton: Triton) -> None:
    with region_of(triton, register=False) as region:
        text = triton.call_refused(
            NOT_SUPPORTED, "register_system_shared_memory", region.name, region.key, SIZE
        )
        assert "allow_client_shared_memory" in text
        sent = np.zeros((1, 4), np.float32)
        region.write(sent)
        assert triton.refused(NOT_SUPPORTED, "echo.scores", [shared_input(triton, region, sent)])


def test_memory_of_devices_is_not_offered(client: Triton) -> None:
    handle = b"AAAA"
    assert client.call_refused(NOT_SUPPORTED, "register_cuda_shared_memory", "device", handle, 0, 16)
