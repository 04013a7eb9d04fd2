"""REST and gRPC: classification instead of values."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from oip_conformance import sources
from oip_conformance.areas.rest_infer import json_inputs
from oip_conformance.check import Area, NotOffered, Skip, Tier, expect
from oip_conformance.messages import new, parameter
from oip_conformance.server import Server, expect_error, outputs_of, rpc_outputs_of
from oip_conformance.tensors import DATATYPES, Tensor

AREA = Area("Classification", "http")

_FORM = re.compile(rb"(?P<value>[^:]+):(?P<index>\d+)(:.*)?")
_SAYS = "classification N of an output returns BYTES [batch, N] of value:index[:label], the largest first."


def _numeric_output(server: Server) -> str:
    for spec in server.specs("outputs"):
        known = spec.datatype in DATATYPES and spec.datatype not in ("BYTES", "BOOL", "BF16", "FP16")
        if known and len(spec.shape) == 2:
            return spec.name
    raise Skip("needs a model with an output of numbers of 2 dimensions")


def _ask(server: Server, count: Any) -> Any:
    server.announced("classification")
    name = _numeric_output(server)
    wanted = [{"name": name, "parameters": {"classification": count}}]
    return server.infer_json(json_inputs(server), outputs=wanted)


def _expect_classes(server: Server, found: dict[str, Tensor], count: int) -> None:
    name = _numeric_output(server)
    values = server.reference()[name].array
    classes = found[name]
    expect(classes.datatype == "BYTES", "datatype BYTES", classes.datatype)
    expect(
        classes.shape == (values.shape[0], count), f"shape {[values.shape[0], count]}", list(classes.shape)
    )
    for row, elements in zip(values, classes.array, strict=True):
        best = sorted(row.tolist(), reverse=True)[:count]
        for element, value in zip(elements, best, strict=True):
            match = _FORM.fullmatch(element)
            expect(match is not None, "value:index[:label]", element)
            assert match is not None
            index = int(match["index"])
            right = (
                index < len(row)
                and np.isclose(row[index], value)
                and np.isclose(float(match["value"]), value)
            )
            expect(bool(right), f"{value:g} and its place in {row.tolist()}", element)


@AREA.check("classification.one", Tier.TRITON, _SAYS, sources.CLASSIFICATION)
def one(server: Server) -> None:
    """Classification 1 gives the largest value of each row, and its place."""
    _expect_classes(server, outputs_of(_ask(server, 1)), 1)


@AREA.check("classification.two", Tier.TRITON, _SAYS, sources.CLASSIFICATION)
def two(server: Server) -> None:
    """Classification 2 gives the two largest values of each row, in order."""
    if server.reference()[_numeric_output(server)].array.shape[1] < 2:
        raise Skip("needs a model with an output of two columns or more")
    _expect_classes(server, outputs_of(_ask(server, 2)), 2)


@AREA.check(
    "classification.text", Tier.TRITON, "classification is a number.", sources.CLASSIFICATION, hostile=True
)
def text(server: Server) -> None:
    """A text as classification is refused with 4xx."""
    expect_error(_ask(server, "two"))


@AREA.check("classification.grpc", Tier.TRITON, _SAYS, sources.CLASSIFICATION, transport="grpc")
def over_grpc(server: Server) -> None:
    """Classification 1 over gRPC."""
    server.announced("classification")
    wanted = new("RequestedOutput", name=_numeric_output(server))
    wanted.parameters["classification"].CopyFrom(parameter(1))
    found = rpc_outputs_of(server.infer_raw(server.inputs(), outputs=[wanted]))
    if not found:
        raise NotOffered("no output")
    _expect_classes(server, found, 1)
