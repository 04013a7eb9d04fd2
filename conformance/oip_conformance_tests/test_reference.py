"""A server that keeps every rule passes every check."""

from __future__ import annotations

import re

import grpc
from oip_conformance.areas import all_checks
from oip_conformance.check import Outcome
from oip_conformance.rest import HEADER_LENGTH

from .reference.core import NAME, VERSION
from .reference.rest import Answer, Asked, told
from .serving import results_of, serving


def test_a_server_that_keeps_every_rule_passes_every_check() -> None:
    with serving() as server:
        results = results_of(server, all_checks())
    others = {
        check_id: f"{result.outcome.value}: {result.expected} / {result.got} {result.reason}"
        for check_id, result in results.items()
        if result.outcome is not Outcome.PASS
    }
    assert others == {}


def test_there_are_no_fewer_checks_than_promised() -> None:
    assert len(all_checks()) >= 400


_EXTENSIONS = (
    r".*/(stats|config|index|load|unload|setting|logging|generate|generate_stream|infer_stream)|.*memory.*"
)
_METHODS = ("ModelInfer", "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata")


def test_a_server_without_extensions_fails_none_of_them() -> None:
    def edit(asked: Asked, answer: Answer) -> Answer:
        if re.fullmatch(_EXTENSIONS, asked.path):
            return told({"error": "no such path"}, 404)
        if HEADER_LENGTH in asked.headers or "Content-Encoding" in asked.headers:
            return told({"error": "not understood"}, 400)
        if asked.path in ("/v2", "/v2/"):
            return told({"name": NAME, "version": VERSION, "extensions": []})
        return answer

    def edit_rpc(method: str, _: object, reply: object) -> object:
        return (
            reply
            if method in _METHODS or method in ("Check", "Reflection")
            else grpc.StatusCode.UNIMPLEMENTED
        )

    with serving(rest_edit=edit, rpc_edit=edit_rpc) as server:
        results = results_of(server, all_checks())
    failed = {check_id for check_id, result in results.items() if result.outcome is Outcome.FAIL}
    not_offered = {check_id for check_id, result in results.items() if result.outcome is Outcome.NOT_OFFERED}
    assert failed == set()
    for area in (
        "statistics.",
        "config.",
        "repository.",
        "binary.",
        "classification.",
        "generate.",
        "memory.",
    ):
        assert any(each.startswith(area) for each in not_offered), area
