"""Which family runs a model, where, and what is said where it is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mindspore_serving.errors import InvalidParameter, StartUpError
from mindspore_serving.options import DEVICE_TYPES
from mindspore_serving.server.backend.families import (
    FAMILIES,
    Family,
    choice_of_family,
    chosen_family,
    family_of,
    family_of_ranks,
    supported_device_types,
    takes_one_worker,
)
from mindspore_serving.server.backend.mindspore.devices import device_types


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
    assert device_types({}, device_folder, tmp_path) == expected


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


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, "mindspore"), ({"SERVING_BACKEND": ""}, "mindspore"), ({"SERVING_BACKEND": "stub"}, "stub")],
)
def test_chosen_family(environment: dict[str, str], expected: str) -> None:
    assert chosen_family(environment).name == expected


def test_unknown_backend() -> None:
    with pytest.raises(
        InvalidParameter,
        match="SERVING_BACKEND can only be 'mindspore' or 'lite' or 'onnx' or 'paddle' or 'stub', but got 'Stub'",
    ):
        supported_device_types({"SERVING_BACKEND": "Stub"})


LIBRARIES = ("mindspore", "mindspore_lite", "onnxruntime", "paddle")


def test_the_table_and_the_devices_import_no_library() -> None:
    code = (
        "import sys\n"
        "from mindspore_serving.server.backend.families import FAMILIES, supported_device_types, takes_one_worker\n"
        "for name in FAMILIES:\n"
        "    assert supported_device_types({'SERVING_BACKEND': name})\n"
        "    takes_one_worker('ascend', {'SERVING_BACKEND': name})\n"
        f"print([name for name in {LIBRARIES} if name in sys.modules])\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=root, capture_output=True)
    assert done.stdout.decode().strip() == "[]"


@pytest.mark.parametrize(
    ("chosen", "model_format", "enable_lite", "expected"),
    [
        ("", "mindir", False, "mindspore"),
        ("", "mindir", True, "lite"),
        ("", "mindir_lite", False, "lite"),  # the first family that runs the format
        ("mindspore", "mindir", True, "lite"),
        ("lite", "mindir", False, "lite"),
        ("stub", "mindir", True, "stub"),  # it stands in for all others
        ("stub", "mindir_lite", False, "stub"),
        ("stub", "om", False, "stub"),
    ],
)
def test_family_of_a_format(chosen: str, model_format: str, enable_lite: bool, expected: str) -> None:
    assert family_of(model_format, enable_lite, {"SERVING_BACKEND": chosen}).name == expected


@pytest.mark.parametrize("chosen", ["", "lite"])
@pytest.mark.parametrize("enable_lite", [False, True])
def test_a_format_that_nobody_runs(chosen: str, enable_lite: bool) -> None:
    with pytest.raises(
        StartUpError, match=r"^Models of format OM cannot be run, expected MindIR or MindIR_Lite: "
    ):
        family_of("om", enable_lite, {"SERVING_BACKEND": chosen})


@pytest.mark.parametrize(("chosen", "expected"), [("", "mindspore"), ("lite", "mindspore"), ("stub", "stub")])
def test_family_of_ranks(chosen: str, expected: str) -> None:
    assert family_of_ranks({"SERVING_BACKEND": chosen}).name == expected


def test_what_chose_the_family() -> None:
    assert choice_of_family({}) == ""
    assert choice_of_family({"SERVING_BACKEND": "lite"}) == " with SERVING_BACKEND=lite"


def test_a_family_that_is_not_installed_names_the_command() -> None:
    family = Family("absent", "AbsentBackend", ("absent",), "pip install 'mindspore_serving[absent]'")
    with pytest.raises(StartUpError) as refused:
        family.new_backend()
    assert str(refused.value) == (
        "Backend 'absent' cannot be imported: No module named 'mindspore_serving.server.backend.absent'; install it "
        "with: pip install 'mindspore_serving[absent]'"
    )


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_each_line_of_the_table_has_its_folder(family: Family) -> None:
    assert family.devices.device_types({}, Path("/nowhere"))
    assert callable(family.new_backend().load)
    assert family.formats
    assert family.install or family.stands_in
