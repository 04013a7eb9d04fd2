"""REST: compressed requests and replies."""

from __future__ import annotations

import gzip
import json
import zlib

from oip_conformance import sources
from oip_conformance.areas.rest_binary import needs_binary
from oip_conformance.areas.rest_infer import json_inputs
from oip_conformance.check import Area, NotOffered, Tier, expect
from oip_conformance.rest import JSON_TYPE, Reply
from oip_conformance.server import Server, binary_request, expect_error, outputs_of
from oip_conformance.tensors import expect_same, json_input

AREA = Area("REST: compression", "http")

_BOMB_BYTES = 64 << 20


def _body(server: Server) -> bytes:
    return json.dumps({"inputs": [json_input(tensor) for tensor in json_inputs(server)]}).encode()


def _post(server: Server, body: bytes, coding: str, **headers: str) -> Reply:
    sent = {"Content-Type": JSON_TYPE, "Content-Encoding": coding, **headers}
    return server.rest.post(server.path("/infer"), body, sent)


def needs_coding(server: Server, coding: str) -> None:
    """Go on only when compressed requests are understood.

    Raises:
        NotOffered: They are refused.
    """
    packed = gzip.compress if coding == "gzip" else zlib.compress

    def look() -> int:
        return _post(server, packed(_body(server)), coding).status

    status = server.remembered(f"takes {coding}", look)
    if status != 200:
        raise NotOffered(f"status {status} for a request with Content-Encoding: {coding}")


_LONG_ID = "i" * 4096


@AREA.check("compression.gzip", Tier.TRITON, "A body may be coded with gzip.", sources.HTTP_CODINGS)
def gzip_request(server: Server) -> None:
    """A request with gzip is answered like one without."""
    needs_coding(server, "gzip")
    expect_same(
        "the reply", outputs_of(_post(server, gzip.compress(_body(server)), "gzip")), server.reference()
    )


@AREA.check(
    "compression.deflate",
    Tier.TRITON,
    "A body may be coded with deflate: zlib's format.",
    sources.HTTP_CODINGS,
)
def deflate_request(server: Server) -> None:
    """A request with deflate is answered like one without."""
    needs_coding(server, "deflate")
    expect_same(
        "the reply", outputs_of(_post(server, zlib.compress(_body(server)), "deflate")), server.reference()
    )


@AREA.check(
    "compression.binary",
    Tier.TRITON,
    "The length header counts the bytes of the JSON after decoding.",
    sources.BINARY,
)
def binary_request_with_gzip(server: Server) -> None:
    """A binary request with gzip is answered like one without."""
    needs_coding(server, "gzip")
    needs_binary(server)
    body, headers = binary_request(server.inputs())
    reply = server.rest.post(
        server.path("/infer"), gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
    )
    expect_same("the reply", outputs_of(reply), server.reference())


def _asked(server: Server, coding: str) -> tuple[Reply, bytes]:
    """A reply in a coding, and what it decodes to. A long id makes it large enough to be worth coding."""
    reply = server.infer_json(json_inputs(server), headers={"Accept-Encoding": coding}, id=_LONG_ID)
    expect(reply.status == 200, "status 200", reply)
    used = reply.headers.get("content-encoding", "identity")
    if used == "identity":
        raise NotOffered(f"the reply is not coded although {coding} is asked")
    expect(used == coding, f"Content-Encoding {coding}", used)
    try:
        plain = gzip.decompress(reply.body) if coding == "gzip" else zlib.decompress(reply.body)
    except (OSError, EOFError, zlib.error) as error:
        expect(False, f"a body coded with {coding}", error)
        raise
    return reply, plain


@AREA.check(
    "compression.gzip_reply", Tier.TRITON, "A reply is coded when it is asked so.", sources.ACCEPT_CODINGS
)
def gzip_reply(server: Server) -> None:
    """A reply with gzip decodes to the reply without."""
    reply, plain = _asked(server, "gzip")
    expect_same("the reply", outputs_of(Reply(200, reply.headers, plain)), server.reference())


@AREA.check(
    "compression.deflate_reply", Tier.TRITON, "A reply is coded when it is asked so.", sources.ACCEPT_CODINGS
)
def deflate_reply(server: Server) -> None:
    """A reply with deflate decodes to the reply without."""
    reply, plain = _asked(server, "deflate")
    expect_same("the reply", outputs_of(Reply(200, reply.headers, plain)), server.reference())


@AREA.check(
    "compression.not_asked",
    Tier.REQUIRED,
    "A reply is in a coding that the request accepts.",
    sources.ACCEPT_CODINGS,
)
def not_asked(server: Server) -> None:
    """A reply is not coded when identity is asked."""
    reply = server.infer_json(json_inputs(server), headers={"Accept-Encoding": "identity"})
    used = reply.headers.get("content-encoding", "identity")
    expect(used == "identity", "no coding", used)
    outputs_of(reply)


@AREA.check(
    "compression.unknown",
    Tier.TRITON,
    "A coding that the server does not know is refused.",
    sources.HTTP_CODINGS,
    hostile=True,
)
def unknown_coding(server: Server) -> None:
    """An unknown coding is refused with 4xx."""
    expect_error(_post(server, b"\x01\x02\x03\x04", "oip-coding"))


@AREA.check(
    "compression.corrupt",
    Tier.TRITON,
    "A body that cannot be decoded is a client's mistake.",
    sources.HTTP_CODINGS,
    hostile=True,
)
def corrupt(server: Server) -> None:
    """A body that is not gzip although it says so is refused with 4xx."""
    needs_coding(server, "gzip")
    expect_error(_post(server, b"\x1f\x8b\x08oip is not gzip", "gzip"))


@AREA.check(
    "compression.cut",
    Tier.TRITON,
    "A body that cannot be decoded is a client's mistake.",
    sources.HTTP_CODINGS,
    hostile=True,
)
def cut(server: Server) -> None:
    """A gzip body that ends too early is refused with 4xx."""
    needs_coding(server, "gzip")
    expect_error(_post(server, gzip.compress(_body(server))[:-12], "gzip"))


@AREA.check(
    "compression.bomb",
    Tier.TRITON,
    "A small body that decodes to a large one is refused, or read without harm.",
    sources.HTTP_CODINGS,
    hostile=True,
)
def bomb(server: Server) -> None:
    """64 MiB of spaces in 64 KiB of gzip are refused with 4xx."""
    needs_coding(server, "gzip")
    expect_error(_post(server, gzip.compress(b" " * int(_BOMB_BYTES * server.target.large)), "gzip"))
