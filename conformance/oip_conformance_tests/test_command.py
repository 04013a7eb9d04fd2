"""The command line: options, exit statuses, files."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from oip_conformance.command import FAILED, PASSED, UNUSABLE, main
from oip_conformance.messages import MESSAGES
from oip_conformance.server import Server

from .deviants import INFER, status
from .serving import serving


def _arguments(server: Server, *more: str) -> list[str]:
    target = server.target
    return ["--http", target.http, "--grpc", target.grpc, "--model", "add", *more]


def test_a_good_server_is_exit_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as server:
        assert main(_arguments(server, "--only", "health")) == PASSED
    printed = capsys.readouterr().out
    assert "GET /v2/health/live answers 200" in printed
    assert "required" in printed.splitlines()[-4]


def test_a_path_before_v2_is_kept() -> None:
    with serving(base="/a/base") as server:
        assert main(_arguments(server, "--only", "REST: metadata")) == PASSED


def test_a_broken_required_rule_is_exit_status_1_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(rest_edit=status("/v2/health/ready", 503)) as server:
        assert main(_arguments(server, "--only", "health.ready", "--quiet")) == FAILED
    printed = capsys.readouterr().out
    assert "FAIL         health.ready" in printed
    assert "expected status 200" in printed
    assert "required_api.md, HTTP/REST, Health" in printed


def test_a_broken_rule_of_an_extension_is_exit_status_0() -> None:
    with serving(rest_edit=status("/v2/logging", 500)) as server:
        assert main(_arguments(server, "--only", "settings.log")) == PASSED


def test_a_remark_counts_only_when_it_is_strict() -> None:
    remarked = status("/v2/models/.*no-such-model", 500)

    def edit(asked: Any, answer: Any) -> Any:
        code, headers, body = remarked(asked, answer)
        return (code, answer[1], answer[2]) if code == 500 else (code, headers, body)

    with serving(rest_edit=edit) as server:
        arguments = _arguments(server, "--only", "Metadata of an unknown model is refused")
        assert main(arguments) == PASSED
        assert main([*arguments, "--strict"]) == FAILED


def test_no_server_is_exit_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        # Bound but not listening: connections are refused.
        assert main(["--http", f"http://127.0.0.1:{port}", "--model", "add", "--timeout", "2"]) == UNUSABLE
        assert main(["--grpc", f"127.0.0.1:{port}", "--model", "add", "--timeout", "1"]) == UNUSABLE
    assert "cannot be reached" in capsys.readouterr().err


def test_a_server_that_never_answers_is_exit_status_2() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert main(["--http", address, "--model", "add", "--timeout", "0.2"]) == UNUSABLE


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--http", "http://h:1"], "--model"),
        (["--model", "add"], "--grpc"),
        (["--http", "ftp://h", "--model", "add"], "ftp"),
        (["--http", "http://h:1", "--model", "add", "--only", "no such text"], "no such text"),
        (["--http", "http://h:1", "--model", "add", "--shape", "x"], "--shape 'x'"),
        (["--http", "http://h:1", "--model", "add", "--shape", "x:1,a"], "1,a"),
        (["--http", "http://h:1", "--model", "add", "--input", "x:FP31:2"], "FP31"),
        (["--http", "http://h:1", "--model", "add", "--header", "x"], "--header 'x'"),
        (["--http", "http://h:1", "--model", "add", "--timeout", "0"], "--timeout"),
        (["--matrix", "/nowhere.json"], "nowhere"),
    ],
)
def test_wrong_usage_is_exit_status_2_and_named(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        found = main(arguments)
    except SystemExit as end:
        found = int(str(end.code))
    assert found == UNUSABLE
    assert named in capsys.readouterr().err


def test_the_list_has_rule_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--only", "infer.id"]) == PASSED
    printed = capsys.readouterr().out
    assert "The id of the request is in the reply." in printed
    assert "inference_rest.md" in printed


def test_results_become_a_matrix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    with serving() as server:
        main(_arguments(server, "--only", "infer.flat", "--json", str(good)))
    with serving(rest_edit=status(INFER, 400)) as server:
        main(_arguments(server, "--only", "infer.flat", "--json", str(bad)))
    told = json.loads(bad.read_text())
    assert told["server"]["name"] == "reference"
    assert told["results"][0]["outcome"] == "fail"
    assert "POST /v2/models/add/infer" in told["results"][0]["evidence"][-1]
    capsys.readouterr()
    assert main(["--matrix", str(good), str(bad)]) == PASSED
    page = capsys.readouterr().out
    assert "| An inference with flat data succeeds | required | pass | **fail** |" in page
    assert page.count("## Deviations of reference 1.2.3") == 2


def test_only_one_front_end_is_enough() -> None:
    with serving() as server:
        target = server.target
        assert main(["--http", target.http, "--model", "add", "--only", "refused.no_data"]) == PASSED
        assert main(["--grpc", target.grpc, "--model", "add", "--only", "grpc.infer.raw"]) == PASSED


def test_inputs_may_be_told_where_metadata_lists_none() -> None:
    def without_inputs(asked: Any, answer: Any) -> Any:
        if asked.path != "/v2/models/echo_fp32":
            return answer
        found = {**json.loads(answer[2]), "inputs": []}
        return answer[0], answer[1], json.dumps(found).encode()

    with serving(rest_edit=without_inputs) as server:
        arguments = ["--http", server.target.http, "--model", "echo_fp32", "--only", "infer.flat", "--json"]
        path = Path("/dev/null")
        assert main([*arguments, str(path), "--input", "x:FP32:-1,2"]) == PASSED


def test_when_a_request_has_ended_the_server_the_rest_is_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    ended = []

    def end(asked: Any, answer: Any) -> Any:
        if answer[0] == 400:
            ended.append(asked.path)
        return (0, {}, b"") if ended else answer

    with serving(rest_edit=end) as server:
        arguments = ["--http", server.target.http, "--model", "add", "--only", "refused.input_"]
        assert main(arguments) == FAILED
    printed = capsys.readouterr().out
    assert "FAIL         refused.input_text" in printed
    assert "(the server has not answered since refused.input_text)" in printed
    assert len(ended) == 1


def test_messages_live_in_a_pool_of_their_own() -> None:
    from google.protobuf import descriptor_pool

    described = MESSAGES["ModelInferRequest"].DESCRIPTOR
    assert described.full_name == "inference.ModelInferRequest"
    assert described.file.pool is not descriptor_pool.Default()
