"""Every option arrives where it is used. The cases are the fields of `ServableSettings`: a new option is a new case."""

from __future__ import annotations

import ast
import inspect
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import mindspore_serving
from mindspore_serving.errors import StartUpError
from mindspore_serving.options import RULES, Limits, ServableSettings
from mindspore_serving.server import ServableStartConfig
from mindspore_serving.server.start.merging import merge_config
from mindspore_serving.server.start.server import Server
from mindspore_serving.server.start.worker_plans import absolute, plans_for, plans_of
from tests.support.options import KEY, OPTIONS, other_value, other_values
from tests.support.plans import worker_plan

PACKAGE = Path(mindspore_serving.__file__).parent
PATHS = {"servable_directory", "model_path"}
# What comes of a value of an option and another one of the same version, where that is no error.
MERGED: dict[str, Any] = {"device_ids": (0, 1, 4), "device_type": "cpu", "num_parallel_workers": 3}
# These tell which configurations are merged at all.
IDENTITY = {"servable_directory", "servable_name", "version_number"}


@pytest.fixture(autouse=True)
def cpu_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A backend with CPU devices, and the start script in a folder with servable add, version 3."""
    monkeypatch.setenv("SERVING_BACKEND", "stub")
    monkeypatch.setenv("SERVING_ENABLE_CPU_DEVICE", "1")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "start.py")])
    (tmp_path / "folder" / "add" / "3").mkdir(parents=True)
    (tmp_path / "folder" / "add" / "3" / "tensor_add.mindir").touch()


def config() -> ServableStartConfig:
    """All options with other values than their defaults."""
    return ServableStartConfig(**other_values())


class OwnConfig(ServableStartConfig):
    """A user's own class, whose constructor has other parameters."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(**values)


def resolved(name: str, tmp_path: Path) -> Any:
    """The value of `config` where paths are absolute."""
    return str(tmp_path / other_value(name)) if name in PATHS else other_value(name)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_value_for_the_tests_is_another_one_than_the_default(name: str) -> None:
    [option] = [option for option in fields(ServableSettings) if option.name == name]
    assert other_value(name) != option.default


def test_the_constructor_has_a_parameter_for_each_option_with_its_default() -> None:
    parameters = inspect.signature(ServableStartConfig).parameters
    assert tuple(parameters) == OPTIONS
    for option in fields(ServableSettings):
        given = parameters[option.name].default
        if given is not inspect.Parameter.empty:
            assert RULES[option.name].take(option.name, given) == option.default


@pytest.mark.parametrize("name", OPTIONS)
def test_a_configuration_keeps_it(name: str) -> None:
    required = {"servable_directory": "other", "servable_name": "other"}
    alone = ServableStartConfig(**{**required, name: other_value(name)})
    assert getattr(alone, name) == getattr(config(), name) == other_value(name)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_value_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(RuntimeError, match=name if name != "device_type" else "device type"):
        ServableStartConfig(**other_values() | {name: object() if name != "device_type" else "tpu"})


@pytest.mark.parametrize("name", OPTIONS)
def test_it_is_absolute_where_it_is_a_path_and_else_unchanged(name: str, tmp_path: Path) -> None:
    assert getattr(absolute(config()), name) == resolved(name, tmp_path)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_equal_configurations_keep_it(name: str, count: int, tmp_path: Path) -> None:
    [merged] = merge_config([absolute(config()) for _ in range(count)])
    assert getattr(merged, name) == resolved(name, tmp_path)


@pytest.mark.parametrize("name", OPTIONS)
def test_it_may_be_of_a_class_of_the_users_own(name: str) -> None:
    own, others = (plans_for(given, False) for given in (OwnConfig(other_values()), config()))
    assert [getattr(plan.settings, name) for plan in own] == [getattr(plan.settings, name) for plan in others]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("name", [name for name in OPTIONS if name not in IDENTITY])
def test_different_values_are_merged_by_their_rule_or_refused(name: str, swapped: bool) -> None:
    first = absolute(config())
    other = {"device_ids": (0,), "num_parallel_workers": 2, "device_type": None}
    default = next(option.default for option in fields(ServableSettings) if option.name == name)
    second = replace(first, **{name: other.get(name, default)})
    pair = [second, first] if swapped or name == "device_type" else [first, second]
    if name in MERGED:
        [merged] = merge_config(pair)
        assert getattr(merged, name) == MERGED[name]
        return
    with pytest.raises(StartUpError, match=r"^The .* of servable name add is different in multiple conf"):
        merge_config(pair)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("device_ids", [(1, 4), ()])
def test_the_plan_of_each_worker_has_it(name: str, device_ids: tuple[int, ...]) -> None:
    given = replace(config(), device_ids=device_ids)
    for plan in plans_of(given):
        assert getattr(plan.settings, name) == getattr(given, name)


@pytest.mark.parametrize("name", OPTIONS)
def test_what_start_servables_is_given_arrives_in_the_plans(name: str, tmp_path: Path) -> None:
    plans = plans_for([config(), config()], enable_lite=True)
    assert [(plan.place, plan.enable_lite) for plan in plans] == [
        ("device1", True),
        ("device4", True),
        ("extra0", True),
    ]
    for plan in plans:
        assert getattr(plan.settings, name) == resolved(name, tmp_path)


def reads_in(path: Path) -> set[str]:
    """Names of the attributes that a module reads."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("name", OPTIONS)
def test_somebody_reads_it(name: str) -> None:
    rooms = [PACKAGE / "server" / room for room in ("dispatch", "supervision", "worker", "channel")]
    modules = [path for room in rooms for path in room.glob("*.py")]
    modules += [PACKAGE / "server" / "start" / "worker_plans.py", PACKAGE / "options.py"]
    assert any(name in reads_in(path) for path in modules)


def test_no_text_of_an_object_shows_the_key() -> None:
    settings = absolute(config())
    for holder in (settings, ServableSettings(**other_values()), *plans_of(settings)):
        assert "0123456789" not in repr(holder)
    assert settings.dec_key == KEY


def test_the_dispatcher_gets_the_settings_before_a_worker_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "n" * 300  # of which there can be no log file, so no process is started
    limits = {option: other_value(option) for option in OPTIONS if option.startswith("max_")}
    server = Server()
    try:
        with pytest.raises(StartUpError, match="File name too long"):
            server.start_workers([worker_plan(name, **limits)])
        assert server._service is not None
        servable = server._service.dispatcher.servable(name, 1)
        assert servable.delay_s == limits["max_batch_delay_ms"] / 1000
        assert servable.pending is not None
        assert servable.pending.limits == Limits(3, 3, 3)
    finally:
        server.stop()
        server._stop_request.withdraw()
