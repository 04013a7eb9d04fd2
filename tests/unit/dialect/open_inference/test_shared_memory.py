"""Shared memory of clients: what is taken, what is refused, and what holds while regions are used."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from mindspore_serving.errors import (
    AlreadyExists,
    InvalidInput,
    NotOffered,
    NotPermitted,
    UnknownTarget,
)
from mindspore_serving.server.dialect.open_inference.shared_memory import (
    MOST_PART_BYTES,
    MOST_REGIONS,
    RegionPart,
    SharedMemoryRegions,
)
from tests.support.other_user import OTHER_USER, as_other_user, needs_root

CONTENT = bytes(range(64))
HUGE = 1 << 63


class Client:
    """A client.

    Args:
        is_own: Whether it is of this user, on this machine.
    """

    def __init__(self, is_own: bool = True) -> None:
        self.is_own = is_own

    def peer_is_own_user(self) -> bool:
        return self.is_own


OWN, STRANGER = Client(), Client(is_own=False)


@pytest.fixture
def shm(tmp_path: Path) -> Path:
    """What stands for /dev/shm, with a file of 64 bytes."""
    folder = tmp_path / "shm"
    folder.mkdir()
    (folder / "input").write_bytes(CONTENT)
    return folder


@pytest.fixture
def regions(shm: Path) -> SharedMemoryRegions:
    return SharedMemoryRegions(allowed=True, folder=shm)


def read(part: RegionPart) -> memoryview:
    return asyncio.run(part.read())


def write(part: RegionPart, data: bytes | memoryview) -> None:
    asyncio.run(part.write(data))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_part_of_a_region_is_read_and_written(regions: SharedMemoryRegions, shm: Path) -> None:
    regions.register("in", "/input", 8, 32, OWN)
    with regions.open("in", 4, 6, OWN) as part:
        assert part.byte_size == 6
        assert read(part) == CONTENT[12:18]
        write(part, b"abc")
        write(part, memoryview(b"AB"))
    assert (shm / "input").read_bytes() == CONTENT[:12] + b"ABc" + CONTENT[15:]
    with regions.open("in", 32, 0, OWN) as part:
        assert read(part) == b""
        write(part, b"")


def test_what_is_read_is_a_copy(regions: SharedMemoryRegions, shm: Path) -> None:
    regions.register("in", "/input", 0, 64, OWN)
    with regions.open("in", 0, 4, OWN) as part:
        content = read(part)
    (shm / "input").write_bytes(b"changed later")
    assert content == CONTENT[:4]


def test_the_status_of_regions(regions: SharedMemoryRegions) -> None:
    assert regions.status("", OWN) == []
    regions.register("a", "/input", 8, 32, OWN)
    regions.register("b", "/input", 0, 64, OWN)
    a = {"name": "a", "key": "/input", "offset": 8, "byte_size": 32}
    assert regions.status("", OWN) == [a, {"name": "b", "key": "/input", "offset": 0, "byte_size": 64}]
    assert regions.status("a", OWN) == [a]
    regions.unregister("b", OWN)
    assert regions.status("", OWN) == [a]
    regions.unregister("unknown", OWN)
    regions.unregister("", OWN)
    assert regions.status("", OWN) == []
    with pytest.raises(UnknownTarget, match="Unable to find shared memory region: 'a'"):
        regions.status("a", OWN)


CALLS: list[Callable[[SharedMemoryRegions, Client], object]] = [
    lambda regions, client: regions.register("a", "/input", 0, 1, client),
    lambda regions, client: regions.unregister("", client),
    lambda regions, client: regions.unregister("in", client),
    lambda regions, client: regions.status("", client),
    lambda regions, client: regions.open("in", 0, 1, client),
    lambda regions, client: regions.refuse_cuda(client),
]


@pytest.mark.parametrize("call", CALLS)
def test_everything_is_refused_that_is_not_allowed(
    call: Callable[[SharedMemoryRegions, Client], object], regions: SharedMemoryRegions
) -> None:
    regions.register("in", "/input", 0, 64, OWN)
    with pytest.raises(NotPermitted, match="only for clients on the machine of this server and of its user"):
        call(regions, STRANGER)
    regions.allowed = False
    for client in (OWN, STRANGER):
        with pytest.raises(NotOffered, match="allow_client_shared_memory=True") as refused:
            call(regions, client)
        assert refused.value.failure().status == 501
    regions.allowed = True
    assert [region["name"] for region in regions.status("", OWN)] == ["in"]


def test_shared_memory_of_cuda_is_not_there(regions: SharedMemoryRegions) -> None:
    with pytest.raises(NotOffered, match="CUDA"):
        regions.refuse_cuda(OWN)


def make(shm: Path, kind: str) -> None:
    """Put something else than a file there."""
    path = shm / kind
    match kind:
        case "link":
            path.symlink_to(shm / "input")
        case "outside":
            path.symlink_to("/etc/hostname")
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "socket":
            socket.socket(socket.AF_UNIX).bind(str(path))


@pytest.mark.parametrize(
    ("name", "key", "offset", "byte_size", "text"),
    [
        ("a", "", 0, 1, "key should be a slash and a name"),
        ("a", "input", 0, 1, "but got 'input'"),
        ("a", "/", 0, 1, "key should be"),
        ("a", "//", 0, 1, "key should be"),
        ("a", "/.", 0, 1, "key should be"),
        ("a", "/..", 0, 1, "key should be"),
        ("a", "/../input", 0, 1, "key should be"),
        ("a", "//input", 0, 1, "key should be"),
        ("a", "/input/", 0, 1, "key should be"),
        ("a", "/input\n", 0, 1, "key should be"),
        ("a", "/in\0put", 0, 1, "key should be"),
        ("a", "/eingäng", 0, 1, "key should be"),
        ("a", "/" + "x" * 5000, 0, 1, r"key should be .*x\.\.\. \(5001 characters\)"),
        ("a", "/triton_python_backend_shm_region_1", 0, 1, "are reserved"),
        ("a", "/sem.lock", 0, 1, "that begin with 'sem.' are reserved"),
        ("", "/input", 0, 1, "should have 1 to 256 characters, but got 0"),
        ("n" * 257, "/input", 0, 1, "should have 1 to 256 characters, but got 257"),
        ("a", "/input", -1, 1, "invalid offset -1 and byte size 1"),
        ("a", "/input", 0, 0, "invalid offset 0 and byte size 0"),
        ("a", "/input", 0, -1, "invalid offset 0 and byte size -1"),
        ("a", "/input", 0, HUGE, f"invalid offset 0 and byte size {HUGE}"),
        ("a", "/input", HUGE - 1, 1, "invalid offset"),
        ("a", "/input", 10**4000, 1, "invalid offset beyond 64 bits"),
        ("a", "/input", 0, 65, "it has 64 bytes, but the region ends at 65"),
        ("a", "/input", 64, 1, "it has 64 bytes, but the region ends at 65"),
        ("a", "/input", 1 << 40, 1, "it has 64 bytes"),
        ("a", "/missing", 0, 1, "Unable to open shared memory region 'a' with key '/missing': No such file"),
        ("a", "/link", 0, 1, "Unable to open shared memory region"),
        ("a", "/outside", 0, 1, "Unable to open shared memory region"),
        ("a", "/folder", 0, 1, "Unable to open shared memory region"),
        ("a", "/socket", 0, 1, "Unable to open shared memory region"),
        ("a", "/fifo", 0, 1, "it is a FIFO, expected is a shared memory"),
    ],
)
def test_a_region_that_is_refused(
    name: str, key: str, offset: int, byte_size: int, text: str, regions: SharedMemoryRegions, shm: Path
) -> None:
    if (kind := key.removeprefix("/")) in ("link", "outside", "fifo", "folder", "socket"):
        make(shm, kind)
    before = descriptors()
    with pytest.raises(InvalidInput, match=text) as refused:
        regions.register(name, key, offset, byte_size, OWN)
    assert refused.value.failure().status == 400
    assert len(str(refused.value)) < 1000
    assert regions.status("", OWN) == []
    assert descriptors() == before


@needs_root
def test_a_file_of_another_user_is_refused(regions: SharedMemoryRegions, shm: Path) -> None:
    os.chown(shm / "input", OTHER_USER, OTHER_USER)
    with pytest.raises(InvalidInput, match="it belongs to another user, expected is user"):
        regions.register("a", "/input", 0, 1, OWN)


@needs_root
def test_a_file_that_this_user_may_not_write_is_refused(shm: Path) -> None:
    regions = SharedMemoryRegions(allowed=True, folder=shm)
    for folder in (shm, *list(shm.parents)[:3]):
        folder.chmod(0o755)
    with as_other_user(), pytest.raises(InvalidInput, match="Permission denied"):
        regions.register("a", "/input", 0, 1, OWN)


def test_a_name_is_registered_once(regions: SharedMemoryRegions) -> None:
    regions.register("a", "/input", 0, 1, OWN)
    with pytest.raises(AlreadyExists, match="shared memory region 'a' is registered already"):
        regions.register("a", "/input", 0, 2, OWN)
    assert regions.status("a", OWN)[0]["byte_size"] == 1


def test_there_are_only_so_many_regions(regions: SharedMemoryRegions) -> None:
    for number in range(MOST_REGIONS):
        regions.register(f"r{number}", "/input", 0, 1, OWN)
    with pytest.raises(InvalidInput, match=f"at most {MOST_REGIONS} regions"):
        regions.register("one more", "/input", 0, 1, OWN)
    regions.unregister("r0", OWN)
    regions.register("one more", "/input", 0, 1, OWN)
    regions.close()


def test_regions_have_only_so_many_bytes(regions: SharedMemoryRegions, shm: Path) -> None:
    whole = MOST_REGIONS * MOST_PART_BYTES
    os.truncate(shm / "input", whole)
    regions.register("all", "/input", 0, whole, OWN)
    with pytest.raises(InvalidInput, match=f"with {whole} bytes together"):
        regions.register("one byte", "/input", 0, 1, OWN)
    with pytest.raises(InvalidInput, match=f"may have {MOST_PART_BYTES} bytes at most"):
        regions.open("all", 0, MOST_PART_BYTES + 1, OWN)
    regions.open("all", whole - MOST_PART_BYTES, MOST_PART_BYTES, OWN).close()


@pytest.mark.parametrize(
    ("offset", "byte_size"),
    [(0, 33), (32, 1), (33, 0), (-1, 1), (0, -1), (HUGE, HUGE), (1, 32), (1 << 64, 1), (0, 10**4000)],
)
def test_a_part_has_to_be_within_its_region(
    offset: int, byte_size: int, regions: SharedMemoryRegions
) -> None:
    regions.register("in", "/input", 8, 32, OWN)
    with pytest.raises(InvalidInput, match="for shared memory region 'in', which has 32 bytes"):
        regions.open("in", offset, byte_size, OWN)


def test_an_output_has_to_fit(regions: SharedMemoryRegions, shm: Path) -> None:
    regions.register("out", "/input", 0, 64, OWN)
    with (
        regions.open("out", 0, 4, OWN) as part,
        pytest.raises(InvalidInput, match="5 bytes does not fit into 4"),
    ):
        write(part, b"12345")
    assert (shm / "input").read_bytes() == CONTENT


def test_an_unknown_region_is_not_opened(regions: SharedMemoryRegions) -> None:
    with pytest.raises(UnknownTarget, match="Unable to find shared memory region: 'none'"):
        regions.open("none", 0, 1, OWN)


@pytest.mark.parametrize(
    "end",
    [
        lambda regions: regions.unregister("in", OWN),
        lambda regions: regions.unregister("", OWN),
        lambda regions: regions.close(),
    ],
)
def test_a_region_stays_while_it_is_used(
    end: Callable[[SharedMemoryRegions], None], regions: SharedMemoryRegions, shm: Path
) -> None:
    before = descriptors()
    regions.register("in", "/input", 0, 64, OWN)
    with regions.open("in", 0, 4, OWN) as first, regions.open("in", 4, 4, OWN) as second:
        end(regions)
        (shm / "input").unlink()
        (shm / "input").write_bytes(b"another file")
        regions.register("in", "/input", 0, 12, OWN)
        assert read(first) == CONTENT[:4]
        first.close()
        write(second, b"new!")
        assert read(second) == b"new!"
    assert (shm / "input").read_bytes() == b"another file"
    regions.close()
    assert descriptors() == before


def test_a_part_that_is_closed_is_not_used(regions: SharedMemoryRegions) -> None:
    regions.register("in", "/input", 0, 64, OWN)
    part = regions.open("in", 0, 4, OWN)
    part.close()
    part.close()
    with pytest.raises(ValueError, match="closed"):
        read(part)
    with pytest.raises(ValueError, match="closed"):
        write(part, b"")
    assert read(regions.open("in", 0, 4, OWN)) == CONTENT[:4]


@pytest.mark.parametrize("size", [0, 7, 63])
def test_memory_that_became_too_small_is_an_error_of_the_request(
    size: int, regions: SharedMemoryRegions, shm: Path
) -> None:
    regions.register("in", "/input", 8, 56, OWN)
    with regions.open("in", 0, 56, OWN) as part:
        os.truncate(shm / "input", size)
        for use in (lambda: read(part), lambda: write(part, CONTENT[:56])):
            with pytest.raises(InvalidInput, match="has become too small for region 'in'"):
                use()
    assert (shm / "input").stat().st_size == size


def test_much_is_copied_in_pieces_and_others_have_their_turns(
    regions: SharedMemoryRegions, shm: Path
) -> None:
    content = os.urandom(9 << 20)
    (shm / "input").write_bytes(content)
    regions.register("in", "/input", 0, len(content), OWN)

    async def scene() -> None:
        turns = []
        others = asyncio.get_running_loop()
        with regions.open("in", 1, len(content) - 1, OWN) as part:
            others.call_soon(turns.append, "read")
            assert await part.read() == content[1:]
            others.call_soon(turns.append, "written")
            await part.write(content[:-1])
            assert turns == ["read", "written"]
            os.truncate(shm / "input", 5 << 20)
            with pytest.raises(InvalidInput, match="has become too small"):
                await part.read()

    asyncio.run(scene())
