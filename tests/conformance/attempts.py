"""What the calls of a servable_config.py are refused with, found out by a real worker.

A servable of attempts imports one module for each case, remembers how that went, and tells it to clients: one server
is enough for a whole table.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from mindspore_serving.client import Client
from tests.support.serving import RunningServer, add_servable

_CONFIG = """\
import importlib

from mindspore_serving.server import register

{declarations}

TOLD = {{}}


def tell(which):
    return TOLD[which]


@register.register_method(output_names=["text"])
def told(which):
    return register.add_stage(tell, which, outputs_count=1)


for case in {cases!r}:
    try:
        module = importlib.import_module("." + case, __package__)
        TOLD[case] = str(getattr(module, "RESULT", "no error"))
    except RuntimeError as error:
        TOLD[case] = str(error)
    except Exception as error:
        TOLD[case] = f"{{type(error).__name__}}: {{error}}"
"""

_IMPORTS = """\
import numpy as np

from mindspore_serving.server import register
from mindspore_serving.server.register import *
"""


def module_name(case: str) -> str:
    """Name of the module of a case."""
    return "case_" + "".join(char if char.isalnum() else "_" for char in case)


def add_attempts(
    folder: Path,
    name: str,
    cases: Mapping[str, str],
    declarations: str = "",
    files: Sequence[str] = (),
) -> None:
    """Write a servable of attempts.

    Args:
        folder: Where the servable goes.
        name: Of the servable.
        cases: Source of each case; what it assigns to RESULT is told, or the text of its error.
        declarations: What its servable_config.py says before the cases.
        files: Its model files.
    """
    modules = {module_name(case): source for case, source in cases.items()}
    assert len(modules) == len(cases), "two names of cases are too much alike"
    config = _CONFIG.format(declarations=textwrap.dedent(declarations), cases=list(modules))
    add_servable(folder, name, config, files)
    for module, source in modules.items():
        (folder / name / f"{module}.py").write_text(_IMPORTS + textwrap.dedent(source))


def told(server: RunningServer, servable: str, case: str) -> str:
    """How a case went."""
    with Client(server.grpc, servable, "told") as client:
        replies = client.infer({"which": module_name(case)})
        assert isinstance(replies, list), replies
        text: str = replies[0]["text"]
        return text
