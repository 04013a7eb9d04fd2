"""Bodies that are no JSON, through a server: raw bytes and text, and forms."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.http_requests import HttpReply, send
from tests.support.serving import RunningServer, add_servable, serving

CONFIG = """\
from mindspore_serving.server import register


def kind(x):
    return type(x).__name__, len(x)


def join(image, label, scale):
    return f"{label} {len(image)} {float(scale)}"


@register.register_method(output_names=["kind", "size"])
def look(x):
    return register.add_stage(kind, x, outputs_count=2)


@register.register_method(output_names=["text"])
def describe(image, label, scale):
    return register.add_stage(join, image, label, scale, outputs_count=1)
"""
LOOK = "/model/raw:look"
DESCRIBE = "/model/raw:describe"
MOST_BYTES = 12 << 20
LARGE = os.urandom(10 << 20)
"""Bytes, which reach Python functions as an array of uint8."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("raw")
    add_servable(folder, "raw", CONFIG, ())
    with serving(folder, ['".", "raw", 0'], rest_options="max_msg_mb_size=12") as running:
        yield running


def post(server: RunningServer, path: str, body: bytes, kind: str, coding: str = "") -> HttpReply:
    headers = {"Content-Type": kind} | ({"Content-Encoding": coding} if coding else {})
    return send(server.rest, "POST", path, body, headers)


def form(**parts: tuple[str, bytes]) -> bytes:
    """A form of parts, each with what follows its name."""
    pieces = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"
        for name, (more, content) in parts.items()
    ]
    return b"".join(pieces) + b"--b--\r\n"


FORM = "multipart/form-data; boundary=b"


def looked(reply: HttpReply) -> Any:
    assert reply.status == 200, reply.text
    [instance] = json.loads(reply.body)["instances"]
    return instance["kind"], instance["size"]


@pytest.mark.parametrize(
    ("body", "kind", "seen"),
    [
        (b"\xff\0", "image/png", ("ndarray", 2)),
        (LARGE, "application/octet-stream", ("ndarray", len(LARGE))),
        ("你好".encode(), "text/plain; charset=utf-8", ("str", 2)),
        (b"a" * (9 << 20), "text/plain", ("str", 9 << 20)),
        (form(x=('; filename="x"', LARGE)), FORM, ("ndarray", len(LARGE))),
        (b'{"instances": {"x": "abc"}}', "image/png", ("str", 3)),
        (b'{"instances": {"x": "abc"}}', "text/plain", ("str", 3)),
    ],
    ids=["bytes", "large bytes", "text", "large text", "large form", "JSON as image", "JSON as text"],
)
def test_one_input(server: RunningServer, body: bytes, kind: str, seen: tuple[str, int]) -> None:
    assert looked(post(server, LOOK, body, kind)) == seen
    assert looked(post(server, LOOK, gzip.compress(body, 1), kind, "gzip")) == seen
    assert looked(post(server, LOOK.replace(":", "%3A"), body, kind)) == seen


def test_a_large_form_of_several_inputs(server: RunningServer) -> None:
    body = form(scale=("", b"2"), image=('; filename="cat.png"', LARGE), label=("", b"a cat"))
    reply = post(server, DESCRIBE, body, FORM)
    assert json.loads(reply.body) == {"instances": [{"text": f"a cat {len(LARGE)} 2.0"}]}
    reply = post(server, DESCRIBE, body.replace(b'name="scale"', b'name="sale"'), FORM)
    assert (reply.status, reply.error) == (
        400,
        "Parser request failed, form has a part 'sale', expected are image, label, scale",
    )


@pytest.mark.parametrize("kind", ["image/png", "text/plain", FORM])
def test_limits_hold(server: RunningServer, kind: str) -> None:
    too_large = f"http message is bigger than {MOST_BYTES}"
    reply = post(server, LOOK, bytes(MOST_BYTES + 1), kind)
    assert (reply.status, reply.error) == (413, too_large)
    reply = post(server, LOOK, gzip.compress(bytes(MOST_BYTES + 1)), kind, "gzip")
    assert (reply.status, reply.error) == (413, too_large)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(LARGE)

    def curl(path: str, *arguments: str) -> Any:
        command = ["curl", "-sS", *arguments, server.url(path)]
        return json.loads(subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.PIPE).stdout)

    image = {"instances": [{"kind": "ndarray", "size": len(LARGE)}]}
    assert curl(LOOK, "--data-binary", "@cat.png", "-H", "Content-Type: image/png") == image
    assert curl(LOOK, "-F", "x=@cat.png") == image
    assert curl(LOOK, "-d", '{"instances": [{"x": "abc"}]}') == {"instances": [{"kind": "str", "size": 3}]}
    described = curl(DESCRIBE, "-F", "image=@cat.png", "-F", "label=a cat", "-F", "scale=0.5")
    assert described == {"instances": [{"text": f"a cat {len(LARGE)} 0.5"}]}
