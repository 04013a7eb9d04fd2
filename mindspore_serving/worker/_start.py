"""A servable in this process's server, or as a worker of a cluster."""

from __future__ import annotations

import ssl

from mindspore_serving.check_type import check_int, check_ip_port, check_str
from mindspore_serving.client import SSLConfig
from mindspore_serving.deprecation import deprecated
from mindspore_serving.errors import InvalidParameter, StartUpError
from mindspore_serving.named_file import find_named_file
from mindspore_serving.options import ServableSettings, folder_of
from mindspore_serving.server import ServableStartConfig
from mindspore_serving.server.backend.model_folder import CONFIG_FILE, has_config, is_servable
from mindspore_serving.server.channel.worker_plan import WorkerPlan
from mindspore_serving.server.host.standard_output import say
from mindspore_serving.server.start.merging import merge_config
from mindspore_serving.server.start.server import server_of_process
from mindspore_serving.server.start.stop_on_exception import stop_on_exception
from mindspore_serving.server.start.worker_plans import absolute, plans_of
from mindspore_serving.version_folders import newest_version


@deprecated("1.3.0", "mindspore_serving.server.start_servables")
@stop_on_exception
def start_servable_in_master(
    servable_directory: str,
    servable_name: str,
    version_number: int = 0,
    device_type: str | None = None,
    device_id: int = 0,
    *,
    dec_key: bytes | None = None,
    dec_mode: str = "AES-GCM",
) -> None:
    """Serve a servable in the server of this process, in a worker process of its own.

    `master.start_grpc_server` and `master.start_restful_server` may be called before or after. The process stays alive
    until Ctrl+C, SIGTERM or `stop`.

    Args:
        servable_directory: Directory that holds the servable's folder, relative to that of the start script.
        servable_name: Servable name.
        version_number: Version to serve; 0 for the newest.
        device_type: `Ascend` (also `Davinci`), `GPU` or `CPU`, case ignored; None for what there is.
        device_id: Number of the device.
        dec_key: Key of encrypted models, 16, 24 or 32 bytes; None for plain ones.
        dec_mode: `AES-GCM` or `AES-CBC`.

    Raises:
        RuntimeError: A parameter is wrong, or the servable cannot be loaded. The whole server is stopped before this is
            raised.
    """
    plan = _plan(servable_directory, servable_name, version_number, device_type, device_id, dec_key, dec_mode)
    server_of_process.start_workers([plan])
    say_started(plan, version_number)


@stop_on_exception
def start_servable(
    servable_directory: str,
    servable_name: str,
    version_number: int = 0,
    device_type: str | None = None,
    device_id: int = 0,
    master_ip: str = "0.0.0.0",
    master_port: int = 6100,
    worker_ip: str = "0.0.0.0",
    worker_port: int = 6200,
    *,
    ssl_config: SSLConfig | None = None,
    dec_key: bytes | None = None,
    dec_mode: str = "AES-GCM",
) -> None:
    """Serve a servable for the master of a cluster, which may run on another machine and may be started later.

    The master may be this process, too, if it is started before. Then no other master can be joined, and when the
    worker process ends for good, the master serves on.

    Set the environment variable SERVING_CLUSTER_TOKEN to the secret of the master. The process stays alive until
    Ctrl+C, SIGTERM or `stop`, or until the master is stopped. A master that dies without a word is waited for.

    Args:
        servable_directory: Directory that holds the servable's folder, relative to that of the start script.
        servable_name: Servable name.
        version_number: Version to serve; 0 for the newest.
        device_type: `Ascend` (also `Davinci`), `GPU` or `CPU`, case ignored; None for what there is.
        device_id: Number of the device.
        master_ip: Address of the master.
        master_port: Its port, 1 to 65535.
        worker_ip: Address of this worker. With `worker_port` it tells this worker from others.
        worker_port: Port of this worker, 1 to 65535.
        ssl_config: TLS settings towards the master; None for plain TCP.
        dec_key: Key of encrypted models, 16, 24 or 32 bytes; None for plain ones. It stays on this machine.
        dec_mode: `AES-GCM` or `AES-CBC`.

    Raises:
        RuntimeError: A parameter is wrong, the servable cannot be loaded, the worker's port is taken, or the master
            refuses this worker or has not taken it in after 60 tries, a second or more apart. The worker is stopped
            before this is raised.
        OSError: A file named in ssl_config cannot be read.
    """
    check_str("master_ip", master_ip)
    check_ip_port("master_port", master_port)
    check_str("worker_ip", worker_ip)
    check_ip_port("worker_port", worker_port)
    if ssl_config is not None and not isinstance(ssl_config, SSLConfig):
        raise InvalidParameter("The type of ssl_config should be type of SSLConfig")
    plan = _plan(servable_directory, servable_name, version_number, device_type, device_id, dec_key, dec_mode)
    tls = None if ssl_config is None else trust_of(ssl_config)
    server_of_process.join_cluster(plan, (master_ip, master_port), (worker_ip, worker_port), tls)
    say_started(plan, version_number)


@deprecated("1.3.0", "mindspore_serving.server.stop")
def stop() -> None:
    """End the servable that this process serves, and leave the cluster. Harmless if nothing runs."""
    server_of_process.stop_workers()


def _plan(
    servable_directory: str,
    servable_name: str,
    version_number: int,
    device_type: str | None,
    device_id: int,
    dec_key: bytes | None,
    dec_mode: str,
) -> WorkerPlan:
    check_str("servable_directory", servable_directory)
    check_str("servable_name", servable_name)
    check_int("version_number", version_number, 0)
    check_int("device_id", device_id, 0)
    if device_type is not None:
        check_str("device_type", device_type)
        if device_type.lower() == "davinci":
            device_type = "ascend"
    check_no_servable()
    config = absolute(
        ServableStartConfig(
            servable_directory,
            servable_name,
            device_id,
            version_number,
            device_type,
            dec_key=dec_key,
            dec_mode=dec_mode,
        )
    )
    _check_exists(config)
    [merged] = merge_config([config])
    [plan] = plans_of(merged)
    return plan


def check_no_servable() -> None:
    """Check that this process serves nothing yet.

    Raises:
        StartUpError: It does.
    """
    if server_of_process.has_workers:
        raise StartUpError("A servable has been started, only one servable can run in a process currently.")


def _check_exists(config: ServableSettings) -> None:
    folder = folder_of(config)
    where = f"servable directory '{config.servable_directory}', servable name '{config.servable_name}'"
    if is_servable(folder) and not has_config(folder):
        return  # its model is found with the other configurations'
    for kind, path, found in (
        ("directory", folder, folder.is_dir()),
        ("file", folder / CONFIG_FILE, has_config(folder)),
    ):
        if not found:
            raise StartUpError(f"Load servable config failed, {kind} '{path}' not exist, {where}")
    version = config.version_number or newest_version(folder)
    if not version or not (folder / str(version)).is_dir():
        raise StartUpError(
            "Start servable failed, there is no servable of the specified version number, specified version number: "
            f"{config.version_number}, servable directory: '{config.servable_directory}', servable name: "
            f"'{config.servable_name}'. version number is a positive integer(started from 1) and 0 represents the "
            "maximum version number."
        )


def trust_of(config: SSLConfig) -> ssl.SSLContext:
    """Whom a worker trusts, and what it shows.

    Raises:
        OSError: A file cannot be read or used.
    """
    for name in (config.custom_ca, config.certificate, config.private_key):
        if name is not None:
            find_named_file(name)
    context = ssl.create_default_context(cafile=config.custom_ca)
    if config.certificate is not None:
        context.load_cert_chain(config.certificate, config.private_key)
    return context


def say_started(plan: WorkerPlan, version_number: int) -> None:
    """Print that a servable is served.

    Args:
        plan: What was started.
        version_number: The version that was asked for.
    """
    say(
        f"Serving: Start servable success, servable directory: '{plan.settings.servable_directory}', servable name: "
        f"'{plan.servable_name}', specified version number: {version_number}, started version numbers: {plan.version}"
    )
    say("Serving worker: wait for Ctrl+C to exit ------------------------------------")
