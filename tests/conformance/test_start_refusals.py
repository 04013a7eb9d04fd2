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
from tests.server.servables import ECHO
from tests.server.servables import PLAIN_ADD as ADD
from tests.serving import add_servable, running_script
from tests.watch import leftovers

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


def without_config(folder: Path) -> None:
    (folder / "add" / "1").mkdir(parents=True)


def exactly(text: str) -> str:
    return re.escape(text).replace(r"\{d\}", "{d}")


def worker_failed(reason: str, name: str = "add") -> str:
    """A pattern; so is the reason."""
    return exactly(f"Fail to start workers: {{servable name:{name}, device id:0, <") + reason + exactly(">}")


def import_failed(reason: str, name: str = "add") -> str:
    return worker_failed(exactly(f"import {name}.servable_config failed, ") + reason, name)


def load_failed(shown: str) -> str:
    return worker_failed(
        exactly(
            "Raise failed: Load model failed, servable directory: '{d}', servable name: 'add', model file: "
            f"'{shown}', version number 1,model context: "
        )
        + ".*, load error details: .+"
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
            "servable name 'add'"
        ),
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
    "4.2-model-file-bad": Refused(
        declares('"tensor_add_0_1.mindir"'), load_failed("[tensor_add_0_1.mindir]")
    ),
    "4.2-import-error": Refused(files('raise ValueError("no luck")'), import_failed("no luck")),
    "4.2-import-error-module": Refused(
        files("import not_installed_anywhere"), import_failed("No module named 'not_installed_anywhere'")
    ),
    "4.2-import-error-neighbour": Refused(
        files("from .neighbour import x"), import_failed("No module named 'add.neighbour'")
    ),
    "4.2-import-error-name": Refused(
        files(ECHO + "\nadd_trans_datatype(1)"), import_failed("name 'add_trans_datatype' is not defined")
    ),
    "4.2-import-error-syntax": Refused(
        files("def broken(:"), import_failed(exactly("invalid syntax (servable_config.py, line 1)"))
    ),
    "4.2-import-error-exit": Refused(files('import sys\nsys.exit("enough")'), import_failed("enough")),
    "4.2-import-error-exit-0": Refused(files("import sys\nsys.exit(0)"), import_failed("0")),
    "4.2-import-error-exit-without-text": Refused(files("import sys\nsys.exit()"), import_failed(".*")),
    "4.2-import-error-without-text": Refused(files("raise RuntimeError"), import_failed(".*")),
    "4.2-import-error-method": Refused(
        files(ECHO.replace('"y"', '"y", "z"')),
        import_failed("Method return output size 1 not match registered 2"),
    ),
    "4.2-nothing-registered": Refused(
        files(""), worker_failed(exactly("Raise failed: Servable 'add' has not been registered"))
    ),
    "4.2-no-methods": Refused(
        files(ADD.partition("@")[0]), worker_failed(".*There is no method registered for servable.*")
    ),
    "3.2-text-model-arity": Refused(
        files(ADD.replace("x1, x2, outputs", "x1, outputs")),
        worker_failed(
            ".*"
            + exactly(
                "The inputs count 1 in register_method not equal to the count 2 defined in model, model info: "
                "tensor_add.mindir, subgraph: 0"
            )
        ),
    ),
    "4.2-death-of-one-worker": Refused(
        files('import os\nprint("last words")\nos._exit(5)'),
        "Fail to start workers because of death of one worker.*last words.*",
    ),
    "4.2-device-type-gpu": Refused(
        files(ADD), device_type("Gpu", "None or 'Ascend'"), only(device_type="GPU")
    ),
    "4.2-device-type-cpu": Refused(
        files(ADD), device_type("Cpu", "None or 'Ascend'"), only(device_type="cpu")
    ),
    "4.2-device-type-gpu-with-cpu": Refused(
        files(ADD),
        device_type("Gpu", "None, 'Ascend' or 'Cpu'"),
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
        + r">\}",
        only(device_ids=None),
    ),
    "5.5-start-failure-stops-all": Refused(
        both(files(ADD), files(WAITS_FOR_ADD, name="bad")),
        import_failed("no luck", "bad"),
        (("", "add", {"device_ids": (0, 1)}), ("", "bad", {"device_ids": 0})),
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
