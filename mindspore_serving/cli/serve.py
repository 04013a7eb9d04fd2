"""The verb `serve`: a path, and a server."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import USAGE
from mindspore_serving.cli.output import out


def serve(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="A servable's folder (NAME/1/model.onnx, or with servable_config.py), a folder of such folders, the "
            "file of a model, or one YAML file of settings.",
        ),
    ] = None,
    grpc: Annotated[
        str | None,
        typer.Option(
            help="Address of the gRPC server, ip:port or unix:path; 'none' for none. Default 127.0.0.1:5500.",
            show_default=False,
        ),
    ] = None,
    rest: Annotated[
        str | None,
        typer.Option(
            help="Address of the RESTful server, ip:port; 'none' for none. 0.0.0.0:1500 accepts other machines. "
            "Default 127.0.0.1:1500.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the servable, where one is served; by default that of its path."),
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="Version to serve; by default the newest of each servable.")
    ] = None,
    device_type: Annotated[
        str | None, typer.Option(help="Ascend, GPU or CPU; by default the first that is there.")
    ] = None,
    device_ids: Annotated[
        str | None, typer.Option(help="Devices to load the models on, one worker process each, as 0,1.")
    ] = None,
    copies: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="Copies of the models, on the devices from 0 on: the same as --device-ids."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="Worker processes in all; those beyond the devices run Python stages."
        ),
    ] = None,
    default_servable: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What requests mean that name no servable, as those of Paddle Serving: SERVABLE or SERVABLE.METHOD.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            "-o",
            metavar="NAME=VALUE",
            help="Any other parameter of ServableStartConfig, for all servables, as max_batch_delay_ms=2 or "
            "runtime_options={graph_optimization: basic}.",
        ),
    ] = None,
    api_keys: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="File with the API keys of clients, a key on each line."),
    ] = None,
    tls_certificate: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Certificate of the server, PEM; with --tls-key both use TLS."),
    ] = None,
    tls_key: Annotated[
        str | None, typer.Option(metavar="FILE", help="Private key of the certificate, PEM.")
    ] = None,
    drain: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="How long requests may finish when the server stops."),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="Lowest level that is logged: debug, info, warning or error.")
    ] = None,
    log_dir: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Folder for the log of the server. Workers log to ./serving_logs in any case."
        ),
    ] = None,
    access_log: Annotated[
        str | None, typer.Option(metavar="FORM", help="Write a line for each request: text or json.")
    ] = None,
    access_log_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where these lines are appended; stdout by default.")
    ] = None,
    lite: Annotated[bool, typer.Option("--lite", help="Run MindIR models with MindSpore Lite.")] = False,
    tracing: Annotated[
        bool,
        typer.Option(
            "--tracing", help="Trace requests with OpenTelemetry; OTEL_* variables say where spans go."
        ),
    ] = False,
    dev: Annotated[
        bool,
        typer.Option(
            "--dev", help="Reload a servable when its files change; errors wait for the next change."
        ),
    ] = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print what would be served as YAML, and serve nothing.")
    ] = False,
    print_schema: Annotated[
        bool, typer.Option("--print-schema", help="Print the JSON schema of the YAML file, for editors.")
    ] = False,
) -> None:
    """Serve models over gRPC and REST: a folder of models, one model, or what a YAML file says.

    A folder needs no servable_config.py: a version folder with one model is a servable with a method `predict`, whose
    inputs and outputs are those of the model. The name of a file says whether it is a MindIR, MindSpore
    Lite, ONNX or Paddle model. Ctrl+C or SIGTERM stops the server; requests that were admitted finish first.
    """
    if print_schema:
        from mindspore_serving.cli.serving.schema import schema

        out.print_json(json.dumps(schema()))
        return
    given: dict[str, Any] = {
        "grpc": grpc,
        "rest": rest,
        "api_keys": api_keys,
        "tls": (tls_certificate, tls_key),
        "default_servable": default_servable,
        "drain_timeout_s": drain,
        "log": (log_level, log_dir),
        "access_log": access_log,
        "access_log_file": access_log_file,
        "enable_lite": lite or None,
        "tracing": tracing or None,
    }
    of_servables = {
        "version_number": version,
        "device_type": device_type,
        "device_ids": _device_ids(device_ids, copies),
        "num_parallel_workers": workers,
        **_options(option or []),
    }
    if not paths:
        raise CommandError(
            "nothing to serve: PATH is missing",
            "mindspore-serving serve ./models, where ./models/NAME/1/model.onnx is a model",
            USAGE,
        )
    from mindspore_serving.cli.serving.command_line import config_of

    config = config_of(paths, name, given, {key: one for key, one in of_servables.items() if one is not None})
    if print_config:
        from mindspore_serving.cli.serving.config_file import write_config

        out.print(write_config(config), markup=False, soft_wrap=True, end="")
        return
    from mindspore_serving.cli.serving.run import serve_config

    serve_config(config, dev=dev)


def _device_ids(text: str | None, copies: int | None) -> tuple[int, ...] | None:
    """The devices that two options say.

    Raises:
        CommandError: Both are given, or one is no list of numbers.
    """
    if text is None:
        return None if copies is None else tuple(range(copies))
    if copies is not None:
        raise CommandError("--copies and --device-ids say the same; give one of them", exit_code=USAGE)
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise CommandError(
            f"--device-ids should be numbers with commas, as 0,1, but is {text!r}", exit_code=USAGE
        )
    return tuple(int(part) for part in parts)


def _options(texts: list[str]) -> dict[str, Any]:
    """The options NAME=VALUE; values are YAML.

    Raises:
        CommandError: One is none, or has an unknown name.
    """
    from mindspore_serving.cli.serving.config_file import read_option

    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f"--option should be NAME=VALUE, but is {text!r}", exit_code=USAGE)
        options[name] = read_option(name, value)
    return options
