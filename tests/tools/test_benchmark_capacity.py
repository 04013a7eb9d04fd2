"""What the benchmarks of capacity and of other servers compute without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.capacity.figures import Turn, compared
from benchmarks.capacity.idle_connections import connections_that_fit
from benchmarks.capacity.long_queue import sizes_that_fit
from benchmarks.capacity.many_servables import servables_that_fit
from benchmarks.load import Load
from benchmarks.messages import Request
from benchmarks.peers.environment import versions
from benchmarks.peers.measure import Turn as PeerTurn
from benchmarks.peers.measure import row_of
from benchmarks.peers.targets import PEERS, Question, expected_values
from benchmarks.report import write_report


@pytest.mark.parametrize(
    ("available_mb", "count"), [(100_000.0, 200), (12_000.0, 200), (6_000.0, 100), (10.0, 1)]
)
def test_half_of_the_free_memory_is_used_at_most(available_mb: float, count: int) -> None:
    assert servables_that_fit(available_mb) == count


@pytest.mark.parametrize(("most_files", "count"), [(1 << 20, 5000), (20_000, 5000), (1024, 524)])
def test_connections_leave_some_files(most_files: int, count: int) -> None:
    assert connections_that_fit(most_files) == count


@pytest.mark.parametrize(
    ("interface", "most_files", "sizes"),
    [
        ("grpc", 1024, (1000, 2500, 5000, 10_000)),
        ("rest", 20_000, (1000, 2500, 5000, 10_000)),
        ("rest", 4096, (1000, 2500)),
        ("rest", 1024, (524,)),
    ],
)
def test_a_rest_queue_needs_a_file_for_each_request(
    interface: str, most_files: int, sizes: tuple[int, ...]
) -> None:
    assert sizes_that_fit(interface, most_files) == sizes


def test_ratios_are_those_of_neighbouring_turns() -> None:
    def turn(requests: int, cpu_us: float, wrong: int = 0) -> Turn:
        return Turn(Load(requests, wrong, 2.0, 1.0, 2.0), cpu_us)

    pairs = [
        (turn(100, 10), turn(50, 30)),
        (turn(10, 20), turn(20, 20)),
        (turn(40, 40), turn(40, 80, wrong=1)),
    ]
    row = compared(pairs)
    assert (row["cpu_ratio"], row["cpu_ratio_spread"]) == (2.0, [1.0, 3.0])
    assert (row["rate_ratio"], row["rate_ratio_spread"]) == (1.0, [0.5, 2.0])
    assert (row["requests_per_s"], row["wrong"]) == (20.0, 1)


def test_every_other_server_has_its_version_pinned() -> None:
    assert {peer.package for peer in PEERS} <= set(versions())


@pytest.mark.parametrize(
    ("method", "y"), [("add", [[3.5, 2.0], [2.0, 0.75]]), ("identity", [[1.5, -2.0], [3.0, 0.25]])]
)
def test_expected_values(method: str, y: list[list[float]]) -> None:
    assert expected_values(method) == y


def test_a_row_of_another_server_is_compared_with_neighbouring_turns_of_ours() -> None:
    def turn(requests: int, cpu_us: float, wrong: int = 0) -> PeerTurn:
        return PeerTurn(Load(requests, wrong, 2.0, 1.0, 2.0), cpu_us)

    request = Request("rest", "/v2/models/a/infer", b"", lambda _: True)
    taken = [turn(10, 100.0), turn(10, 200.0, wrong=1), turn(20, 100.0)]
    ours = [turn(20, 40.0), turn(40, 40.0), turn(20, 60.0)]
    row = row_of("REST OIP add", Question("MLServer", "REST OIP", "host:1", request), 8, taken, ours)
    assert row["cpu_of_ours"] == {"median": 0.4, "min": 0.2, "max": 0.6}
    assert row["rate_of_ours"] == {"median": 2.0, "min": 1.0, "max": 4.0}
    assert (row["server"], row["version"], row["wrong"]) == ("MLServer", versions()["mlserver"], 1)
    assert row["goals"] == ["cpu of ours at most 0.5: met"]
    alone = row_of("REST OIP add", Question("ours", "REST OIP", "host:1", request), 8, ours, [])
    assert "cpu_of_ours" not in alone and alone["goals"] == []


def test_rows_of_other_servers_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    request = Request("rest", "/v2/models/a/infer", b"", lambda _: True)
    turn = PeerTurn(Load(10, 0, 2.0, 1.0, 2.0), 100.0)
    rows = [
        row_of("REST OIP add", Question(server, "REST OIP", "host:1", request), clients, [turn], ours)
        for clients in (1, 8)
        for server, ours in (("ours", []), ("MLServer", [turn]))
    ]
    files = write_report(tmp_path, {}, {"Other servers": [*rows, {"row": "LitServe", "failed": "it ended"}]})
    assert [file.name for file in files] == [
        "results.json",
        "results.md",
        "throughput_rest.png",
        "latency_rest.png",
    ]
