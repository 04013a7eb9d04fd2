"""On which devices Paddle Inference may run models here."""

from __future__ import annotations

from mindspore_serving.server.backend.device_files import device_types, takes_one_worker

__all__ = ["device_types", "takes_one_worker"]
