"""REST: live, ready, and what a connection carries."""

from __future__ import annotations

from oip_conformance import sources
from oip_conformance.check import Area, Tier, expect
from oip_conformance.rest import HEADER_LENGTH, JSON_TYPE
from oip_conformance.server import Server, binary_request, expect_error_object, ok_json, outputs_of

AREA = Area("REST: health", "http")

_TRUE = "Status 200 says yes, a status 4xx says no."
_NO_SUCH_MODEL = "oip-conformance-no-such-model"


@AREA.check("health.live", Tier.REQUIRED, _TRUE, sources.HEALTH)
def live(server: Server) -> None:
    """GET /v2/health/live answers 200."""
    reply = server.rest.get("/v2/health/live")
    expect(reply.status == 200, "status 200", reply)


@AREA.check("health.ready", Tier.REQUIRED, _TRUE, sources.HEALTH)
def ready(server: Server) -> None:
    """GET /v2/health/ready answers 200."""
    reply = server.rest.get("/v2/health/ready")
    expect(reply.status == 200, "status 200", reply)


@AREA.check("health.model", Tier.REQUIRED, _TRUE, sources.HEALTH)
def model_ready(server: Server) -> None:
    """GET /v2/models/MODEL/ready answers 200."""
    reply = server.rest.get(server.path("/ready"))
    expect(reply.status == 200, "status 200", reply)


@AREA.check("health.model_version", Tier.REQUIRED, _TRUE, sources.HEALTH)
def version_ready(server: Server) -> None:
    """GET /v2/models/MODEL/versions/VERSION/ready answers 200."""
    reply = server.rest.get(server.path("/ready", version=server.versions()[0]))
    expect(reply.status == 200, "status 200", reply)


@AREA.check("health.unknown_model", Tier.REQUIRED, _TRUE, sources.HEALTH)
def unknown_model(server: Server) -> None:
    """An unknown model is not ready: 4xx."""
    reply = server.rest.get(server.path("/ready", model=_NO_SUCH_MODEL))
    expect(400 <= reply.status < 500, "a status of 400 to 499", reply)


@AREA.check("health.unknown_version", Tier.REQUIRED, _TRUE, sources.HEALTH)
def unknown_version(server: Server) -> None:
    """An unknown version is not ready: 4xx."""
    server.versions()
    reply = server.rest.get(server.path("/ready", version="987654"))
    expect(400 <= reply.status < 500, "a status of 400 to 499", reply)


@AREA.check(
    "health.live_body", Tier.KSERVE, "The live reply is an object with the boolean live.", sources.READY_BODY
)
def live_body(server: Server) -> None:
    """The live reply says {"live": true}."""
    found = ok_json(server.rest.get("/v2/health/live"))
    expect(isinstance(found, dict) and found.get("live") is True, '{"live": true}', found)


@AREA.check(
    "health.ready_body",
    Tier.KSERVE,
    "KServe's client reads the boolean ready of the reply; the document shows live, by a slip.",
    sources.KSERVE_CLIENT,
)
def ready_body(server: Server) -> None:
    """The ready reply says {"ready": true}."""
    found = ok_json(server.rest.get("/v2/health/ready"))
    expect(isinstance(found, dict) and found.get("ready") is True, '{"ready": true}', found)


@AREA.check(
    "health.model_body",
    Tier.KSERVE,
    "The reply of a model's readiness has its name, and the boolean ready.",
    sources.MODEL_READY_BODY,
)
def model_body(server: Server) -> None:
    """The ready reply of a model has its name and ready."""
    found = ok_json(server.rest.get(server.path("/ready")))
    expected = {"name": server.model, "ready": True}
    expect(isinstance(found, dict) and expected.items() <= found.items(), str(expected), found)


HTTP = Area("REST: connection and paths", "http")


@HTTP.check(
    "http.keep_alive",
    Tier.TRITON,
    "A connection stays open after a reply; clients of Triton keep a pool of them.",
    sources.HTTP_CONNECTIONS,
)
def keep_alive(server: Server) -> None:
    """Two requests are answered on one connection."""
    head = server.rest.head("GET", "/v2/health/live", {})
    with server.rest.open() as connection:
        for _ in range(2):
            connection.send(head)
            reply = connection.reply("GET")
            expect(reply.status == 200, "status 200 for each of two requests", reply)


@HTTP.check(
    "http.error_keeps_connection",
    Tier.TRITON,
    "A refused request is answered, and the connection goes on or is closed openly; the next request is not mixed up.",
    sources.HTTP_CONNECTIONS,
)
def error_keeps_connection(server: Server) -> None:
    """After a refused inference the same connection answers the next request, unless the reply says close."""
    body = b'{"inputs": 5}'
    headers = {"Content-Length": str(len(body)), "Content-Type": JSON_TYPE}
    with server.rest.open() as connection:
        connection.send(server.rest.head("POST", server.path("/infer"), headers) + body)
        refused = connection.reply("POST")
        expect(refused.status >= 400, "a refusal", refused)
        if "close" in refused.headers.get("connection", "").lower():
            return
        connection.send(server.rest.head("GET", "/v2/health/live", {}))
        reply = connection.reply("GET")
        expect(reply.status == 200, "status 200 for the next request", reply)


@HTTP.check("http.unknown_path", Tier.REQUIRED, "A path that is not served is 404.", sources.HTTP_CODES)
def unknown_path(server: Server) -> None:
    """A path that does not exist answers 404."""
    reply = server.rest.get("/v2/oip-conformance-no-such-path")
    expect(reply.status == 404, "status 404", reply)


@HTTP.check(
    "http.unknown_path_body",
    Tier.TRITON,
    "Triton's clients read the key error of every reply that is not 200.",
    sources.TRITON_CLIENT,
)
def unknown_path_body(server: Server) -> None:
    """A path that does not exist answers with the error object."""
    expect_error_object(server.rest.get("/v2/oip-conformance-no-such-path"))


@HTTP.check(
    "http.wrong_method", Tier.REQUIRED, "A method that a path does not serve is refused.", sources.PATHS
)
def wrong_method(server: Server) -> None:
    """GET of an infer path is refused with 4xx."""
    reply = server.rest.get(server.path("/infer"))
    expect(400 <= reply.status < 500, "a status of 400 to 499", reply)


@HTTP.check("http.wrong_method_405", Tier.TRITON, "A wrong method is 405.", sources.HTTP_CODES)
def wrong_method_405(server: Server) -> None:
    """POST of a health path answers 405."""
    reply = server.rest.post("/v2/health/live")
    expect(reply.status == 405, "status 405", reply)


@HTTP.check(
    "http.content_type_exact",
    Tier.KSERVE,
    "KServe's client compares the content type of a reply with application/json, without parameters.",
    sources.KSERVE_CLIENT,
)
def content_type_exact(server: Server) -> None:
    """The content type of a JSON reply is exactly application/json."""
    found = server.rest.get("/v2").headers.get("content-type")
    expect(found == JSON_TYPE, JSON_TYPE, found)


@HTTP.check(
    "http.percent_encoding",
    Tier.KSERVE,
    "A percent-encoded letter means the letter; names with other characters are reached in this way only.",
    sources.HTTP_PATHS,
)
def percent_encoding(server: Server) -> None:
    """A model's name may be percent-encoded."""
    coded = "".join(f"%{byte:02X}" for byte in server.model.encode())
    reply = server.rest.get(f"/v2/models/{coded}")
    expect(reply.status == 200, "status 200", reply)


@HTTP.check(
    "http.header_case",
    Tier.TRITON,
    "Names of headers have no case; KServe's client writes the length header in lower case.",
    sources.BINARY,
)
def header_case(server: Server) -> None:
    """The length header is known in lower case."""
    inputs = server.inputs()
    reference = server.infer_binary(inputs)
    if reference.status != 200:
        server.announced("binary_tensor_data")
    length = reference.headers.get(HEADER_LENGTH.lower())
    body, headers = binary_request(inputs, parameters={"binary_data_output": length is not None})
    lower = {name.lower(): value for name, value in headers.items()}
    outputs_of(server.rest.post(server.path("/infer"), body, lower))
