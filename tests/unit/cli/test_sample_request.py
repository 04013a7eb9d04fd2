"""The request that `serve` prints, for each kind of method."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Any

import pytest

from mindspore_serving.cli.serving.config import Servable, ServerConfig, Tls
from mindspore_serving.cli.serving.sample_request import curl_line
from mindspore_serving.cli.serving.summary import rest_url, summary_of
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType

URL = "http://127.0.0.1:1500"


def method(*inputs: TensorType, rows: bool = True, examples: tuple[str, ...] = ()) -> MethodSignature:
    names = tuple(one.name for one in inputs)
    return MethodSignature("predict", names, 1, inputs=inputs, rows=rows, examples=examples)


def sent(line: str) -> tuple[str, Any]:
    """URL and body of a line that needs no Python."""
    curl, url, option, body = shlex.split(line)
    assert (curl, option) == ("curl", "-d")
    return url, json.loads(body)


def test_instances_where_json_tells_all() -> None:
    url, body = sent(
        curl_line(
            URL,
            "it's mine",
            method(
                TensorType("x", DataType.FLOAT32, (2, -1)),
                TensorType("it's", DataType.STRING, ()),
                TensorType("raw", DataType.BYTES, ()),
                TensorType("on", DataType.BOOL, (1,)),
            ),
        )
    )
    assert url == f"{URL}/model/it%27s%20mine:predict"
    assert body == {
        "instances": [{"x": [[0.1] * 16] * 2, "it's": "text", "raw": {"b64": "AA=="}, "on": [False]}]
    }


@pytest.mark.parametrize(("rows", "shape"), [(True, [1, 3]), (False, [3])])
def test_open_inference_where_the_type_has_to_be_said(rows: bool, shape: list[int]) -> None:
    url, body = sent(curl_line(URL, "net", method(TensorType("ids", DataType.INT64, (3,)), rows=rows)))
    assert url == f"{URL}/v2/models/net/infer"
    assert body == {"inputs": [{"name": "ids", "shape": shape, "datatype": "INT64", "data": [0, 0, 0]}]}


def test_another_method_than_the_first_is_named() -> None:
    line = curl_line(URL, "net", method(TensorType("i", DataType.UINT8, (1,))), is_first=False)
    assert f"{URL}/v2/models/net.predict/infer" in line


def test_large_tensors_are_written_by_python() -> None:
    line = curl_line(URL, "net", method(TensorType("it's", DataType.FLOAT32, (1, 28, 28))))
    assert len(line) < 200
    script, _, curl = line.partition(" | ")
    written = subprocess.run(script, shell=True, capture_output=True, text=True, check=True).stdout
    assert json.loads(written) == {"instances": [{"it's": [[[0.1] * 28] * 28]}]}
    assert curl == f"curl {URL}/model/net:predict -d @-"


def test_an_example_goes_before_made_up_values() -> None:
    known = TensorType("x", DataType.FLOAT32, (2,))
    assert sent(curl_line(URL, "net", method(known, examples=('{"x": [1, 2]}',))))[1] == {
        "instances": [{"x": [1, 2]}]
    }


def test_a_long_example_is_asked_for() -> None:
    example = json.dumps({"x": "it's " + "y" * 3000})
    line = curl_line(URL, "net", method(TensorType("x"), examples=(example,)), options=("-k",))
    assert len(line) < 300
    asked, script, sent_on = line.split(" | ")
    assert asked == f"curl -k -s {URL}/model/net"
    assert sent_on == f"curl -k {URL}/model/net:predict -d @-"
    wanted = {"instances": [json.loads(example)]}
    described = {"methods": [{"name": "other", "example": None}, {"name": "predict", "example": wanted}]}
    ended = subprocess.run(
        script, shell=True, input=json.dumps(described), capture_output=True, text=True, check=True
    )
    assert json.loads(ended.stdout) == wanted


def test_a_method_of_unknown_inputs_is_asked_for_them() -> None:
    assert curl_line(URL, "net", method(TensorType("x"))) == f"curl {URL}/model/net"


def test_the_address_is_one_that_this_machine_reaches() -> None:
    config = ServerConfig(models=(Servable(path="a", options={}),), rest="0.0.0.0:8000")
    assert rest_url(config) == "http://127.0.0.1:8000"
    tls = ServerConfig(
        models=config.models, rest="[::]:1", grpc=None, tls=Tls(certificate="c", private_key="k")
    )
    lines = list(summary_of(tls, ()))
    assert "REST  https://[::1]:1" in lines
    assert not [line for line in lines if line.startswith("gRPC")]
