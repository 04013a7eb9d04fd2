"""The verb `infer`: ask a method of a running server."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mindspore_serving.cli import arguments
from mindspore_serving.cli.exit_codes import REFUSED
from mindspore_serving.cli.output import err, out

if TYPE_CHECKING:
    from mindspore_serving.cli.asking.method import Method
    from mindspore_serving.cli.asking.session import Session
    from mindspore_serving.cli.asking.wire import Instance, Result


def infer(
    name: Annotated[str, typer.Argument(metavar="NAME[.METHOD]", help="The servable, or a method of it.")],
    inputs: arguments.Inputs = None,
    instances: arguments.InstancesFile = "",
    example: Annotated[
        bool, typer.Option("--example", help="Send the example that the server has of this method.")
    ] = False,
    url: arguments.Url = arguments.DEFAULT_URL,
    protocol: arguments.Protocol = "auto",
    version: arguments.ModelVersion = "",
    output: Annotated[
        str, typer.Option("--output", metavar="DIR", help="Save each output into a file of this folder.")
    ] = "",
    api_key: arguments.ApiKey = "",
    tls: arguments.Tls = False,
    ca: arguments.Ca = "",
    timeout: arguments.Timeout = 60.0,
    as_json: arguments.Json = False,
) -> None:
    """Ask a method of a running server, and show what it answers.

    The server says which types it takes: a picture is sent as bytes, numbers become the type of the input. It may be
    this server or another one that speaks the Open Inference Protocol or v1, as Triton, MLServer and TensorFlow
    Serving.

    Example: mindspore-serving infer lenet -i image=@seven.png

    Example: mindspore-serving infer add.add_cast -i x1="[[1,2],[3,4]]" -i x2=@x2.npy --url grpc://127.0.0.1:5500

    Exit codes: 0 all answered, 2 wrong use, 3 no server, 4 refused, or an instance failed.
    """
    from mindspore_serving.cli.asking.address import access_of, parse_address
    from mindspore_serving.cli.asking.description import kind_of, method_of
    from mindspore_serving.cli.asking.session import open_session

    with open_session(parse_address(url, tls=tls), access_of(api_key, ca), timeout) as session:
        kind = kind_of(session)
        method = method_of(session, kind, name, version)
        asked = _instances(method, inputs or (), instances, example)
        chosen = protocol if protocol != "auto" else default_protocol(kind.speaks, method)
        begin = time.perf_counter()
        results = ask(session, chosen, method, asked)
        elapsed_ms = (time.perf_counter() - begin) * 1e3
        at = str(session.address)
    if as_json:
        out.print_json(data=_document(method, at, chosen, elapsed_ms, results))
    else:
        _show(method, at, chosen, elapsed_ms, results)
    if output:
        _save(Path(output), results)
    if any(set(result) == {"error"} for result in results):
        raise typer.Exit(REFUSED)


def default_protocol(speaks: str, method: Method) -> str:
    """The protocol that is taken where the user says none.

    Args:
        speaks: The richest that the server speaks.
        method: What is asked; the native protocol needs the name of the method.
    """
    return "oip" if speaks == "native" and not method.method else speaks


def ask(session: Session, protocol: str, method: Method, instances: Sequence[Instance]) -> list[Result]:
    """Send instances, and read their results.

    Raises:
        CommandError: The server cannot be reached, refuses, or speaks another protocol.
    """
    from mindspore_serving.cli.asking.wire import wire_of

    wire = wire_of(protocol, session.over)
    requests = wire.requests(method, instances)
    return [result for request in requests for result in wire.results(method, session.ask(request))]


def _instances(method: Method, inputs: Sequence[str], file: str, example: bool) -> list[Instance]:
    from mindspore_serving.cli.asking.values import batch_as_instances, instances_of, read_instances
    from mindspore_serving.cli.errors import CommandError
    from mindspore_serving.cli.exit_codes import USAGE

    if sum(map(bool, (inputs, file, example))) > 1:
        raise CommandError(
            "--input, --instances and --example say what is sent, each in its way", "Give one of them.", USAGE
        )
    if example:
        if method.example is None:
            raise CommandError(f"The server has no example of {method.model}", "Give -i NAME=VALUE.", USAGE)
        return instances_of(method, (), [method.example])
    if file:
        return instances_of(method, (), read_instances(file))
    return batch_as_instances(method, instances_of(method, inputs, ())[0])


def _document(
    method: Method, at: str, protocol: str, elapsed_ms: float, results: Sequence[Result]
) -> dict[str, Any]:
    from mindspore_serving.cli.shown import json_of_value

    return {
        "model": method.model,
        "version": method.version or None,
        "url": at,
        "protocol": protocol,
        "elapsed_ms": round(elapsed_ms, 3),
        "results": [{name: json_of_value(one) for name, one in result.items()} for result in results],
    }


def _show(method: Method, at: str, protocol: str, elapsed_ms: float, results: Sequence[Result]) -> None:
    from rich.table import Table
    from rich.text import Text

    from mindspore_serving.cli.shown import text_of_value, type_of

    out.print(f"{method.model} at {at}, {protocol}", style="bold", markup=False, soft_wrap=True)
    table = Table()
    for column in ("#",) * (len(results) > 1) + ("output", "type", "value"):
        table.add_column(column, overflow="fold")
    for number, result in enumerate(results, 1):
        for name, value in result.items():
            kind = Text("error", "red") if set(result) == {"error"} else Text(type_of(value))
            cells = [Text(name), kind, Text(text_of_value(value))]
            table.add_row(*([Text(str(number))] if len(results) > 1 else []), *cells)
    out.print(table)
    err.print(f"{len(results)} instance{'s' if len(results) != 1 else ''} in {elapsed_ms:.1f} ms")


def _save(folder: Path, results: Sequence[Result]) -> None:
    from mindspore_serving.cli.shown import save_value

    for number, result in enumerate(results, 1):
        for name, value in result.items():
            for index, one in enumerate(value if isinstance(value, list) else [value]):
                stem = re.sub(r"[^\w.-]", "_", name) + (f"_{index}" if isinstance(value, list) else "")
                path = save_value(folder, f"{number}_{stem}" if len(results) > 1 else stem, one)
                err.print(f"saved {path}", soft_wrap=True)
