"""Which servables are reloaded after changes of files."""

from __future__ import annotations

from pathlib import Path

from mindspore_serving.cli.serving.reloading import Watch
from mindspore_serving.server.start.servable_start_config import ServableStartConfig


def test_changes_while_a_servable_is_reloaded_are_one(tmp_path: Path) -> None:
    configs = [ServableStartConfig(str(tmp_path), name) for name in ("a", "b", "c")]
    watch = Watch(configs)
    for _ in range(30):
        watch.take([f"{tmp_path}/a/servable_config.py"])
        watch.take([f"{tmp_path}/serving_logs/a.log", f"{tmp_path}/c/serving_logs/log"])
    watch.take([f"{tmp_path}/b/1/b.onnx", f"{tmp_path}/a/1/a.onnx"])
    assert watch.next() == configs[:2]
    watch.take([f"{tmp_path}/c/x"])
    assert watch.next() == configs[2:]
