"""Plans of workers for tests that start none, or none of a real servable."""

from __future__ import annotations

from typing import Any

from mindspore_serving.server.supervision.worker_process import WorkerPlan


def worker_plan(
    name: str = "one", device_id: int = 0, *, has_device: bool = True, **given: Any
) -> WorkerPlan:
    """A plan; what is given besides is a field of the plan."""
    defaults = {"servable_directory": "folder", "version": 1, "device_type": "cpu"}
    return WorkerPlan(**(defaults | given), servable_name=name, device_id=device_id, has_device=has_device)
