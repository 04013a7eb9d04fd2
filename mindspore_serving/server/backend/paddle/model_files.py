"""The files of a Paddle model: a program, and its parameters in one file beside it or in a file each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.model_file import check_path, reading

FOLDER_PROGRAM = "__model__"
_FOLDER_PARAMETERS = "__params__"
JSON = ".json"
_PROGRAM = ".pdmodel"
_PARAMETERS = ".pdiparams"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where a model is.

    Attributes:
        declared: The file that `declare_model` names, for the texts of errors.
        program: The program.
        parameters: The file of all parameters, which may not be there; None where each has a file of its own, of its
            own name, in the folder of the program.
        is_json: Whether the program is in the format of Paddle 3.
    """

    declared: Path
    program: Path
    parameters: Path | None
    is_json: bool

    def content(self) -> bytes:
        """The program.

        Raises:
            StartUpError: It cannot be read, or is empty.
        """
        with reading(self.program):
            content = self.program.read_bytes()
        if not content:
            raise StartUpError(
                f"Model file '{self.declared}': the file is empty, expected a program of Paddle"
            )
        return content


def files_of(path: Path) -> ModelFiles:
    """The files of a model.

    Args:
        path: Of the program, as `declare_model` names it: `*.json`, `*.pdmodel` or `__model__`.

    Raises:
        StartUpError: The name is none of these, or cannot be given to a library.
    """
    check_path(path)
    if path.name == FOLDER_PROGRAM:
        together = path.with_name(_FOLDER_PARAMETERS)
        return ModelFiles(path, path, together if together.exists() else None, is_json=False)
    if path.suffix not in (JSON, _PROGRAM):
        raise StartUpError(
            f"Model file '{path}': expected the name NAME{JSON} or NAME{_PROGRAM}, with its parameters in "
            f"NAME{_PARAMETERS}, or {FOLDER_PROGRAM}; rename the files"
        )
    return ModelFiles(path, path, path.with_suffix(_PARAMETERS), path.suffix == JSON)
