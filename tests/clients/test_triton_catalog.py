"""What tritonclient is told about the server and its models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.clients.servables import DATA_TYPES, MODELS
from tests.clients.triton import NOT_FOUND, Triton, plain, texts

EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "parameters", "statistics")
"""Of those that have a name, what is always offered; the names of others must be among `KNOWN`."""
KNOWN = (
    *EXTENSIONS,
    "cuda_shared_memory",
    "generate",
    "logging",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "sequence",
    "system_shared_memory",
    "trace",
)
CONFIG_NAMES = {"BYTES": "STRING", "UNKNOWN": "INVALID"}
"""Data types that a configuration names differently."""
COUNTERS = (
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
)


def tensors_of(described: Any, side: str) -> list[tuple[str, str, list[int]]]:
    return [(one["name"], one["datatype"], [int(n) for n in one["shape"]]) for one in described[side]]


def described(triton: Triton, model: str) -> Any:
    return plain(triton.call("get_model_metadata", model))


def configured(triton: Triton, model: str) -> Any:
    found = triton.call("get_model_config", model)
    return found if triton.http else plain(found.config)


def counted(triton: Triton, model: str) -> Any:
    [statistics] = plain(triton.call("get_inference_statistics", model))["model_stats"]
    return statistics


def test_live_and_ready(triton: Triton) -> None:
    assert triton.call("is_server_live") is True
    assert triton.call("is_server_ready") is True


@pytest.mark.parametrize("model", ["echo", "add", *MODELS])
def test_models_are_ready(triton: Triton, model: str) -> None:
    assert triton.call("is_model_ready", model) is True
    assert triton.call("is_model_ready", model, "1") is True


@pytest.mark.parametrize(("model", "version"), [("nothing", ""), ("echo.nothing", ""), ("echo", "7")])
@pytest.mark.parametrize("triton", ["http", "http.aio"], indirect=True)
def test_unknown_models_are_not_ready(triton: Triton, model: str, version: str) -> None:
    assert triton.call("is_model_ready", model, version) is False


@pytest.mark.parametrize(("model", "version"), [("nothing", ""), ("echo.nothing", ""), ("echo", "7")])
@pytest.mark.parametrize("method", ["get_model_metadata", "get_model_config", "get_inference_statistics"])
def test_unknown_models_are_not_found(triton: Triton, method: str, model: str, version: str) -> None:
    text = triton.call_refused(NOT_FOUND, method, model, version)
    assert (version or model.split(".")[-1]) in text


def test_server_metadata(triton: Triton) -> None:
    about = plain(triton.call("get_server_metadata"))
    assert about["name"]
    assert about["version"]
    assert set(EXTENSIONS) <= set(about["extensions"]) <= set(KNOWN)
    assert "system_shared_memory" not in about["extensions"]


@pytest.mark.parametrize("datatype", DATA_TYPES)
def test_metadata_of_typed_methods(triton: Triton, datatype: str) -> None:
    model = f"echo.identity_{np.dtype(DATA_TYPES[datatype]).name}"
    about = described(triton, model)
    assert about["name"] == model
    assert about["versions"] == ["1"]
    assert about["platform"]
    assert tensors_of(about, "inputs") == [("x", datatype, [-1, -1])]
    assert tensors_of(about, "outputs") == [("y", datatype, [-1, -1])]


@pytest.mark.parametrize(
    ("model", "inputs", "outputs"),
    [
        ("echo.identity_text", [("x", "BYTES", [-1])], [("y", "BYTES", [-1])]),
        ("echo.identity_bytes", [("x", "BYTES", [-1])], [("y", "BYTES", [-1])]),
        ("echo.root", [("x", "FP32", [-1])], [("y", "FP32", [-1])]),
        (
            "echo.add_sub",
            [("a", "FP32", [-1, 3]), ("b", "FP32", [-1, 3])],
            [("total", "FP32", [-1, 3]), ("difference", "FP32", [-1, 3])],
        ),
        ("add.add", [("x1", "FP32", [-1, 2]), ("x2", "FP32", [-1, 2])], [("y", "FP32", [-1, 2])]),
        ("add.subtract", [("x1", "FP32", [2, 2]), ("x2", "FP32", [2, 2])], [("y", "FP32", [2, 2])]),
        ("echo", [("x", "BOOL", [-1, -1])], [("y", "BOOL", [-1, -1])]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_metadata(triton: Triton, model: str, inputs: Any, outputs: Any) -> None:
    """Texts, fixed shapes, scalars, models: types that nobody declared come from the file of the model."""
    about = described(triton, model)
    assert about["name"] == model
    assert tensors_of(about, "inputs") == inputs
    assert tensors_of(about, "outputs") == outputs


@pytest.mark.parametrize("model", MODELS)
def test_config_agrees_with_metadata(triton: Triton, model: str) -> None:
    """Where it has rows, `dims` are without their dimension."""
    about, config = described(triton, model), configured(triton, model)
    assert config["name"] == model
    assert config["max_batch_size"] >= 0
    for side, entries in (("inputs", config["input"]), ("outputs", config["output"])):
        assert [entry["name"] for entry in entries] == [name for name, _, _ in tensors_of(about, side)]
        for (_, datatype, shape), entry in zip(tensors_of(about, side), entries, strict=True):
            assert entry["data_type"] == f"TYPE_{CONFIG_NAMES.get(datatype, datatype)}"
            dims = [int(n) for n in entry["dims"]]
            assert ([-1, *dims] if config["max_batch_size"] > 0 else dims) == shape


@pytest.mark.parametrize(
    ("model", "rows"), [("add.add", True), ("add.subtract", False), ("echo.as_sent", False)]
)
def test_config_tells_whether_tensors_have_rows(triton: Triton, model: str, rows: bool) -> None:
    """The batch of the model of `add.add` has two rows; a request may have more."""
    largest = configured(triton, model)["max_batch_size"]
    assert largest >= 2 if rows else largest == 0


def test_every_method_is_in_the_index(triton: Triton) -> None:
    index = triton.call("get_model_repository_index")
    entries = index if triton.http else plain(index)["models"]
    found = {entry["name"]: (entry["version"], entry["state"]) for entry in entries}
    assert {name: found.get(name) for name in MODELS} == dict.fromkeys(MODELS, ("1", "READY"))


def test_statistics_grow_by_what_was_asked(triton: Triton) -> None:
    model, requests, rows = "echo.add_sub", 5, 3
    inputs = {"a": np.ones((rows, 3), np.float32), "b": np.ones((rows, 3), np.float32)}
    before = counted(triton, model)
    for _ in range(requests):
        triton.infer(model, inputs)
    after = counted(triton, model)
    assert (after["name"], after["version"]) == (model, "1")
    assert int(after["inference_count"]) - int(before["inference_count"]) == requests * rows
    executions = int(after["execution_count"]) - int(before["execution_count"])
    assert requests <= executions <= requests * rows
    assert int(after["last_inference"]) > int(before["last_inference"])
    grown = {name: grown_by(before, after, name) for name in COUNTERS}
    assert grown["success"][0] == requests
    assert grown["success"][1] > 0
    assert grown["fail"] == grown["cache_hit"] == grown["cache_miss"] == (0, 0)


def test_statistics_of_all_models(triton: Triton) -> None:
    statistics = plain(triton.call("get_inference_statistics"))["model_stats"]
    assert set(MODELS) <= {one["name"] for one in statistics}


def test_failed_requests_are_counted(triton: Triton) -> None:
    before = counted(triton, "echo.root")
    with pytest.raises(Exception, match="no root"):
        triton.infer("echo.root", {"x": np.array([-1.0], np.float32)})
    after = counted(triton, "echo.root")
    assert grown_by(before, after, "fail")[0] == 1
    assert grown_by(before, after, "success")[0] == 0


def grown_by(before: Any, after: Any, name: str) -> tuple[int, int]:
    """How many more, and how many more nanoseconds."""
    old, new = before["inference_stats"][name], after["inference_stats"][name]
    count, ns = int(new["count"]) - int(old["count"]), int(new["ns"]) - int(old["ns"])
    assert count >= 0
    assert ns >= 0
    return count, ns


def test_a_name_that_a_path_must_quote(triton: Triton) -> None:
    name = "echo?x=1#y%2F é"
    assert name in triton.refused(NOT_FOUND, name, {"x": texts("x")})
