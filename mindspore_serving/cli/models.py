"""The verbs `models ...`: what a running server serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from mindspore_serving.cli import arguments
from mindspore_serving.cli.output import out

if TYPE_CHECKING:
    from mindspore_serving.cli.asking.description import ServerKind
    from mindspore_serving.cli.asking.method import Method
    from mindspore_serving.signature import TensorType

models = typer.Typer(
    name="models",
    help="What a running server serves.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@models.callback()
def _of_all() -> None:
    """What a running server serves."""


@models.command("list")
def list_models(
    url: arguments.Url = arguments.DEFAULT_URL,
    api_key: arguments.ApiKey = "",
    tls: arguments.Tls = False,
    ca: arguments.Ca = "",
    timeout: arguments.Timeout = 60.0,
    as_json: arguments.Json = False,
) -> None:
    """List the methods that a running server serves: versions, states, and types of inputs and outputs.

    Works with this server over REST and gRPC, and with others that speak the Open Inference Protocol.

    Example: mindspore-serving models list --url http://127.0.0.1:1500
    """
    from mindspore_serving.cli.asking.address import access_of, parse_address
    from mindspore_serving.cli.asking.description import kind_of, methods_of
    from mindspore_serving.cli.asking.session import open_session

    with open_session(parse_address(url, tls=tls), access_of(api_key, ca), timeout) as session:
        kind = kind_of(session)
        methods = methods_of(session, kind)
        at = str(session.address)
    if as_json:
        out.print_json(data=_document(at, kind, methods))
        return
    _show(at, kind, methods)


def _document(at: str, kind: ServerKind, methods: Sequence[Method]) -> dict[str, Any]:
    from mindspore_serving.cli.asking.method import types_document

    return {
        "url": at,
        "server": kind.name or None,
        "server_version": kind.version or None,
        "methods": [
            {
                "name": one.model,
                "servable": one.servable,
                "method": one.method or None,
                "version": one.version or None,
                "state": one.state,
                **({"reason": one.reason} if one.reason else {}),
                "rows": one.rows,
                "inputs": types_document(one.inputs) if one.typed else None,
                "outputs": types_document(one.outputs) if one.typed else None,
                "description": one.description,
            }
            for one in methods
        ],
    }


def _show(at: str, kind: ServerKind, methods: Sequence[Method]) -> None:
    from rich.table import Table
    from rich.text import Text

    name = f"{kind.name} {kind.version}".strip() or "server"
    out.print(f"{name} at {at}", style="bold", markup=False, soft_wrap=True)
    table = Table()
    for column in ("servable", "method", "version", "state", "inputs", "outputs"):
        table.add_column(column, overflow="fold")
    for one in methods:
        state = Text(one.state, "green" if one.state == "READY" else "red")
        if one.reason:
            state.append(f"\n{one.reason}")
        inputs = _types(one.inputs) if one.typed else "unknown"
        outputs = _types(one.outputs) if one.typed else "unknown"
        table.add_row(
            *map(Text, (one.servable, one.method, one.version)), state, *map(Text, (inputs, outputs))
        )
    out.print(table)


def _types(types: Sequence[TensorType]) -> str:
    from mindspore_serving.cli.asking.method import type_text

    return "\n".join(f"{one.name}: {type_text(one)}" for one in types) or "none"
