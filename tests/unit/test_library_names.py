"""No library that runs models is named outside backend/, but where a user types its name or reads it in a contract."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "mindspore_serving"
ROOMS = ("server/backend/", "lite/", "server/dialect/paddle/", "cli/", "serve/")
"""Where libraries may be named; `lite` builds the library of that name, and converts models for it; the dialect speaks
what clients of Paddle Serving speak; on a command line users type formats and libraries, and read of them."""
GENERATED = ("proto/",)
NAME = re.compile(
    r"mindspore(?![_ -]serving)|"
    r"(?<![a-z])(?:mind_?ir|lite|onnx|onnxruntime|paddle|torch|tensorflow)(?![a-z])",
    re.IGNORECASE,
)
EXCEPTIONS = {
    # The wire: the package of the protocol is `mindspore.serving.proto`.
    ("client/python/connection.py", "/mindspore.serving.proto.MSService/Predict"),
    ("server/dialect/native/predict.py", "/mindspore.serving.proto.MSService/Predict"),
    # The wire: what TensorFlow Serving calls a signature for predictions.
    ("server/dialect/kserve_v1/models.py", "tensorflow/serving/predict"),
    # Names of TensorFlow Serving that its users look for: its metrics.
    ("server/telemetry/metrics/aliases.py", ":tensorflow:serving:{}"),
    ("server/telemetry/metrics/aliases.py", ":tensorflow:serving:request_count"),
    # The dialect of Paddle Serving, which has a line there as each dialect.
    ("server/start/dialects.py", "mindspore_serving.server.dialect.paddle.dialect"),
    ("server/start/dialects.py", "paddle_general_model_pb2"),
    ("server/start/dialects.py", "paddle_pipeline_pb2"),
    # What users type in a servable: formats are named by `declare_model`.
    ("options.py", "mindir"),
    ("options.py", "mindir_opt"),
    ("options.py", "mindir_lite"),
    ("options.py", "onnx"),
    ("options.py", "paddle"),
    ("options.py", "MindIR"),
    ("options.py", "MindIR_Lite"),
    ("options.py", "ONNX"),
    ("options.py", "Paddle"),
    ("server/register/distributed_model.py", "mindir"),
    # Texts of MindSpore Serving 2.0.
    (
        "server/worker/servable_loader.py",
        "Servable '{}' has models declared by declare_model, but parameter 'device_ids' of ServableStartConfig is not "
        "set in Serving startup script when the MindSpore or Lite inference package not support CPU",
    ),
    (
        "server/worker/servable_loader.py",
        "Load model from file failed, Multi subgraph is not support when the backend is lite, model files: {} "
        "(declared at {})",
    ),
}
"""(module, name or text), with its reason above; `{}` stands for a value in a text."""
ANYWHERE = {"enable_lite": "a parameter of `start_servables`, which goes to the worker under its name"}


def names_in(source: str) -> set[str]:
    """Names and texts of a module's code that name a library; docstrings and comments may."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    found: set[str] = set()
    for node in nodes:
        match node:
            case ast.JoinedStr():
                found.add("".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values))
            case ast.Constant(value=str(text)) if id(node) not in docstrings | parts:
                found.add(text)
            case (
                ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name))
            ):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.alias(name=name) | ast.ImportFrom(module=str(name)):
                found.add(name)
    return {text for text in found if NAME.search(text)}


def named() -> set[tuple[str, str]]:
    """What names a library outside the rooms where that is allowed."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        module = path.relative_to(PACKAGE).as_posix()
        if not module.startswith((*ROOMS, *GENERATED)):
            found |= {(module, text) for text in names_in(path.read_text())}
    return found


def test_libraries_are_named_in_backend_alone() -> None:
    elsewhere = {(module, text) for module, text in named() if text not in ANYWHERE}
    assert elsewhere - EXCEPTIONS == set(), (
        "say what the code needs in backend/families.py, and ask for it there"
    )
    assert EXCEPTIONS - elsewhere == set(), "an exception that nobody needs any more"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('import mindspore', {"mindspore"}),
        ('import mindspore_serving.errors', set()),
        ('from mindspore_serving.server.backend.lite import x', {"mindspore_serving.server.backend.lite"}),
        ('x = "mindspore"', {"mindspore"}),
        ('if backend == "lite": pass', {"lite"}),
        ('def find_mindspore(): pass', {"find_mindspore"}),
        ('f(onnx=1)', {"onnx"}),
        ('raise E(f"no ONNX: {x}")', {"no ONNX: {}"}),
        ('"""MindSpore."""\nx = "elite"  # mindspore', set()),
    ],
)  # fmt: skip
def test_the_check_finds_a_name(source: str, expected: set[str]) -> None:
    assert names_in(source) == expected


def imports_of(path: Path) -> set[str]:
    """First names of the modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_opentelemetry_is_imported_by_tracing_alone() -> None:
    """It is an extra, which is imported only where traces are asked for."""
    modules = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "opentelemetry" in imports_of(path)
    }
    assert "server/telemetry/tracing/spans.py" in modules
    assert {module for module in modules if not module.startswith("server/telemetry/tracing/")} == set()
