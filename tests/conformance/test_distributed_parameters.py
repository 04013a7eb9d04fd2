"""Sections 8.1, 8.3, 4.3 and 2: rank tables, and what the calls for distributed servables are refused with."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.server.distributed.agent_parameters import AgentParameters, local_agents
from mindspore_serving.server.distributed.rank_table import (
    RankPlace,
    RankTable,
    check_ranks,
    read_rank_table,
)
from tests.conformance.row import row, stands_for
from tests.conformance.scripts import outcomes
from tests.support.rank_tables import Place, change, group_list, places, server_list

IMPORTS = "from mindspore_serving import worker\nfrom mindspore_serving.server import distributed\n"

# --- Names and signatures ---

AGENTS = "agent_start_port=7000, agent_ip=None, rank_start=None"
SIGNATURES = {
    "4.3-declare_servable": (
        "server.distributed.declare_servable",
        "rank_size, stage_size, with_batch_dim=True, without_batch_dim_inputs=None, enable_pipeline_infer=False",
    ),
    "4.3-startup_agents": (
        "server.distributed.startup_agents",
        f"distributed_address, model_files, group_config_files=None, {AGENTS}, dec_key=None, dec_mode='AES-GCM'",
    ),
    "2.1-worker.distributed.declare_distributed_servable": (
        "worker.distributed.declare_distributed_servable",
        "rank_size, stage_size, with_batch_dim=True, without_batch_dim_inputs=None",
    ),
    "2.1-worker.distributed.start_distributed_servable_in_master": (
        "worker.distributed.start_distributed_servable_in_master",
        "servable_directory, servable_name, rank_table_json_file, version_number=1, worker_ip='0.0.0.0', "
        "worker_port=6200, wait_agents_time_in_seconds=0",
    ),
    "2.1-worker.distributed.start_distributed_servable": (
        "worker.distributed.start_distributed_servable",
        "servable_directory, servable_name, rank_table_json_file, version_number=1, worker_ip='0.0.0.0', "
        "worker_port=6200, master_ip='0.0.0.0', master_port=6100, wait_agents_time_in_seconds=0",
    ),
    "2.1-worker.distributed.startup_worker_agents": (
        "worker.distributed.startup_worker_agents",
        f"worker_ip, worker_port, model_files, group_config_files=None, {AGENTS}",
    ),
}


def positional(name: str) -> list[inspect.Parameter]:
    """Parameters of a public function that need no keyword, without their hints."""
    module, _, function = name.rpartition(".")
    signature = inspect.signature(getattr(importlib.import_module(f"mindspore_serving.{module}"), function))
    return [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]


@pytest.mark.parametrize(("name", "shown"), [row(case, *values) for case, values in SIGNATURES.items()])
def test_signatures(name: str, shown: str) -> None:
    assert ", ".join(str(parameter) for parameter in positional(name)) == shown


@stands_for("4.3-start_servable")
def test_the_signature_of_start_servable() -> None:
    found = positional("server.distributed.start_servable")
    assert [parameter.name for parameter in found] == [
        "servable_directory",
        "servable_name",
        "rank_table_json_file",
        "version_number",
        "distributed_address",
        "wait_agents_time_in_seconds",
    ]
    assert [parameter.default for parameter in found[3:]] == [1, "0.0.0.0:6200", 0]


@pytest.mark.parametrize(
    "name",
    [
        row("1-server.distributed", "server.distributed.declare_servable"),
        row("1-worker.distributed", "worker.distributed.declare_distributed_servable"),
    ],
)
def test_reached_by_attributes_alone(tmp_path: Path, name: str) -> None:
    found = outcomes(
        tmp_path, "from mindspore_serving import server, worker\n", {"call": f"callable({name})"}
    )
    assert found == {"call": None}


# --- 4.3: declare_servable ---

DECLARE_MODEL = "register.declare_model('a.mindir', 'MindIR')"
DECLARE_SHARDED = "distributed.declare_servable(8, 1)"
CONFIG_FILE = """\
from mindspore_serving.server import distributed, register

{call}
"""
INT = "Parameter '{}' should be int, but actually <class 'str'>"
BOOL = "Parameter '{}' should be bool, but actually <class 'int'>"
# Calls of one servable_config.py after the other, in a servable that has declared a model before them.
AFTER_MODEL = {
    "4.3-declare_servable-rank_size": (
        "distributed.declare_servable(0, 1)",
        "Parameter 'rank_size' should be >= 1",
    ),
    "4.3-declare_servable-rank_size-type": (
        "distributed.declare_servable('8', 1)",
        INT.format("rank_size"),
    ),
    "4.3-declare_servable-stage_size": (
        "distributed.declare_servable(8, 0)",
        "Parameter 'stage_size' should be >= 1",
    ),
    "4.3-declare_servable-stage_size-type": (
        "distributed.declare_servable(8, '1')",
        INT.format("stage_size"),
    ),
    "4.3-declare_servable-with_batch_dim": (
        "distributed.declare_servable(8, 1, with_batch_dim=1)",
        BOOL.format("with_batch_dim"),
    ),
    "4.3-declare_servable-enable_pipeline_infer": (
        "distributed.declare_servable(8, 1, enable_pipeline_infer=1)",
        BOOL.format("enable_pipeline_infer"),
    ),
    "4.3-declare_servable-local": (
        DECLARE_SHARDED,
        "Raise failed: Declare distributed model failed, servable has already been declared as local servable",
    ),
}
AFTER_SHARDED = {
    "4.3-declare_servable-repeated": (
        DECLARE_SHARDED,
        "Raise failed: Declare distributed model failed, servable is repeatedly been declared as distributed servable",
    ),
    "4.1-registry-distributed": (
        DECLARE_MODEL,
        "Raise failed: Declare model failed, servable has already been declared as distributed servable",
    ),
}


def told_after(folder: Path, first: str, calls: dict[str, str]) -> dict[str, str | None]:
    """What each call is refused with, once the first one was made."""
    sources = {}
    for i, (name, call) in enumerate([("first", first), *calls.items()]):
        (folder / str(i)).mkdir()
        path = folder / str(i) / "servable_config.py"
        path.write_text(CONFIG_FILE.format(call=call))
        sources[name] = f"runpy.run_path({str(path)!r})"
    found = outcomes(folder, "import runpy\n", sources)
    assert found.pop("first") is None
    return {name: error and error[1] for name, error in found.items()}


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for first, cases in ((DECLARE_MODEL, AFTER_MODEL), (DECLARE_SHARDED, AFTER_SHARDED)):
        calls = {name: call for name, (call, _) in cases.items()}
        found |= told_after(tmp_path_factory.mktemp("declared"), first, calls)
    return found


@pytest.mark.parametrize("case", [row(name, name) for name in (*AFTER_MODEL, *AFTER_SHARDED)])
def test_declarations(declared: dict[str, str | None], case: str) -> None:
    assert declared[case] == {**AFTER_MODEL, **AFTER_SHARDED}[case][1]


# --- Parameters of what starts ---

PORT = "Parameter '{}' should be in range [1,65535]"
STR = "Parameter '{}' should be str, but actually <class 'int'>"
TOGETHER = (
    "Parameter 'agent_ip' and parameter 'rank_start' must have values at the same time, or both None at the same "
    "time."
)


def start(arguments: str) -> str:
    return f"distributed.start_servable({arguments})"


def agents(arguments: str) -> str:
    return f"distributed.startup_agents('127.0.0.1:6200', {arguments})"


REFUSED = {
    "4.3-start_servable-servable_directory": (start("1, 'm', 't.json'"), STR.format("servable_directory")),
    "4.3-start_servable-servable_name": (start("'.', 1, 't.json'"), STR.format("servable_name")),
    "4.3-start_servable-rank_table_json_file": (start("'.', 'm', 1"), STR.format("rank_table_json_file")),
    "4.3-start_servable-version_number": (
        start("'.', 'm', 't.json', -1"),
        "Parameter 'version_number' should be >= 0",
    ),
    "4.3-start_servable-distributed_address": (
        start("'.', 'm', 't.json', 1, 1"),
        STR.format("distributed_address"),
    ),
    "4.3-start_servable-wait_agents_time_in_seconds": (
        start("'.', 'm', 't.json', wait_agents_time_in_seconds=-1"),
        "Parameter 'wait_agents_time_in_seconds' should be >= 0",
    ),
    "8.3-distributed_address": (
        "distributed.startup_agents(6200, ['a.mindir'])",
        STR.format("distributed_address"),
    ),
    "8.3-agent_start_port-below": (
        agents("['a.mindir'], agent_start_port=0"),
        "Parameter 'agent_start_port' should be in range [1,65528]",
    ),
    "8.3-agent_start_port-above": (
        agents("['a.mindir'], agent_start_port=65529"),
        "Parameter 'agent_start_port' should be in range [1,65528]",
    ),
    "8.3-agent_start_port-type": (
        agents("['a.mindir'], agent_start_port='7000'"),
        INT.format("agent_start_port"),
    ),
    "8.3-model_files-type": (
        agents("1"),
        "Parameter 'model_files' should be str or tuple/list of str, but actually <class 'int'>",
    ),
    "8.3-model_files-repeated": (
        agents("['a.mindir', 'a.mindir']"),
        "The item value 'a.mindir' in parameter 'model_files' should not be repeated",
    ),
    "8.3-group_config_files-type": (
        agents("['a.mindir'], 1"),
        "Parameter 'group_config_files' should be str or tuple/list of str, but actually <class 'int'>",
    ),
    "8.3-group_config_files-at-most-one": (
        agents("['a.mindir'], [['a.pb', 'b.pb']]"),
        "please check the number of  group config files, currently only support one at most",
    ),
    "8.3-subgraph-counts": (
        agents("[['a.mindir', 'b.mindir'], ['c.mindir']]"),
        "please check the number of  model files and group config files, model files: [['a.mindir', 'b.mindir'], "
        "['c.mindir']], group config files: None",
    ),
    "8.3-group-count": (
        agents("['a.mindir', 'b.mindir'], ['a.pb']"),
        "Model files count 2 does not equal to group config files count 1 when group_config_files is not None, model "
        "files: [['a.mindir'], ['b.mindir']], group config files: [['a.pb']]",
    ),
    "8.3-together-agent_ip": (agents("['a.mindir'], agent_ip='127.0.0.1'"), TOGETHER),
    "8.3-together-rank_start": (agents("['a.mindir'], rank_start=0"), TOGETHER),
    "8.3-dec_key-type": (
        agents("['a.mindir'], dec_key='key'"),
        "Parameter 'dec_key' should be bytes, but actually <class 'str'>",
    ),
    "8.3-dec_key-length": (
        agents("['a.mindir'], dec_key=b'key'"),
        "Parameter 'dec_key' length 3 expected to be 16, 24 or 32",
    ),
    "8.3-dec_mode": (
        agents("['a.mindir'], dec_mode='ECB'"),
        "Parameter 'dec_mode' expected to be 'AES-GCM' or 'AES-CBC'",
    ),
    "8.3-model-file": (agents("['nobody.mindir']"), "Cannot access model file '{d}/nobody.mindir'"),
    "8.3-group-config-file": (
        agents("['a.mindir'], ['nobody.pb']"),
        "Cannot access group config file '{d}/nobody.pb'",
    ),
    "2.1-startup_worker_agents-worker_ip": (
        "worker.distributed.startup_worker_agents(1, 6200, ['a.mindir'])",
        STR.format("worker_ip"),
    ),
    "2.1-startup_worker_agents-worker_port": (
        "worker.distributed.startup_worker_agents('127.0.0.1', 0, ['a.mindir'])",
        PORT.format("worker_port"),
    ),
    "2.1-startup_worker_agents-agent_start_port": (
        "worker.distributed.startup_worker_agents('127.0.0.1', 6200, ['a.mindir'], None, 0)",
        "Parameter 'agent_start_port' should be in range [1,65528]",
    ),
}
for function in ("start_distributed_servable", "start_distributed_servable_in_master"):
    for parameter, arguments, text in (
        ("servable_directory", "1, 'm', 't.json'", STR.format("servable_directory")),
        ("servable_name", "'.', 1, 't.json'", STR.format("servable_name")),
        ("rank_table_json_file", "'.', 'm', 1", STR.format("rank_table_json_file")),
        ("version_number", "'.', 'm', 't.json', -1", "Parameter 'version_number' should be >= 0"),
        ("worker_ip", "'.', 'm', 't.json', worker_ip=1", STR.format("worker_ip")),
        ("worker_port", "'.', 'm', 't.json', worker_port=65536", PORT.format("worker_port")),
        (
            "wait_agents_time_in_seconds",
            "'.', 'm', 't.json', wait_agents_time_in_seconds='1'",
            INT.format("wait_agents_time_in_seconds"),
        ),
    ):
        REFUSED[f"2.1-{function}-{parameter}"] = (f"worker.distributed.{function}({arguments})", text)
for parameter, value, text in (
    ("master_ip", "1", STR.format("master_ip")),
    ("master_port", "0", PORT.format("master_port")),
):
    REFUSED[f"2.1-start_distributed_servable-{parameter}"] = (
        f"worker.distributed.start_distributed_servable('.', 'm', 't.json', {parameter}={value})",
        text,
    )


@pytest.fixture(scope="module")
def refusals(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, tuple[str, str] | None]]:
    folder = tmp_path_factory.mktemp("parameters_of_distributed")
    for name in ("a.mindir", "b.mindir", "c.mindir", "a.pb", "b.pb"):
        (folder / name).touch()
    return folder, outcomes(folder, IMPORTS, {name: call for name, (call, _) in REFUSED.items()})


@pytest.mark.parametrize("case", [row(name, name) for name in REFUSED])
def test_parameters(refusals: tuple[Path, dict[str, tuple[str, str] | None]], case: str) -> None:
    folder, found = refusals
    assert found[case] == ("RuntimeError", REFUSED[case][1].replace("{d}", str(folder)))


# --- 8.3: which agents belong to a machine ---


def table_of(ranks: Sequence[Place]) -> RankTable:
    return RankTable("table.json", tuple(RankPlace(i, ip, card) for i, (ip, card) in enumerate(ranks)))


def asking(count: int, agent_ip: str | None = None, rank_start: int | None = None) -> AgentParameters:
    files = tuple((f"{i}.mindir",) for i in range(count))
    return AgentParameters("127.0.0.1:6200", files, (None,) * count, 7000, agent_ip, rank_start)


@pytest.mark.parametrize(
    ("parameters", "free", "text"),
    [
        row(
            "8.3-local-ip",
            asking(8),
            "10.0.0.9",
            "Get local machine ip failed, rank table ips: ['10.0.0.1', '10.0.0.2'], bind port 7000",
        ),
        row(
            "8.3-agent_ip",
            asking(8, "10.0.0.9", 0),
            "10.0.0.1",
            "Check ip 'agent_ip' valid failed, agent_ip: 10.0.0.9",
        ),
        row(
            "8.3-rank_start",
            asking(8, "10.0.0.9", 16),
            "10.0.0.9",
            "Parameter 'rank_start' cannot equal or larger than rank size 16.",
        ),
        row(
            "8.3-card-count",
            asking(1),
            "10.0.0.1",
            "Card count [0, 1, 2, 3, 4, 5, 6, 7] described rank table does not equal to model files size 1, model "
            "files: [['0.mindir']]",
        ),
    ],
)
def test_agents_of_a_machine_are_refused(parameters: AgentParameters, free: str, text: str) -> None:
    with pytest.raises(RuntimeError) as refused:
        local_agents(parameters, table_of(places(2)), lambda ip, port: ip == free)
    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("parameters", "free", "ranks"),
    [
        row("8.3-first-ip-that-can-be-bound", asking(8), "10.0.0.2", range(8, 16)),
        row("8.3-ranks-of-rank_start", asking(8, "127.0.0.1", 10), "127.0.0.1", range(8, 16)),
    ],
)
def test_agents_of_a_machine(parameters: AgentParameters, free: str, ranks: range) -> None:
    found = local_agents(parameters, table_of(places(2)), lambda ip, port: ip == free)
    assert [agent.rank_id for agent in found] == list(ranks)
    assert [agent.port for agent in found] == list(range(7000, 7008))
    assert {agent.ip for agent in found} == {free}


# --- 8.1: rank tables ---


@pytest.mark.parametrize("form", [row("8.1-form-1", server_list), row("8.1-form-2", group_list)])
def test_forms_of_rank_tables(tmp_path: Path, form: Callable[[Sequence[Place]], Any]) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(form(places(2))))
    table = read_rank_table(str(path))
    assert [(rank.ip, rank.device_id) for rank in table.ranks] == places(2)
    check_ranks(table, 16, 1)
    check_ranks(table, 16, 2)


SERVER = ("server_list", 0)
DEVICE = (*SERVER, "device", 0)
INSTANCE = ("group_list", 0, "instance_list", 0)
FAULTS = {
    "8.1-not-an-object": ([], "{f} is not json object"),
    "8.1-server_list": (change(server_list(places(1)), ("server_list",)), "server_list attr is empty in{f}"),
    "8.1-group_list": (change(group_list(places(1)), ("group_list",), []), "group_list attr is empty in{f}"),
    "8.1-instance_list": (
        change(group_list(places(1)), INSTANCE[:-1], {}),
        "instance_list attr is empty in{f}",
    ),
    "8.1-server_id": (
        change(server_list(places(1)), (*SERVER, "server_id"), 1),
        "server_id attr is empty in{f}",
    ),
    "8.1-device": (change(server_list(places(1)), (*SERVER, "device"), []), "device attr is empty in{f}"),
    "8.1-devices": (change(group_list(places(1)), (*INSTANCE, "devices")), "devices attr is empty in{f}"),
    "8.1-device_id": (
        change(server_list(places(1)), (*DEVICE, "device_id"), 0),
        "device_id attr is empty in{f}",
    ),
    "8.1-rank_id": (change(server_list(places(1)), (*DEVICE, "rank_id")), "rank_id attr is empty in{f}"),
    "8.1-integer-device_id": (
        change(server_list(places(1)), (*DEVICE, "device_id"), "00"),
        "device_idattr is invalid argument in{f}",
    ),
    "8.1-integer-rank_id": (
        change(group_list(places(1)), (*INSTANCE, "rank_id"), "zero"),
        "rank_idattr is invalid argument in{f}",
    ),
    "8.1-rank-order": (
        change(server_list(places(1)), (*DEVICE, "rank_id"), "1"),
        "device size not match rank_id in{f}",
    ),
}


@pytest.mark.parametrize(("content", "text"), [row(name, *values) for name, values in FAULTS.items()])
def test_faults_of_rank_tables(tmp_path: Path, content: Any, text: str) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(content))
    with pytest.raises(RuntimeError) as refused:
        read_rank_table(str(path))
    assert str(refused.value) == text.format(f=path)


@pytest.mark.parametrize(
    ("write", "text"),
    [
        row("8.1-file-missing", lambda path: None, "failed to get realpath of\uff1a{f}"),
        row("8.1-file-unreadable", Path.mkdir, "failed to open rank table file\uff1a{f}"),
        row("8.1-not-json", Path.touch, "parse error:"),
    ],
)
def test_files_that_are_no_rank_tables(tmp_path: Path, write: Callable[[Path], None], text: str) -> None:
    path = tmp_path / "table.json"
    write(path)
    with pytest.raises(RuntimeError) as refused:
        read_rank_table(str(path))
    assert str(refused.value).startswith(text.format(f=path))


CONFIG = "Check rank table config failed, "


@pytest.mark.parametrize(
    ("ranks", "rank_size", "stage_size", "text"),
    [
        row(
            "8.1-counts-rank_size",
            places(1),
            16,
            1,
            "Rank size 8 declared in rank table file 'table.json' not equal to 16 declared in servable config",
        ),
        row(
            "8.1-counts-stage_size",
            places(1),
            8,
            3,
            "Rank size must be an integral multiple of stage size, rank size: 8, stage size: 3",
        ),
        row(
            "8.1-one-stage-device-twice",
            [("a", 0), ("a", 0)],
            2,
            1,
            CONFIG + "device id repeatedly used by rank 1 in device ip a",
        ),
        row("8.1-one-stage-device-8", [("a", 8)], 1, 1, CONFIG + "device id cannot larger than 8"),
        row(
            "8.1-stages-rank_size",
            places(1, 4),
            4,
            2,
            "Rank size 4must >= card count 8 of one machine when stage size 2 > 1",
        ),
        row(
            "8.1-stages-device_id",
            places(2, 4),
            8,
            2,
            CONFIG + "expected device id of rank 4 to be 4",
        ),
        row(
            "8.1-stages-device-ip",
            [*places(1, 7), ("b", 7)],
            8,
            2,
            CONFIG + "expected device ip b of rank 7 to be equal with device ip 10.0.0.1 of rank 0",
        ),
    ],
)
def test_ranks_that_do_not_fit_the_servable(
    ranks: list[Place], rank_size: int, stage_size: int, text: str
) -> None:
    with pytest.raises(RuntimeError) as refused:
        check_ranks(table_of(ranks), rank_size, stage_size)
    assert str(refused.value) == text
