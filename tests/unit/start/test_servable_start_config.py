"""Start configurations, their checks, and how several of them merge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving import server
from mindspore_serving.server import ServableStartConfig
from mindspore_serving.server.start.merging import merge_config
from mindspore_serving.server.start.worker_plans import absolute, plans_of

KEY = b"0123456789abcdef"
OTHER_KEY = b"fedcba9876543210"


@pytest.fixture(autouse=True)
def stub_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stub backend, which has Ascend alone unless a test adds more."""
    monkeypatch.setenv("SERVING_BACKEND", "stub")
    monkeypatch.delenv("SERVING_ENABLE_CPU_DEVICE", raising=False)
    monkeypatch.delenv("SERVING_ENABLE_GPU_DEVICE", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Servables add (versions 1 and 2), sub (version 1) and plain (no version)."""
    for name, versions in (("add", ["1", "2"]), ("sub", ["1"]), ("plain", [])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "servable_config.py").touch()
        for version in versions:
            (tmp_path / name / version).mkdir()
    return tmp_path


def add(folder: Path, *args: Any, **kwargs: Any) -> ServableStartConfig:
    return ServableStartConfig(str(folder), "add", *args, **kwargs)


def refusal(configs: Sequence[ServableStartConfig]) -> str:
    with pytest.raises(RuntimeError) as refused:
        merge_config(configs)
    return str(refused.value)


# ---- one configuration


def test_defaults() -> None:
    config = ServableStartConfig("folder", "add")
    assert config.servable_directory == "folder"
    assert config.servable_name == "add"
    assert config.device_ids == ()
    assert config.version_number == 0
    assert config.device_type == "none"
    assert config.num_parallel_workers == 1
    assert config.dec_key is None
    assert config.dec_mode == "AES-GCM"
    assert config.max_batch_delay_ms == 0
    assert config.slots_per_copy == 2
    assert config.stage_timeout_ms == 0
    assert config.max_enqueued_requests == config.max_enqueued_instances == config.max_enqueued_bytes == 0


def test_batching_is_set_by_keyword() -> None:
    config = ServableStartConfig("folder", "add", max_batch_delay_ms=2.5, slots_per_copy=3)
    assert (config.max_batch_delay_ms, config.slots_per_copy) == (2.5, 3)
    with pytest.raises(TypeError):
        ServableStartConfig("folder", "add", 0, 0, None, 0, None, "AES-GCM", 5)


def test_the_limit_of_calls_is_set_by_keyword() -> None:
    config = ServableStartConfig("folder", "add", stage_timeout_ms=86_400_000)
    assert config.stage_timeout_ms == 86_400_000
    assert absolute(config).stage_timeout_ms == 86_400_000
    assert {plan.settings.stage_timeout_ms for plan in plans_of(config)} == {86_400_000}


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"max_batch_delay_ms": "5"}, "'max_batch_delay_ms' should be int or float, but actually <class 'str'>"),
        ({"max_batch_delay_ms": True}, "'max_batch_delay_ms' should be int or float, but actually <class 'bool'>"),
        ({"max_batch_delay_ms": -1}, "'max_batch_delay_ms' should be in range [0,60000], but actually -1"),
        ({"max_batch_delay_ms": 60_001}, "'max_batch_delay_ms' should be in range [0,60000], but actually 60001"),
        ({"max_batch_delay_ms": float("nan")}, "'max_batch_delay_ms' should be in range [0,60000], but actually nan"),
        ({"stage_timeout_ms": "5"}, "'stage_timeout_ms' should be int or float, but actually <class 'str'>"),
        ({"stage_timeout_ms": -0.5}, "'stage_timeout_ms' should be in range [0,86400000], but actually -0.5"),
        ({"stage_timeout_ms": float("inf")}, "'stage_timeout_ms' should be in range [0,86400000], but actually inf"),
        ({"slots_per_copy": 0}, "'slots_per_copy' should be in range [1,16]"),
        ({"slots_per_copy": 17}, "'slots_per_copy' should be in range [1,16]"),
        ({"slots_per_copy": 1.0}, "'slots_per_copy' should be int, but actually <class 'float'>"),
    ],
)  # fmt: skip
def test_wrong_keyword_parameters(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(RuntimeError) as refused:
        ServableStartConfig("folder", "add", **parameters)
    assert str(refused.value) == f"Parameter {text}"


@pytest.mark.parametrize("name", ["max_enqueued_requests", "max_enqueued_instances", "max_enqueued_bytes"])
def test_limits_of_a_servable(name: str) -> None:
    assert getattr(ServableStartConfig("folder", "add", **{name: 7}), name) == 7
    for wrong, text in (
        (-1, ">= 0"),
        (1.5, "int, but actually <class 'float'>"),
        (True, "int, but actually <class 'bool'>"),
    ):
        with pytest.raises(RuntimeError) as refused:
            ServableStartConfig("folder", "add", **{name: wrong})
        assert str(refused.value) == f"Parameter '{name}' should be {text}"


def test_all_values_in_positional_order() -> None:
    config = ServableStartConfig("folder", "add", (2, 0), 3, "GPU", 4, KEY, "AES-CBC")
    assert config.device_ids == (2, 0)
    assert config.version_number == 3
    assert config.device_type == "gpu"
    assert config.num_parallel_workers == 4
    assert config.dec_key == KEY
    assert config.dec_mode == "AES-CBC"


@pytest.mark.parametrize(
    ("given", "held"), [(None, ()), (0, (0,)), (3, (3,)), ([1, 0], (1, 0)), ((5,), (5,)), ([], ()), ((), ())]
)
def test_device_ids_become_a_tuple(given: Any, held: tuple[int, ...]) -> None:
    assert ServableStartConfig("folder", "add", device_ids=given).device_ids == held


@pytest.mark.parametrize(
    ("given", "held"),
    [
        (None, "none"),
        ("none", "none"),
        ("None", "none"),
        ("Ascend", "ascend"),
        ("ASCEND", "ascend"),
        ("Gpu", "gpu"),
        ("cpu", "cpu"),
    ],
)
def test_device_type_is_held_in_lower_case(given: str | None, held: str) -> None:
    assert ServableStartConfig("folder", "add", device_type=given).device_type == held


@pytest.mark.parametrize(
    ("device_ids", "given", "held"), [(None, 0, 1), (None, 3, 3), (0, 0, 0), (0, 2, 2), ((0, 1), 64, 64)]
)
def test_without_devices_there_is_at_least_one_worker(device_ids: Any, given: int, held: int) -> None:
    config = ServableStartConfig("folder", "add", device_ids, num_parallel_workers=given)
    assert config.num_parallel_workers == held


@pytest.mark.parametrize("length", [16, 24, 32])
@pytest.mark.parametrize("mode", ["AES-GCM", "AES-CBC"])
def test_keys_and_modes(length: int, mode: str) -> None:
    config = ServableStartConfig("folder", "add", 0, dec_key=b"k" * length, dec_mode=mode)
    assert (config.dec_key, config.dec_mode) == (b"k" * length, mode)


def test_a_key_in_the_place_it_had_in_older_releases() -> None:
    config = ServableStartConfig("folder", "add", 0, 1, "Ascend", KEY)
    assert (config.num_parallel_workers, config.dec_key, config.dec_mode) == (0, KEY, "AES-GCM")


def test_a_key_and_its_mode_in_the_places_they_had_in_older_releases() -> None:
    older: Any = ServableStartConfig
    config = older("folder", "add", 0, 1, "Ascend", KEY, "AES-CBC")
    assert (config.num_parallel_workers, config.dec_key, config.dec_mode) == (0, KEY, "AES-CBC")


@pytest.mark.parametrize(
    "name",
    [
        "servable_directory",
        "servable_name",
        "device_ids",
        "version_number",
        "device_type",
        "num_parallel_workers",
        "dec_key",
        "dec_mode",
    ],
)
def test_values_are_read_only(name: str) -> None:
    config = ServableStartConfig("folder", "add")
    with pytest.raises(AttributeError):
        setattr(config, name, getattr(config, name))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"servable_directory": 1},
            "Parameter 'servable_directory' should be str, but actually <class 'int'>",
        ),
        ({"servable_directory": ""}, "Parameter 'servable_directory' should not be empty str"),
        ({"servable_name": None}, "Parameter 'servable_name' should be str, but actually <class 'NoneType'>"),
        ({"servable_name": ""}, "Parameter 'servable_name' should not be empty str"),
        (
            {"device_ids": "1"},
            "Parameter 'device_ids' should be int or tuple/list of int, but actually <class 'str'>",
        ),
        (
            {"device_ids": 1.0},
            "Parameter 'device_ids' should be int or tuple/list of int, but actually <class 'float'>",
        ),
        ({"device_ids": [0, -1]}, "The item value '-1' in parameter 'device_ids' should be >= 0"),
        (
            {"device_ids": [0, "1"]},
            "The item value '1' in parameter 'device_ids' should be int, but actually <class 'str'>",
        ),
        ({"device_ids": (1, 2, 1)}, "The item value '1' in parameter 'device_ids' should not be repeated"),
        ({"version_number": -1}, "Parameter 'version_number' should be >= 0"),
        ({"version_number": "1"}, "Parameter 'version_number' should be int, but actually <class 'str'>"),
        ({"version_number": True}, "Parameter 'version_number' should be int, but actually <class 'bool'>"),
        (
            {"device_type": "InvalidDeviceType"},
            "Unsupported device type 'InvalidDeviceType', only support 'Ascend', 'GPU', 'CPU' and None, case ignored",
        ),
        ({"device_type": ""}, "Parameter 'device_type' should not be empty str"),
        ({"device_type": 1}, "Parameter 'device_type' should be str, but actually <class 'int'>"),
        (
            {"servable_name": "a/b"},
            "Parameter 'servable_name' should be the name of a folder in 'servable_directory', without '/', but "
            "actually 'a/b'",
        ),
        (
            {"servable_name": "add/"},
            "Parameter 'servable_name' should be the name of a folder in 'servable_directory', without '/', but "
            "actually 'add/'",
        ),
        (
            {"servable_name": "a\ud800"},
            "Parameter 'servable_name' should be text that UTF-8 can encode, but actually 'a\\ud800'",
        ),
        (
            {"servable_name": "a\0"},
            "Parameter 'servable_name' should not have null characters, but actually 'a\\x00'",
        ),
        (
            {"version_number": 1 << 64},
            "Parameter 'version_number' should be <= 18446744073709551615, but actually 18446744073709551616",
        ),
        ({"num_parallel_workers": 65}, "Parameter 'num_parallel_workers' should be in range [0,64]"),
        ({"num_parallel_workers": -1}, "Parameter 'num_parallel_workers' should be in range [0,64]"),
        (
            {"num_parallel_workers": "2"},
            "Parameter 'num_parallel_workers' should be int, but actually <class 'str'>",
        ),
        ({"dec_key": "key"}, "Parameter 'dec_key' should be bytes, but actually <class 'str'>"),
        ({"dec_key": b""}, "Parameter 'dec_key' should not be empty bytes"),
        ({"dec_key": b"k" * 15}, "Parameter 'dec_key' length 15 expected to be 16, 24 or 32"),
        ({"dec_mode": 1}, "Parameter 'dec_mode' should be str, but actually <class 'int'>"),
        ({"dec_mode": "AES"}, "Parameter 'dec_mode' expected to be 'AES-GCM' or 'AES-CBC'"),
        ({"dec_mode": "aes-gcm"}, "Parameter 'dec_mode' expected to be 'AES-GCM' or 'AES-CBC'"),
    ],
)
def test_a_wrong_value_is_refused_with_the_reason(values: dict[str, Any], text: str) -> None:
    arguments: dict[str, Any] = {"servable_directory": "folder", "servable_name": "add", **values}
    with pytest.raises(RuntimeError) as refused:
        ServableStartConfig(**arguments)
    assert str(refused.value) == text


@pytest.mark.parametrize("given", [1, "add", None, {"servable_name": "add"}])
def test_start_servables_refuses_what_is_no_configuration(given: Any) -> None:
    with pytest.raises(RuntimeError) as refused:
        server.start_servables(given)
    assert str(refused.value).startswith("Parameter '")
    assert str(refused.value).endswith(
        f"' should be ServableStartConfig, list or tuple of ServableStartConfig, but actually {type(given)}"
    )


@pytest.mark.parametrize("item", [1, "add", None])
def test_start_servables_refuses_an_item_that_is_no_configuration(item: Any) -> None:
    with pytest.raises(RuntimeError) as refused:
        server.start_servables([ServableStartConfig("folder", "add"), item])
    assert str(refused.value).startswith("The item of parameter '")
    assert str(refused.value).endswith(f"' should be ServableStartConfig, but actually {type(item)}")


# ---- several configurations


def test_one_configuration_gets_its_version(folder: Path) -> None:
    (merged,) = merge_config([add(folder, device_ids=3)])
    assert merged.servable_directory == str(folder)
    assert merged.servable_name == "add"
    assert merged.version_number == 2
    assert merged.device_ids == (3,)
    assert merged.device_type == "none"


@pytest.mark.parametrize("version", [1, 2])
def test_a_wanted_version_is_kept(folder: Path, version: int) -> None:
    (merged,) = merge_config([add(folder, 0, version)])
    assert merged.version_number == version


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (["1"], 1),
        (["9", "10", "2"], 10),
        (["1", "02", "003"], 1),
        (["1", "0"], 1),
        (["0"], 0),
        (["01"], 0),
        (["1", "2x", "x3", "v4", "5.0", "-6", "+7", "²"], 1),
        (["1", "٣", "1_0", " 2", "+3", "1²", "\uff13"], 1),
        (["1", "18446744073709551615"], (1 << 64) - 1),
        ([], 0),
    ],
)
def test_version_0_is_the_largest_directory_with_the_name_of_a_number(
    tmp_path: Path, names: list[str], newest: int
) -> None:
    (tmp_path / "add").mkdir()
    (tmp_path / "add" / "servable_config.py").touch()
    (tmp_path / "add" / "99").touch()  # a file is no version
    for name in names:
        (tmp_path / "add" / name).mkdir()
    (merged,) = merge_config([add(tmp_path, 0)])
    assert merged.version_number == newest


@pytest.mark.parametrize("name", ["18446744073709551616", "9" * 200])
def test_a_version_that_no_request_can_name(folder: Path, name: str) -> None:
    (folder / "add" / name).mkdir()
    assert refusal([add(folder, 0)]) == (
        f"Version directory '{folder}/add/{name}' has too large a number, a version is at most 18446744073709551615; "
        "rename it"
    )
    [merged] = merge_config([add(folder, 0, 1)])  # who names a version gets that one
    assert merged.version_number == 1


@pytest.mark.parametrize("versions", [(2, 2), (0, 2), (2, 0), (0, 0)])
def test_the_same_version_twice_is_one_configuration_with_all_devices(
    folder: Path, versions: tuple[int, int]
) -> None:
    first, second = versions
    (merged,) = merge_config([add(folder, (5, 1), first), add(folder, (4, 3, 1), second)])
    assert merged.version_number == 2
    assert merged.device_ids == (1, 3, 4, 5)


def test_the_same_device_twice_is_one_device(folder: Path) -> None:
    (merged,) = merge_config([add(folder, 1), add(folder, 1)])
    assert merged.device_ids == (1,)


def test_devices_come_in_ascending_order(folder: Path) -> None:
    (merged,) = merge_config([add(folder, (3, 0, 2))])
    assert merged.device_ids == (0, 2, 3)


@pytest.mark.parametrize("counts", [(2, 5), (5, 2)])
def test_the_larger_number_of_workers_counts(folder: Path, counts: tuple[int, int]) -> None:
    (merged,) = merge_config([add(folder, i, num_parallel_workers=count) for i, count in enumerate(counts)])
    assert merged.num_parallel_workers == 5


def test_different_versions_stay_apart(folder: Path) -> None:
    merged = merge_config([add(folder, 0, 1), add(folder, 1, 2), add(folder, 2, 0)])
    assert {config.version_number: config.device_ids for config in merged} == {1: (0,), 2: (1, 2)}


def test_different_servables_stay_apart(folder: Path) -> None:
    sub = ServableStartConfig(str(folder), "sub", 1)
    merged = merge_config([add(folder, 0), sub])
    found = {(config.servable_name, config.version_number, config.device_ids) for config in merged}
    assert found == {("add", 2, (0,)), ("sub", 1, (1,))}


def test_an_ascend_910_takes_one_worker(folder: Path) -> None:
    assert refusal([add(folder, (0, 1), 1), add(folder, (1, 2), 2)]) == (
        "Ascend 910 device id 1 is used repeatedly in servable add version 2: servable add version 1 has it; give each "
        "a device of its own, as parameter 'device_ids'"
    )
    sub = ServableStartConfig(str(folder), "sub", 0, device_type="ascend")
    assert "Ascend 910 device id 0 is used repeatedly in servable sub version 1" in refusal(
        [add(folder, 0), sub]
    )


@pytest.mark.parametrize("device_type", ["cpu", "gpu"])
def test_other_devices_are_shared(folder: Path, monkeypatch: pytest.MonkeyPatch, device_type: str) -> None:
    monkeypatch.setenv(f"SERVING_ENABLE_{device_type.upper()}_DEVICE", "1")
    sub = ServableStartConfig(str(folder), "sub", 0)
    merged = merge_config([add(folder, 0, 1, device_type=device_type), sub])
    assert [config.device_ids for config in merged] == [(0,), (0,)]


def test_a_device_of_lite_is_shared(folder: Path) -> None:
    merged = merge_config([add(folder, 0, 1), add(folder, 0, 2)], enable_lite=True)
    assert [config.device_ids for config in merged] == [(0,), (0,)]


def test_one_configuration_twice_is_one(folder: Path) -> None:
    [merged] = merge_config([add(folder, 0), add(folder, (0, 1), 2)])
    assert merged.device_ids == (0, 1)


def test_a_servable_without_version_directories_keeps_version_0(folder: Path) -> None:
    (merged,) = merge_config([ServableStartConfig(str(folder), "plain")])
    assert merged.version_number == 0
    assert merged.num_parallel_workers == 1


def test_a_missing_directory(folder: Path) -> None:
    assert refusal([ServableStartConfig(str(folder), "nobody", 0)]) == (
        f"Check servable config failed, directory '{folder}/nobody' not exist, "
        f"servable directory '{folder}', servable name 'nobody'"
    )


def test_a_blank_in_a_name_is_part_of_the_name(folder: Path) -> None:
    assert refusal([ServableStartConfig(str(folder), "add ", 0)]) == (
        f"Check servable config failed, directory '{folder}/add ' not exist, "
        f"servable directory '{folder}', servable name 'add '"
    )


def test_a_missing_file(folder: Path) -> None:
    (folder / "add" / "servable_config.py").unlink()
    assert refusal([add(folder, 0)]) == (
        f"Check servable config failed, file '{folder}/add/servable_config.py' not exist,  "
        f"servable directory '{folder}', servable name 'add'; and without it: Folder '{folder}/add/2' is empty, it "
        "should hold a model. Models are files named *.mindir, *.ms, *.onnx, *.json, *.pdmodel, __model__"
    )


def test_one_servable_in_two_directories(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "add").mkdir()
    (other / "add" / "servable_config.py").touch()
    assert refusal([add(folder, 0), add(other, 1)]) == (
        "The servable directory of servable name add is different in multiple configurations, "
        f"servable directory: {folder} and {other}"
    )


def test_one_version_with_two_ways_of_batching(folder: Path) -> None:
    for second in ({}, {"max_batch_delay_ms": 5}, {"slots_per_copy": 1, "max_batch_delay_ms": 2}):
        assert refusal([add(folder, 0, max_batch_delay_ms=2), add(folder, 1, **second)]) == (
            "The max batch delay or slots per copy of servable name add is different in multiple configurations."
        )
    [merged] = merge_config(
        [add(folder, number, max_batch_delay_ms=2, slots_per_copy=4) for number in range(2)]
    )
    assert (merged.device_ids, merged.max_batch_delay_ms, merged.slots_per_copy) == ((0, 1), 2, 4)


def test_one_version_with_two_limits_of_calls(folder: Path) -> None:
    assert refusal([add(folder, 0, stage_timeout_ms=100), add(folder, 1)]) == (
        "The stage timeout of servable name add is different in multiple configurations."
    )
    [merged] = merge_config([add(folder, number, stage_timeout_ms=100) for number in range(2)])
    assert (merged.device_ids, merged.stage_timeout_ms) == ((0, 1), 100)


def test_one_version_with_two_limits(folder: Path) -> None:
    for second in ({}, {"max_enqueued_requests": 3}, {"max_enqueued_requests": 2, "max_enqueued_bytes": 1}):
        assert refusal([add(folder, 0, max_enqueued_requests=2), add(folder, 1, **second)]) == (
            "The max enqueued requests, instances or bytes of servable name add is different in multiple "
            "configurations."
        )
    limits = {"max_enqueued_requests": 2, "max_enqueued_instances": 3, "max_enqueued_bytes": 4}
    [merged] = merge_config([add(folder, number, **limits) for number in range(2)])
    assert {name: getattr(merged, name) for name in limits} == limits


@pytest.mark.parametrize(
    "second", [{"dec_key": OTHER_KEY}, {"dec_key": None}, {"dec_key": KEY, "dec_mode": "AES-CBC"}]
)
@pytest.mark.parametrize("version", [0, 2])
def test_one_version_with_two_keys(folder: Path, second: dict[str, Any], version: int) -> None:
    assert refusal([add(folder, 0, 2, dec_key=KEY), add(folder, 1, version, **second)]) == (
        "The dec key or dec mode of servable name add is different in multiple configurations."
    )


def test_each_version_may_have_its_key(folder: Path) -> None:
    merged = merge_config(
        [add(folder, 0, 1, dec_key=KEY), add(folder, 1, 2, dec_key=OTHER_KEY, dec_mode="AES-CBC")]
    )
    assert [(config.dec_key, config.dec_mode) for config in merged] == [
        (KEY, "AES-GCM"),
        (OTHER_KEY, "AES-CBC"),
    ]


def test_the_same_key_twice_is_kept(folder: Path) -> None:
    (merged,) = merge_config([add(folder, i, dec_key=KEY, dec_mode="AES-CBC") for i in range(2)])
    assert (merged.dec_key, merged.dec_mode, merged.device_ids) == (KEY, "AES-CBC", (0, 1))


@pytest.mark.parametrize(
    ("switches", "wanted", "shown", "supported"),
    [
        ((), "gpu", "gpu", "None or 'Ascend'"),
        ((), "CPU", "cpu", "None or 'Ascend'"),
        (("SERVING_ENABLE_CPU_DEVICE",), "GPU", "gpu", "None, 'Ascend' or 'Cpu'"),
        (("SERVING_ENABLE_GPU_DEVICE",), "cpu", "cpu", "None, 'Ascend' or 'Gpu'"),
    ],
)
def test_a_device_type_that_is_not_there(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    switches: tuple[str, ...],
    wanted: str,
    shown: str,
    supported: str,
) -> None:
    for switch in switches:
        monkeypatch.setenv(switch, "1")
    assert refusal([add(folder, 0, device_type=wanted)]) == (
        f"The device type '{shown}' of servable name add is inconsistent with current running environment, "
        f"supported device type: {supported} with SERVING_BACKEND=stub"
    )


@pytest.mark.parametrize(
    ("switch", "wanted"),
    [(None, "Ascend"), ("SERVING_ENABLE_CPU_DEVICE", "CPU"), ("SERVING_ENABLE_GPU_DEVICE", "GPU")],
)
def test_a_device_type_that_is_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, switch: str | None, wanted: str
) -> None:
    if switch:
        monkeypatch.setenv(switch, "1")
    (merged,) = merge_config([add(folder, 0, device_type=wanted)])
    assert merged.device_type == wanted.lower()


def test_what_merges_is_left_as_it_was(folder: Path) -> None:
    given = [add(folder, (1, 0)), add(folder, 2)]
    merge_config(given)
    assert [(config.device_ids, config.version_number) for config in given] == [((1, 0), 0), ((2,), 0)]
