"""Plans of workers for tests that start none, or none of a real servable."""

from __future__ import annotations

from typing import Any

from mindspore_serving.options import RULES, ServableSettings
from mindspore_serving.server.channel.worker_plan import WorkerPlan


def worker_plan(
    name: str = "one", device_id: int = 0, *, has_device: bool = True, **given: Any
) -> WorkerPlan:
    """A plan; what is given besides is an option of the servable, or a field of the plan."""
    settings = {option: given.pop(option) for option in RULES if option in given}
    defaults = {"servable_directory": "folder", "version_number": 1, "device_type": "cpu"}
    of_servable = ServableSettings(**(defaults | {"servable_name": name} | settings))
    return WorkerPlan(of_servable, device_id, has_device, **given)
