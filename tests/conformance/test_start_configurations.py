"""Section 4.2: what a ServableStartConfig holds, how several of them merge, and how they are refused."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving import server
from mindspore_serving.server import ServableStartConfig
from mindspore_serving.server.start.merging import merge_config
from tests.conformance.row import row, stands_for

KEY = b"k" * 16
OTHER_KEY = b"o" * 32
DEVICE_TYPE = "Unsupported device type '{}', only support 'Ascend', 'GPU', 'CPU' and None, case ignored"


def text_of(call: Any) -> str:
    with pytest.raises(RuntimeError) as refused:
        call()
    return str(refused.value)


@stands_for("4.2-signature")
def test_signature() -> None:
    parameters = inspect.signature(ServableStartConfig).parameters.values()
    added = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert added == [
        "max_batch_delay_ms",
        "slots_per_copy",
        "stage_timeout_ms",
        "max_enqueued_requests",
        "max_enqueued_instances",
        "max_enqueued_bytes",
        "model_path",
        "model_format",
        "with_batch_dim",
        "max_batch_size",
        "runtime_options",
    ]
    assert [(p.name, p.default) for p in parameters if p.name not in added][2:] == [
        ("device_ids", None),
        ("version_number", 0),
        ("device_type", None),
        ("num_parallel_workers", 0),
        ("dec_key", None),
        ("dec_mode", "AES-GCM"),
    ]


@pytest.mark.parametrize(
    ("values", "field", "held"),
    [
        row("4.2-servable_directory-not-looked-for", {}, "servable_directory", "folder"),
        row("4.2-device_ids-none", {"device_ids": None}, "device_ids", ()),
        row("4.2-device_ids-int", {"device_ids": 3}, "device_ids", (3,)),
        row("4.2-device_ids-list", {"device_ids": [3, 1]}, "device_ids", (3, 1)),
        row("4.2-version_number", {"version_number": 7}, "version_number", 7),
        row("4.2-device_type-none", {}, "device_type", "none"),
        row("4.2-device_type-case", {"device_type": "ASCEND"}, "device_type", "ascend"),
        row("4.2-device_type-none-text", {"device_type": "None"}, "device_type", "none"),
        row("4.2-num_parallel_workers-becomes-1", {}, "num_parallel_workers", 1),
        row("4.2-num_parallel_workers-with-devices", {"device_ids": 0}, "num_parallel_workers", 0),
        row("4.2-num_parallel_workers-64", {"num_parallel_workers": 64}, "num_parallel_workers", 64),
        row("4.2-dec_key-24", {"dec_key": b"k" * 24}, "dec_key", b"k" * 24),
        row("4.2-dec_mode-default", {}, "dec_mode", "AES-GCM"),
        row("4.2-dec_mode", {"dec_mode": "AES-CBC"}, "dec_mode", "AES-CBC"),
        row("4.2-dec_key-in-the-place-of-1.3", {"num_parallel_workers": KEY}, "dec_key", KEY),
    ],
)
def test_fields(values: dict[str, Any], field: str, held: Any) -> None:
    config = ServableStartConfig("folder", "add", **values)
    assert getattr(config, field) == held
    with pytest.raises(AttributeError):
        setattr(config, field, held)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        row(
            "4.2-servable_directory",
            {"servable_directory": 1},
            "Parameter 'servable_directory' should be str, but actually <class 'int'>",
        ),
        row(
            "4.2-servable_name",
            {"servable_name": 1},
            "Parameter 'servable_name' should be str, but actually <class 'int'>",
        ),
        row(
            "4.2-device_ids-type",
            {"device_ids": "1"},
            "Parameter 'device_ids' should be int or tuple/list of int, but actually <class 'str'>",
        ),
        row(
            "4.2-device_ids-negative",
            {"device_ids": -1},
            "The item value '-1' in parameter 'device_ids' should be >= 0",
        ),
        row(
            "4.2-device_ids-repeated",
            {"device_ids": [1, 1]},
            "The item value '1' in parameter 'device_ids' should not be repeated",
        ),
        row(
            "4.2-version_number-negative",
            {"version_number": -1},
            "Parameter 'version_number' should be >= 0",
        ),
        row("4.2-device_type", {"device_type": "InvalidDeviceType"}, DEVICE_TYPE.format("InvalidDeviceType")),
        row(
            "4.2-device_type-type",
            {"device_type": 123},
            "Parameter 'device_type' should be str, but actually <class 'int'>",
        ),
        row("4.2-device_type-empty", {"device_type": ""}, "Parameter 'device_type' should not be empty str"),
        row(
            "4.2-servable_name-slash",
            {"servable_name": "a/b"},
            "Parameter 'servable_name' should be the name of a folder in 'servable_directory', without '/', but "
            "actually 'a/b'",
        ),
        row(
            "4.2-version_number-largest",
            {"version_number": 1 << 64},
            "Parameter 'version_number' should be <= 18446744073709551615, but actually 18446744073709551616",
        ),
        row(
            "4.2-num_parallel_workers-65",
            {"num_parallel_workers": 65},
            "Parameter 'num_parallel_workers' should be in range [0,64]",
        ),
        row(
            "4.2-dec_key-type",
            {"dec_key": "key"},
            "Parameter 'dec_key' should be bytes, but actually <class 'str'>",
        ),
        row("4.2-dec_key-empty", {"dec_key": b""}, "Parameter 'dec_key' should not be empty bytes"),
        row(
            "4.2-dec_key-length",
            {"dec_key": b"k" * 15},
            "Parameter 'dec_key' length 15 expected to be 16, 24 or 32",
        ),
        row(
            "4.2-dec_mode-value",
            {"dec_mode": "AES"},
            "Parameter 'dec_mode' expected to be 'AES-GCM' or 'AES-CBC'",
        ),
        row(
            "4.2-dec_mode-type",
            {"dec_mode": 1},
            "Parameter 'dec_mode' should be str, but actually <class 'int'>",
        ),
    ],
)
def test_refused(values: dict[str, Any], text: str) -> None:
    arguments: dict[str, Any] = {"servable_directory": "folder", "servable_name": "add", **values}
    assert text_of(lambda: ServableStartConfig(**arguments)) == text


@pytest.mark.parametrize(
    ("configs", "text"),
    [
        row(
            "4.2-start_servables-type",
            1,
            "Parameter 'servable_configs' should be ServableStartConfig, list or tuple of ServableStartConfig, but "
            "actually <class 'int'>",
        ),
        row(
            "4.2-start_servables-item",
            [1],
            "The item of parameter 'servable_configs' should be ServableStartConfig, but actually <class 'int'>",
        ),
    ],
)
def test_start_servables_refuses(configs: Any, text: str) -> None:
    assert text_of(lambda: server.start_servables(configs)) == text


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The servable add with the versions 1 and 2, and plain without any."""
    for name, versions in (("add", (1, 2)), ("plain", ())):
        (tmp_path / name).mkdir()
        (tmp_path / name / "servable_config.py").touch()
        for version in versions:
            (tmp_path / name / str(version)).mkdir()
    yield tmp_path


def add(folder: Path, *args: Any, name: str = "add", **values: Any) -> ServableStartConfig:
    return ServableStartConfig(str(folder), name, *args, **values)


@stands_for("4.2-merge-same-version")
def test_the_same_version(folder: Path) -> None:
    [merged] = merge_config([add(folder, (5, 1), 2), add(folder, (4, 3, 1), 0)])
    assert (merged.version_number, merged.device_ids) == (2, (1, 3, 4, 5))


@stands_for("4.2-merge-workers")
def test_the_larger_number_of_workers(folder: Path) -> None:
    [merged] = merge_config([add(folder, num_parallel_workers=n) for n in (2, 5, 3)])
    assert merged.num_parallel_workers == 5


@stands_for("4.2-merge-different-versions")
def test_different_versions(folder: Path) -> None:
    merged = merge_config([add(folder, 0, 1), add(folder, 1, 2)])
    assert [(m.version_number, m.device_ids) for m in merged] == [(1, (0,)), (2, (1,))]


@stands_for("4.2-merge-no-version-directory")
def test_no_version_directory(folder: Path) -> None:
    [merged] = merge_config([add(folder, name="plain")])
    assert merged.version_number == 0


@stands_for("4.2-merge-keys-per-version")
def test_each_version_has_its_key(folder: Path) -> None:
    merged = merge_config([add(folder, 0, 1, dec_key=KEY), add(folder, 0, 2, dec_key=OTHER_KEY)])
    assert [m.dec_key for m in merged] == [KEY, OTHER_KEY]


@pytest.mark.parametrize(
    "second",
    [
        row("4.2-merge-key", {"dec_key": OTHER_KEY}),
        row("4.2-merge-key-or-none", {}),
        row("4.2-merge-mode", {"dec_key": KEY, "dec_mode": "AES-CBC"}),
    ],
)
def test_one_version_with_two_keys(folder: Path, second: dict[str, Any]) -> None:
    text = text_of(lambda: merge_config([add(folder, 0, 2, dec_key=KEY), add(folder, 1, 2, **second)]))
    assert text == "The dec key or dec mode of servable name add is different in multiple configurations."


@stands_for("4.2-merge-directory")
def test_two_directories(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "add").mkdir()
    (other / "add" / "servable_config.py").touch()
    assert text_of(lambda: merge_config([add(folder, 0), add(other, 1)])) == (
        "The servable directory of servable name add is different in multiple configurations, servable directory: "
        f"{folder} and {other}"
    )


@stands_for("4.2-merge-directory-missing")
def test_a_missing_directory(folder: Path) -> None:
    assert text_of(lambda: merge_config([add(folder, name="resnet50 ")])) == (
        f"Check servable config failed, directory '{folder}/resnet50 ' not exist, servable directory '{folder}', "
        "servable name 'resnet50 '"
    )


@stands_for("4.2-merge-file-missing")
def test_a_missing_file(folder: Path) -> None:
    (folder / "add" / "servable_config.py").unlink()
    assert text_of(lambda: merge_config([add(folder)])).startswith(
        f"Check servable config failed, file '{folder}/add/servable_config.py' not exist,  servable directory "
        f"'{folder}', servable name 'add'; and without it: "
    )


@stands_for("4.2-merge-device-used-twice")
def test_a_device_that_is_used_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_BACKEND", "stub")
    text = text_of(lambda: merge_config([add(folder, 2, 0), add(folder, 2, 1)]))
    assert text.startswith("Ascend 910 device id 2 is used repeatedly in servable add")
    for shared in ("CPU", "GPU"):
        monkeypatch.setenv(f"SERVING_ENABLE_{shared}_DEVICE", "1")
        merged = merge_config([add(folder, 0, 1, device_type=shared), add(folder, 0, 2, device_type=shared)])
        assert [m.device_ids for m in merged] == [(0,), (0,)]


@pytest.mark.parametrize(
    ("switch", "wanted", "shown", "supported"),
    [
        row("4.2-merge-device-type-gpu", "", "gpu", "gpu", "None or 'Ascend'"),
        row("4.2-merge-device-type-cpu", "", "CPU", "cpu", "None or 'Ascend'"),
        row(
            "4.2-merge-device-type-with-cpu",
            "SERVING_ENABLE_CPU_DEVICE",
            "GPU",
            "gpu",
            "None, 'Ascend' or 'Cpu'",
        ),
    ],
)
def test_a_device_type_that_is_not_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, switch: str, wanted: str, shown: str, supported: str
) -> None:
    monkeypatch.setenv("SERVING_BACKEND", "stub")
    if switch:
        monkeypatch.setenv(switch, "1")
    assert text_of(lambda: merge_config([add(folder, 0, device_type=wanted)])) == (
        f"The device type '{shown}' of servable name add is inconsistent with current running environment, supported "
        f"device type: {supported} with SERVING_BACKEND=stub"
    )


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        row("5.1-newest-is-a-number", ["9", "10", "2"], 10),
        row("5.1-leading-zero", ["1", "02"], 1),
        row("5.1-version-0", ["0"], 0),
        row("5.1-other-names", ["1", "v2", "2x", "-3", "4.0", "5_0", "+6", " 7"], 1),
        row("5.1-other-digits", ["1", "\u0663", "\u00b2", "\uff14"], 1),
        row("5.1-largest-version", ["1", "18446744073709551615"], 18446744073709551615),
    ],
)
def test_newest_version(tmp_path: Path, names: list[str], newest: int) -> None:
    for name in names:
        (tmp_path / "add" / name).mkdir(parents=True)
    (tmp_path / "add" / "servable_config.py").touch()
    [merged] = merge_config([add(tmp_path)])
    assert merged.version_number == newest


@stands_for("5.1-too-large-a-version")
def test_a_version_that_no_request_can_name(tmp_path: Path) -> None:
    (tmp_path / "add" / "18446744073709551616").mkdir(parents=True)
    (tmp_path / "add" / "servable_config.py").touch()
    assert "add/18446744073709551616' has too large a number" in text_of(
        lambda: merge_config([add(tmp_path)])
    )
