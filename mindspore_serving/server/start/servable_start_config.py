"""What a start script says of one servable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from mindspore_serving.options import DEFAULT_SLOTS, ServableSettings


class ServableStartConfig(ServableSettings):
    """One servable to start with `start_servables`.

    Args:
        servable_directory: Directory that holds the servable's folder; relative to the start script.
        servable_name: Name of the servable, and of its folder.
        device_ids: Devices to load it on, one worker process each. None leaves the placement to the server.
        version_number: Version to serve; 0 takes the newest.
        device_type: `Ascend`, `GPU`, `CPU` or None, case ignored; None takes the first that is there.
        num_parallel_workers: Number of worker processes, at most 64; those beyond the devices run Python stages.
        dec_key: Key of encrypted models, 16, 24 or 32 bytes.
        dec_mode: `AES-GCM` or `AES-CBC`.
        max_batch_delay_ms: Milliseconds that instances may wait for others while a batch is not full, at most 60000; 0
            lets nobody wait. Timers are exact to 1 ms. Without effect on methods whose stages take single instances.
        slots_per_copy: Batches under way in each worker process, 1 to 16: one that runs, the others there when it ends.
        stage_timeout_ms: Milliseconds that one call of a function or model may take, at most 86400000, a day; 0 sets no
            limit. A worker in which a call takes longer is killed and started again. Exact to a quarter of the limit,
            at best to 10 ms.
        max_enqueued_requests: Requests of this servable and version that may be pending at a time, beside the limit
            of the whole server; 0 for no further limit.
        max_enqueued_instances: Instances that these requests may have together; 0 for no further limit.
        max_enqueued_bytes: Bytes that their tensors may have together; 0 for no further limit.
        model_path: The servable's folder, or its only file, where that is not `servable_name` in
            `servable_directory`; relative to the start script.
        model_format: For a servable without servable_config.py, as the options after it; those of `declare_model` say
            the same where there is one. Format of its model, as of `declare_model`; "" where the name of the file
            tells.
        with_batch_dim: Whether the first dimension of its inputs and outputs is the batch; None where their shapes
            tell.
        max_batch_size: Largest batch, if its first dimension is dynamic; 0 for the default.
        runtime_options: Options of the library that runs it, by name; None for none.

    Raises:
        RuntimeError: A parameter has the wrong type or value.
    """

    def __init__(
        self,
        servable_directory: str,
        servable_name: str,
        device_ids: int | Sequence[int] | None = None,
        version_number: int = 0,
        device_type: str | None = None,
        num_parallel_workers: int = 0,
        dec_key: bytes | None = None,
        dec_mode: str = "AES-GCM",
        *,
        max_batch_delay_ms: float = 0,
        slots_per_copy: int = DEFAULT_SLOTS,
        stage_timeout_ms: float = 0,
        max_enqueued_requests: int = 0,
        max_enqueued_instances: int = 0,
        max_enqueued_bytes: int = 0,
        model_path: str | None = None,
        model_format: str = "",
        with_batch_dim: bool | None = None,
        max_batch_size: int = 0,
        runtime_options: Mapping[str, str | float] | None = None,
    ) -> None:
        positional: object = num_parallel_workers
        if isinstance(
            positional, bytes
        ):  # releases without this parameter had key and mode from this place on
            mode: object = dec_key
            dec_mode = mode if isinstance(mode, str) else dec_mode
            num_parallel_workers, dec_key = 0, positional
        given = locals()  # each parameter is the option of its name
        super().__init__(**{option.name: given[option.name] for option in fields(ServableSettings)})

    def __repr__(self) -> str:
        return (
            f"<ServableStartConfig {self.servable_name} version {self.version_number} "
            f"devices {self.device_ids} {self.device_type}>"
        )
