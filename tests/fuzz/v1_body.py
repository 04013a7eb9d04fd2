"""The body of a request below `/v1`: what was read is written as a reply, and read again."""

from __future__ import annotations

import json
from typing import Any

from mindspore_serving.errors import InvalidInput
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.kserve_v1.reply_body import encode_reply
from mindspore_serving.server.dialect.kserve_v1.request_body import (
    COLUMN_FORM,
    ROW_FORM,
    Methods,
    read_predict,
)
from mindspore_serving.tensor import DataType
from tests.fuzz.oracle import demand, demand_text

_ANY = int(DataType.UNKNOWN)
METHODS = Methods(
    model="m",
    default="one",
    inputs={
        "one": [("x", _ANY, False)],
        "two": [("x", _ANY, False), ("y", _ANY, False)],
        "float": [("x", int(DataType.FLOAT32), False)],
        "int": [("x", int(DataType.INT8), False)],
        "bool": [("x", int(DataType.BOOL), False)],
        "text": [("x", int(DataType.STRING), False)],
        "bytes": [("x", int(DataType.BYTES), False)],
        "common": [("x", _ANY, False), ("y", _ANY, True)],
        "none": [],
    },
)
_KEYS = {ROW_FORM: "instances", COLUMN_FORM: "inputs"}


def one_input(data: bytes) -> None:
    """Read a body; its rows come back from a reply in either form as they were."""
    try:
        content = read_predict(data, METHODS)
    except InvalidInput as error:
        demand_text(error)
        return
    rows, method = _each(content.rows), content.rest["method"]
    demand(len(rows) > 0, "there are rows", content)
    inputs = METHODS["inputs"][method]
    demand(
        all([spec.name for spec, *_ in row] == [name for name, *_ in inputs] for row in rows),
        "inputs in order",
        rows,
    )
    for form, key in _KEYS.items():
        if not inputs or (form == COLUMN_FORM and method == "common"):
            continue  # a reply in this form does not say how many rows there are, or has a value for each of them
        reply = encode_reply(content.rows, form)
        again = reply.replace(form.encode(), key.encode(), 1).removesuffix(b"}")
        body = again + b', "signature_name": ' + json.dumps(method).encode() + b"}"
        demand(_each(read_predict(body, METHODS).rows) == rows, "rows come back as they were", reply, rows)


def _each(blocks: list[Rows]) -> list[list[tuple[Any, bytes]]]:
    """Every row by itself: what it looks like, and its bytes."""
    rows = []
    for block in blocks:
        for at in range(block.count):
            values = [column[at] for column in block.columns]
            rows.append(
                [
                    (spec, value if isinstance(value, bytes) else value.tobytes())
                    for spec, value in zip(block.specs, values, strict=True)
                ]
            )
    return rows
