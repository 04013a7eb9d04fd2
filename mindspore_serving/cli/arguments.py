"""Options that several verbs have, each written once."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_URL = "127.0.0.1:1500"

Url = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="SERVING_URL",
        help="The server: http://HOST:PORT, https://..., grpc://..., grpcs://..., unix:PATH, or HOST:PORT, where the "
        "verb finds out what answers.",
    ),
]
ApiKey = Annotated[
    str,
    typer.Option(
        "--api-key",
        envvar="SERVING_API_KEY",
        show_envvar=True,
        metavar="KEY|@FILE",
        help="Key that the server asks for. Other users of this machine can see KEY in the list of processes: prefer "
        "@FILE or the variable.",
    ),
]
Tls = Annotated[bool, typer.Option("--tls", help="HOST:PORT is encrypted.")]
Ca = Annotated[
    str,
    typer.Option(
        "--ca", metavar="FILE", help="Root certificates (PEM) that the server's certificate must come from."
    ),
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds to wait for a reply.")]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON document.")]
DecKeyFile = Annotated[
    str,
    typer.Option(
        "--dec-key-file",
        metavar="FILE",
        help="File with the key of encrypted models, 16, 24 or 32 bytes. [default: they are plain]",
    ),
]
DecMode = Annotated[
    str, typer.Option("--dec-mode", help="How MindIR models are encrypted, AES-GCM or AES-CBC.")
]
Protocol = Annotated[
    str,
    typer.Option(
        "--protocol",
        help="native, oip, oip-binary (REST only), v1 (REST only), or auto: native where the server is one of ours, "
        "else oip, else v1.",
    ),
]
ModelVersion = Annotated[
    str, typer.Option("--version", help="Version of the servable. [default: the newest]")
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="NAME=VALUE",
        help="An input: JSON, text, @FILE (.npy, .npz, .json, .txt; others are bytes), or - for standard input.",
    ),
]
InstancesFile = Annotated[
    str,
    typer.Option(
        "--instances",
        metavar="FILE",
        help="JSON with many instances: a list of objects, or one on each line; - for standard input.",
    ),
]
