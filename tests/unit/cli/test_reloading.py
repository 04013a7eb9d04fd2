"""`serve --dev`: whose files have changed, and what is said where files cannot be watched or nobody waits for them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import INTERRUPTED, TERMINATED
from mindspore_serving.cli.serving.reloading import Watch, serve_and_reload
from mindspore_serving.server.start.servable_start_config import ServableStartConfig
from mindspore_serving.server.start.server import server_of_process


def test_a_missing_package_is_told_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)  # its import fails
    with pytest.raises(CommandError) as refused:
        Watch([])
    assert refused.value.problem == "--dev needs the package watchfiles, which is not installed"
    assert refused.value.next_step == "pip install 'mindspore_serving[reload]'"
    assert refused.value.exit_code == 2


def test_files_belong_to_the_servable_around_them(tmp_path: Path) -> None:
    one, other = (ServableStartConfig(str(tmp_path), name) for name in ("one", "one_more"))
    watch = Watch([one, other])
    for path, found in (
        ("one/servable_config.py", [one]),
        ("one_more/1/model.onnx", [other]),
        ("one/serving_logs/log", []),
        ("two/servable_config.py", []),
    ):
        assert watch.servables_of([str(tmp_path / path)]) == found


@pytest.mark.parametrize("code", [INTERRUPTED, TERMINATED])
def test_a_signal_ends_a_start_that_waits_for_no_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int
) -> None:
    monkeypatch.setattr(server_of_process, "outlives_workers", False)
    watch = [ServableStartConfig(str(tmp_path), "one")]
    (tmp_path / "one").mkdir()

    def start() -> None:
        raise CommandError("it was not started", exit_code=code)

    with pytest.raises(CommandError) as ended:
        serve_and_reload(watch, False, start)
    assert ended.value.exit_code == code


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
