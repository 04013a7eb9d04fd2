"""Lines of curl, as the documentation has them, for the two dialects of HTTP that are not Serving's own."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from tests.clients.servables import MODELS
from tests.support.serving import RunningServer

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")

TIMEOUT_S = 20


def curl(server: RunningServer, line: str) -> Any:
    """Run a line of shell in which HOST stands for the address; returns the document that it prints."""
    done = subprocess.run(
        line.replace("HOST", server.rest).replace("curl ", "curl -sS ", 1),
        shell=True,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        (
            """curl http://HOST/v1/models/add:predict -d '{"instances": [{"x1": [1.5, 2.5], "x2": [1.0, 1.0]}]}'""",
            {"predictions": [[2.5, 3.5]]},
        ),
        (
            """curl http://HOST/v1/models/add:predict -d '{"inputs": {"x1": [[1.5, 2.5]], "x2": [[1.0, 1.0]]}}'""",
            {"outputs": [[2.5, 3.5]]},
        ),
        (
            """curl http://HOST/v1/models/add/versions/1:predict -d """
            """'{"instances": [{"x1": [1, 2], "x2": [1, 1]}, {"x1": [3, 4], "x2": [1, 1]}]}'""",
            {"predictions": [[2.0, 3.0], [4.0, 5.0]]},
        ),
        (
            """curl http://HOST/v1/models/echo:predict -d """
            """'{"signature_name": "add_sub", "instances": [{"a": [1, 2, 3], "b": [1, 1, 1]}]}'""",
            {"predictions": [{"total": [2.0, 3.0, 4.0], "difference": [0.0, 1.0, 2.0]}]},
        ),
        (
            """curl http://HOST/v1/models/echo:predict -d """
            """'{"signature_name": "add_sub", "inputs": {"a": [[1, 2, 3]], "b": [[1, 1, 1]]}}'""",
            {"outputs": {"total": [[2.0, 3.0, 4.0]], "difference": [[0.0, 1.0, 2.0]]}},
        ),
        (
            """curl http://HOST/v1/models/echo:predict -d """
            """'{"signature_name": "identity_text", "instances": ["one", "two"]}'""",
            {"predictions": ["one", "two"]},
        ),
        (
            """curl http://HOST/v1/models/echo:predict -d """
            """'{"signature_name": "identity_bytes", "instances": [{"b64": "/wA="}]}'""",
            {"predictions": [{"b64": "/wA="}]},
        ),
        (
            """curl http://HOST/v2/models/add/infer -d '{"inputs": ["""
            """{"name": "x1", "shape": [1, 2], "datatype": "FP32", "data": [1.5, 2.5]}, """
            """{"name": "x2", "shape": [1, 2], "datatype": "FP32", "data": [[1, 1]]}]}'""",
            {
                "model_name": "add",
                "model_version": "1",
                "outputs": [{"name": "y", "shape": [1, 2], "datatype": "FP32", "data": [2.5, 3.5]}],
            },
        ),
        (
            """curl http://HOST/v2/models/echo.identity_text/versions/1/infer -H 'Content-Type: application/json' -d """
            """'{"id": "7", "inputs": [{"name": "x", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}]}'""",
            {
                "model_name": "echo.identity_text",
                "model_version": "1",
                "id": "7",
                "outputs": [{"name": "y", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}],
            },
        ),
        (
            """curl http://HOST/v2/models/echo.identity_text/generate -d '{"id": "7", "x": "hello"}'""",
            {"model_name": "echo.identity_text", "model_version": "1", "id": "7", "y": "hello"},
        ),
        ("curl http://HOST/v2/health/live", {"live": True}),
        ("curl http://HOST/v2/models/add/ready", {"name": "add", "ready": True}),
    ],
)
def test_a_line_prints(server: RunningServer, line: str, printed: Any) -> None:
    found = curl(server, line)
    assert {name: found.get(name) for name in printed} == printed


def test_models_are_listed(server: RunningServer) -> None:
    listed = curl(server, "curl http://HOST/v2/models")["models"]
    names = {one if isinstance(one, str) else one["name"] for one in listed}
    assert set(MODELS) <= names
    assert curl(server, "curl http://HOST/v1/models")


def test_metadata_of_a_model_as_tensorflow_serving_has_it(server: RunningServer) -> None:
    about = curl(server, "curl http://HOST/v1/models/add/metadata")
    assert (about["model_spec"]["name"], about["model_spec"]["version"]) == ("add", "1")
    signatures = about["metadata"]["signature_def"]["signature_def"]
    assert {"add", "subtract"} <= set(signatures)
    x1 = signatures["subtract"]["inputs"]["x1"]  # rows are instances here, whatever the model takes
    assert x1["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in x1["tensor_shape"]["dim"]] == ["-1", "2", "2"]


def test_states_of_the_versions_of_a_model(server: RunningServer) -> None:
    [state] = curl(server, "curl http://HOST/v1/models/add")["model_version_status"]
    assert (state["version"], state["state"]) == ("1", "AVAILABLE")
    assert state["status"]["error_code"] == "OK"


@pytest.mark.parametrize(
    ("line", "status", "named"),
    [
        ("curl http://HOST/v1/models/nothing:predict -d '{\"instances\": [1]}'", "404", "nothing"),
        ("curl http://HOST/v1/models/add:predict -d '{\"instances\": [1'", "400", ""),
        ("curl http://HOST/v1/models/add:predict -d '{}'", "400", "instances"),
        ("curl http://HOST/v2/models/nothing/infer -d '{\"inputs\": []}'", "404", "nothing"),
        ("curl http://HOST/v2/models/add/infer -d '{\"inputs\": []}'", "400", "x1"),
        ("curl http://HOST/v2/models/add/infer -d '{\"inputs\": '", "400", ""),
        ("curl http://HOST/v2/models/add/infer", "405", ""),
    ],
)
def test_a_wrong_line_is_told_what_is_wrong(
    server: RunningServer, line: str, status: str, named: str
) -> None:
    document = curl(server, line)
    assert list(document) == ["error"]
    assert document["error"]
    assert named in document["error"]
    done = subprocess.run(
        line.replace("HOST", server.rest).replace("curl ", "curl -sS -o /dev/null -w '%{http_code}' ", 1),
        shell=True,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.stdout == status
