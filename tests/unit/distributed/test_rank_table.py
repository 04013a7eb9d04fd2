"""Rank tables: both forms, what is wrong with a file, and what does not fit a servable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.distributed.rank_table import (
    RankPlace,
    RankTable,
    check_ranks,
    read_rank_table,
    write_rank_table,
)
from tests.support.rank_tables import Place, change, group_list, places, server_list

TWO = [("10.0.0.1", 0), ("10.0.0.1", 1)]
FIRST_SERVER = ("server_list", 0)
FIRST_DEVICE = (*FIRST_SERVER, "device", 0)
INSTANCES = ("group_list", 0, "instance_list")
FIRST_INSTANCE = (*INSTANCES, 0)
FIRST_OF_INSTANCE = (*FIRST_INSTANCE, "devices", 0)


def file_with(folder: Path, content: Any) -> str:
    path = folder / "table.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def table_of(ranks: Sequence[Place]) -> RankTable:
    return RankTable("table.json", tuple(RankPlace(i, ip, card) for i, (ip, card) in enumerate(ranks)))


@pytest.mark.parametrize(
    ("content", "ranks"),
    [
        (server_list([("127.0.0.1", 0)]), [("127.0.0.1", 0)]),
        (server_list(places(1)), places(1)),
        (server_list(places(3, 4)), places(3, 4)),
        (server_list([("a", 0), ("b", 0), ("a", 1)]), [("a", 0), ("b", 0), ("a", 1)]),
        (group_list([("127.0.0.1", 3)]), [("127.0.0.1", 3)]),
        (group_list(places(2)), places(2)),
        (group_list(places(2), groups=2), places(2)),
        (json.dumps(server_list(TWO)).encode("utf-8-sig"), TWO),
        (server_list(TWO) | group_list(places(1)), places(1)),
        (change(server_list(TWO), ("version",)), TWO),
        (change(server_list(TWO), ("server_count",), 17), TWO),
        (change(server_list(TWO), (*FIRST_DEVICE, "device_ip"), None), TWO),
        (change(server_list([("a", 2147483647)]), ("status",), []), [("a", 2147483647)]),
    ],
)
def test_both_forms_are_read(tmp_path: Path, content: Any, ranks: list[Place]) -> None:
    table = read_rank_table(file_with(tmp_path, content))
    assert [(rank.ip, rank.device_id) for rank in table.ranks] == ranks
    assert [rank.rank_id for rank in table.ranks] == list(range(len(ranks)))


def test_ranks_of_a_machine() -> None:
    table = table_of([("b", 0), ("a", 1), ("b", 2)])
    assert table.ips == ("b", "a")
    assert [rank.rank_id for rank in table.ranks_on("b")] == [0, 2]
    assert table.ranks_on("c") == ()


def without(path: Sequence[str | int], table: Any = None) -> Any:
    return change(table or server_list(TWO), path)


def having(path: Sequence[str | int], value: Any, table: Any = None) -> Any:
    return change(table or server_list(TWO), path, value)


def grouped_without(*path: str | int) -> Any:
    return without(path, group_list(TWO))


def grouped_having(value: Any, *path: str | int) -> Any:
    return having(path, value, group_list(TWO))


# The file, and what is said of it; `{f}` is its path.
FAULTS = {
    "empty file": ("", "parse error:"),
    "no JSON": ("rank 0: device 0", "parse error:"),
    "cut short": (json.dumps(server_list(TWO))[:-1], "parse error:"),
    "no text": (b"\xff\xfe\xff", "parse error:"),
    "too deep": ("[" * 100_000, "parse error:"),
    "list": ([server_list(TWO)], "{f} is not json object"),
    "number": ("1", "{f} is not json object"),
    "null": ("null", "{f} is not json object"),
    "no list at all": ({}, "server_list attr is empty in{f}"),
    "server_list missing": (without(("server_list",)), "server_list attr is empty in{f}"),
    "server_list empty": (having(("server_list",), []), "server_list attr is empty in{f}"),
    "server_list null": (having(("server_list",), None), "server_list attr is empty in{f}"),
    "server_list object": (having(("server_list",), {"0": {}}), "server_list attr is empty in{f}"),
    "server_list text": (having(("server_list",), "x"), "server_list attr is empty in{f}"),
    "server no object": (having(FIRST_SERVER, "x"), "server_id attr is empty in{f}"),
    "server_id missing": (without((*FIRST_SERVER, "server_id")), "server_id attr is empty in{f}"),
    "server_id empty": (having((*FIRST_SERVER, "server_id"), ""), "server_id attr is empty in{f}"),
    "server_id number": (having((*FIRST_SERVER, "server_id"), 10), "server_id attr is empty in{f}"),
    "device missing": (without((*FIRST_SERVER, "device")), "device attr is empty in{f}"),
    "device empty": (having((*FIRST_SERVER, "device"), []), "device attr is empty in{f}"),
    "device object": (having((*FIRST_SERVER, "device"), {}), "device attr is empty in{f}"),
    "device no object": (having(FIRST_DEVICE, 0), "device_id attr is empty in{f}"),
    "device_id missing": (without((*FIRST_DEVICE, "device_id")), "device_id attr is empty in{f}"),
    "device_id empty": (having((*FIRST_DEVICE, "device_id"), ""), "device_id attr is empty in{f}"),
    "device_id number": (having((*FIRST_DEVICE, "device_id"), 0), "device_id attr is empty in{f}"),
    "rank_id missing": (without((*FIRST_DEVICE, "rank_id")), "rank_id attr is empty in{f}"),
    "rank_id empty": (having((*FIRST_DEVICE, "rank_id"), ""), "rank_id attr is empty in{f}"),
    "rank_id number": (having((*FIRST_DEVICE, "rank_id"), 0), "rank_id attr is empty in{f}"),
    "rank from 1 on": (having((*FIRST_DEVICE, "rank_id"), "1"), "device size not match rank_id in{f}"),
    "rank twice": (
        having((*FIRST_SERVER, "device", 1, "rank_id"), "0"),
        "device size not match rank_id in{f}",
    ),
    "rank left out": (
        having((*FIRST_SERVER, "device", 1, "rank_id"), "2"),
        "device size not match rank_id in{f}",
    ),
    "group_list empty": (grouped_having([], "group_list"), "group_list attr is empty in{f}"),
    "group_list null": (grouped_having(None, "group_list"), "group_list attr is empty in{f}"),
    "group_list object": (grouped_having({}, "group_list"), "group_list attr is empty in{f}"),
    "group no object": (grouped_having(1, "group_list", 0), "instance_list attr is empty in{f}"),
    "instance_list missing": (grouped_without(*INSTANCES), "instance_list attr is empty in{f}"),
    "instance_list empty": (grouped_having([], *INSTANCES), "instance_list attr is empty in{f}"),
    "instance no object": (grouped_having([], *FIRST_INSTANCE), "server_id attr is empty in{f}"),
    "server_id of instance": (
        grouped_without(*FIRST_INSTANCE, "server_id"),
        "server_id attr is empty in{f}",
    ),
    "rank_id of instance": (grouped_without(*FIRST_INSTANCE, "rank_id"), "rank_id attr is empty in{f}"),
    "devices missing": (grouped_without(*FIRST_INSTANCE, "devices"), "devices attr is empty in{f}"),
    "devices empty": (grouped_having([], *FIRST_INSTANCE, "devices"), "devices attr is empty in{f}"),
    "devices text": (grouped_having("0", *FIRST_INSTANCE, "devices"), "devices attr is empty in{f}"),
    "device_id of instance": (
        grouped_without(*FIRST_OF_INSTANCE, "device_id"),
        "device_id attr is empty in{f}",
    ),
    "two devices of instance": (
        grouped_having([{"device_id": "0"}, {"device_id": "1"}], *FIRST_INSTANCE, "devices"),
        "device size not match rank_id in{f}",
    ),
    "rank order of instances": (
        grouped_having("0", *INSTANCES, 1, "rank_id"),
        "device size not match rank_id in{f}",
    ),
}
NO_NUMBERS = (
    "x",
    "00",
    "01",
    "+1",
    "-1",
    "1.0",
    " 1",
    "1 ",
    "0x1",
    "1e1",
    "\u0661",
    "2147483648",
    "9" * 5000,
)
for text in NO_NUMBERS:
    for attribute in ("device_id", "rank_id"):
        FAULTS[f"{attribute} {text[:12]!a}"] = (
            having((*FIRST_DEVICE, attribute), text),
            f"{attribute}attr is invalid argument in{{f}}",
        )
FAULTS["rank_id 'x' of instance"] = (
    grouped_having("x", *FIRST_INSTANCE, "rank_id"),
    "rank_idattr is invalid argument in{f}",
)
FAULTS["device_id 'x' of instance"] = (
    grouped_having("x", *FIRST_OF_INSTANCE, "device_id"),
    "device_idattr is invalid argument in{f}",
)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(tmp_path: Path, fault: str) -> None:
    content, text = FAULTS[fault]
    file = file_with(tmp_path, content)
    with pytest.raises(StartUpError) as refused:
        read_rank_table(file)
    told = str(refused.value)
    if text == "parse error:":
        assert told.startswith(text)
        assert told.endswith(f" in{file}")
    else:
        assert told == text.format(f=file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    file = str(tmp_path / "nobody.json")
    with pytest.raises(StartUpError) as refused:
        read_rank_table(file)
    assert str(refused.value) == f"failed to get realpath of\uff1a{file}"


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StartUpError) as refused:
        read_rank_table(str(tmp_path))
    assert str(refused.value) == f"failed to open rank table file\uff1a{tmp_path}"


@pytest.mark.parametrize(
    ("ranks", "stage_size"),
    [
        (places(1, 1), 1),
        (places(1), 1),
        (places(4), 1),
        (places(3, 5), 1),
        ([("a", 7), ("a", 0), ("b", 7)], 1),
        (places(1), 2),
        (places(1), 8),
        (places(4), 2),
        (places(4), 4),
        (places(8), 8),
        (places(1) + places(1), 2),
    ],
)
def test_ranks_that_fit(ranks: list[Place], stage_size: int) -> None:
    check_ranks(table_of(ranks), len(ranks), stage_size)


CONFIG = "Check rank table config failed, "
SIZES = "Rank size must be an integral multiple of stage size, rank size: {}, stage size: {}"


@pytest.mark.parametrize(
    ("ranks", "rank_size", "stage_size", "text"),
    [
        (
            places(1),
            4,
            1,
            "Rank size 8 declared in rank table file 'table.json' not equal to 4 declared in servable config",
        ),
        (
            places(1, 2),
            4,
            3,
            "Rank size 2 declared in rank table file 'table.json' not equal to 4 declared in servable config",
        ),
        (places(1), 8, 3, SIZES.format(8, 3)),
        (places(1), 8, 16, SIZES.format(8, 16)),
        (
            [("a", 0), ("b", 0), ("a", 0)],
            3,
            1,
            CONFIG + "device id repeatedly used by rank 2 in device ip a",
        ),
        ([("a", 0), ("a", 8)], 2, 1, CONFIG + "device id cannot larger than 8"),
        (places(1, 4), 4, 2, "Rank size 4must >= card count 8 of one machine when stage size 2 > 1"),
        ([*places(1, 7), ("10.0.0.1", 0)], 8, 2, CONFIG + "expected device id of rank 7 to be 7"),
        (places(2, 4), 8, 2, CONFIG + "expected device id of rank 4 to be 4"),
        (
            [("a", card) for card in range(5)] + [("b", card) for card in range(5, 8)],
            8,
            4,
            CONFIG + "expected device ip b of rank 5 to be equal with device ip a of rank 0",
        ),
        (
            places(1) + [("b", card) for card in range(7)] + [("c", 7)],
            16,
            2,
            CONFIG + "expected device ip c of rank 15 to be equal with device ip b of rank 8",
        ),
    ],
)
def test_ranks_that_do_not_fit(ranks: list[Place], rank_size: int, stage_size: int, text: str) -> None:
    with pytest.raises(StartUpError) as refused:
        check_ranks(table_of(ranks), rank_size, stage_size)
    assert str(refused.value) == text


@pytest.mark.parametrize("content", [server_list(places(2)), group_list(places(2))])
def test_a_table_is_written_in_its_first_form(tmp_path: Path, content: Any) -> None:
    table = read_rank_table(file_with(tmp_path, content))
    written = write_rank_table(table, tmp_path, datetime(2024, 2, 3, 4, 5, 6))
    assert written == tmp_path / "temp_rank_table" / "hccl_rank_table_20240203_040506_16p.json"
    assert [path.stat().st_mode & 0o777 for path in (written, written.parent)] == [0o600, 0o700]
    assert read_rank_table(str(written)).ranks == table.ranks
    found = json.loads(written.read_text())
    assert found["version"] == "1.0"
    assert found["server_count"] == "2"
    assert found["status"] == "completed"
    assert [server["server_id"] for server in found["server_list"]] == ["10.0.0.1", "10.0.0.2"]
    assert [len(server["device"]) for server in found["server_list"]] == [8, 8]


def test_the_address_of_a_device_is_kept(tmp_path: Path) -> None:
    content = change(server_list(TWO), (*FIRST_DEVICE, "device_ip"), "192.1.27.6")
    table = read_rank_table(file_with(tmp_path, content))
    written = json.loads(write_rank_table(table, tmp_path, datetime(2024, 2, 3)).read_text())
    assert written == content


def test_a_second_table_goes_to_the_same_folder(tmp_path: Path) -> None:
    table = table_of(TWO)
    first, second = (write_rank_table(table, tmp_path, datetime(2024, 1, day)) for day in (1, 2))
    assert first.parent == second.parent
    assert first != second


def test_a_table_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "temp_rank_table").touch()
    with pytest.raises(StartUpError, match=r"Cannot write rank table file '.*_2p\.json': "):
        write_rank_table(table_of(TWO), tmp_path, datetime(2024, 1, 1))
