"""What `startup_agents` is given, and which agents that makes on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.errors import InvalidParameter, ServingError, StartUpError
from mindspore_serving.server.distributed.agent_parameters import (
    AgentParameters,
    AgentPlace,
    check_agent_parameters,
    local_agents,
    worker_address,
)
from mindspore_serving.server.distributed.rank_table import RankPlace, RankTable
from tests.support.rank_tables import Place, places

FILES = ("a.mindir", "b.mindir", "c.mindir", "d.mindir", "a.pb", "b.pb")
KEY = b"0123456789abcdef"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the start script, with some files."""
    for name in FILES:
        (tmp_path / name).touch()
    return tmp_path


def check(folder: Path, **given: Any) -> AgentParameters:
    parameters = {
        "distributed_address": "127.0.0.1:6200",
        "model_files": ["a.mindir", "b.mindir"],
        "group_config_files": None,
        "agent_start_port": 7000,
        "agent_ip": None,
        "rank_start": None,
        "dec_key": None,
        "dec_mode": "AES-GCM",
    }
    return check_agent_parameters(**parameters | given, folder=folder)  # type: ignore[arg-type]


def test_defaults(folder: Path) -> None:
    assert check(folder) == AgentParameters(
        distributed_address="127.0.0.1:6200",
        model_files=((str(folder / "a.mindir"),), (str(folder / "b.mindir"),)),
        group_configs=(None, None),
        agent_start_port=7000,
        agent_ip=None,
        rank_start=None,
        dec_key=None,
        dec_mode="AES-GCM",
    )


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("a.mindir", [["a.mindir"]]),
        (["a.mindir"], [["a.mindir"]]),
        (("a.mindir", "b.mindir"), [["a.mindir"], ["b.mindir"]]),
        ([["a.mindir"], "b.mindir"], [["a.mindir"], ["b.mindir"]]),
        (
            [["a.mindir", "b.mindir"], ("c.mindir", "d.mindir")],
            [["a.mindir", "b.mindir"], ["c.mindir", "d.mindir"]],
        ),
        ([["a.mindir"], ["a.mindir"]], [["a.mindir"], ["a.mindir"]]),
        ([], []),
    ],
)
def test_model_files(folder: Path, given: Any, names: list[list[str]]) -> None:
    found = check(folder, model_files=given).model_files
    assert found == tuple(tuple(str(folder / name) for name in subgraphs) for subgraphs in names)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["a.pb", "b.pb"], ["a.pb", "b.pb"]),
        ([["a.pb"], ["a.pb"]], ["a.pb", "a.pb"]),
        ([[], "b.pb"], [None, "b.pb"]),
        (([], []), [None, None]),
    ],
)
def test_group_configs(folder: Path, given: Any, names: list[str | None]) -> None:
    found = check(folder, group_config_files=given).group_configs
    assert found == tuple(name and str(folder / name) for name in names)


def test_an_absolute_file_stays_where_it_is(folder: Path) -> None:
    absolute = str(folder / "a.mindir")
    assert check(folder.parent, model_files=[absolute]).model_files == ((absolute,),)


@pytest.mark.parametrize(
    "given",
    [
        {"agent_start_port": 1},
        {"agent_start_port": 65528},
        {"agent_ip": "10.0.0.1", "rank_start": 0},
        {"agent_ip": "10.0.0.1", "rank_start": 8},
        {"dec_key": KEY},
        {"dec_key": KEY + KEY, "dec_mode": "AES-CBC"},
        {"distributed_address": "worker.local:1"},
    ],
)
def test_parameters_are_handed_on(folder: Path, given: dict[str, Any]) -> None:
    parameters = check(folder, **given)
    assert {name: getattr(parameters, name) for name in given} == given


def test_the_key_is_not_shown(folder: Path) -> None:
    assert "0123456789" not in repr(check(folder, dec_key=KEY))


STR = "Parameter '{}' should be str, but actually {}"
GROUPS = "Parameter '{}' should be str or tuple/list of str, but actually {}"
BOTH = "must have values at the same time, or both None at the same time."
TOGETHER = f"Parameter 'agent_ip' and parameter 'rank_start' {BOTH}"
PORTS = "Parameter 'agent_start_port' should be in range [1,65528]"
COUNTS = (
    "please check the number of  model files and group config files, model files: {}, group config files: {}"
)
INT, NONE = "<class 'int'>", "<class 'NoneType'>"

# Parameters, and what is said of them.
REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"distributed_address": 6200}, STR.format("distributed_address", INT)),
    ({"distributed_address": None}, STR.format("distributed_address", NONE)),
    ({"distributed_address": ""}, "Parameter 'distributed_address' should not be empty str"),
    ({"agent_start_port": 0}, PORTS),
    ({"agent_start_port": -1}, PORTS),
    ({"agent_start_port": 65529}, PORTS),
    ({"agent_start_port": "7000"}, "Parameter 'agent_start_port' should be int, but actually <class 'str'>"),
    ({"agent_start_port": True}, "Parameter 'agent_start_port' should be int, but actually <class 'bool'>"),
    ({"model_files": None}, GROUPS.format("model_files", NONE)),
    ({"model_files": 1}, GROUPS.format("model_files", INT)),
    ({"model_files": {"a.mindir"}}, GROUPS.format("model_files", "<class 'set'>")),
    ({"model_files": [1]}, f"The item of parameter 'model_files' should be str, but actually {INT}"),
    (
        {"model_files": [["a.mindir", 1]]},
        f"The inner of parameter 'model_files' should be str, but actually {INT}",
    ),
    ({"model_files": [[""]]}, "The inner of parameter 'model_files' should not be empty str"),
    (
        {"model_files": ["a.mindir", "a.mindir"]},
        "The item value 'a.mindir' in parameter 'model_files' should not be repeated",
    ),
    (
        {"model_files": [["a.mindir", "a.mindir"]]},
        "The inner value 'a.mindir' in parameter 'model_files' should not be repeated",
    ),
    (
        {"model_files": [[], []]},
        "Parameter 'model_files' should name at least one file for each rank, but actually [[], []]",
    ),
    (
        {"model_files": [["a.mindir", "b.mindir"], ["c.mindir"]]},
        COUNTS.format([["a.mindir", "b.mindir"], ["c.mindir"]], None),
    ),
    (
        {"model_files": ["a.mindir", ["b.mindir", "c.mindir"]], "group_config_files": ["a.pb", "b.pb"]},
        COUNTS.format([["a.mindir"], ["b.mindir", "c.mindir"]], [["a.pb"], ["b.pb"]]),
    ),
    ({"group_config_files": 1}, GROUPS.format("group_config_files", INT)),
    (
        {"group_config_files": ["a.pb", None]},
        f"The item of parameter 'group_config_files' should be str, but actually {NONE}",
    ),
    (
        {"group_config_files": ["a.pb", "a.pb"]},
        "The item value 'a.pb' in parameter 'group_config_files' should not be repeated",
    ),
    (
        {"group_config_files": ["a.pb", ["a.pb", "b.pb"]]},
        "please check the number of  group config files, currently only support one at most",
    ),
    (
        {"group_config_files": ["a.pb"]},
        "Model files count 2 does not equal to group config files count 1 when group_config_files is not None, model "
        "files: [['a.mindir'], ['b.mindir']], group config files: [['a.pb']]",
    ),
    (
        {"group_config_files": []},
        "Model files count 2 does not equal to group config files count 0 when group_config_files is not None, model "
        "files: [['a.mindir'], ['b.mindir']], group config files: []",
    ),
    ({"agent_ip": "10.0.0.1"}, TOGETHER),
    ({"rank_start": 0}, TOGETHER),
    ({"agent_ip": 1, "rank_start": 0}, STR.format("agent_ip", INT)),
    ({"agent_ip": "", "rank_start": 0}, "Parameter 'agent_ip' should not be empty str"),
    ({"agent_ip": "10.0.0.1", "rank_start": -1}, "Parameter 'rank_start' should be >= 0"),
    (
        {"agent_ip": "10.0.0.1", "rank_start": "0"},
        "Parameter 'rank_start' should be int, but actually <class 'str'>",
    ),
    (
        {"agent_ip": "10.0.0.1", "rank_start": False},
        "Parameter 'rank_start' should be int, but actually <class 'bool'>",
    ),
    ({"dec_key": "0123456789abcdef"}, "Parameter 'dec_key' should be bytes, but actually <class 'str'>"),
    ({"dec_key": b""}, "Parameter 'dec_key' should not be empty bytes"),
    ({"dec_key": KEY[1:]}, "Parameter 'dec_key' length 15 expected to be 16, 24 or 32"),
    ({"dec_key": KEY, "dec_mode": "ECB"}, "Parameter 'dec_mode' expected to be 'AES-GCM' or 'AES-CBC'"),
    ({"dec_mode": 1}, STR.format("dec_mode", INT)),
)


@pytest.mark.parametrize(("given", "text"), REFUSED)
def test_a_wrong_parameter_is_refused(folder: Path, given: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        check(folder, **given)
    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("given", "kind", "name"),
    [
        ({"model_files": ["nobody.mindir"]}, "model file", "nobody.mindir"),
        ({"model_files": [["a.mindir", "nobody.mindir"]]}, "model file", "nobody.mindir"),
        ({"model_files": ["a.mindir", "."]}, "model file", ""),
        ({"group_config_files": ["a.pb", "nobody.pb"]}, "group config file", "nobody.pb"),
    ],
)
def test_a_file_that_cannot_be_read(folder: Path, given: dict[str, Any], kind: str, name: str) -> None:
    with pytest.raises(StartUpError) as refused:
        check(folder, **given)
    assert str(refused.value) == f"Cannot access {kind} '{folder / name}'"


@pytest.mark.parametrize(
    ("given", "split"),
    [
        ("127.0.0.1:6200", ("127.0.0.1", 6200)),
        ("worker.local:1", ("worker.local", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_the_address_of_the_worker(given: str, split: tuple[str, int]) -> None:
    assert worker_address(given) == split


@pytest.mark.parametrize(
    "given",
    [
        "127.0.0.1",
        ":6200",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "a:-1",
        "a:\u0661",
        f"{'a' * 64}:6200",
        "\udcff:6200",
    ],
)
def test_a_wrong_address_of_the_worker(given: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        worker_address(given)
    assert str(refused.value) == (
        f"Parameter 'distributed_address' should be 'ip:port' with a port in range [1,65535], but actually '{given}'"
    )


# ---- The agents of this machine


class Addresses:
    """The addresses that this machine has, for `local_agents` to try.

    Args:
        free: Those that can be listened on, as IP and port; an IP alone stands for all ports.
    """

    def __init__(self, *free: str | tuple[str, int]) -> None:
        self.free = free
        self.tried: list[tuple[str, int]] = []

    def __call__(self, ip: str, port: int) -> bool:
        self.tried.append((ip, port))
        return ip in self.free or (ip, port) in self.free


def asking(files: Iterable[str], **more: Any) -> AgentParameters:
    models = tuple((file,) for file in files)
    values: dict[str, Any] = {
        "distributed_address": "127.0.0.1:6200",
        "model_files": models,
        "group_configs": (None,) * len(models),
        "agent_start_port": 7000,
        "agent_ip": None,
        "rank_start": None,
    }
    return AgentParameters(**values | more)


def table_of(ranks: list[Place]) -> RankTable:
    return RankTable("table.json", tuple(RankPlace(i, ip, card) for i, (ip, card) in enumerate(ranks)))


MIXED = [("10.0.0.1", 4), ("10.0.0.2", 0), ("10.0.0.1", 2)]


def test_an_agent_has_all_it_needs() -> None:
    parameters = asking(
        "ab", group_configs=("a.pb", None), model_files=(("a", "a2"), ("b", "b2")), agent_start_port=8100
    )
    assert local_agents(parameters, table_of(MIXED), Addresses("10.0.0.1")) == (
        AgentPlace(0, "10.0.0.1", 8100, 4, ("a", "a2"), "a.pb"),
        AgentPlace(2, "10.0.0.1", 8101, 2, ("b", "b2"), None),
    )


@pytest.mark.parametrize(
    ("addresses", "ranks"),
    [
        (Addresses("10.0.0.1"), range(8)),
        (Addresses("10.0.0.2"), range(8, 16)),
        (Addresses("10.0.0.2", "10.0.0.1"), range(8)),
        (Addresses(("10.0.0.1", 7001), ("10.0.0.2", 7000)), range(8, 16)),
    ],
)
def test_ranks_of_the_first_ip_that_can_be_bound(addresses: Addresses, ranks: range) -> None:
    agents = local_agents(asking("abcdefgh"), table_of(places(2)), addresses)
    assert [agent.rank_id for agent in agents] == list(ranks)
    assert [agent.port for agent in agents] == list(range(7000, 7008))
    assert {agent.ip for agent in agents} == {f"10.0.0.{1 + ranks.start // 8}"}
    assert {port for _, port in addresses.tried} == {7000}


@pytest.mark.parametrize(
    ("rank_start", "ranks"), [(0, range(8)), (3, range(8)), (8, range(8, 16)), (15, range(8, 16))]
)
def test_ranks_that_are_of_the_machine_of_one_of_them(rank_start: int, ranks: range) -> None:
    parameters = asking("abcdefgh", agent_ip="192.168.0.5", rank_start=rank_start)
    agents = local_agents(parameters, table_of(places(2)), Addresses(("192.168.0.5", 7007)))
    assert [agent.rank_id for agent in agents] == list(ranks)
    assert {agent.ip for agent in agents} == {"192.168.0.5"}


NO_ROOM = "Parameter 'agent_start_port' 65528 leaves no ports for 9 agents"
NINE = [("a", card) for card in range(9)]


@pytest.mark.parametrize(
    ("parameters", "ranks", "addresses", "text"),
    [
        (
            asking("ab"),
            MIXED,
            Addresses("10.0.0.3"),
            "Get local machine ip failed, rank table ips: ['10.0.0.1', '10.0.0.2'], bind port 7000",
        ),
        (
            asking("ab", agent_ip="10.0.0.3", rank_start=0),
            MIXED,
            Addresses(("10.0.0.3", 7008)),
            "Check ip 'agent_ip' valid failed, agent_ip: 10.0.0.3",
        ),
        (
            asking("ab", agent_ip="10.0.0.3", rank_start=3),
            MIXED,
            Addresses("10.0.0.3"),
            "Parameter 'rank_start' cannot equal or larger than rank size 3.",
        ),
        (
            asking("a"),
            MIXED,
            Addresses("10.0.0.1"),
            "Card count [4, 2] described rank table does not equal to model files size 1, model files: [['a']]",
        ),
        (
            asking(""),
            MIXED,
            Addresses("10.0.0.2"),
            "Card count [0] described rank table does not equal to model files size 0, model files: []",
        ),
        (asking("abcdefghi", agent_start_port=65528), NINE, Addresses("a"), NO_ROOM),
    ],
)
def test_agents_that_cannot_be_started(
    parameters: AgentParameters, ranks: list[Place], addresses: Addresses, text: str
) -> None:
    with pytest.raises(ServingError) as refused:
        local_agents(parameters, table_of(ranks), addresses)
    assert str(refused.value) == text
