"""A servable whose files have changed: its workers are started anew, while the server runs."""

from __future__ import annotations

from mindspore_serving.options import ServableSettings
from mindspore_serving.server.backend.families import takes_one_worker
from mindspore_serving.server.start.servable_start_config import ServableStartConfig
from mindspore_serving.server.start.server import server_of_process
from mindspore_serving.server.start.worker_plans import plans_for


def reload_servable(config: ServableStartConfig, enable_lite: bool = False) -> None:
    """Serve a servable with the files that it has now. Version 0 is the newest of those that are there now.

    The workers that serve go on until the new ones are ready, see `Supervisor.replace` for the exceptions.

    Args:
        config: As it was given to `start_servables`.
        enable_lite: Likewise.

    Raises:
        StartUpError: It cannot be started; what served it before serves on, but for these exceptions.
    """
    plans = plans_for([config], enable_lite)
    settings: ServableSettings = plans[0].settings
    one_at_a_time = bool(settings.device_ids) and not enable_lite and takes_one_worker(settings.device_type)
    server_of_process.replace_servable(settings.servable_name, plans, one_at_a_time=one_at_a_time)
