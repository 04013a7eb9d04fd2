"""`mindspore-serving infer` against a real server, in every protocol."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import KEY
from tests.support.command_line import Terminal
from tests.support.serving import RunningServer, free_port

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x07\0\0\0\x05" + bytes(range(200, 256))
REST = ["native", "oip", "oip-binary", "v1"]
GRPC = ["native", "oip"]


def at(server: RunningServer, over: str) -> str:
    return f"--url http://{server.rest}" if over == "rest" else f"--url grpc://{server.grpc} --api-key {KEY}"


WAYS = [("rest", protocol) for protocol in REST] + [("grpc", protocol) for protocol in GRPC]


@pytest.mark.parametrize(("over", "protocol"), WAYS)
def test_numbers_become_the_type_of_the_model(
    served: RunningServer, terminal: Terminal, over: str, protocol: str
) -> None:
    ended = terminal.type(
        f"infer add.predict -i x1=[1,2] -i x2=[0.5,3] {at(served, over)} --protocol {protocol} --json"
    )
    assert (ended.code, ended.json["results"]) == (0, [{"y": [1.5, 5.0]}])
    assert ended.json["protocol"] == protocol


@pytest.mark.parametrize(("over", "protocol"), [way for way in WAYS if way != ("rest", "oip")])
def test_a_picture_is_sent_as_bytes(
    served: RunningServer, terminal: Terminal, tmp_path: Path, over: str, protocol: str
) -> None:
    picture = tmp_path / "cat.png"
    picture.write_bytes(PNG)
    saved = tmp_path / "saved"
    ended = terminal.type(
        f"infer pictures.look -i picture=@{picture} -i label=cat {at(served, over)} --protocol {protocol} "
        f"--output {saved}"
    )
    assert ended.code == 0, ended.err
    assert f"cat: {len(PNG)} bytes" in ended.out
    assert f"PNG picture of 7x5, {len(PNG)} bytes" in ended.out
    assert (saved / "same.png").read_bytes() == PNG
    assert np.load(saved / "scores.npy").tolist() == list(range(100))
    assert (saved / "text.txt").read_text() == f"cat: {len(PNG)} bytes"


def test_large_arrays_are_shortened(served: RunningServer, terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    command = f"infer pictures.look -i picture=@{tmp_path}/a.bin -i label=cat {at(served, 'rest')}"
    shown = terminal.type(command).out
    assert "float32[100]" in shown
    assert "..." in shown
    assert "min 0, mean 49.5, max 99" in shown
    [result] = terminal.type(f"{command} --json").json["results"]
    assert result["scores"] == list(range(100))


def test_json_cannot_carry_bytes_in_the_open_inference_protocol(
    served: RunningServer, terminal: Terminal, tmp_path: Path
) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    ended = terminal.type(
        f"infer pictures.look -i picture=@{tmp_path}/cat.png -i label=cat {at(served, 'rest')} --protocol oip"
    )
    assert ended.code == 2
    assert "Send them with --protocol oip-binary" in ended.err


@pytest.mark.parametrize("over", ["rest", "grpc"])
def test_it_finds_out_what_answers(served: RunningServer, terminal: Terminal, over: str) -> None:
    url = f"--url {served.rest}" if over == "rest" else f"--url {served.grpc} --api-key {KEY}"
    ended = terminal.type(f"infer pictures.anything -i x=[1,2] {url} --json")
    assert ended.code == 0, ended.err
    assert ended.json["results"] == [{"y": [1, 2]}]
    assert ended.json["url"].startswith("http://" if over == "rest" else "grpc://")
    assert ended.json["protocol"] == "native"


def test_over_grpc_the_native_protocol_needs_a_method(served: RunningServer, terminal: Terminal) -> None:
    ended = terminal.type(f"infer add -i x1=[1,2] -i x2=[1,2] {at(served, 'grpc')} --protocol native")
    assert (ended.code, "Write add.METHOD" in ended.err) == (2, True)


def test_a_servable_with_one_method_needs_no_more(served: RunningServer, terminal: Terminal) -> None:
    for over in ("rest", "grpc"):
        ended = terminal.type(f"infer add -i x1=[1,2] -i x2=[1,1] {at(served, over)} --json")
        assert ended.json["results"] == [{"y": [2.0, 3.0]}], ended.err


def test_files_of_numpy_and_json(served: RunningServer, terminal: Terminal, tmp_path: Path) -> None:
    np.save(tmp_path / "x1.npy", np.array([1, 2], np.int64))
    np.savez(tmp_path / "more.npz", a=np.zeros(2), b=np.array([5.0, 6.0]))
    command = f"infer add -i x1=@{tmp_path}/x1.npy -i x2=@{tmp_path}/more.npz:b {at(served, 'rest')} --json"
    assert terminal.type(command).json["results"] == [{"y": [6.0, 8.0]}]
    (tmp_path / "x2.json").write_text("[7, 8]")
    command = f"infer add -i x1=@{tmp_path}/x1.npy -i x2=@{tmp_path}/x2.json {at(served, 'rest')} --json"
    assert terminal.type(command).json["results"] == [{"y": [8.0, 10.0]}]


def test_several_rows_are_several_instances(served: RunningServer, terminal: Terminal) -> None:
    command = f"infer add -i x1=[[1,2],[3,4],[5,6]] -i x2=[[1,1],[1,1],[1,1]] {at(served, 'rest')} --json"
    results = terminal.type(command).json["results"]
    assert results == [{"y": [2.0, 3.0]}, {"y": [4.0, 5.0]}, {"y": [6.0, 7.0]}]


@pytest.mark.parametrize(("over", "protocol"), WAYS)
def test_a_file_of_instances(
    served: RunningServer, terminal: Terminal, tmp_path: Path, over: str, protocol: str
) -> None:
    file = tmp_path / "many.json"
    file.write_text(json.dumps({"instances": [{"x1": [i, i], "x2": [1, 2]} for i in range(5)]}))
    ended = terminal.type(
        f"infer add.predict --instances {file} {at(served, over)} --protocol {protocol} --json"
    )
    assert ended.json["results"] == [{"y": [i + 1.0, i + 2.0]} for i in range(5)], ended.err


def test_the_example_of_the_server(served: RunningServer, terminal: Terminal) -> None:
    assert terminal.type(f"infer add --example {at(served, 'rest')} --json").json["results"] == [
        {"y": [11.0, 22.0]}
    ]
    ended = terminal.type(f"infer pictures.look --example {at(served, 'rest')}")
    assert (ended.code, "has no example" in ended.err) == (2, True)


def test_an_instance_that_fails_says_so(served: RunningServer, terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "two.jsonl"
    pictures = [{"picture": {"b64": "YWJj"}, "label": label} for label in ("cat", "nothing")]
    file.write_text("\n".join(map(json.dumps, pictures)))
    for over in ("rest", "grpc"):
        ended = terminal.type(f"infer pictures.look --instances {file} {at(served, over)} --json")
        first, second = ended.json["results"]
        assert ended.code == 4
        assert first["text"] == "cat: 3 bytes"
        assert "there is nothing to see" in second["error"]


@pytest.mark.parametrize(
    ("words", "code", "problem", "step"),
    [
        ("add -i x1=[1,2]", 2, "input 'x2' is missing", "infer add.predict -i x1=JSON -i x2=JSON"),
        ("add -i x1=[1,2] -i x2=[1,2] -i x3=1", 2, "'x3' is no input", "-i x1=JSON"),
        ("add -i x1=cat -i x2=[1,2]", 2, "Input 'x1' takes float32[2], and 'cat' does not fit", "@FILE.npy"),
        ("add -i x1 -i x2=[1,2]", 2, "-i x1 has no '='", "NAME=VALUE"),
        ("add -i x1=@/nowhere.npy -i x2=[1,2]", 2, "File '/nowhere.npy' cannot be read", ""),
        ("add -i x1=[1,2,3] -i x2=[1,2,3]", 4, "refused add.predict", ""),
        ("ad -i x=1", 4, "does not serve 'ad'; it serves add.predict", "models list"),
        ("pictures -i x=1", 4, "several methods: pictures.look, pictures.anything", "pictures.look"),
        ("add --version 7 -i x=1", 4, "does not serve 'add' version 7", "models list"),
        ("add --protocol nothing -i x1=[1,2] -i x2=[1,2]", 2, "expected native, oip, oip-binary, v1", ""),
        ("add --version new -i x1=[1,2] -i x2=[1,2]", 4, "does not serve 'add' version new", "models list"),
        ("add --example --instances a.json", 2, "--input, --instances and --example", "Give one"),
    ],
)
def test_errors_say_what_to_do(
    served: RunningServer, terminal: Terminal, words: str, code: int, problem: str, step: str
) -> None:
    ended = terminal.type(f"infer {words} {at(served, 'rest')}")
    assert (ended.code, ended.out) == (code, "")
    assert problem in ended.err
    assert step in ended.err


def test_several_methods_over_grpc(served: RunningServer, terminal: Terminal) -> None:
    ended = terminal.type(f"infer pictures -i x=1 {at(served, 'grpc')}")
    assert ended.code == 4
    assert "several methods: pictures.anything, pictures.look" in ended.err
    ended = terminal.type(f"infer picture -i x=1 {at(served, 'grpc')}")
    assert (ended.code, "it serves add, pictures" in ended.err) == (4, True)


def test_a_key_is_asked_for(served: RunningServer, terminal: Terminal, tmp_path: Path) -> None:
    ended = terminal.type(f"infer add -i x1=[1,2] -i x2=[1,2] --url grpc://{served.grpc}")
    assert ended.code == 4
    assert "--api-key @FILE" in ended.err
    (tmp_path / "key").write_text(KEY + "\n")
    command = f"infer add -i x1=[1,2] -i x2=[1,2] --url grpc://{served.grpc} --api-key @{tmp_path}/key --json"
    assert terminal.type(command).json["results"] == [{"y": [2.0, 4.0]}]


@pytest.mark.parametrize("scheme", ["http://", "grpc://", ""])
def test_no_server_is_reached(terminal: Terminal, scheme: str) -> None:
    ended = terminal.type(f"infer add -i x=1 --url {scheme}127.0.0.1:{free_port()}")
    assert ended.code == 3
    assert "No server answers at" in ended.err
    assert "--url" in ended.err
