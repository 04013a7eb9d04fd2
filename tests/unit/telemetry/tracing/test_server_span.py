"""What the span of a call says, by the conventions for servers of HTTP and RPC."""

from __future__ import annotations

import pytest
from opentelemetry.trace import StatusCode

from mindspore_serving.server.dispatch.client_call import ClientCall
from mindspore_serving.server.telemetry.tracing.server_span import attributes_of, name_of, status_of
from tests.unit.telemetry.tracing.tracing_of import ended_call

INFER = "/inference.GRPCInferenceService/ModelInfer"


def test_a_request_of_http_is_told_as_the_conventions_say() -> None:
    ended = ended_call(
        ClientCall(1.0),
        target="POST /v2/models/add/infer",
        route="/v2/models/{model}/infer",
        dialect="open inference",
        request_id="r1",
        key_name="team-a",
        secure=True,
        instances=3,
    )
    assert name_of(ended) == "POST /v2/models/{model}/infer"
    assert attributes_of(ended) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/v2/models/{model}/infer",
        "http.request.body.size": 10,
        "http.response.body.size": 20,
        "url.path": "/v2/models/add/infer",
        "url.scheme": "https",
        "client.address": "127.0.0.1",
        "serving.dialect": "open inference",
        "serving.request_id": "r1",
        "serving.key_name": "team-a",
        "serving.instances": 3,
    }
    assert status_of(ended).status_code is StatusCode.UNSET


def test_a_call_of_grpc_is_told_as_the_conventions_say() -> None:
    ended = ended_call(
        ClientCall(1.0), transport="grpc", target=INFER, route=INFER, status=5, error="no such model"
    )
    assert name_of(ended) == INFER[1:]
    assert attributes_of(ended) == {
        "rpc.system.name": "grpc",
        "rpc.method": INFER[1:],
        "rpc.response.status_code": "NOT_FOUND",
        "client.address": "127.0.0.1",
        "serving.dialect": "native",
        "serving.instances": 1,
    }
    assert status_of(ended).status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("target", "route", "name", "method"),
    [
        ("GET /x", "", "GET", "GET"),
        ("BREW /pot", "", "HTTP", "_OTHER"),
        ("BREW /pot", "/pot", "HTTP /pot", "_OTHER"),
        ("", "", "HTTP", "_OTHER"),
    ],
)
def test_no_name_is_chosen_by_the_client(target: str, route: str, name: str, method: str) -> None:
    ended = ended_call(ClientCall(1.0), target=target, route=route)
    assert name_of(ended) == name
    assert attributes_of(ended)["http.request.method"] == method
    assert ("http.route" in attributes_of(ended)) == bool(route)


def test_what_a_client_sends_is_cut() -> None:
    attributes = attributes_of(ended_call(ClientCall(1.0), target="X" * 5000 + " /" + "y" * 5000))
    assert attributes["url.path"] == "/" + "y" * 1023 + " ... (3977 more characters)"
    assert str(attributes["http.request.method_original"]).startswith("X" * 1024 + " ... (")
    assert len(str(status_of(ended_call(ClientCall(1.0), status=500, error="e" * 5000)).description)) < 1100


@pytest.mark.parametrize(
    ("known", "error_type"),
    [
        ({"status": 404}, ""),
        ({"status": 499}, ""),
        ({"status": 500}, "500"),
        ({"status": 503}, "503"),
        ({"transport": "grpc", "status": 0}, ""),
        ({"transport": "grpc", "status": 1}, ""),
        ({"transport": "grpc", "status": 3}, ""),
        ({"transport": "grpc", "status": 8}, ""),
        ({"transport": "grpc", "status": 2}, "UNKNOWN"),
        ({"transport": "grpc", "status": 4}, "DEADLINE_EXCEEDED"),
        ({"transport": "grpc", "status": 13}, "INTERNAL"),
        ({"transport": "grpc", "status": 14}, "UNAVAILABLE"),
        ({"transport": "grpc", "status": 77}, ""),
    ],
)
def test_only_what_is_the_servers_fault_is_an_error(known: dict[str, object], error_type: str) -> None:
    ended = ended_call(ClientCall(1.0), error="why", **known)
    assert attributes_of(ended).get("error.type", "") == error_type
    status = status_of(ended)
    assert status.status_code is (StatusCode.ERROR if error_type else StatusCode.UNSET)
    assert status.description == ("why" if error_type else None)
