"""On which devices MindSpore Lite may run models here; it stands for Ascend 310, which workers share."""

from __future__ import annotations

from mindspore_serving.server.backend.device_files import device_types, takes_one_worker

__all__ = ["device_types", "takes_one_worker"]
