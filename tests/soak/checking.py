"""Whether a reply is the one that its own request must get."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tests.soak.ledger import Outcome
from tests.soak.questions import Fails, Question, Values
from tests.soak.servables import MAX_ENQUEUED_OF_PLAIN, MAX_ENQUEUED_REQUESTS

LIMIT_TEXT = f"Serving Error: enqueued requests count exceeds the limit {MAX_ENQUEUED_REQUESTS}"
LIMIT_OF_PLAIN_TEXT = (
    f"Serving Error: enqueued requests count exceeds the limit {MAX_ENQUEUED_OF_PLAIN}, servable: plain"
)
AWAY_TEXT = "servable is not available"
CUT_OFF_TEXT = "servable is not available: a worker had this instance, which may have been run"
STOPPING_TEXT = "Serving Error: the server is stopping and takes no more requests"
_CONNECTION_ENDED = "Grpc Error, (14,"
_MARKED = "error msg: marked "
_TOO_MANY, _UNAVAILABLE, _TOO_LATE, _OK = 429, 503, 504, 200
DEADLINE = re.compile(r"deadline of \S+ ms exceeded$")
_FAILED_ROWS = re.compile(r"^(\d+) of (\d+) rows failed, the first one is row (\d+): ")
_RANDOM_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Refused:
    """The error of one instance in a reply."""

    text: str


@dataclass(frozen=True)
class Answer:
    """A reply as a transport gives it.

    Attributes:
        instances: By instance, output name to value, or its error.
        error: Why the request as a whole failed; empty if it did not.
        http_status: Status of a REST reply, whose values are those of JSON; 0 for gRPC.
        retry_after: Whether a REST reply says when to try again.
        request_id: What a REST reply calls its request; empty if it does not.
    """

    instances: list[Values | Refused]
    error: str = ""
    http_status: int = 0
    retry_after: bool = False
    request_id: str = ""

    @property
    def has_error(self) -> bool:
        """Whether the request, or an instance of it, has failed."""
        return bool(self.error) or any(isinstance(instance, Refused) for instance in self.instances)

    @property
    def too_late(self) -> bool:
        """Whether the deadline of a REST request has passed."""
        return self.http_status == _TOO_LATE and bool(DEADLINE.search(self.error))


@dataclass(frozen=True)
class Wishes:
    """What a REST request asks for in its headers.

    Attributes:
        timeout_ms: After how long its client does not want the answer any more; 0 if that is not said.
        request_id: What its client calls it; empty if it has no name.
    """

    timeout_ms: float = 0
    request_id: str = ""

    def head(self) -> str:
        """The lines of the head of the request."""
        timeout = f"X-Request-Timeout-Ms: {self.timeout_ms:g}\r\n" if self.timeout_ms else ""
        return timeout + (f"X-Request-Id: {self.request_id}\r\n" if self.request_id else "")


NO_WISHES = Wishes()

Verdict: TypeAlias = "tuple[Outcome, str]"


def answer_of_client(result: Any) -> Answer:
    """What `Client.infer` has returned."""
    if isinstance(result, dict):
        return Answer([], str(result["error"]))
    return Answer([Refused(str(got["error"])) if "error" in got else got for got in result])


def answer_of_rest(status: int, retry_after: bool, body: bytes, request_id: str = "") -> Answer:
    """The body of a REST reply.

    Raises:
        ValueError: It is no reply of the server.
    """
    document = json.loads(body)
    if list(document) == ["error_msg"]:
        return Answer([], document["error_msg"], status, retry_after, request_id)
    if list(document) != ["instances"]:
        raise ValueError(f"'instances' or 'error_msg' alone was expected, got {list(document)}")
    entries = document["instances"]
    instances = [Refused(entry["error_msg"]) if "error_msg" in entry else entry for entry in entries]
    return Answer(instances, "", status, retry_after, request_id)


def wrong_id(given: str, got: str, has_error: bool) -> str:
    """What is wrong with the id of a REST reply; empty if nothing is.

    Args:
        given: That of the request; empty if it had none.
        got: That of the reply, likewise.
        has_error: Whether the request, or an instance of it, has failed.
    """
    if got == given if given or not has_error else _RANDOM_ID.fullmatch(got):
        return ""
    expected = repr(given) if given else "one of 16 hexadecimal digits" if has_error else "none"
    return f"the request id {expected} was expected, got {got!r}"


def judge(question: Question, answer: Answer) -> Verdict:
    """How a request ended that was answered with this."""
    count = len(question.expected)
    if not answer.error and len(answer.instances) != count:
        return Outcome.WRONG, f"{len(answer.instances)} instances came back, {count} were sent"
    entries = answer.instances or [Refused(answer.error)] * count
    verdicts = [
        _judge_instance(question, want, got, answer.http_status > 0)
        for want, got in zip(question.expected, entries, strict=True)
    ]
    for outcome in (Outcome.WRONG, Outcome.LOST, Outcome.FAILED, Outcome.REFUSED):
        for at, (found, detail) in enumerate(verdicts):
            if found is outcome:
                where = "" if outcome is Outcome.REFUSED else f"instance {at} of {count}: "
                return _with_status(outcome, where + detail, answer)
    failed = any(found is Outcome.EXPECTED_ERROR for found, _ in verdicts)
    return _with_status(Outcome.EXPECTED_ERROR if failed else Outcome.RIGHT, "", answer)


def judge_rows(question: Question, answer: Answer) -> Verdict:
    """The same where a request with a failed row fails as a whole, and says how many rows failed."""
    told = _FAILED_ROWS.search(answer.error)
    marked = [at for at, want in enumerate(question.expected) if isinstance(want, Fails)]
    if not (told and marked) or _MARKED not in answer.error:
        return judge(question, answer)
    first = question.expected[marked[0]]
    numbers = tuple(int(number) for number in told.groups())
    if numbers != (len(marked), len(question.expected), marked[0]):
        return Outcome.WRONG, f"{len(marked)} rows are marked, {marked[0]} is the first, got {answer.error}"
    if not isinstance(first, Fails) or not answer.error.endswith(first.text):
        return Outcome.WRONG, f"{first!r:.200} was expected, got {answer.error}"
    return _with_status(Outcome.EXPECTED_ERROR, "", answer)


def _judge_instance(question: Question, want: Values | Fails, got: Values | Refused, plain: bool) -> Verdict:
    if isinstance(got, Refused):
        return _judge_error(question, want, got.text)
    if isinstance(want, Fails):
        return Outcome.WRONG, f"the error {want.text!r} was expected, got {got!r:.200}"
    if want.keys() != got.keys():
        return Outcome.WRONG, f"outputs {sorted(want)} were expected, got {sorted(got)}"
    for name, value in want.items():
        if not (_same_json(value, got[name]) if plain else _same(value, got[name])):
            return Outcome.WRONG, f"{name} should be {value!r:.200}, got {got[name]!r:.200}"
    return Outcome.RIGHT, ""


def _judge_error(question: Question, want: Values | Fails, text: str) -> Verdict:
    if isinstance(want, Fails) and text.endswith(want.text):
        return Outcome.EXPECTED_ERROR, ""
    if _is_refusal(question, text):
        return Outcome.REFUSED, text
    if _MARKED in text:
        return Outcome.WRONG, f"{want!r:.200} was expected, got the error of another instance: {text}"
    if _CONNECTION_ENDED in text:
        return Outcome.LOST, text
    return Outcome.FAILED, text


def _is_refusal(question: Question, text: str) -> bool:
    if text == LIMIT_OF_PLAIN_TEXT:
        return question.servable == "plain"
    away = question.may_be_away and text.endswith((AWAY_TEXT, CUT_OFF_TEXT))
    return away or text == LIMIT_TEXT or text.endswith(STOPPING_TEXT)


def _with_status(outcome: Outcome, detail: str, answer: Answer) -> Verdict:
    """The verdict, unless the HTTP status of the reply contradicts it."""
    status = answer.http_status
    if outcome is Outcome.WRONG or not status:
        return outcome, detail
    if answer.error in (LIMIT_TEXT, LIMIT_OF_PLAIN_TEXT):
        fits = status == _TOO_MANY and answer.retry_after
    elif answer.error.endswith((AWAY_TEXT, STOPPING_TEXT)):
        fits = status == _UNAVAILABLE
    elif any(not isinstance(instance, Refused) for instance in answer.instances):
        fits = status == _OK
    else:
        fits = status > _OK
    return (outcome, detail) if fits else (Outcome.WRONG, f"HTTP status {status} does not fit; {detail}")


def _same(want: Any, got: Any) -> bool:
    """Whether a value of gRPC is the one, bit for bit."""
    if isinstance(want, np.ndarray):
        return (
            isinstance(got, np.ndarray)
            and (got.dtype, got.shape) == (want.dtype, want.shape)
            and got.tobytes() == want.tobytes()
        )
    return type(want) is type(got) and bool(want == got)


def _same_json(want: Any, got: Any) -> bool:
    """Whether a value of JSON is the one; 1, 1.0 and true are three values."""
    return json.dumps(json_value(want)) == json.dumps(got)


def json_value(value: Any) -> Any:
    """How a value reads in a REST reply."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
