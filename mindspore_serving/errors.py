"""Every error a user of Serving can meet, each with its wire code and HTTP status.

The codes are those of `ErrorMsg.error_code` on the gRPC wire; the texts are the caller's, and name what was wrong,
what was got and what was expected.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import ClassVar, Final

LONGEST_TEXT: Final = 8000
"""Most characters of a failure's text that are passed on within Serving."""


def shortened(text: str, most: int, missing: int = 0) -> str:
    """At most the first characters of a text, and how many more there are.

    Args:
        text: Any.
        most: Characters that are kept.
        missing: Characters that were behind `text` before.
    """
    more = max(0, len(text) - most) + missing
    return f"{text[:most]} ... ({more} more characters)" if more else text


def text_of(error: BaseException) -> str:
    """What an exception says: its text, and its type in front where the text says nothing alone.

    Nothing alone say an empty text (a bare `assert`, `MemoryError`), a number (`SystemExit: 2`), and the key of a
    `KeyError`.

    Args:
        error: Any exception, also one whose methods raise.

    Returns:
        At most `LONGEST_TEXT` characters and how many more there are, valid Unicode.
    """
    name = type(error).__name__
    try:
        text = str(error)
        text = str.encode(shortened(text, LONGEST_TEXT), errors="replace").decode()
        if not text.strip():
            return name
        is_key = type(error).__str__ is KeyError.__str__
        return f"{name}: {text}" if is_key or not any(map(str.isalpha, text)) else text
    except BaseException:  # the user's error may raise whatever it likes when it is asked for its text
        return name


class StatusCode(IntEnum):
    """Value of `ErrorMsg.error_code` in a reply."""

    SUCCESS = 0
    FAILED = 1
    INVALID_INPUTS = 2
    SYSTEM_ERROR = 3
    WORKER_UNAVAILABLE = 4
    SERVABLE_UNAVAILABLE = 5


HTTP_STATUS_OF_CODE: dict[StatusCode, int] = {
    StatusCode.SUCCESS: 200,
    StatusCode.FAILED: 500,
    StatusCode.INVALID_INPUTS: 400,
    StatusCode.SYSTEM_ERROR: 500,
    StatusCode.WORKER_UNAVAILABLE: 503,
    StatusCode.SERVABLE_UNAVAILABLE: 503,
}


class Outcome(Enum):
    """What became of a request, or of an instance."""

    OK = "ok"
    INVALID = "invalid"
    """The client was at fault."""
    DEADLINE = "deadline"
    """Its time was over."""
    CANCELLED = "cancelled"
    """Its client has gone."""
    STAGE_FAILED = "stage_failed"
    """A function, built-in, pipeline or called method of the servable failed, or ran for too long."""
    MODEL_FAILED = "model_failed"
    LOST = "lost"
    """Its worker ended, as often as it was tried."""
    STOPPED = "stopped"
    """The server stopped, or no worker was left."""
    SERVING_FAILED = "serving_failed"
    """Serving itself could not bring it to an end: there was no memory, or an error that nobody expects."""


_OUTCOME_OF_CODE: dict[StatusCode, Outcome] = {
    StatusCode.FAILED: Outcome.SERVING_FAILED,
    StatusCode.INVALID_INPUTS: Outcome.INVALID,
    StatusCode.SYSTEM_ERROR: Outcome.SERVING_FAILED,
    StatusCode.WORKER_UNAVAILABLE: Outcome.STOPPED,
    StatusCode.SERVABLE_UNAVAILABLE: Outcome.STOPPED,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one instance, or a whole request, has no result.

    Attributes:
        code: Wire code, never SUCCESS.
        text: What was wrong. Clients read what `service.error_text` leaves of it.
        http_status: Status of a REST reply in which every instance failed like this; None takes the code's.
        trace: Where user code raised, for the log of the main process only; "" where that is not known.
        cause: What it counts as, where the code alone does not tell that; None where it does. Never OK.
    """

    code: StatusCode
    text: str
    http_status: int | None = None
    trace: str = field(default="", compare=False, repr=False)
    cause: Outcome | None = field(default=None, compare=False, repr=False)

    @property
    def outcome(self) -> Outcome:
        """What it counts as."""
        return self.cause or _OUTCOME_OF_CODE[self.code]

    @property
    def status(self) -> int:
        """HTTP status of this failure."""
        return self.http_status or HTTP_STATUS_OF_CODE[self.code]


class ServingError(RuntimeError):
    """Base of all errors that Serving raises itself."""

    code: ClassVar[StatusCode] = StatusCode.FAILED
    http_status: ClassVar[int | None] = None
    cause: ClassVar[Outcome | None] = None

    def failure(self) -> Failure:
        """This error as the client is told."""
        return Failure(self.code, str(self) or "Predict failed", self.http_status, cause=self.cause)


class InvalidParameter(ServingError):
    """A parameter of a public function has the wrong type or value."""


class StartUpError(ServingError):
    """A server or a worker cannot start."""


class RegistrationError(ServingError):
    """A servable_config.py declares something that cannot be served."""


class InvalidInput(ServingError):
    """What the client sent does not fit the method or the model.

    Functions of a servable raise it as well: `raise register.InvalidInput("age is below 0")`. The client reads the text
    alone, with HTTP status 400 or code 2, and the log has no traceback. What Serving itself raises of this kind in
    `Model.call` and `PipelineServable.run` comes out of them as another error: there, the servable gave the value.
    """

    code = StatusCode.INVALID_INPUTS


class MessageTooLarge(InvalidInput):
    """A body is larger than `max_msg_mb_size`."""

    http_status = 413


class UnsupportedCoding(InvalidInput):
    """A body is compressed in a way that Serving cannot read."""

    http_status = 415


class UnknownTarget(InvalidInput):
    """No such servable, version or method is running."""

    http_status = 404


class AlreadyExists(InvalidInput):
    """There is something of that name already."""


class NotPermitted(InvalidInput):
    """This client may not ask for that."""

    http_status = 403


class NotOffered(InvalidInput):
    """This server does not do that, or was not told to."""

    http_status = 501


class VerbNotAllowed(InvalidInput):
    """A REST request that is not a POST."""

    http_status = 405


class QueueFull(ServingError):
    """A limit of pending requests, instances or bytes is reached.

    Args:
        text: Which, and what it is.
        limit: `requests`, `instances` or `bytes`.
    """

    http_status = 429

    def __init__(self, text: str, limit: str = "requests") -> None:
        super().__init__(text)
        self.limit = limit


class DeadlineExceeded(ServingError):
    """A request has no answer after the time that its client gave it."""

    http_status = 504
    cause = Outcome.DEADLINE


class StageError(ServingError):
    """A stage function or a built-in stage failed."""

    code = StatusCode.SYSTEM_ERROR
    cause = Outcome.STAGE_FAILED


class PipelineError(ServingError):
    """A pipeline failed, or a method that it runs."""

    code = StatusCode.INVALID_INPUTS
    http_status = 500
    cause = Outcome.STAGE_FAILED


class ModelError(ServingError):
    """A model failed while it ran."""

    code = StatusCode.SYSTEM_ERROR
    cause = Outcome.MODEL_FAILED


class SystemFailure(ServingError):
    """Serving itself could not bring an instance to an end."""

    code = StatusCode.SYSTEM_ERROR


class ServableUnavailable(ServingError):
    """No worker is left for the servable."""

    code = StatusCode.SERVABLE_UNAVAILABLE


class Interrupted(ServingError):
    """What was with a worker has no outcome, because the worker was lost or the server stops: it may have been run."""

    code = StatusCode.SYSTEM_ERROR
    cause = Outcome.STOPPED


class ServerStopping(ServableUnavailable):
    """The server takes no more requests, because it is about to end."""

    def __init__(self) -> None:
        super().__init__("Serving Error: the server is stopping and takes no more requests")


class ChannelError(ServingError):
    """The peer of a channel sent bytes that are no frame, or went away."""


def unexpected_failure(error: Exception) -> Failure:
    """The failure of a request over an error of Serving itself, with the traceback for the log."""
    trace = shortened("".join(traceback.format_exception(error)), LONGEST_TEXT)
    return Failure(SystemFailure.code, f"Predict failed: {error!r}", trace=trace)


def excerpt(text: str, most: int = 100) -> str:
    """What an error text quotes of something that may be of any length.

    Args:
        text: What was got.
        most: Characters that are quoted at most.

    Returns:
        All of it; of a longer one the beginning, and how long it is.
    """
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
