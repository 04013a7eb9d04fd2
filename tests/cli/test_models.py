"""`mindspore-serving models list` against a real server, over REST and gRPC."""

from __future__ import annotations

import pytest

from tests.cli.conftest import KEY
from tests.support.command_line import Terminal
from tests.support.serving import RunningServer, free_port


def test_all_methods_with_their_types(served: RunningServer, terminal: Terminal) -> None:
    listed = terminal.type(f"models list --url {served.rest} --json").json
    assert listed["server"] == "mindspore_serving"
    methods = {one["name"]: one for one in listed["methods"]}
    assert list(methods) == ["add.predict", "pictures.look", "pictures.anything"]
    add = methods["add.predict"]
    assert (add["version"], add["state"], add["rows"]) == ("1", "READY", True)
    assert add["inputs"] == [{"name": name, "type": "float32", "shape": [2]} for name in ("x1", "x2")]
    assert add["description"] == "Adds two vectors."
    picture, label = methods["pictures.look"]["inputs"]
    assert (picture["content"], label["type"]) == ("image", "text")


def test_the_table(served: RunningServer, terminal: Terminal) -> None:
    shown = terminal.type(f"models list --url {served.rest}").out
    for text in ("mindspore_serving", "x1: float32[2]", "picture: image", "label: text", "READY", "any type"):
        assert text in shown


def test_over_grpc(served: RunningServer, terminal: Terminal) -> None:
    listed = terminal.type(f"models list --url grpc://{served.grpc} --api-key {KEY} --json").json
    methods = {one["name"]: one for one in listed["methods"]}
    assert set(methods) == {"add", "pictures.look", "pictures.anything"}
    assert methods["add"]["inputs"][0] == {"name": "x1", "type": "float32", "shape": [2]}
    assert (methods["add"]["state"], methods["add"]["version"]) == ("READY", "1")


@pytest.mark.parametrize("key", ["", " --api-key another-key-of-sixteen"])
def test_a_key_that_is_wrong(served: RunningServer, terminal: Terminal, key: str) -> None:
    ended = terminal.type(f"models list --url grpc://{served.grpc}{key}")
    assert (ended.code, "--api-key" in ended.err) == (4, True)


def test_no_server_is_reached(terminal: Terminal) -> None:
    ended = terminal.type(f"models list --url http://127.0.0.1:{free_port()}")
    assert (ended.code, ended.out) == (3, "")
