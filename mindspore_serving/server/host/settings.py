"""Settings of the main process that a start script may change."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from itertools import pairwise

from mindspore_serving.check_type import check_int, check_seconds
from mindspore_serving.errors import InvalidParameter, excerpt
from mindspore_serving.options import Limits
from mindspore_serving.server.host.child_environment import TOKEN_VARIABLE
from mindspore_serving.server.host.environment_variable import flag_of
from mindspore_serving.server.host.memory_limit import share_of_memory

server_limits = Limits(10_000, 1_000_000, max(share_of_memory(), 64 << 20))
"""Most that may be pending in the whole server, now."""
DEFAULT_DRAIN_TIMEOUT_S = 10.0
DEFAULT_WORKER_TIMEOUT_S = 20.0
WORKER_TIMEOUT_VARIABLE = "SERVING_WORKER_TIMEOUT_S"
DEFAULT_MEMORY_IDLE_S = 10.0
MEMORY_IDLE_VARIABLE = "SERVING_MEMORY_IDLE_S"
DEFAULT_START_TIMEOUT_S = 1800.0
START_TIMEOUT_VARIABLE = "SERVING_START_TIMEOUT_S"
DEFAULT_SUSPECT_WAIT_S = 2.0
SUSPECT_WAIT_VARIABLE = "SERVING_SUSPECT_WAIT_S"
DEFAULT_AGENT_ANSWER_S = 10.0
AGENT_ANSWER_VARIABLE = "SERVING_AGENT_TIMEOUT_S"
BUCKETS_VARIABLE = "SERVING_LATENCY_BUCKETS"
DEFAULT_LATENCY_BUCKETS = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1),
    *(0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
)
MOST_BUCKETS = 64
LOG_TO_STDOUT_VARIABLE = "SERVING_LOG_TO_STDOUT"
GRPC_VARIABLE = "SERVING_GRPC"
GRPC_LIBRARIES = ("core", "aio")

_drain_timeout_s = DEFAULT_DRAIN_TIMEOUT_S


def set_max_enqueued_requests(max_enqueued_requests: int) -> None:
    """Set how many requests may be pending at a time in the whole server.

    A request beyond the limit is refused at once. Takes effect immediately, also on a running server.

    Args:
        max_enqueued_requests: At least 1. The default is 10000.

    Raises:
        RuntimeError: `max_enqueued_requests` is no int, or below 1.
    """
    check_int("max_enqueued_requests", max_enqueued_requests, 1)
    server_limits.requests = max_enqueued_requests


def set_max_enqueued_instances(max_enqueued_instances: int) -> None:
    """Set how many instances the pending requests of the whole server may have together.

    A request beyond the limit is refused at once, unless it would be the only one. Takes effect immediately, also on a
    running server.

    Args:
        max_enqueued_instances: At least 1. The default is 1000000.

    Raises:
        RuntimeError: `max_enqueued_instances` is no int, or below 1.
    """
    check_int("max_enqueued_instances", max_enqueued_instances, 1)
    server_limits.instances = max_enqueued_instances


def set_max_enqueued_bytes(max_enqueued_bytes: int) -> None:
    """Set how many bytes the tensors of the pending requests of the whole server may have together.

    A request beyond the limit is refused at once, unless it would be the only one. Takes effect immediately, also on a
    running server.

    Args:
        max_enqueued_bytes: Bytes, at least 1. The default is an eighth of the memory that the process may use, and at
            least 64 MiB: on its way a tensor is in memory several times.

    Raises:
        RuntimeError: `max_enqueued_bytes` is no int, or below 1.
    """
    check_int("max_enqueued_bytes", max_enqueued_bytes, 1)
    server_limits.byte_size = max_enqueued_bytes


def set_drain_timeout_s(drain_timeout_s: float) -> None:
    """Set how long SIGTERM or Ctrl+C lets the requests finish that the server has admitted.

    New ones are refused meanwhile. A second signal ends the wait. Takes effect at the next signal.

    Args:
        drain_timeout_s: Seconds; 0 answers all pending requests with an error at once, as MindSpore Serving 2.0
            does. The default is 10.

    Raises:
        RuntimeError: `drain_timeout_s` is no number, below 0, or not finite.
    """
    global _drain_timeout_s
    check_seconds("drain_timeout_s", drain_timeout_s)
    _drain_timeout_s = drain_timeout_s


def drain_timeout_s() -> float:
    """The time in force, in seconds."""
    return _drain_timeout_s


def worker_timeout_s(environment: Mapping[str, str] = os.environ) -> float:
    """Seconds without a sign of life after which a worker is taken for hung.

    Args:
        environment: Where SERVING_WORKER_TIMEOUT_S may be set; 20 where it is not.

    Raises:
        InvalidParameter: It is no number, or below 2.
    """
    return _seconds_from(WORKER_TIMEOUT_VARIABLE, DEFAULT_WORKER_TIMEOUT_S, 2, environment)


def memory_idle_s(environment: Mapping[str, str] = os.environ) -> float:
    """Seconds without a batch after which a worker's shared memory is given back to the system.

    Args:
        environment: Where SERVING_MEMORY_IDLE_S may be set; 10 where it is not.

    Raises:
        InvalidParameter: It is no number, or below 1.
    """
    return _seconds_from(MEMORY_IDLE_VARIABLE, DEFAULT_MEMORY_IDLE_S, 1, environment)


def start_timeout_s(environment: Mapping[str, str] = os.environ) -> float:
    """Seconds after which a worker that is not ready has failed to start.

    Args:
        environment: Where SERVING_START_TIMEOUT_S may be set; 1800 where it is not.

    Raises:
        InvalidParameter: It is no number, or below 1.
    """
    return _seconds_from(START_TIMEOUT_VARIABLE, DEFAULT_START_TIMEOUT_S, 1, environment)


def suspect_wait_s(environment: Mapping[str, str] = os.environ) -> float:
    """Seconds for which an instance whose worker was lost waits for another copy before it runs on the last one.

    Args:
        environment: Where SERVING_SUSPECT_WAIT_S may be set; 2 where it is not.

    Raises:
        InvalidParameter: It is no number, or below 0.
    """
    return _seconds_from(SUSPECT_WAIT_VARIABLE, DEFAULT_SUSPECT_WAIT_S, 0, environment)


def agent_answer_s(environment: Mapping[str, str] = os.environ) -> float:
    """Seconds within which every rank of a distributed servable must have run a batch.

    Args:
        environment: Where SERVING_AGENT_TIMEOUT_S may be set; 10 where it is not.

    Raises:
        InvalidParameter: It is no number, or below 0.1.
    """
    return _seconds_from(AGENT_ANSWER_VARIABLE, DEFAULT_AGENT_ANSWER_S, 0.1, environment)


def latency_buckets(environment: Mapping[str, str] = os.environ) -> tuple[float, ...]:
    """Upper bounds of the buckets in which times of requests are counted, in seconds.

    Args:
        environment: Where SERVING_LATENCY_BUCKETS may be set, as numbers with commas between them; 0.0005 to 60 where
            it is not.

    Raises:
        InvalidParameter: They are no numbers, not above 0, do not ascend, or are too many.
    """
    text = environment.get(BUCKETS_VARIABLE)
    if not text:
        return DEFAULT_LATENCY_BUCKETS
    try:
        bounds = tuple(map(float, text.split(",")))
    except ValueError:
        bounds = ()
    ascend = all(low < high < math.inf for low, high in pairwise((0.0, *bounds)))
    if not 1 <= len(bounds) <= MOST_BUCKETS or not ascend:
        raise InvalidParameter(
            f"Environment variable {BUCKETS_VARIABLE} should be 1 to {MOST_BUCKETS} ascending numbers of seconds with "
            f"commas between them, such as 0.001,0.01,0.1,1,10, but got {excerpt(text)!r}"
        )
    return bounds


def grpc_library(environment: Mapping[str, str] = os.environ) -> str:
    """What the gRPC server stands on: `core`, the C core of grpcio, or `aio`, grpc.aio.

    Args:
        environment: Where SERVING_GRPC may be set; `core` where it is not.

    Raises:
        InvalidParameter: It is neither.
    """
    library = environment.get(GRPC_VARIABLE) or GRPC_LIBRARIES[0]
    if library not in GRPC_LIBRARIES:
        raise InvalidParameter(
            f"Environment variable {GRPC_VARIABLE} should be 'core' or 'aio', but got {library!r}"
        )
    return library


def log_to_stdout(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the logs of child processes are copied to standard output.

    Args:
        environment: Where SERVING_LOG_TO_STDOUT=1 may be set.

    Raises:
        InvalidParameter: It is neither 0 nor 1.
    """
    return flag_of(LOG_TO_STDOUT_VARIABLE, False, environment)


def cluster_token(environment: Mapping[str, str] = os.environ) -> str:
    """The token of the cluster that this process belongs to; empty where none is set."""
    return environment.get(TOKEN_VARIABLE, "")


def _seconds_from(variable: str, default_s: float, least_s: float, environment: Mapping[str, str]) -> float:
    """A time that an environment variable may set.

    Args:
        variable: Its name.
        default_s: What holds where it is not set.
        least_s: The least that it may be set to.
        environment: Where to look.

    Raises:
        InvalidParameter: It is no number, or below `least_s`.
    """
    text = environment.get(variable) or str(default_s)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not least_s <= seconds < float("inf"):
        raise InvalidParameter(
            f"Environment variable {variable} should be a number of seconds, at least {least_s:g}, but got {text!r}"
        )
    return seconds
