"""A request that a user can copy: the `curl` line of a method, with made-up values of the right types and shapes.

A method whose inputs JSON can name without further ado is asked in the form of `instances`; one with other types, as
int64, in the form of the Open Inference Protocol, which says types. Large tensors are written by Python, so that the
line stays short.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any
from urllib.parse import quote

from mindspore_serving.server.service.elements import NAME_OF
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType

UNKNOWN_SIZE = 16
"""What stands for a dimension of any size: most models run with it."""
_MOST_WRITTEN = 32
"""Elements of a tensor that are written out."""
_LONGEST_EXAMPLE = 300
_FLOATS = (DataType.FLOAT16, DataType.FLOAT32, DataType.FLOAT64)


@dataclass(frozen=True, slots=True)
class _Filled:
    """A tensor of one value.

    Attributes:
        element: The value, as JSON has it.
        sizes: Of its dimensions.
    """

    element: Any
    sizes: tuple[int, ...]

    def value(self) -> Any:
        """As lists."""
        value = self.element
        for size in reversed(self.sizes):
            value = [value] * size
        return value

    def expression(self) -> str:
        """As an expression of Python."""
        text = repr(self.element)
        for size in reversed(self.sizes):
            text = f"[{text}]" if size == 1 else f"[{text}]*{size}"
        return text


def curl_line(
    url: str, servable: str, method: MethodSignature, *, is_first: bool = True, options: Sequence[str] = ()
) -> str:
    """A line for a shell that asks a method once.

    Args:
        url: Of the RESTful server.
        servable: Name of the servable.
        method: Its method.
        is_first: Whether it is the servable's first one, which a model's name alone means.
        options: Of curl, as a shell takes them.

    Returns:
        Where nothing is known of an input, a line that asks what the method takes.
    """
    curl = " ".join(["curl", *options])
    native = f"{url}/model/{quote(servable, safe='')}:{quote(method.name, safe='')}"
    if method.examples:
        return _with_example(curl, native, method)
    if not all(one.dtype.is_text or (one.is_known and one.shape is not None) for one in method.inputs):
        return f"{curl} {shlex.quote(native.rpartition(':')[0])}"
    if all(_is_plain(one, method) for one in method.inputs):
        instance = {one.name: _Filled(_element(one), _sizes(one)) for one in method.inputs}
        return _with_body(curl, native, {"instances": [instance]})
    model = quote(servable if is_first else f"{servable}.{method.name}", safe="")
    inputs = [_open_inference(one, rows=method.rows) for one in method.inputs]
    return _with_body(curl, f"{url}/v2/models/{model}/infer", {"inputs": inputs})


def _with_example(curl: str, url: str, method: MethodSignature) -> str:
    """The line that sends a method's example; the server is asked for one that is too long to be read."""
    if len(method.examples[0]) <= _LONGEST_EXAMPLE:
        body = '{"instances": [' + method.examples[0] + "]}"
        return f"{curl} {shlex.quote(url)} -d {shlex.quote(body)}"
    script = (
        "import json, sys; methods = json.load(sys.stdin)['methods']; "
        f"print(json.dumps(next(one['example'] for one in methods if one['name'] == {method.name!r})))"
    )
    about = shlex.quote(url.rpartition(":")[0])
    return f"{curl} -s {about} | python3 -c {shlex.quote(script)} | {curl} {shlex.quote(url)} -d @-"


def _with_body(curl: str, url: str, body: Any) -> str:
    """The line that sends a document with `_Filled` in it."""
    if all(prod(one.sizes) <= _MOST_WRITTEN for one in _filled_in(body)):
        text = json.dumps(body, ensure_ascii=False, default=lambda one: one.value())
        return f"{curl} {shlex.quote(url)} -d {shlex.quote(text)}"
    script = shlex.quote(f"import json; print(json.dumps({_expression(body)}))")
    return f"python3 -c {script} | {curl} {shlex.quote(url)} -d @-"


def _filled_in(body: Any) -> list[_Filled]:
    if isinstance(body, _Filled):
        return [body]
    inner = body.values() if isinstance(body, dict) else body if isinstance(body, list) else ()
    return [found for one in inner for found in _filled_in(one)]


def _expression(body: Any) -> str:
    if isinstance(body, _Filled):
        return body.expression()
    if isinstance(body, dict):
        return "{" + ", ".join(f"{name!r}: {_expression(one)}" for name, one in body.items()) + "}"
    if isinstance(body, list):
        return "[" + ", ".join(map(_expression, body)) + "]"
    return repr(body)


def _is_plain(one: TensorType, method: MethodSignature) -> bool:
    return one.dtype.is_text or one.dtype is DataType.BOOL or one.name in method.number_types


def _sizes(one: TensorType) -> tuple[int, ...]:
    return tuple(UNKNOWN_SIZE if size == -1 else size for size in one.shape or ())


def _element(one: TensorType) -> Any:
    if one.dtype is DataType.STRING:
        return "text"
    if one.dtype is DataType.BYTES:
        return {"b64": "AA=="}
    if one.dtype is DataType.BOOL:
        return False
    return 0.1 if one.dtype in _FLOATS else 0


def _open_inference(one: TensorType, *, rows: bool) -> dict[str, Any]:
    sizes = ((1,) if rows and not one.shared else ()) + _sizes(one)
    element = "AA" if one.dtype is DataType.BYTES else _element(one)
    data = _Filled(element, (prod(sizes),))
    return {"name": one.name, "shape": list(sizes), "datatype": NAME_OF[one.dtype], "data": data}
