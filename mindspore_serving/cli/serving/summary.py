"""What the user reads once the server is ready: addresses, what can be called, and a request to copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mindspore_serving.cli.serving.config import ServerConfig
from mindspore_serving.cli.serving.sample_request import curl_line
from mindspore_serving.server.service.catalog import ServableInfo
from mindspore_serving.signature import MethodSignature, TensorType

READY = "Ready"
"""How the last line begins, for those who wait for it."""


def summary_of(config: ServerConfig, servables: Sequence[ServableInfo]) -> Iterator[str]:
    """The lines.

    Args:
        config: What was started.
        servables: What runs.
    """
    yield ""
    for servable in servables:
        for version in servable.versions:
            for method in version.methods:
                yield f"  {servable.name}.{method.name}  version {version.number}  {_types_of(method)}"
    if config.grpc is not None:
        yield f"gRPC  {config.grpc}{'  TLS' if config.tls else ''}"
    if config.rest is not None:
        url = rest_url(config)
        yield f"REST  {url}"
        yield from (f"Try   {line}" for line in _request_to_try(url, config, servables))
    yield f"Logs  {Path('serving_logs').absolute()}"
    yield f"{READY}. Ctrl+C stops the server"


def rest_url(config: ServerConfig) -> str:
    """Where the RESTful server is reached from this machine."""
    host, _, port = str(config.rest).rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    return f"{'https' if config.tls else 'http'}://{host}:{port}"


def _request_to_try(url: str, config: ServerConfig, servables: Sequence[ServableInfo]) -> Iterator[str]:
    options = []
    if config.tls is not None:
        options.append("-k")
        if config.tls.verify_client:
            options.append("--cert client.crt --key client.key")  # the user's, wherever they are
    if config.api_keys is not None:
        key = f"awk 'NF && !/^ *#/ {{print $1; exit}}' '{config.api_keys}'"
        options.append(f'-H "X-API-Key: $({key})"')
    for servable in servables:
        for version in servable.versions:
            for method in version.methods[:1]:
                yield curl_line(url, servable.name, method, options=options)
                return


def _types_of(method: MethodSignature) -> str:
    return f"({_listed(method.inputs)}) -> ({_listed(method.outputs)})"


def _listed(types: Sequence[TensorType]) -> str:
    return ", ".join(f"{one.name}: {_short(one)}" if one.is_known else one.name for one in types)


def _short(one: TensorType) -> str:
    dtype = one.content or one.dtype.name.lower()
    return dtype if not one.shape or one.dtype.is_text else f"{dtype}{list(one.shape)}"
