"""Serves a configuration, with the functions that a start script calls."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mindspore_serving import server
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import AFTER_SIGNAL, FAILED, USAGE
from mindspore_serving.cli.model_key import key_in_file
from mindspore_serving.cli.output import out
from mindspore_serving.cli.serving.config import LOG_LEVELS, Servable, ServerConfig, Tls
from mindspore_serving.cli.serving.progress import shown_progress
from mindspore_serving.cli.serving.reloading import serve_and_reload
from mindspore_serving.cli.serving.summary import summary_of
from mindspore_serving.errors import InvalidParameter, StartUpError
from mindspore_serving.server.access.tls import SSLConfig
from mindspore_serving.server.backend.families import supported_device_types
from mindspore_serving.server.host.settings import (
    set_drain_timeout_s,
    set_max_enqueued_bytes,
    set_max_enqueued_instances,
    set_max_enqueued_requests,
)
from mindspore_serving.server.start.servable_path import config_for
from mindspore_serving.server.start.servable_start_config import ServableStartConfig
from mindspore_serving.server.start.server import server_of_process


def start_configs(config: ServerConfig) -> list[ServableStartConfig]:
    """The servables as a start script would give them.

    Raises:
        CommandError: An option is wrong, or there is no such path.
    """
    configs = [_start_config(one) for one in config.models]
    for one in config.models:
        if one.dec_key_env is not None:
            os.environ.pop(
                one.dec_key_env, None
            )  # workers get the key in another way, and need not inherit it
    return configs


def _start_config(servable: Servable) -> ServableStartConfig:
    if not Path(servable.path).exists():
        raise CommandError(
            f"'{servable.path}' does not exist",
            "name the folder of a servable, a folder of servables, the file of a model, or a YAML file of settings",
            USAGE,
        )
    options = dict(servable.options)
    if "cpu" not in supported_device_types():
        options.setdefault("device_ids", (0,))  # else models have nothing to run on
    try:
        return config_for(servable.path, servable.name or "", dec_key=_key_of(servable), **options)
    except InvalidParameter as error:
        raise CommandError(f"servable '{servable.path}': {error}", exit_code=USAGE) from error


def _key_of(servable: Servable) -> bytes | None:
    """The key of its models; no text shows it.

    Raises:
        CommandError: There is none where one should be.
    """
    if servable.dec_key_env is not None:
        value = os.environ.get(servable.dec_key_env)
        if not value:
            raise CommandError(
                f"servable '{servable.path}': environment variable {servable.dec_key_env} has no key",
                f"export {servable.dec_key_env}=...",
                USAGE,
            )
        return value.encode()
    if servable.dec_key_file is None:
        return None
    return key_in_file(servable.dec_key_file, f"servable '{servable.path}': dec_key_file")


def serve_config(config: ServerConfig, *, dev: bool) -> None:
    """Serve until a signal comes.

    Args:
        config: What is served, and how.
        dev: Whether servables are reloaded when their files change.

    Raises:
        CommandError: Something cannot be started.
    """
    set_log(config)
    servables = start_configs(config)
    if dev:
        serve_and_reload(servables, config.enable_lite, lambda: start(config, servables))
    else:
        start(config, servables)
        server_of_process.wait()


def start(config: ServerConfig, servables: Sequence[ServableStartConfig]) -> None:
    """Start everything, and print what runs where.

    Front ends come first: that a port is taken is known at once, and health checks can follow the start.

    Raises:
        CommandError: Something cannot be started; the server is stopped.
    """
    try:
        _set_limits(config)
        if config.tracing:
            server.start_tracing()
        if config.access_log is not None:
            server.start_access_log(config.access_log, config.access_log_file)
        _start_front_ends(config)
    except InvalidParameter as error:
        raise CommandError(str(error), exit_code=USAGE) from error
    except (StartUpError, OSError) as error:
        raise CommandError(str(error), _next_step_of(error), FAILED) from error
    try:
        with shown_progress():
            server.start_servables(
                list(servables),
                config.enable_lite,
                allow_client_shared_memory=config.allow_client_shared_memory,
                default_servable=config.default_servable,
            )
    except InvalidParameter as error:
        raise CommandError(str(error), exit_code=USAGE) from error
    except StartUpError as error:
        code = AFTER_SIGNAL.get(server_of_process.stopped_by, FAILED)
        raise CommandError(str(error), exit_code=code) from error
    for line in summary_of(config, server_of_process.servables()):
        out.print(line, markup=False, soft_wrap=True)
    out.file.flush()


def _next_step_of(error: Exception) -> str:
    if "Address already in use" in str(error):
        return "end what listens there, or choose other addresses with --grpc and --rest"
    return ""


def _start_front_ends(config: ServerConfig) -> None:
    tls = None if config.tls is None else _ssl_config(config.tls)
    if config.grpc is not None:
        server.start_grpc_server(
            config.grpc,
            config.max_msg_mb_size,
            tls,
            api_keys=config.api_keys,
            max_connections=config.max_connections,
        )
    shown: dict[str, Any] = {
        "api_keys": config.api_keys,
        "public_pages": config.public_pages,
        "metrics_aliases": config.metrics_aliases,
    }
    if config.admin is not None:
        server.start_admin_server(config.admin, tls, **shown)
    if config.metrics is not None:
        server.start_metrics_server(config.metrics, tls, **shown)
    if config.rest is not None:
        server.start_restful_server(
            config.rest,
            config.max_msg_mb_size,
            tls,
            max_connections=config.max_connections,
            cors_origins=config.cors_origins or None,
            pages=config.pages,
            **shown,
        )


def _ssl_config(tls: Tls) -> SSLConfig:
    return SSLConfig(
        tls.certificate,
        tls.private_key,
        tls.custom_ca,
        tls.verify_client,
        client_identities=tls.client_identities or None,
    )


def _set_limits(config: ServerConfig) -> None:
    for value, setter in (
        (config.max_enqueued_requests, set_max_enqueued_requests),
        (config.max_enqueued_instances, set_max_enqueued_instances),
        (config.max_enqueued_bytes, set_max_enqueued_bytes),
    ):
        if value is not None:
            setter(value)
    if config.drain_timeout_s is not None:
        set_drain_timeout_s(config.drain_timeout_s)


def set_log(config: ServerConfig) -> None:
    """Let this process, and those that it starts, log as the configuration asks; before the first line is logged.

    Raises:
        CommandError: The level is none, or the folder is not there.
    """
    level, directory = config.log.level, config.log.directory
    if level is not None:
        if level.lower() not in LOG_LEVELS:
            raise CommandError(
                f"log level {level!r} does not exist, expected one of {', '.join(LOG_LEVELS)}",
                exit_code=USAGE,
            )
        os.environ.update(GLOG_v=str(LOG_LEVELS.index(level.lower())))
    if directory is not None:
        if not Path(directory).is_dir():
            raise CommandError(f"log directory '{directory}' is no folder", f"mkdir -p {directory}", USAGE)
        os.environ.update(GLOG_logtostderr="0", GLOG_log_dir=directory)
