"""The description of all dialects: valid, true of each example, and true of what schemathesis makes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import jsonschema
import pytest
import requests
import schemathesis
from openapi_spec_validator import validate
from schemathesis.specs.openapi import checks as openapi_checks

from tests.support.http_requests import send
from tests.support.serving import RunningServer, add_servable, serving

CONFIG = """\
import numpy as np

from mindspore_serving.server import register


def add(x1, x2):
    return x1 + x2


def greet(name):
    return f"Hello {name}"


def measure(image):
    return np.int64(len(image))


def total(values, label):
    return values.sum(dtype=np.float64), label


def same(x):
    return x


MATRIX = register.TensorSpec("float32", [2, 2], "A matrix.")


@register.register_method(
    "y",
    inputs={"x1": MATRIX, "x2": MATRIX},
    outputs={"y": MATRIX},
    examples=[{"x1": np.ones((2, 2), np.float32), "x2": [[1, 2], [3, 4]]}],
)
def add_common(x1, x2):
    \"""Add two matrices.\"""
    return register.add_stage(add, x1, x2, outputs_count=1)


@register.register_method("greeting", inputs={"name": register.Text()}, examples=[{"name": "Ada"}])
def hello(name):
    return register.add_stage(greet, name, outputs_count=1)


@register.register_method(
    "size",
    inputs={"image": register.Image()},
    outputs={"size": register.TensorSpec("int64", [])},
    examples=[{"image": b"\\x89PNG"}],
)
def image_size(image):
    return register.add_stage(measure, image, outputs_count=1)


@register.register_method(
    ["total", "label"],
    inputs={"values": register.TensorSpec("int32", [-1]), "label": register.Bytes()},
    outputs={"total": register.TensorSpec("float64", []), "label": register.Bytes()},
    examples=[{"values": [1, 2], "label": b"abc"}],
)
def summed(values, label):
    return register.add_stage(total, values, label, outputs_count=2)


@register.register_method("y", examples=[{"x": [1.5]}, {"x": 3}])
def anything(x):
    return register.add_stage(same, x, outputs_count=1)
"""
DIALECTS = ("/model/", "/v2/models/", "/v1/models/", "/GeneralModelService/", "/shop.")
EXAMPLES_OF_EACH = 3
LARGEST = 1e30
"""Of numbers that are sent: sums of larger ones may be infinite, which no JSON is."""
ONE_MODEL = {"model": "shop.hello", "target": "shop:hello", "repository": "any"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("openapi")
    add_servable(folder, "shop", CONFIG)
    with serving(folder, ['".", "shop"'], start_options='default_servable="shop.add_common"') as running:
        yield running


@pytest.fixture(scope="module")
def document(server: RunningServer) -> dict[str, Any]:
    reply = send(server.rest, "GET", "/openapi.json")
    assert reply.status == 200
    found: dict[str, Any] = json.loads(reply.body)
    return found


def resolved(document: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in response:
        return response
    found: dict[str, Any] = document["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    return found


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)


def test_each_method_is_described_in_each_dialect(document: dict[str, Any]) -> None:
    for method in ("add_common", "hello", "image_size", "summed", "anything"):
        for path in (
            f"/model/shop:{method}",
            f"/v2/models/shop.{method}/infer",
            f"/v2/models/shop.{method}/generate",
            f"/v1/models/shop.{method}:predict",
            f"/shop.{method}/prediction",
        ):
            assert "post" in document["paths"][path]
    assert set(document["paths"]) >= {"/healthz/live", "/v2", "/v1/models", "/openapi.json", "/docs"}
    assert "security" not in document


def test_each_example_is_answered_as_described(server: RunningServer, document: dict[str, Any]) -> None:
    sent = []
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            for kind, body in operation.get("requestBody", {}).get("content", {}).items():
                for example in body.get("examples", {}).values():
                    jsonschema.Draft202012Validator(body["schema"]).validate(example["value"])
                    reply = send(
                        server.rest,
                        verb.upper(),
                        path.format(**ONE_MODEL),
                        json.dumps(example["value"]).encode(),
                        {"Content-Type": kind},
                    )
                    answer = json.loads(reply.body)
                    assert reply.status == 200, (path, example, answer)
                    given = operation["responses"]["200"]["content"]["application/json"]["schema"]
                    jsonschema.Draft202012Validator(given).validate(answer)
                    assert "err_no" not in answer or answer["err_no"] == 0, answer
                    sent.append(path)
    assert all(any(path.startswith(prefix) for path in sent) for prefix in DIALECTS)
    assert len(sent) >= 25


# --- schemathesis ---


def has_no_exact_schema(path: str) -> bool:
    """Whether JSON Schema cannot say all that is asked there, so that bodies that fit it may be refused.

    Names in braces and methods without types may mean any method; of tensors, `shape` says how long `data` is; the
    first page is for browsers.
    """
    return (
        "{" in path
        or "anything" in path
        or path.startswith("/GeneralModelService")
        or path.endswith("/infer")
        or path == "/"
    )


def is_always_answered(path: str) -> bool:
    """Whether requests that fail are answered with 200, too, as Paddle Serving's pipelines do."""
    return path.endswith("/prediction")


def spelled(schema: Any, value: Any) -> Any:
    """A body as clients write it: 2 and not 2.0 for an integer, 2.0 and not 2 for a float, columns of one length.

    For JSON Schema both spellings are the same. An integer is taken for a float only if it is held exactly.
    """
    validator = jsonschema.Draft202012Validator
    for some in ("anyOf", "oneOf"):
        if some in schema:
            fitting = next((one for one in schema[some] if validator(one).is_valid(value)), None)
            return value if fitting is None else spelled(fitting, value)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        made = {key: spelled(known.get(key, {}), one) for key, one in value.items()}
        if isinstance(made.get("inputs"), dict) and all(
            isinstance(one, list) for one in made["inputs"].values()
        ):
            count = min(len(one) for one in made["inputs"].values())
            made["inputs"] = {key: one[:count] for key, one in made["inputs"].items()}
        return made
    if isinstance(value, list):
        return [spelled(schema.get("items", {}), one) for one in value]
    if schema.get("type") in ("integer", "number") and not isinstance(value, bool):
        return int(value) if schema["type"] == "integer" else min(max(float(value), -LARGEST), LARGEST)
    return value


def modes_of(operation: Any) -> Sequence[Any]:
    """What is asked: as described, and where there is a body also otherwise."""
    modes = schemathesis.GenerationMode
    return (modes.POSITIVE, modes.NEGATIVE) if len(operation.body) else (modes.POSITIVE,)


def operations(server: RunningServer) -> list[Any]:
    schema = schemathesis.openapi.from_url(server.url("/openapi.json"))
    found = [one.ok() for one in schema.get_all_operations()]
    # What has HEAD, a version or its requests as events is answered by the same code as what has not.
    others = ("{version}", "{name}", "_stream")
    return [one for one in found if one.method != "head" and not any(part in one.path for part in others)]


class Asking:
    """Sends what schemathesis makes, and keeps what it finds."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.count = 0
        self.found: list[str] = []
        self._document = document
        self._session = requests.Session()

    def run(self, operation: Any, mode: Any) -> None:
        """Send some requests to one operation."""
        is_described = mode is schemathesis.GenerationMode.POSITIVE
        excluded = [openapi_checks.negative_data_rejection] if is_described else []
        if has_no_exact_schema(operation.path):
            excluded.append(openapi_checks.positive_data_acceptance)
        if is_always_answered(operation.path):
            excluded.append(openapi_checks.negative_data_rejection)

        def ask(case: Any) -> None:
            self.count += 1
            if is_described and isinstance(case.body, (dict, list)):
                case.body = spelled(self._schema_of(case), case.body)
            if isinstance(case.body, dict) and isinstance(case.body.get("parameters"), dict):
                case.body["parameters"].pop("timeout", None)  # some microseconds are too short for any method
            reply = case.call(session=self._session)
            try:
                case.validate_response(reply, excluded_checks=excluded)
            except schemathesis.errors.FailureGroup as error:
                for one in error.exceptions:
                    self.found.append(
                        f"{one} {one.message}\n{case.as_curl_command()}\n{reply.status_code} {reply.text}"
                    )

        settings = hypothesis.settings(
            max_examples=EXAMPLES_OF_EACH,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        settings(hypothesis.given(case=operation.as_strategy(generation_mode=mode))(ask))()

    def _schema_of(self, case: Any) -> Any:
        body = self._document["paths"][case.path][case.method.lower()]["requestBody"]
        return body["content"][case.media_type]["schema"]


def test_schemathesis_finds_nothing(server: RunningServer, document: dict[str, Any]) -> None:
    asking = Asking(document)
    for operation in operations(server):
        for mode in modes_of(operation):
            asking.run(operation, mode)
    assert not asking.found, "\n\n".join(asking.found)
    assert asking.count > 150


# --- Who may see it ---

KEY = "a-key-of-tests-0123456789"


def test_with_keys_it_is_for_those_who_have_one(tmp_path: Path) -> None:
    add_servable(tmp_path, "shop", CONFIG)
    with serving(tmp_path, ['".", "shop"'], rest_options=f"api_keys=[{KEY!r}]") as server:
        for path in ("/openapi.json", "/docs", "/docs/swagger-ui.css", "/"):
            browser = {"Accept": "text/html"}
            assert send(server.rest, "GET", path, None, browser).status == 401
            shown = send(server.rest, "GET", path, None, {**browser, "X-API-Key": KEY})
            assert shown.status == 200
            assert shown.headers["content-security-policy"].startswith("default-src 'none'")
        document = json.loads(send(server.rest, "GET", "/openapi.json", None, {"X-API-Key": KEY}).body)
        validate(document)
        assert set(document["components"]["securitySchemes"]) == {"bearer", "api_key"}


def test_a_browser_is_greeted_and_others_are_answered_as_ever(server: RunningServer) -> None:
    page = send(server.rest, "GET", "/", None, {"Accept": "text/html,*/*"})
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for path in re.findall(r'href="([^"]+)"', page.body.decode()):
        assert send(server.rest, "GET", f"/{path}").status == 200
    assert b'href="docs"' in page.body
    other = send(server.rest, "GET", "/", None, {"Accept": "*/*"})
    assert (other.status, json.loads(other.body)) == (
        405,
        {"error_msg": "http message only support POST right now"},
    )
    asked = send(server.rest, "POST", "/", b'{"instances": [{"x": 1}]}')
    assert (asked.status, json.loads(asked.body)) == (
        400,
        {"error_msg": "please check url, the keyword:[model] must contain."},
    )


def test_the_files_of_swagger_ui_come_from_the_package(server: RunningServer) -> None:
    page = send(server.rest, "GET", "/docs")
    files = re.findall(r'(?:src|href)="(docs/[^"]+)"', page.body.decode())
    assert len(files) == 4
    for file in files:
        assert send(server.rest, "GET", f"/{file}").status == 200
    assert send(server.rest, "GET", "/docs/%2e%2e%2fsetup.py").status == 404
