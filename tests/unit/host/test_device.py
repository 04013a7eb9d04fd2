"""Which devices there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mindspore_serving.errors import InvalidParameter
from mindspore_serving.server.host.device import (
    DEVICE_TYPES,
    backend_name,
    display_name,
    shares_of_cores,
    supported_device_types,
    takes_one_worker,
)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ("ascend",)),
        ({"SERVING_ENABLE_CPU_DEVICE": "1"}, ("ascend", "cpu")),
        ({"SERVING_ENABLE_GPU_DEVICE": "1"}, ("ascend", "gpu")),
        ({"SERVING_ENABLE_CPU_DEVICE": "1", "SERVING_ENABLE_GPU_DEVICE": "1"}, ("ascend", "gpu", "cpu")),
        ({"SERVING_ENABLE_CPU_DEVICE": "0", "SERVING_ENABLE_GPU_DEVICE": "true"}, ("ascend",)),
    ],
)
def test_devices_of_the_stub(environment: dict[str, str], expected: tuple[str, ...]) -> None:
    assert supported_device_types({"SERVING_BACKEND": "stub", **environment}) == expected


@pytest.mark.parametrize(
    ("plugins", "files", "expected"),
    [
        ([], [], ("cpu",)),
        (["libmindspore_gpu.so.11.6", "libmindspore_ascend.so.2"], [], ("cpu",)),
        ([], ["nvidia0", "davinci0"], ("cpu",)),
        (["libmindspore_gpu.so.11.6"], ["nvidia0"], ("gpu", "cpu")),
        (["libmindspore_gpu.so.11.6"], ["nvidiactl", "nvidia-uvm"], ("cpu",)),
        (["libmindspore_gpu.so.11.6"], ["davinci3"], ("cpu",)),
        (["libmindspore_ascend.so.2"], ["davinci3"], ("ascend", "cpu")),
        (["libmindspore_ascend.so.2"], ["davinci_manager"], ("cpu",)),
        (["libmindspore_gpu.so", "libmindspore_ascend.so.2"], ["nvidia1", "davinci0"], DEVICE_TYPES),
    ],
)
def test_devices_of_mindspore(
    tmp_path: Path, plugins: list[str], files: list[str], expected: tuple[str, ...]
) -> None:
    plugin_folder, device_folder = tmp_path / "lib" / "plugin", tmp_path / "dev"
    plugin_folder.mkdir(parents=True)
    device_folder.mkdir()
    for path in [plugin_folder / name for name in plugins] + [device_folder / name for name in files]:
        path.touch()
    assert supported_device_types({}, device_folder, tmp_path) == expected


def test_looking_for_devices_does_not_import_mindspore() -> None:
    code = (
        "import sys\n"
        "from mindspore_serving.server.host.device import supported_device_types\n"
        "assert 'cpu' in supported_device_types({})\n"
        "assert 'mindspore' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=Path(__file__).parents[3])


@pytest.mark.parametrize(
    ("device_type", "backend", "cards", "expected"),
    [
        ("ascend", "stub", [], True),
        ("gpu", "stub", [], False),
        ("cpu", "stub", [], False),
        ("ascend", "lite", ["0xd801"], False),
        ("ascend", "mindspore", [], True),  # in a container that shows no cards
        ("ascend", "mindspore", ["0xd801"], True),
        ("ascend", "mindspore", ["0xd802"], True),
        ("ascend", "mindspore", ["0xd100", "0xd100"], False),
        ("ascend", "mindspore", ["0xd500"], False),
        ("ascend", "mindspore", ["0xd500", "0xd801"], True),
        ("ascend", "mindspore", ["0x1711", "0xd500"], False),  # other cards of the vendor do not count
        ("gpu", "mindspore", [], False),
    ],
)
def test_a_device_for_one_worker(
    tmp_path: Path, device_type: str, backend: str, cards: list[str], expected: bool
) -> None:
    given = [("0x8086", "0xd801"), *(("0x19e5", card) for card in cards)]  # the first is of another vendor
    for i, (vendor, device) in enumerate(given):
        folder = tmp_path / f"0000:0{i}:00.0"
        folder.mkdir()
        (folder / "vendor").write_text(f"{vendor}\n")
        (folder / "device").write_text(f"{device}\n")
    assert takes_one_worker(device_type, {"SERVING_BACKEND": backend}, tmp_path) is expected


def test_display_names() -> None:
    assert [display_name(device_type) for device_type in DEVICE_TYPES] == ["Ascend", "Gpu", "Cpu"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, "mindspore"), ({"SERVING_BACKEND": ""}, "mindspore"), ({"SERVING_BACKEND": "stub"}, "stub")],
)
def test_backend_name(environment: dict[str, str], expected: str) -> None:
    assert backend_name(environment) == expected


def test_unknown_backend() -> None:
    with pytest.raises(
        InvalidParameter, match="SERVING_BACKEND can only be 'mindspore' or 'lite' or 'stub', but got 'Stub'"
    ):
        supported_device_types({"SERVING_BACKEND": "Stub"})


@pytest.mark.parametrize(
    ("copies", "cores", "expected"),
    [
        (1, (0, 1), [()]),
        (2, (0, 1), [(0,), (1,)]),
        (2, (7, 3, 5), [(3,), (5, 7)]),
        (3, (0, 1, 2, 3, 4, 5, 6, 7), [(0, 1), (2, 3, 4), (5, 6, 7)]),
        (3, (0, 1), [(), (), ()]),
        (0, (0, 1), []),
    ],
)
def test_shares_of_cores(copies: int, cores: tuple[int, ...], expected: list[tuple[int, ...]]) -> None:
    assert shares_of_cores(copies, cores, {}) == expected
    assert shares_of_cores(copies, cores, {"SERVING_SHARE_CORES": "1"}) == expected
    assert shares_of_cores(copies, cores, {"SERVING_SHARE_CORES": "0"}) == [()] * copies


def test_a_wrong_setting_of_shares_of_cores() -> None:
    with pytest.raises(InvalidParameter) as refused:
        shares_of_cores(2, (0, 1), {"SERVING_SHARE_CORES": "no"})
    assert str(refused.value) == "Environment variable SERVING_SHARE_CORES should be 0 or 1, but got 'no'"
