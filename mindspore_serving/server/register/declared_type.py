"""What a servable_config.py says about an input or an output of a method: dtype and shape, text, bytes, or parameters.

    @register_method(output_names="label", inputs={"image": Image()}, outputs={"label": Text()})
    def classify(image): ...

These are read when the method is registered, so that an error text can name the method and the input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from mindspore_serving.errors import RegistrationError, excerpt
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import DATA_TYPE_OF, MAX_DIMENSIONS, DataType

IMAGE = "image"
"""`TensorType.content` of an encoded picture."""
_DTYPES: dict[str, DataType] = {
    "bool_": DataType.BOOL,
    **{kind.name.lower(): kind for kind in DATA_TYPE_OF.values()},
}
_TEXT_NAMES = frozenset(("str", "string", "bytes", "object"))


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor: numbers, or true and false.

    Attributes:
        dtype: As "float32": the name that NumPy and MindSpore have for it, or a dtype of NumPy or MindSpore.
        shape: Of one instance, without a batch dimension, as [3, -1, -1]; -1 is a dimension of any size, and [] a
            single number. None takes any shape.
        description: What it is, for people.
    """

    dtype: Any
    shape: Sequence[int] | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A text: stages get it as `str`.

    Attributes:
        description: What it is, for people.
    """

    description: str = ""


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes of any kind: stages get them as a 1-D array of uint8.

    Attributes:
        description: What they are, for people.
    """

    description: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """Bytes of an encoded picture, as a JPEG or PNG file has them: stages get them as a 1-D array of uint8.

    Attributes:
        description: What it shows, for people.
    """

    description: str = ""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a request, for a parameter of the method that clients send no tensor for.

    A stage gets them as a dict with `str` keys, of its own for each instance; {} where the request has none, as over
    the native protocol.
    """


DeclaredType: TypeAlias = TensorSpec | Text | Bytes | Image
_EXPECTED = "a TensorSpec, Text, Bytes or Image of mindspore_serving.server.register"


@dataclass(frozen=True, slots=True)
class DeclaredInputs:
    """What a method says about its inputs.

    Attributes:
        types: One per input that clients send, in the order of the parameters.
        parameters: The parameter that the parameters of requests are for; "" for none.
    """

    types: tuple[TensorType, ...]
    parameters: str = ""


def declared_inputs(method: str, names: Sequence[str], declared: Any) -> DeclaredInputs:
    """Read what a method says about its inputs.

    Args:
        method: Its name.
        names: Its parameters.
        declared: `inputs` of `register_method`.

    Raises:
        RegistrationError: Something is no input, or is said in another way than expected; the text names it.
    """
    given = _checked(method, "inputs", names, declared)
    asking = [name for name in names if isinstance(given.get(name), Parameters)]
    if len(asking) > 1:
        raise RegistrationError(
            f"Check failed in method '{method}', parameter 'inputs' has Parameters() for '{asking[0]}' and for "
            f"'{asking[1]}', expected at most once"
        )
    types = [
        _type_of(method, "inputs", name, given[name]) if name in given else TensorType(name)
        for name in names
        if name not in asking
    ]
    return DeclaredInputs(tuple(types), *asking)


def declared_outputs(method: str, names: Sequence[str], declared: Any) -> tuple[TensorType, ...]:
    """Read what a method says about its outputs.

    Args:
        method: Its name.
        names: Its outputs.
        declared: `outputs` of `register_method`.

    Raises:
        RegistrationError: Something is no output, or is said in another way than expected; the text names it.
    """
    given = _checked(method, "outputs", names, declared)
    return tuple(
        _type_of(method, "outputs", name, given[name]) if name in given else TensorType(name)
        for name in names
    )


def _checked(method: str, which: str, names: Sequence[str], declared: Any) -> Mapping[str, Any]:
    """What is declared, by name; each name is one of the method's."""
    if declared is None:
        return {}
    if not isinstance(declared, Mapping):
        raise RegistrationError(
            f"Check failed in method '{method}', parameter '{which}' should be a dict of names and types, now is "
            f"{type(declared)}"
        )
    for name in declared:
        if name not in names:
            raise RegistrationError(
                f"Check failed in method '{method}', parameter '{which}' has {excerpt(repr(name))}, expected are "
                f"{', '.join(names) or 'none'}"
            )
    return declared


def _type_of(method: str, which: str, name: str, declared: Any) -> TensorType:
    where = f"Check failed in method '{method}', parameter '{which}' '{name}'"
    if isinstance(declared, type) and declared in (TensorSpec, Text, Bytes, Image, Parameters):
        raise RegistrationError(f"{where} is the class {declared.__name__}, write {declared.__name__}(...)")
    if not isinstance(declared, (TensorSpec, Text, Bytes, Image)):
        raise RegistrationError(f"{where} should be {_EXPECTED}, now is {excerpt(repr(declared))}")
    description = declared.description
    if not isinstance(description, str):
        raise RegistrationError(f"{where}: description should be str, now is {type(description)}")
    if isinstance(declared, TensorSpec):
        dtype, shape = _dtype_of(where, declared.dtype), _shape_of(where, declared.shape)
        return TensorType(name, dtype, shape, declared=True, description=description)
    dtype = DataType.STRING if isinstance(declared, Text) else DataType.BYTES
    content = IMAGE if isinstance(declared, Image) else ""
    return TensorType(name, dtype, (), content, declared=True, description=description)


def _dtype_of(where: str, dtype: Any) -> DataType:
    """A data type by its name, or by what NumPy or MindSpore have for it."""
    kind = None
    if isinstance(dtype, np.dtype):
        kind = DATA_TYPE_OF.get(dtype.newbyteorder("<"))
    elif isinstance(dtype, type):  # np.float32, bool; float and int are of other sizes elsewhere
        is_ours = dtype is bool or issubclass(dtype, np.generic)
        kind = _DTYPES.get(dtype.__name__) if is_ours else None
    else:  # those of MindSpore print as Float32
        kind = _DTYPES.get(str(dtype).lower())
    if kind is not None:
        return kind
    text = excerpt(str(dtype) if isinstance(dtype, str) else repr(dtype))
    hint = "; for text use Text(), for bytes Bytes()" if text.lower() in _TEXT_NAMES else ""
    raise RegistrationError(
        f"{where}: dtype is {text}, expected one of {', '.join(kind.name.lower() for kind in DATA_TYPE_OF.values())}"
        f"{hint}"
    )


def _shape_of(where: str, shape: Any) -> tuple[int, ...] | None:
    if shape is None:
        return None
    if not isinstance(shape, (list, tuple)) or any(
        isinstance(dim, bool) or not isinstance(dim, (int, np.integer)) or dim < -1 for dim in shape
    ):
        raise RegistrationError(
            f"{where}: shape is {excerpt(repr(shape))}, expected a list of integers, with -1 for a dimension of any "
            "size; [] is a single number"
        )
    if len(shape) > MAX_DIMENSIONS:
        raise RegistrationError(
            f"{where}: shape has {len(shape)} dimensions, expected at most {MAX_DIMENSIONS}"
        )
    return tuple(int(dim) for dim in shape)
