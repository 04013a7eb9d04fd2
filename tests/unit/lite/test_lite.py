"""What surrounds the library of MindSpore Lite: where it is, how it gets there, what its log says."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import pytest

from mindspore_serving.errors import InvalidParameter, StartUpError
from mindspore_serving.lite import installation
from mindspore_serving.lite.build import build, compile_shim, find_compiler, unpack
from mindspore_serving.lite.convert import convert
from mindspore_serving.lite.installation import find_library, folders, is_built, library_of, stamp_of
from mindspore_serving.lite.reason import reason_of
from mindspore_serving.server.backend import backend_for
from mindspore_serving.server.backend.families import supported_device_types
from mindspore_serving.server.backend.lite.backend import LiteBackend

NEWER = """Common error code.
[ERROR] CORE(1,7f,python):2026-01-01-00:00:00.000.001 [mindspore/core/a.cc:392] operator^] Runtime error for null exception handler.
[ERROR] ME(1,7f,python):2026-01-01-00:00:00.000.002 [mindspore/b.cc:100] Build] Catch exception: It knows version 1

----------------------------------------------------
- C++ Call Stack: (For framework developers)
----------------------------------------------------
mindspore/core/load_mindir/load_model.cc:2014 MSANFParseModelConfigureInfo

"""  # noqa: E501
DEVICE = """Common error code.
[WARNING] ME(1,7f,python):2026-01-01-00:00:00.000.001 [x.cc:30] Open] Open libnuma.so failed!try libnuma.so.1 again.
[WARNING] ME(1,7f,python):2026-01-01-00:00:00.000.001 [x.cc:35] NUMAAdapter] Will take another one.
[WARNING] ME(1,7f,python):2026-01-01-00:00:00.000.001 [dlutils.h:101] DLSoOpen] dlopen libx.so failed, error: no file
[ERROR] ME(1,7f,python):2026-01-01-00:00:00.000.002 [y.cc:46] Register] DLSoOpen failed
[ERROR] ME(1,7f,python):2026-01-01-00:00:00.000.003 [y.cc:46] Register] DLSoOpen failed
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (NEWER, "It knows version 1"),
        (DEVICE, "dlopen libx.so failed, error: no file; DLSoOpen failed"),
        ("Invalid config file.\n", "Invalid config file."),
        ("Common error code.\n", "Common error code."),
        ("", "no reason given"),
    ],
)
def test_reason(text: str, reason: str) -> None:
    assert reason_of(text) == reason


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folders({"SERVING_LITE_FOLDER": str(tmp_path)}) == (tmp_path,)
    of_user = tmp_path / "mindspore_serving" / "mindspore-lite-2.0.0"
    monkeypatch.setattr(sys, "prefix", "/some/venv")
    assert folders({"XDG_DATA_HOME": str(tmp_path)}) == (
        Path("/some/venv/share/mindspore_serving/mindspore-lite-2.0.0"),
        of_user,
    )
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert folders({"XDG_DATA_HOME": str(tmp_path)}) == (of_user,)


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 987654)
    monkeypatch.setattr(sys, "prefix", "/some/venv")
    assert folders({})[0] == Path("/some/venv/share/mindspore_serving/mindspore-lite-2.0.0")


def test_only_what_was_built_from_this_source_counts(tmp_path: Path) -> None:
    environment = {"SERVING_LITE_FOLDER": str(tmp_path)}
    assert find_library(environment) is None
    library_of(tmp_path).parent.mkdir()
    library_of(tmp_path).touch()
    assert find_library(environment) is None
    stamp_of(tmp_path).write_text("2.0.0 another shim\n")
    assert not is_built(tmp_path)
    stamp_of(tmp_path).write_text(installation.fingerprint())
    assert find_library(environment) == library_of(tmp_path)


def test_what_is_built_is_not_built_again(tmp_path: Path) -> None:
    library_of(tmp_path).parent.mkdir()
    library_of(tmp_path).touch()
    stamp_of(tmp_path).write_text(installation.fingerprint())
    said: list[str] = []
    assert build(said.append, {"SERVING_LITE_FOLDER": str(tmp_path)}) == tmp_path
    assert said == [f"MindSpore Lite 2.0.0 is there already: {tmp_path}"]


def test_a_build_without_a_compiler_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "lite"
    with pytest.raises(StartUpError, match="was not found"):
        build(lambda line: None, {"SERVING_LITE_FOLDER": str(folder), "PATH": str(tmp_path)})
    assert [path.name for path in tmp_path.iterdir()] == [".lite.lock"]


@pytest.mark.parametrize("name", ["notes.txt", "stamp", "lib/libserving_lite.so"])
def test_a_build_replaces_no_folder_that_holds_something_else(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "lite"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("precious")
    with pytest.raises(StartUpError, match="which holds something else, expected a folder that is empty"):
        build(lambda line: None, {"SERVING_LITE_FOLDER": str(folder)})
    assert (folder / name).read_text() == "precious"


def test_a_build_replaces_no_file(tmp_path: Path) -> None:
    (tmp_path / "lite").write_text("precious")
    with pytest.raises(StartUpError, match="which holds something else"):
        build(lambda line: None, {"SERVING_LITE_FOLDER": str(tmp_path / "lite")})
    assert (tmp_path / "lite").read_text() == "precious"


COMPILER = """#!/bin/sh
while [ $# -gt 1 ]; do
  [ "$1" = -o ] && echo compiled > "$2"
  shift
done
"""


def test_what_a_killed_build_left_goes_away(tmp_path: Path) -> None:
    """With a compiler whose result cannot be loaded, which ends the build; an earlier one stays as it is."""
    compiler, folder = tmp_path / "cc", tmp_path / "lite"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    library_of(folder).parent.mkdir(parents=True)
    library_of(folder).write_text("of an earlier build")
    stamp_of(folder).write_text("2.0.0 another shim\n")
    left = tmp_path / ".lite.building" / "made" / "lib" / "half.so"
    left.parent.mkdir(parents=True)
    left.touch()
    with pytest.raises(StartUpError, match="Loading the compiled interface to Lite failed"):
        build(lambda line: None, {"SERVING_LITE_FOLDER": str(folder), "CXX": str(compiler)})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lite.lock", "cc", "lite"]
    assert library_of(folder).read_text() == "of an earlier build"


def test_a_build_where_nothing_can_be_written() -> None:
    with pytest.raises(StartUpError, match="cannot be put into /proc/lite/folder: "):
        build(lambda line: None, {"SERVING_LITE_FOLDER": "/proc/lite/folder"})


def test_compiler(tmp_path: Path) -> None:
    with pytest.raises(StartUpError, match=r"compiler g\+\+ was not found.*apt-get install g\+\+.*CXX="):
        find_compiler({"PATH": str(tmp_path)})
    with pytest.raises(StartUpError, match="compiler nix-cc was not found"):
        find_compiler({"CXX": "nix-cc -m64"})
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\nexit 3\n")
    compiler.chmod(0o755)
    assert find_compiler({"PATH": str(tmp_path)}) == ["c++"]
    assert find_compiler({"CXX": f"{compiler} -O0"}) == [str(compiler), "-O0"]
    with pytest.raises(StartUpError, match="exit status 3, its reason stands above; the command was"):
        compile_shim([str(compiler)], tmp_path)


def test_unpack(tmp_path: Path) -> None:
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in (
            "mindspore_lite/lib/liba.so",
            "mindspore_lite/lib/_c.cpython-37m-x86_64-linux-gnu.so",
            "mindspore_lite/include/api/model.h",
            "mindspore_lite/model.py",
            "mindspore_lite/../evil.py",
            "mindspore_lite-2.0.0.dist-info/METADATA",
        ):
            archive.writestr(name, name)
    unpack(wheel, tmp_path / "made")
    found = sorted(str(path.relative_to(tmp_path / "made")) for path in (tmp_path / "made").rglob("*.*"))
    assert found == ["include/api/model.h", "lib/liba.so", "python/mindspore_lite/model.py"]


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        (
            "a.onnx",
            "b.onnx",
            "'b.onnx' cannot be converted to, expected a file name that ends with .mindir or .ms",
        ),
        (
            "a.tflite",
            "b.ms",
            "'a.tflite' cannot be converted, expected a file name that ends with .onnx or .mindir",
        ),
    ],
)
def test_endings_of_converted_files(source: str, target: str, text: str) -> None:
    with pytest.raises(InvalidParameter, match=text):
        convert(Path(source), Path(target))


def test_missing_file_is_not_converted(tmp_path: Path) -> None:
    with pytest.raises(StartUpError, match="does not exist"):
        convert(tmp_path / "a.onnx", tmp_path / "a.mindir")


def test_where_no_converted_file_can_be_written(tmp_path: Path) -> None:
    source = tmp_path / "a.onnx"
    source.touch()
    with pytest.raises(StartUpError, match=r"a\.onnx/b\.mindir' cannot be written: .*File exists"):
        convert(source, source / "b.mindir")


def test_devices_with_lite(tmp_path: Path) -> None:
    environment = {"SERVING_BACKEND": "lite"}
    assert supported_device_types(environment, tmp_path) == ("cpu",)
    for name in ("nvidia0", "davinci1"):
        (tmp_path / name).touch()
    assert supported_device_types(environment, tmp_path) == ("cpu", "ascend", "gpu")


@pytest.mark.parametrize(
    ("backend", "model_format", "enable_lite"),
    [
        ("", "mindir_lite", False),
        ("", "mindir", True),
        ("mindspore", "mindir", True),
        ("lite", "mindir", False),
    ],
)
def test_when_lite_runs_a_model(
    monkeypatch: pytest.MonkeyPatch, backend: str, model_format: str, enable_lite: bool
) -> None:
    monkeypatch.setenv("SERVING_BACKEND", backend)
    assert isinstance(backend_for(model_format, enable_lite), LiteBackend)
