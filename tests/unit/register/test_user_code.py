"""Where the user's own code is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from mindspore_serving.check_type import check_str
from mindspore_serving.server.register.user_code import calling_place, raising_place, user_trace
from mindspore_serving.version_folders import versions_in

HERE = Path(__file__)


def raised_by(call: Any) -> BaseException:
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def line_of(text: str) -> int:
    """Line of this file that ends with a text."""
    [line] = [i for i, line in enumerate(HERE.read_text().splitlines(), 1) if line.endswith(text)]
    return line


def test_the_place_is_the_innermost_line_of_the_users() -> None:
    def of_library() -> None:
        json.loads("{")  # in a library

    def of_serving() -> None:
        check_str("name", 3)  # in Serving

    for call, mark in ((of_library, "# in a library"), (of_serving, "# in Serving")):
        assert raising_place(raised_by(call), HERE.parent) == f"{HERE}:{line_of(mark)}"


def test_the_place_of_a_syntax_error_is_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("x = 1\ndef broken(:\n")
    error = raised_by(lambda: compile(file.read_text(), str(file), "exec"))
    assert raising_place(error, tmp_path) == f"{file}:2"
    error = raised_by(lambda: eval("1 +"))  # of a text
    assert raising_place(error, tmp_path) == f"{HERE}:{line_of('# of a text')}"


def test_the_place_where_libraries_alone_are_to_blame(tmp_path: Path) -> None:
    error = raised_by(lambda: json.loads("{"))
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_next is not None
    frames = error.__traceback__.tb_next.tb_next
    assert raising_place(error.with_traceback(frames), tmp_path).startswith(json.decoder.__file__[:-10])
    assert raising_place(ValueError("never raised"), tmp_path) == ""


def test_files_of_the_servable_are_the_users_wherever_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "site-packages" / "add"
    folder.mkdir(parents=True)
    code = compile("\nraise ValueError", str(folder / "servable_config.py"), "exec")
    error = raised_by(lambda: exec(code, {}))
    assert raising_place(error, folder) == f"{folder}/servable_config.py:2"


def test_a_trace_has_no_frames_of_serving() -> None:
    def fails() -> None:
        try:
            check_str("name", 3)
        except RuntimeError as cause:
            raise ValueError("no luck") from cause

    trace = user_trace(raised_by(fails))
    assert "check_type.py" not in trace
    assert trace.count(str(HERE)) == 3
    assert "InvalidParameter: Parameter 'name' should be str" in trace
    assert trace.endswith("ValueError: no luck\n")


def test_there_is_no_trace_of_serving_alone(tmp_path: Path) -> None:
    error = raised_by(lambda: versions_in(tmp_path / "absent"))
    assert "test_user_code" in user_trace(error)
    assert user_trace(ValueError("never raised")) == ""


def test_the_calling_place() -> None:
    assert calling_place() == f"{HERE}:{sys._getframe().f_lineno}"
