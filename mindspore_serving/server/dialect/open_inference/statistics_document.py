"""What was counted of a method, as the statistics extension has it."""

from __future__ import annotations

from typing import Any

from mindspore_serving.server.dispatch.method_statistics import BatchTimes, Duration, MethodStatistics

_NEVER = {"count": 0, "ns": 0}


def statistics_of(name: str, version: int, counted: MethodStatistics) -> dict[str, Any]:
    """One entry of `model_stats`, with every key that clients read.

    Args:
        name: Of the model.
        version: Version number.
        counted: What was counted.
    """
    return {
        "name": name,
        "version": str(version),
        "last_inference": counted.last_request_ms,
        "inference_count": counted.instances,
        "execution_count": counted.executions,
        "inference_stats": {
            "success": _duration(counted.success),
            "fail": _duration(counted.fail),
            "queue": _duration(counted.queue),
            "compute_input": _duration(counted.compute_input),
            "compute_infer": _duration(counted.compute_infer),
            "compute_output": _duration(counted.compute_output),
            "cache_hit": _NEVER,
            "cache_miss": _NEVER,
        },
        "response_stats": {},
        "batch_stats": [_batch(size, times) for size, times in sorted(counted.batches.items())],
        "memory_usage": [],
    }


def _batch(size: int, times: BatchTimes) -> dict[str, Any]:
    return {
        "batch_size": size,
        "compute_input": _duration(times.compute_input),
        "compute_infer": _duration(times.compute_infer),
        "compute_output": _duration(times.compute_output),
    }


def _duration(duration: Duration) -> dict[str, int]:
    return {"count": duration.count, "ns": duration.ns}
