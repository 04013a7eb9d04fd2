"""Where we depart from MindSpore Serving on purpose: its answer, ours, and the reason.

The tests read their expectation of these rows from here. `python -m tests.conformance.departures` prints the table.
"""

from __future__ import annotations

from dataclasses import dataclass

PARSER = "Parser request failed, "
POST_ONLY = "http message only support POST right now"


@dataclass(frozen=True)
class Departure:
    """One row.

    Attributes:
        row: Name of the case, `{section}-{row}`.
        original: What MindSpore Serving does.
        ours: What we do; where the test compares texts, the very text.
        reason: Why.
    """

    row: str
    original: str
    ours: str
    reason: str


# Where the reply of the same request differs. `ours` is what the test expects, as a literal.
REPLIES = (
    Departure(
        "observed-client-stage-returns-2-values",
        "the error, and then the worker exits: servable is not available",
        "the error, and the worker serves on",
        "an error of one instance is that instance's alone (12.1, 3)",
    ),
    Departure(
        "observed-client-empty-instances-list",
        "(no reply within 5 s: Client.infer hangs)",
        "{'error': 'Instances count of request cannot be 0, servable: add, method: add_common'}",
        "every request is answered (12.1, 1)",
    ),
    Departure(
        "observed-raw-no-instances",
        "grpc DEADLINE_EXCEEDED; details='Deadline Exceeded'",
        "grpc OK; error_msg=[(2, 'Instances count of request cannot be 0, servable: add, method: add_common')]; "
        'instances=0; spec=\'name: "add"\\nmethod_name: "add_common"\'',
        "every request is answered (12.1, 1)",
    ),
    Departure(
        "observed-rest-malformed-json",
        '{"error_msg":"Illegal JSON format.[json.exception.parse_error.101] parse error at line 1, column 21: '
        "syntax error while parsing value - unexpected end of input; expected '[', '{', or a literal\"}",
        "Illegal JSON format.",
        "what follows the full stop is the message of the JSON parser, which is another one",
    ),
    Departure(
        "observed-rest-invalid-utf-8",
        '{"error_msg":"Illegal JSON format."}',
        "Illegal JSON format.",
        "what follows the full stop is the message of the JSON parser, which is another one",
    ),
    Departure(
        "observed-rest-options",
        "501 Not Implemented; text/html",
        f'{{"error_msg":"{POST_ONLY}"}}',
        "one answer to every verb that is not POST",
    ),
    Departure(
        "observed-rest-path-model",
        "no HTTP reply: the main process dies",
        '{"error_msg":"please check url, the keyword:[model] must contain."}',
        "nothing that a client sends may stop the main process (12.1, 11)",
    ),
    Departure(
        "observed-rest-path-with-query",
        '{"error_msg":"Request servable(add) method(add_common?a=1) , method is not available"}',
        '{"instances":[{"y":[[2.0,4.0],[6.0,8.0]]}]}',
        "the query string is no part of the path (7.1)",
    ),
    Departure(
        "observed-value-int-out-of-range",
        '{"instances":[{"y":-1294967296}]}',
        f'{{"error_msg":"{PARSER}data out of int32 range"}}',
        "a number is never replaced by another one (7.2)",
    ),
)

# Rules that concern many rows.
RULES = (
    Departure(
        "8.4-limit",
        "a rank that takes longer than 10 s ends the servable",
        "the batch fails after SERVING_AGENT_TIMEOUT_S (10); the servable ends after three times as long",
        "a slow batch need not be the last one",
    ),
    Departure(
        "8.4-rank-fails",
        "a model that fails ends the servable",
        "the batch fails, and all ranks load the graph anew together",
        "an error of one instance is that instance's alone (12.1, 3)",
    ),
    Departure(
        "8.5-worker",
        "agents of a worker that was killed stay, and log Recv Ping Time Out after 20 s",
        "they end at once, and so do the processes that have started them",
        "nobody would ever speak to them again",
    ),
    Departure(
        "8.5-agents-silent",
        "agents that are gone are logged after 20 s, and the server stays",
        "the servable ends when a connection ends, or after 20 s of silence; what waits is answered with an error",
        "a model without all of its ranks cannot answer",
    ),
    Departure(
        "7.1-status",
        "HTTP 200 for every reply",
        "200 when an instance succeeded, else what HTTP has for the error; always_ok=True brings 200 back",
        "a proxy or a load balancer sees errors; the body is the same",
    ),
    Departure(
        "5.3-outputs-number",
        "all requests of the worker fail, and it exits",
        "the instance fails with the same text, and the worker serves on",
        "an error of one instance is that instance's alone (12.1, 3)",
    ),
    Departure(
        "5.4-retry",
        "an instance that ends its worker visits all workers",
        "the number of retries is limited",
        "one instance may not end all workers (5.4)",
    ),
    Departure(
        "5.5-call_methods",
        "clients reach the internal methods @call_{model}_{subgraph}",
        "they are not there for clients",
        "as the contract recommends (5.5)",
    ),
    Departure(
        "5.1-leading-zero",
        "a version directory named 01 counts",
        "only canonical numbers count",
        "as the contract recommends (5.1)",
    ),
    Departure(
        "3.2-pipeline-visibility",
        "a servable with a pipeline hides its methods",
        "pipelines and methods are both there, the pipeline wins where the names clash",
        "as the contract recommends (3.2)",
    ),
    Departure(
        "4.1-without_batch_dim_inputs-0",
        "0 alone is ignored",
        "0 is the index of the first input",
        "as the contract recommends (4.1)",
    ),
    Departure(
        "3.1-address-grpc-port-suffix",
        "the port 5000abc is taken as 5000",
        "it is not a number",
        "as the contract recommends (3.1)",
    ),
    Departure(
        "7.4-mutual-refuses",
        "with custom_ca also the system's authorities are trusted",
        "only custom_ca is trusted",
        "as the contract recommends (7.4)",
    ),
    Departure(
        "10-infer_async",
        "result() raises grpc.RpcError",
        "result() returns the error as infer does",
        "as the contract recommends (10)",
    ),
    Departure(
        "2.2-lost-worker",
        "a missed heartbeat is only logged",
        "the worker is removed",
        "as the contract recommends (2.2, 12.1, 9)",
    ),
    Departure(
        "2.1-all-fail-alike",
        "release 1.2: an error for each instance",
        "one error for the request",
        "as later releases do (6.2)",
    ),
    Departure(
        "2.1-config-module-not-found",
        "release 1.2: the exception of servable_config.py reaches the script as it is",
        "a RuntimeError with its text",
        "the file is imported in the worker process",
    ),
    Departure(
        "9-mode-of-the-file",
        "a dec_mode that is not the file's is an error",
        "a warning, and the model is loaded in the mode that its file tells",
        "as the contract recommends (9): an example of the original has such a dec_mode",
    ),
    Departure(
        "9-key-plain-file",
        "what a dec_key for a plain file does is left to the backend",
        "an error",
        "as the contract recommends (9): who gives a key believes that the file is encrypted",
    ),
    Departure(
        "11.2-add_mul_process",
        "a worker of a cluster listens on its address, and says so: gRPC server start success, listening on",
        "it connects to the master, and only reserves the address; it says: Start servable success",
        "one connection that the worker opens is enough, also through a firewall (docs/adr/0008-cluster.md)",
    ),
    Departure(
        "6.1-no-health",
        "no health service",
        "grpc.health.v1.Health, and GET /healthz/live and /healthz/ready",
        "an orchestrator has to know whom to send requests (docs/adr/0023-health.md)",
    ),
    Departure(
        "12.1-7",
        "a directory with a blank in its name breaks the start of workers",
        "it works",
        "as the contract recommends (12.1)",
    ),
)

# Texts that say more than the original's: what was got, in which method, or the cause that the system gave.
LONGER_TEXTS = tuple(
    Departure(
        row,
        "the text alone",
        ours,
        "an error names what was wrong; who looks for the original's text finds it",
    )
    for row, ours in {
        "2.1-error-master-port-taken": "the text, and the error of the system",
        "2.1-error-worker-port-taken": "the text, and the error of the system",
        "3.2-declare_servable-model_format": "the text, and what was given",
        "4.1-model_format": "the text, and what was given",
        "5.2-ast-no-servable": "the text after the name of the method",
        "5.2-ast-preprocess-without-args": "the text after the name of the method, and what is expected",
        "5.2-ast-servable-without-args": "the text after the name of the method, and what is expected",
        "7.4-rest-bad-authority": "the text, and the error of OpenSSL",
        "7.4-rest-bad-certificate": "the text, and the error of OpenSSL",
        "7.4-rest-bad-key": "the text, and the error of OpenSSL",
        "7.4-rest-mismatch": "the text, and the error of OpenSSL",
        "7.4-rest-no-authority": "the text, and the error of the system",
        "7.4-rest-no-certificate": "the text, and the error of the system",
        "7.4-rest-no-key": "the text, and the error of the system",
    }.items()
)
_LONGER = {departure.row for departure in LONGER_TEXTS}

DEPARTURES = REPLIES + RULES + LONGER_TEXTS
OURS = {departure.row: departure.ours for departure in REPLIES}


def agrees(row: str, told: str | None, text: str) -> bool:
    """Whether we tell the contract's text, or more than that where the row is one of `LONGER_TEXTS`."""
    if row in _LONGER and told is not None:
        return text in told and told != text
    return told == text


def as_markdown() -> str:
    """The table for the documentation."""
    head = ["| row | MindSpore Serving | here | why |", "| --- | --- | --- | --- |"]
    cells = ([d.row, d.original, d.ours, d.reason] for d in DEPARTURES)
    return "\n".join(
        [*head, *("| " + " | ".join(text.replace("|", r"\|") for text in line) + " |" for line in cells)]
    )


if __name__ == "__main__":
    print(as_markdown())
