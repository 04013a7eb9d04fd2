"""Starts a server for a command line of Paddle Serving, and serves until it is stopped."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from mindspore_serving import server
from mindspore_serving.errors import StartUpError
from mindspore_serving.serve.chain import NAME, chain_source, chained_model
from mindspore_serving.serve.options import ModelOptions, ServeOptions
from mindspore_serving.serve.process_record import record_path, recorded
from mindspore_serving.server.backend.model_folder import has_config, is_servable, model_of
from mindspore_serving.server.backend.paddle.given_names import GIVEN_NAMES
from mindspore_serving.server.start.front_ends import Listener
from mindspore_serving.server.start.servable_path import config_for
from mindspore_serving.server.start.servable_start_config import ServableStartConfig
from mindspore_serving.server.start.server import server_of_process

_PADDLE: Final = "paddle"
_CONNECTIONS: Final = 10_000
_MEGABYTE: Final = 1 << 20
_ANY: Final = "0.0.0.0"  # as Paddle Serving does


def serve(options: ServeOptions) -> None:
    """Serve until a signal comes.

    Args:
        options: Of the word `start`.

    Raises:
        StartUpError: Something cannot be started.
    """
    assert options.port is not None  # it has a default
    for note in options.notes:
        print(note, file=sys.stderr)
    configs = [_config_of(model, options.paddle) for model in options.models]
    names = [config.servable_name for config in configs]
    _check_names(configs, options.models)
    default = names[0]
    if len(configs) > 1:
        configs.append(_chain_of(configs, options))
        default = NAME
    with _grpc_socket() as path, recorded(record_path(), options.port, [one.path for one in options.models]):
        _start(configs, default, options.port, options.max_msg_mb_size, path)
        url = f"http://{_ANY}:{options.port}"
        print(
            f"Serving {', '.join(names)}: {url}/GeneralModelService/inference, gRPC on the same port",
            flush=True,
        )
        server_of_process.wait()


def _start(
    configs: Sequence[ServableStartConfig], default: str, port: int, max_msg_mb_size: int, path: str
) -> None:
    size = max_msg_mb_size * _MEGABYTE
    try:
        server_of_process.start_grpc(Listener(f"unix:{path}", size, _CONNECTIONS))
        server_of_process.start_rest(Listener(f"{_ANY}:{port}", size, _CONNECTIONS), with_grpc=True)
    except BaseException:
        server.stop()
        raise
    server.start_servables(list(configs), default_servable=default)


@contextlib.contextmanager
def _grpc_socket() -> Iterator[str]:
    """A place for the socket between the shared port and the gRPC server, for this user alone."""
    with tempfile.TemporaryDirectory(prefix="mindspore_serving_") as folder:
        yield str(Path(folder, "grpc"))


def _config_of(model: ModelOptions, paddle: dict[str, str | float]) -> ServableStartConfig:
    """The configuration of a model.

    Raises:
        StartUpError: There is none at its path.
        InvalidParameter: An option is out of bounds.
    """
    place = Path(model.path)
    if not place.is_dir():
        what = "is a file" if place.exists() else "does not exist"
        raise StartUpError(f"--model {model.path} {what}, expected the folder of a model")
    if not is_servable(place.resolve()):
        raise StartUpError(
            f"--model {model.path} has no model in it, expected the files that Paddle, ONNX, MindSpore or MindSpore "
            "Lite saves"
        )
    more: dict[str, Any] = {"device_ids": model.device_ids or tuple(range(model.copies))}
    if model.device_ids:
        more["device_type"] = "GPU"
    config = config_for(model.path, **more)
    if has_config(place):
        return config
    more["max_batch_size"] = model.max_batch_size
    if paddle and model_of(config).model_format == _PADDLE:
        more["runtime_options"] = paddle
    return config_for(model.path, **more)


def _check_names(configs: Sequence[ServableStartConfig], models: Sequence[ModelOptions]) -> None:
    paths: dict[str, str] = {}
    for config, model in zip(configs, models, strict=True):
        other = paths.setdefault(config.servable_name, model.path)
        if other != model.path or (len(models) > 1 and config.servable_name == NAME):
            raise StartUpError(
                f"--model {other} and {model.path} are both servable '{config.servable_name}'; rename one of "
                "the folders"
            )


def _chain_of(configs: Sequence[ServableStartConfig], options: ServeOptions) -> ServableStartConfig:
    """The servable that runs all models one after the other, which is written for that.

    Raises:
        StartUpError: They do not fit together.
    """
    models = [
        chained_model(config.servable_name, _names_folder(config, Path(model.path)))
        for config, model in zip(configs, options.models, strict=True)
    ]
    folder = Path(options.workdir, NAME)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "servable_config.py").write_text(chain_source(models), encoding="utf-8")
    (folder / "1").mkdir(exist_ok=True)
    return ServableStartConfig(str(folder.parent.absolute()), NAME)


def _names_folder(config: ServableStartConfig, place: Path) -> Path:
    """Where the names of a model are: in its folder, or in that of its version."""
    return place if has_config(place) or (place / GIVEN_NAMES).exists() else model_of(config).path.parent
