"""The YAML file of `serve`, its schema, and what the command line adds to it."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.serving.command_line import config_of
from mindspore_serving.cli.serving.config import Servable, ServerConfig, Tls, keys_of
from mindspore_serving.cli.serving.config_file import read_config, read_option, write_config
from mindspore_serving.cli.serving.run import start_configs
from mindspore_serving.cli.serving.schema import schema
from mindspore_serving.options import ServableSettings

NOT_IN_FILES = {"servable_directory", "servable_name", "model_path", "dec_key"}
FULL = """\
models:
- path: net
  name: other
  device_ids: [0, 2]
  version_number: 3
  max_batch_delay_ms: 1
  with_batch_dim: false
  runtime_options: {threads: 2, mode: fast}
- path: /abs/b.onnx
  device_ids: 1
grpc: null
rest: 0.0.0.0:80
tls: {certificate: a.crt, private_key: sub/a.key}
api_keys: keys.txt
cors_origins: ["*"]
default_servable: other.predict
drain_timeout_s: 5
log: {level: info}
"""


def read(folder: Path, text: str) -> ServerConfig:
    (folder / "server.yaml").write_text(text)
    return read_config(folder / "server.yaml")


def refusal(folder: Path, text: str) -> CommandError:
    with pytest.raises(CommandError) as refused:
        read(folder, text)
    assert refused.value.exit_code == 2
    return refused.value


def test_a_file_says_all(tmp_path: Path) -> None:
    config = read(tmp_path, FULL)
    first, second = config.models
    assert (first.path, first.name, second.path) == (str(tmp_path / "net"), "other", "/abs/b.onnx")
    assert first.options == {
        "device_ids": (0, 2),
        "version_number": 3,
        "max_batch_delay_ms": 1,
        "with_batch_dim": False,
        "runtime_options": {"threads": 2, "mode": "fast"},
    }
    assert second.options == {"device_ids": (1,)}
    assert config.tls == Tls(certificate=str(tmp_path / "a.crt"), private_key=str(tmp_path / "sub" / "a.key"))
    assert (config.grpc, config.rest, config.api_keys) == (None, "0.0.0.0:80", str(tmp_path / "keys.txt"))
    assert (config.cors_origins, config.drain_timeout_s, config.log.level) == (("*",), 5, "info")
    assert (config.default_servable, config.max_msg_mb_size) == ("other.predict", 100)


def test_what_is_printed_is_read_as_the_same(tmp_path: Path) -> None:
    config = read(tmp_path, FULL)
    assert read(tmp_path, write_config(config)) == config


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("models:\n- path: a\n  slot_per_copy: 2\n", "line 3: models[0].slot_per_copy is no key here, did you mean"),
        ("models: [{path: a}]\n\nresst: x\n", "line 3: resst is no key here, did you mean 'rest'?"),
        ("models: [{path: a}]\nqqqqq: x\n", "expected one of ['models', 'grpc',"),
        ("models:\n- name: a\n", "line 2: models[0] has no 'path': "),
        ("rest: a:1\n", "line 1: has no 'models': "),
        ("models: []\n", "models should hold at least one servable"),
        ("models:\n- path: a\n  device_ids: [0, x]\n", "line 3: models[0].device_ids[1] should be a whole number"),
        ("models: [{path: a}]\nmax_connections: true\n", "max_connections should be a whole number, but is 'true'"),
        ("models: [{path: a}]\ntls: yes\n", "tls should be keys and values, but is 'yes'"),
        ("models: [{path: [a]}]\n", "models[0].path should be a single value, but is a list"),
        ("models: [{path: a, path: b}]\n", "models[0].path is there twice"),
        ("models: [{path: a, dec_key: 0123456789abcdef}]\n", "models[0].dec_key is no key here, did you mean"),
        ("models: [", "is no YAML: "),
        ("", "is empty, expected the key 'models' at least"),
        ("- a\n", "should be keys and values, but is a list"),
        ("models: [{path: a}]\ndrain_timeout_s: true\n", "drain_timeout_s should be a number, but is 'true'"),
        ('"": 1\n', "line 1: is no key here, expected one of"),
        ('models: [{path: a, "": 1}]\n', "is no key here, expected one of"),
        ("[a]: 1\n", "a list is no key here, expected one of"),
        (f"models: {'[' * 10_000}", "is nested too deep"),
        (f"models: {'[' * 10_000}{']' * 10_000}", "is nested too deep"),
    ],
)  # fmt: skip
def test_a_wrong_file(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in refusal(tmp_path, text).problem


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot be read: .*No such file"):
        read_config(tmp_path / "nowhere.yaml")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for name in ("pipe.yaml", "."):
        with pytest.raises(CommandError, match="is no regular file"):
            read_config(tmp_path / name)


def test_a_file_and_the_schema_have_every_option_of_a_servable() -> None:
    options = {one.name for one in fields(ServableSettings)} - NOT_IN_FILES
    keys = keys_of(Servable)
    assert options < set(keys)
    assert all(key.help for key in keys.values())
    described = schema()["properties"]["models"]["items"]
    assert set(described["properties"]) == set(keys)
    assert (described["required"], described["additionalProperties"]) == (["path"], False)
    assert json.loads(json.dumps(schema())) == schema()


def test_options_of_the_command_line_go_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "server.yaml").write_text(
        "models: [{path: net, slots_per_copy: 3, device_ids: 0}]\nrest: a:1\n"
    )
    given = {"grpc": "none", "rest": None, "log": ("debug", None), "tls": ("c", "k"), "api_keys": None}
    config = config_of([str(tmp_path / "server.yaml")], None, given, {"slots_per_copy": 5})
    assert config.models[0].options == {"slots_per_copy": 5, "device_ids": (0,)}
    assert (config.grpc, config.rest, config.log.level) == (None, "a:1", "debug")
    assert config.tls == Tls(certificate=str(Path("c").absolute()), private_key=str(Path("k").absolute()))


def test_paths_that_cannot_be_served_together(tmp_path: Path) -> None:
    for file in ("x/net/1/a.onnx", "y/net/1/a.onnx", "s.yaml"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    for paths, name, problem in (
        (["x/net", "y/net"], None, "are both servable 'net'"),
        (["s.yaml", "x/net"], None, "it cannot be beside other paths"),
        (["x", "y"], "one", "--name is for one servable, but there are 2"),
        (["z"], None, "does not exist"),
    ):
        with pytest.raises(CommandError, match=problem) as refused:
            config_of([str(tmp_path / path) for path in paths], name, {}, {})
        assert refused.value.exit_code == 2
    with pytest.raises(CommandError, match="--tls-certificate and --tls-key need each other"):
        config_of([str(tmp_path / "x")], None, {"tls": ("c", None)}, {})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_batch_delay_ms", "2", 2),
        ("device_type", "CPU", "CPU"),
        ("runtime_options", "{threads: 4}", {"threads": 4}),
        ("with_batch_dim", "false", False),
    ],
)
def test_an_option_is_read_as_yaml(name: str, text: str, value: Any) -> None:
    assert read_option(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("slots", "2"),
        ("slots_per_copy", "two"),
        ("slots_per_copy", ""),
        ("slots_per_copy", "["),
        ("slots_per_copy", "[" * 3000),
    ],
)
def test_a_wrong_option(name: str, text: str) -> None:
    with pytest.raises(CommandError, match=name):
        read_option(name, text)


def test_keys_of_models_come_from_files_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVING_BACKEND", "stub")
    monkeypatch.setenv("MODEL_KEY", "k" * 32)
    (tmp_path / "key").write_bytes(b"0123456789abcdef\n")
    (tmp_path / "a.onnx").touch()
    config = read(
        tmp_path,
        "models:\n- {path: a.onnx, dec_key_file: key}\n- {path: a.onnx, name: b, dec_key_env: MODEL_KEY}\n"
        "- {path: a.onnx, name: c, dec_key_env: MODEL_KEY}\n",
    )
    assert [one.dec_key for one in start_configs(config)] == [b"0123456789abcdef", b"k" * 32, b"k" * 32]
    assert "0123456789abcdef" not in write_config(config) and "kkkk" not in write_config(config)
    assert "MODEL_KEY" not in os.environ  # what is started from now on does not inherit it
    with pytest.raises(CommandError, match="environment variable MODEL_KEY has no key"):
        start_configs(config)
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(CommandError, match="'dec_key' length 5") as refused:
        start_configs(config)
    assert "short" not in refused.value.problem


def test_models_run_on_device_0_where_there_is_no_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVING_BACKEND", "stub")
    (tmp_path / "a.onnx").touch()
    config = ServerConfig(models=(Servable(path=str(tmp_path / "a.onnx"), options={}),))
    assert [one.device_ids for one in start_configs(config)] == [(0,)]
    monkeypatch.setenv("SERVING_ENABLE_CPU_DEVICE", "1")
    assert [one.device_ids for one in start_configs(config)] == [()]


def test_yaml_of_a_configuration_has_no_tags() -> None:
    config = ServerConfig(models=(Servable(path="/a", options={"device_ids": (0,)}),))
    assert yaml.safe_load(write_config(config))["models"] == [{"path": "/a", "device_ids": [0]}]
