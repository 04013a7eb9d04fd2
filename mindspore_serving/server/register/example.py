"""Examples of a method: what they may be, and their values as tensors.

The types of some inputs are known only once the models are loaded. So an example is kept as it is written; what is
declared is checked at once, and `tensor_of` makes tensors of its values when all is known that there is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from mindspore_serving.errors import InvalidInput, RegistrationError, ServingError, excerpt
from mindspore_serving.server.register.declared_type import DeclaredInputs
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import DATA_TYPE_OF, NUMPY_OF, Array, DataType, as_array

_OF_JSON = {"b": DataType.BOOL, "i": DataType.INT32, "u": DataType.INT32, "f": DataType.FLOAT32}
"""What numbers are where nothing is known of an input: the same as those that clients send as JSON."""
_HOLDS = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}
"""By the kind of an array, the kinds of numbers that may be written for it in Python."""


def checked_examples(method: str, inputs: DeclaredInputs, examples: Any) -> tuple[Mapping[str, Any], ...]:
    """Check the examples of a method as far as its types are declared.

    Args:
        method: Its name.
        inputs: What is declared of its inputs.
        examples: `examples` of `register_method`.

    Raises:
        RegistrationError: One is no example, or does not fit; the text names the method, the number of the example,
            counted from 1, and the input.
    """
    if examples is None:
        return ()
    if not isinstance(examples, (list, tuple)):
        raise RegistrationError(
            f"Check failed in method '{method}', parameter 'examples' should be a list of dicts, now is "
            f"{type(examples)}"
        )
    for number, example in enumerate(examples, 1):
        try:
            _check(inputs, example)
        except InvalidInput as cause:
            raise RegistrationError(
                f"Check failed in method '{method}', parameter 'examples', example {number}: {cause}"
            ) from cause
    return tuple(dict(example) for example in examples)


def _check(inputs: DeclaredInputs, example: Any) -> None:
    if not isinstance(example, Mapping):
        raise InvalidInput(f"expected a dict of inputs and values, now is {type(example)}")
    names = [one.name for one in inputs.types]
    for name in example:
        if name not in (*names, inputs.parameters or None):
            raise InvalidInput(f"has {excerpt(repr(name))}, expected are {', '.join(names) or 'none'}")
    for one in inputs.types:
        if one.name not in example:
            raise InvalidInput(f"has no value for input '{one.name}'")
        if one.declared:
            tensor_of(example[one.name], one)
    if inputs.parameters in example:
        parameters_text(example[inputs.parameters], inputs.parameters)


def parameters_text(parameters: Any, name: str) -> str:
    """Parameters as a JSON object.

    Raises:
        InvalidInput: They are none; the text begins with the name.
    """
    try:
        text = json.dumps(parameters, allow_nan=False)
    except (TypeError, ValueError) as cause:
        raise InvalidInput(f"'{name}' cannot be written as JSON: {cause}") from cause
    if not isinstance(parameters, Mapping):
        raise InvalidInput(f"'{name}' should be a dict of parameters, now is {type(parameters)}")
    return text


def tensor_of(value: Any, known: TensorType) -> Array | str | bytes:
    """A value of an example as a tensor.

    Args:
        value: What NumPy takes for an array, a tensor of MindSpore, a text, or bytes.
        known: What is known of the input.

    Raises:
        InvalidInput: It is none, or does not fit; the text names the input, what was got, and what was expected.
    """
    if isinstance(value, (str, bytes)):
        dtype = DataType.STRING if isinstance(value, str) else DataType.BYTES
        if known.dtype not in (dtype, DataType.UNKNOWN):
            raise InvalidInput(f"input '{known.name}' is {type(value).__name__}, expected {known.text}")
        return value
    if known.dtype.is_text:
        expected = "str" if known.dtype is DataType.STRING else "bytes"
        raise InvalidInput(f"input '{known.name}' is {type(value).__name__}, expected {expected}")
    plain = isinstance(value, (bool, int, float, list, tuple))
    try:
        array = _converted(value, known.dtype) if plain else as_array(value)
    except ServingError as cause:
        raise InvalidInput(f"input '{known.name}': {cause}") from cause
    dtype = DATA_TYPE_OF[array.dtype]
    if known.dtype not in (dtype, DataType.UNKNOWN) or not known.takes(array.shape):
        got = f"{dtype.name.lower()} of shape {list(array.shape)}"
        raise InvalidInput(f"input '{known.name}' is {got}, expected {known.text}")
    return array


def _converted(value: Any, dtype: DataType) -> Array:
    """Numbers as they are written in Python, as an array.

    Args:
        value: A number, or a list of them.
        dtype: What they are to become; UNKNOWN for what those of JSON become.

    Raises:
        InvalidInput: They are no numbers, or one would become another one.
    """
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as cause:
        raise InvalidInput(f"{excerpt(repr(value))} is no array") from cause
    kind = array.dtype.kind
    if kind not in _OF_JSON:
        raise InvalidInput(f"{excerpt(repr(value))} is no array of numbers")
    wanted = NUMPY_OF[_OF_JSON[kind] if dtype is DataType.UNKNOWN else dtype]
    if array.size and kind not in _HOLDS[wanted.kind]:
        raise InvalidInput(f"{excerpt(repr(value))} is {array.dtype}, expected {wanted}")
    with np.errstate(over="ignore"):
        made = array.astype(wanted)
    lost = made != array if kind in "iu" else np.isinf(made) & ~np.isinf(array)
    if kind != "b" and lost.any():
        raise InvalidInput(f"{wanted} cannot hold {array[lost].flat[0]}")
    return made
