"""Where we depart from MindSpore Serving on purpose: its answer, ours, and the reason.

The tests read their expectation of these rows from here. `python -m tests.conformance.departures` prints the table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

PARSER = "Parser request failed, "
POST_ONLY = "http message only support POST right now"

_JAVASCRIPT = (
    "JavaScript writes 1.0 as 1: a list with both is one of floats, and integers go to a model that takes floats "
    "(docs/adr/0034-numbers-of-json.md)"
)


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


_DESCRIBES = (
    "200 with what there is to call, its types, and an example: whoever has a URL can ask what it takes "
    "(docs/adr/0052-typed-methods.md); other paths are refused as before"
)


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
        "",
        "200 with Allow: it is the question which verbs there are",
    ),
    Departure(
        "observed-rest-get+observed-rest-head",
        f'{{"error_msg":"{POST_ONLY}"}}',
        "",
        _DESCRIBES,
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
        f'{{"error_msg":"{PARSER}data out of int32 range: input x has 3000000000; other types are sent as base64, '
        'for example {\\"b64\\": \\"...\\", \\"type\\": \\"int64\\", \\"shape\\": [...]}"}',
        "a number is never replaced by another one (7.2)",
    ),
    Departure(
        "observed-value-mixed",
        f'{{"error_msg":"{PARSER}json array, elements type is not equal"}}',
        '{"instances":[{"y":[1.5,2.0]}]}',
        _JAVASCRIPT,
    ),
    Departure(
        "observed-rest-mixed",
        f'{{"error_msg":"{PARSER}json array, elements type is not equal"}}',
        '{"instances":[{"y":[[2.0,4.0],[6.0,8.0]]}]}',
        _JAVASCRIPT,
    ),
    Departure(
        "observed-rest-wrong-dtype",
        '{"error_msg":"Given model input 0 data type kMSI_Int32 not match the data type kMSI_Float32 defined in '
        'model"}',
        '{"instances":[{"y":[[2.0,3.0],[4.0,5.0]]}]}',
        _JAVASCRIPT,
    ),
)

# Rules that concern many rows.
RULES = (
    Departure(
        "5.3-same-object-kept",
        "a later function gets the very array that a function returned and keeps",
        "it gets an equal array where anything but Serving refers to that one",
        "what the function writes there for another client would reach this one",
    ),
    Departure(
        "5.3-same-object-subclass",
        "a later function gets the very object that a function returned, whatever its class",
        "of a class that inherits from numpy.ndarray it gets an equal object",
        "who else uses the memory of such an object cannot be seen",
    ),
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
        "7.1-verb-get+7.1-verb-head",
        POST_ONLY,
        "a description of the servable or method, where the path names one",
        _DESCRIBES,
    ),
    Departure(
        "7.2-int-for-float-model",
        "an integer is int32, which a model that takes float32 refuses",
        "what goes straight into a model that takes floats becomes a float, if it is exact",
        _JAVASCRIPT,
    ),
    Departure(
        "7.2-float-range",
        "a number beyond float32 becomes infinite",
        "an error that names input and number",
        "a number is never replaced by another one (7.2)",
    ),
    Departure(
        "5.3-outputs-number",
        "all requests of the worker fail, and it exits",
        "the instance fails with the same text, and the worker serves on",
        "an error of one instance is that instance's alone (12.1, 3)",
    ),
    Departure(
        "5.3-exception-empty",
        "error msg: and nothing after it",
        "the type of the exception; likewise where its text is only a number, and in front of the key of a KeyError",
        "an error names what was wrong",
    ),
    Departure(
        "5.3-extra-items-list",
        "items beyond the number of instances are not used",
        "a list or tuple with more items fails all instances of the call; an iterator is not asked for more",
        "something may have been inserted before the others (docs/adr/0006-wrong-number-of-results.md)",
    ),
    Departure(
        "5.3-batch-array",
        "whatever can be iterated over is taken for the results of a batch function",
        "an array, text, bytes, a dict or a set fails all instances of the call",
        "it is one value, whose first dimension or length happens to be the number of instances",
    ),
    Departure(
        "5.4-byte-size",
        "the text alone",
        "the text, the input by name, what it is, what is expected, and the cast that helps",
        "an error names what was wrong; who looks for the original's text finds it",
    ),
    Departure(
        "5.4-byte-size-after-a-function",
        "code 2, whoever gave the value",
        "code 3 and HTTP 500 where a stage of the servable gave it, and the text names the stage",
        "the client has not sent it (docs/adr/0030-who-is-at-fault.md)",
    ),
    Departure(
        "5.4-retry",
        "an instance that ends its worker visits all workers",
        "the number of retries is limited",
        "one instance may not end all workers (5.4)",
    ),
    Departure(
        "5.5-log-files-truncated",
        "a start of the server empties the logs of its workers",
        "they go on, and are rotated at logger_maxBytes as the other logs are",
        "the log of a crash outlives the restart, and that of a running server a second one (docs/adr/0037-logs.md)",
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
        "7.4-plain-http",
        "plain HTTP to the HTTPS port: the connection is closed",
        "HTTP status 400, with a sentence that names https://",
        "a wrong URL is the usual cause",
    ),
    Departure(
        "10-infer_async",
        "result() raises grpc.RpcError",
        "result() returns the error as infer does",
        "as the contract recommends (10)",
    ),
    Departure(
        "2.2-one-process-other-master",
        "a worker in the process of a master may register to another master",
        "it is refused, and both addresses are named",
        "the workers of a process serve its own master (docs/adr/0040-master-and-worker-in-one-process.md)",
    ),
    Departure(
        "5.3-decorated-with-more",
        "a function is checked by the signature that its decorator shows",
        "by the one of what is called; the other one counts where that takes any number of inputs",
        "a decorator may give its function more than the stage does",
    ),
    Departure(
        "5.1-too-large-a-version",
        "a version directory of any number counts",
        "the start is refused where the newest is above 18446744073709551615",
        "no request can name such a version: its number has 64 bits (6.1)",
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
        "6.1-no-reflection",
        "no reflection service",
        "grpc.reflection.v1 and v1alpha",
        "tools such as grpcurl learn from the server what to send; they need a key where others do",
    ),
    Departure(
        "6.1-no-health",
        "no health service",
        "grpc.health.v1.Health, and GET /healthz/live and /healthz/ready",
        "an orchestrator has to know whom to send requests (docs/adr/0023-health.md)",
    ),
    Departure(
        "5.5-socket-files+12.1-14",
        "sockets of the main process and its workers in unix_socket_files of the working directory",
        "workers inherit their end of a pair of sockets, and there is no such folder",
        "nothing that can be removed, renamed or taken by others (docs/adr/0035-channels-without-a-path.md)",
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
        "3.1-address-grpc-bind-five-parts": "the text, and the error of the system",
        "3.1-address-grpc-bind-256": "the text, and the error of the system",
        "3.1-address-grpc-last-colon": "the text, and the error of the system",
        "3.1-address-grpc-bind-unknown-host": "the text, and the error of the system",
        "3.1-address-grpc-bind-foreign-ip": "the text, and the error of the system",
        "3.1-address-rest-bind-five-parts": "the text, and the error of the system",
        "3.1-address-rest-bind-256": "the text, and the error of the system",
        "3.1-address-rest-last-colon": "the text, and the error of the system",
        "3.1-address-rest-bind-unknown-host": "the text, and the error of the system",
        "3.1-address-rest-bind-foreign-ip": "the text, and the error of the system",
        "3.1-bind-fails-grpc": "the text, and who listens there",
        "3.1-bind-fails-rest": "the text, and who listens there",
        "3.1-one-port-rest-second": "the text, and who listens there",
        "3.1-one-port-grpc-second": "the text, and who listens there",
        "3.2-text-model-arity": "the text, then the method, the file and the line, and the worker's log",
        "4.2-device-used-twice": "the text, then the versions, who has the device, and what to do",
        "4.2-import-error": "the text, then the file and the line, and the worker's log",
        "4.2-import-error-key": "the text after the class of the exception, then the file and the line",
        "4.2-import-error-method": "the text, then the method, the file and the line, and the worker's log",
        "4.2-model-file-absent": "the text, then where the model is declared, and the worker's log",
        "4.2-nothing-registered": "the text, then the file, what it should have, and the worker's log",
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


_ADVICE = re.compile(
    r"(?<= defined in model); input \d+ '[^']*' is \w+(?: \[[\d, ]*\])?(?: from .+?, stage \d+ of method '\w+')?, "
    r"expected \w+ \[[\d, ]*\]"
    r"(?:; give \w+\.astype\(np\.\w+\)(?:, or in JSON 1\.0 instead of 1)?"
    r"|; an instance has no batch dimension: give each row as an instance of its own)?"
)


def without_advice(answer: Any) -> Any:
    """An answer whose texts, at any depth, end where those of the contract do: `5.4-byte-size`."""
    if isinstance(answer, str):
        return _ADVICE.sub("", answer)
    if isinstance(answer, dict):
        return {key: without_advice(value) for key, value in answer.items()}
    return [without_advice(item) for item in answer] if isinstance(answer, list) else answer


def as_markdown() -> str:
    """The table for the documentation."""
    head = ["| row | MindSpore Serving | here | why |", "| --- | --- | --- | --- |"]
    cells = ([d.row, d.original, d.ours, d.reason] for d in DEPARTURES)
    return "\n".join(
        [*head, *("| " + " | ".join(text.replace("|", r"\|") for text in line) + " |" for line in cells)]
    )


if __name__ == "__main__":
    print(as_markdown())
