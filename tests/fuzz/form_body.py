"""A form, `multipart/form-data`, whose parts are the inputs of a method."""

from __future__ import annotations

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.dialect.native.body_forms import form_of
from mindspore_serving.signature import MethodSignature
from tests.fuzz.oracle import demand, demand_text

METHOD = MethodSignature("m", ("x", "y"), 64)
_FORM, _ARGUMENT = form_of("multipart/form-data; boundary=b", METHOD)
_TEXTS = ("http message invalid", "Parser request failed, ", "Illegal JSON format.")


def one_input(data: bytes) -> None:
    """Read a form."""
    try:
        blocks = _FORM.read(data, _ARGUMENT).rows
    except InvalidInput as error:
        demand(demand_text(error).startswith(_TEXTS), "a refusal is about the form", error)
        return
    demand(bool(blocks), "a form holds instances", data)
    if b"instances" in data:  # JSON is read under any type
        return
    [rows] = blocks
    demand(rows.count == 1, "a form is one instance", rows)
    demand({spec.name for spec in rows.specs} == {"x", "y"}, "each input has its part", rows.specs)
    for spec, column in zip(rows.specs, rows.columns, strict=True):
        if isinstance(column, list) and not spec.dtype.is_text:
            demand(False, "only text is a list", spec)
        if isinstance(column, list) and b'"b64"' not in data and b"\\" not in data:
            demand(column[0] in data, "text and bytes are those that were sent", column)
