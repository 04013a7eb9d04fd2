"""Section 4.2: servables that cannot be started, and what the start script is told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.row import row
from tests.support.servables import ECHO
from tests.support.servables import PLAIN_ADD as ADD
from tests.support.serving import add_servable, running_script
from tests.support.watch import leftovers

# The bad one waits until the workers of the good one are there.
WAITS_FOR_ADD = """\
import pathlib
import time

log = pathlib.Path("serving_logs/log_add_device1_version1.log")
while "Start servable success" not in (log.read_text() if log.exists() else ""):
    time.sleep(0.01)
raise ValueError("no luck")
"""
SCRIPT = """\
import json

from mindspore_serving import server

for configs in {starts}:
    try:
        server.start_servables([server.ServableStartConfig(*c[:2], **c[2]) for c in configs])
    except RuntimeError as error:
        print("refused", json.dumps(str(error)), flush=True)
    else:
        print("refused", "null", flush=True)
        server.stop()
"""
Write = Callable[[Path], None]


@dataclass(frozen=True)
class Refused:
    """A start that is refused.

    Attributes:
        write: Writes what there is into the folder of the case.
        pattern: Of the whole text; `{d}` is the folder of the case.
        configs: Directory below that folder, servable and further arguments of each configuration.
        switch: A variable that is set to 1.
    """

    write: Write
    pattern: str
    configs: Sequence[tuple[str, str, dict[str, object]]] = (("", "add", {"device_ids": 0}),)
    switch: str = ""


def files(source: str, *paths: str, name: str = "add", below: str = "") -> Write:
    return lambda folder: add_servable(folder / below, name, source, paths or ("1/tensor_add.mindir",))


def none(source: str) -> Write:
    """A servable without model files."""
    return lambda folder: add_servable(folder, "add", source, ())


def both(*writes: Write) -> Write:
    def write(folder: Path) -> None:
        for each in writes:
            each(folder)

    return write


def broken_neighbour(folder: Path) -> None:
    (folder / "add" / "table.py").write_text('import json\n\n\nx = json.loads("")\n')


def without_config(folder: Path) -> None:
    (folder / "add" / "1").mkdir(parents=True)


def exactly(text: str) -> str:
    return re.escape(text).replace(r"\{d\}", "{d}")


def worker_failed(reason: str, name: str = "add", device: int = 0) -> str:
    """A pattern; so is the reason."""
    start = exactly(f"Fail to start workers: {{servable name:{name}, device id:{device}, <")
    return (
        start
        + reason
        + exactly(">}, more in ")
        + rf"/.*/serving_logs/log_{name}_device{device}_version[12]\.log"
    )


def at(line: int, method: str = "", file: str = "add/servable_config.py") -> str:
    """The end of a text, which leads to a line of the user's."""
    return exactly(f" ({method and f'method {method!r}, '}at {{d}}/{file}:{line})")


def import_failed(reason: str, name: str = "add", where: str = "", device: int = 0) -> str:
    return worker_failed(exactly(f"import {name}.servable_config failed, ") + reason + where, name, device)


def load_failed(shown: str) -> str:
    return worker_failed(
        exactly(
            "Raise failed: Load model failed, servable directory: '{d}', servable name: 'add', model file: "
            f"'{shown}', version number 1,model context: "
        )
        + ".*, load error details: .+"
        + exactly(" (declared at {d}/add/servable_config.py:3)")
    )


def only(**values: object) -> tuple[tuple[str, str, dict[str, object]], ...]:
    """One configuration of `add`."""
    return (("", "add", {"device_ids": 0, **values}),)


def device_type(shown: str, supported: str) -> str:
    return exactly(
        f"The device type '{shown}' of servable name add is inconsistent with current running environment, "
        f"supported device type: {supported} with SERVING_BACKEND=stub"
    )


NO_VERSION = worker_failed(
    exactly(
        "There is no valid version directory of models while there are models declared in servable_config.py, "
        "servable directory: {d}, servable name: add"
    )
)
OTHER_FILES = ("1/tensor_sub.mindir", "1/tensor_add_0_1.mindir")


def declares(file: str) -> Write:
    return files(ADD.replace('"tensor_add.mindir"', file), *OTHER_FILES)


CASES = {
    "4.2-missing-directory": Refused(
        lambda folder: folder.mkdir(),
        exactly(
            "Check servable config failed, directory '{d}/add' not exist, servable directory '{d}', servable name "
            "'add'"
        ),
    ),
    "4.2-missing-file": Refused(
        without_config,
        exactly(
            "Check servable config failed, file '{d}/add/servable_config.py' not exist,  servable directory '{d}', "
            "servable name 'add'; and without it: "
        )
        + ".*",
    ),
    "4.2-no-version-directory": Refused(none(ADD), NO_VERSION),
    "4.2-no-version-directory-other-names": Refused(
        files(ADD, "01/tensor_add.mindir", "0/tensor_add.mindir", "v1/tensor_add.mindir"), NO_VERSION
    ),
    "4.2-version-absent": Refused(
        files(ADD),
        worker_failed(
            exactly(
                "Raise failed: Start servable failed: There is no specified version directory of models, specified "
                "version number: 2, servable directory: '{d}', servable name: 'add'"
            )
        ),
        only(version_number=2),
    ),
    "4.2-model-file-absent": Refused(declares('"tensor_add.mindir"'), load_failed("[tensor_add.mindir]")),
    "4.2-model-file-absent-of-two": Refused(
        declares('["tensor_sub.mindir", "tensor_add.mindir"]'),
        load_failed("[tensor_sub.mindir, tensor_add.mindir]"),
    ),
    "4.2-model-file-name-too-long": Refused(
        declares(f'"{"x" * 300}.mindir"'),
        load_failed(f"[{'x' * 300}.mindir]").replace(": .+", ": .+too long.+"),
    ),
    "4.2-model-file-bad": Refused(
        declares('"tensor_add_0_1.mindir"'), load_failed("[tensor_add_0_1.mindir]")
    ),
    "4.2-import-error": Refused(files('raise ValueError("no luck")'), import_failed("no luck", where=at(1))),
    "4.2-import-error-module": Refused(
        files("import not_installed_anywhere"),
        import_failed("No module named 'not_installed_anywhere'", where=at(1)),
    ),
    "4.2-import-error-neighbour": Refused(
        files("from .neighbour import x"), import_failed("No module named 'add.neighbour'", where=at(1))
    ),
    "4.2-import-error-in-a-neighbour": Refused(
        both(files("import os\nfrom .table import x"), broken_neighbour),
        import_failed(exactly("Expecting value: line 1 column 1 (char 0)"), where=at(4, file="add/table.py")),
    ),
    "4.2-import-error-name": Refused(
        files(ECHO + "\nadd_trans_datatype(1)"),
        import_failed("name 'add_trans_datatype' is not defined", where=at(8)),
    ),
    "4.2-import-error-syntax": Refused(
        files("def broken(:"),
        import_failed(exactly("invalid syntax (servable_config.py, line 1)"), where=at(1)),
    ),
    "4.2-import-error-exit": Refused(
        files('import sys\nsys.exit("enough")'), import_failed("enough", where=at(2))
    ),
    "4.2-import-error-exit-0": Refused(
        files("import sys\nsys.exit(0)"), import_failed("SystemExit: 0", where=at(2))
    ),
    "4.2-import-error-exit-without-text": Refused(
        files("import sys\nsys.exit()"), import_failed("SystemExit", where=at(2))
    ),
    "4.2-import-error-arguments": Refused(
        files("import argparse\n\nargparse.ArgumentParser().parse_args()"),
        import_failed("SystemExit: 2", where=at(3)),
    ),
    "4.2-import-error-without-text": Refused(
        files("raise RuntimeError"), import_failed("RuntimeError", where=at(1))
    ),
    "4.2-import-error-memory": Refused(files("raise MemoryError"), import_failed("MemoryError", where=at(1))),
    "4.2-import-error-assert": Refused(
        files("x = 1\nassert x == 2"), import_failed("AssertionError", where=at(2))
    ),
    "4.2-import-error-key": Refused(files('{}["label"]'), import_failed("KeyError: 'label'", where=at(1))),
    "4.2-import-error-of-no-class": Refused(
        files("class Own(BaseException):\n    def __str__(self):\n        raise ValueError\n\n\nraise Own"),
        import_failed("Own", where=at(6)),
    ),
    "4.2-import-error-declare": Refused(
        files(ADD.replace('"MindIR"', '"tf"')), import_failed("model format can only be .*", where=at(3))
    ),
    "4.2-import-error-file-in-two-models": Refused(
        files(ADD + ADD.splitlines()[2]),
        import_failed(
            exactly(
                "Raise failed: Declare model [tensor_add.mindir] failed, model file 'tensor_add.mindir' has already "
                "been used"
            ),
            where=at(9),
        ),
    ),
    "4.2-import-error-method": Refused(
        files(ECHO.replace('"y"', '"y", "z"')),
        import_failed("Method return output size 1 not match registered 2", where=at(4, "echo")),
    ),
    "4.2-import-error-method-body": Refused(
        files(ECHO.replace("return x", "return int(x.shape)")),
        import_failed("'_TensorDef' object has no attribute 'shape'", where=at(6, "echo")),
    ),
    "4.2-import-error-stage": Refused(
        files(ECHO.replace("return x", "return register.add_stage(len, x, outputs_count=1)")),
        import_failed("Check failed in method 'echo', .*", where=at(6, "echo")),
    ),
    "4.2-nothing-registered": Refused(
        files(""),
        worker_failed(
            exactly(
                "Raise failed: Servable 'add' has not been registered: {d}/add/servable_config.py decorates no "
                "function with register.register_method"
            )
        ),
    ),
    "4.2-no-methods": Refused(
        files(ADD.partition("@")[0]), worker_failed(".*There is no method registered for servable: .*")
    ),
    "3.2-text-model-arity": Refused(
        files(ADD.replace("x1, x2, outputs", "x1, outputs")),
        worker_failed(
            ".*"
            + exactly(
                "The inputs count 1 in register_method not equal to the count 2 defined in model, model info: "
                "tensor_add.mindir, subgraph: 0 (method 'add', {d}/add/servable_config.py:8)"
            )
        ),
    ),
    "4.2-death-of-one-worker": Refused(
        files('import os\nprint("last words")\nos._exit(5)'),
        "Fail to start workers because of death of one worker.*last words.*",
    ),
    "4.2-device-type-gpu": Refused(
        files(ADD), device_type("gpu", "None or 'Ascend'"), only(device_type="GPU")
    ),
    "4.2-device-type-cpu": Refused(
        files(ADD), device_type("cpu", "None or 'Ascend'"), only(device_type="cpu")
    ),
    "4.2-device-type-gpu-with-cpu": Refused(
        files(ADD),
        device_type("gpu", "None, 'Ascend' or 'Cpu'"),
        only(device_type="gpu"),
        "SERVING_ENABLE_CPU_DEVICE",
    ),
    "4.2-no-device-no-cpu": Refused(
        files(ADD),
        r"Fail to start workers: \{.*<"
        + exactly(
            "Servable 'add' has models declared by declare_model, but parameter 'device_ids' of ServableStartConfig is "
            "not set in Serving startup script when the MindSpore or Lite inference package not support CPU"
        )
        + r">\}, more in /.*/serving_logs/log_add_extra0_version1\.log",
        only(device_ids=None),
    ),
    "4.2-no-device-no-cpu-no-version": Refused(
        none(ADD),
        r"Fail to start workers: \{.*<There is no valid version directory of models .*>\}, more in .*",
        only(device_ids=None, num_parallel_workers=2),
    ),
    "4.2-device-used-twice": Refused(
        both(files(ADD), files(ADD, name="sub")),
        "Ascend 910 device id 2 is used repeatedly in servable sub version 1: .*",
        (("", "add", {"device_ids": 2}), ("", "sub", {"device_ids": (1, 2)})),
    ),
    "5.5-start-failure-stops-all": Refused(
        both(files(ADD), files(WAITS_FOR_ADD, name="bad")),
        import_failed("no luck", "bad", at(7, file="bad/servable_config.py"), device=2),
        (("", "add", {"device_ids": (0, 1)}), ("", "bad", {"device_ids": 2})),
    ),
    "4.2-different-directories": Refused(
        both(files(ADD), files(ADD, below="other")),
        exactly(
            "The servable directory of servable name add is different in multiple configurations, servable directory: "
            "{d} and {d}/other"
        ),
        (("", "add", {"device_ids": 0}), ("other", "add", {"device_ids": 0})),
    ),
}


def texts_of(folder: Path, names: list[str], switch: str) -> dict[str, str | None]:
    """Why each start is refused; one script makes them all, and must leave nothing behind."""
    folder.mkdir()
    starts = []
    for name in names:
        case = CASES[name]
        case.write(folder / name)
        starts.append(
            [(str(folder / name / below), servable, more) for below, servable, more in case.configs]
        )
    script = folder / "starts.py"
    script.write_text(SCRIPT.format(starts=starts))
    environment = {"SERVING_BACKEND": "stub", **({switch: "1"} if switch else {})}
    with running_script(script, environment=environment) as running:
        assert running.wait(60) == 0, running.output
        assert leftovers(running) == []
    found = [json.loads(line[8:]) for line in running.lines if line.startswith("refused ")]
    return dict(zip(names, found, strict=True))


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], dict[str, str | None]]:
    """Folder of each case, and what it was told; several scripts run at a time."""
    folder = tmp_path_factory.mktemp("refusals")
    plain = [name for name, case in CASES.items() if not case.switch]
    groups = {"": plain[::2], " ": plain[1::2]}
    for name, case in CASES.items():
        if case.switch:
            groups.setdefault(case.switch, []).append(name)
    where = {name: folder / str(i) / name for i, names in enumerate(groups.values()) for name in names}
    with ThreadPoolExecutor(len(groups)) as pool:
        jobs = [
            pool.submit(texts_of, folder / str(i), names, switch.strip())
            for i, (switch, names) in enumerate(groups.items())
        ]
        texts = {name: text for job in jobs for name, text in job.result().items()}
    return where, texts


@pytest.mark.parametrize("case", [row(name, name) for name in CASES])
def test_a_start_is_refused(refusals: tuple[dict[str, Path], dict[str, str | None]], case: str) -> None:
    where, texts = refusals
    text = texts[case]
    assert text is not None, "the start was not refused"
    pattern = CASES[case].pattern.replace("{d}", re.escape(str(where[case])))
    assert re.fullmatch(pattern, text, re.DOTALL), text
