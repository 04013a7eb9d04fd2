"""All that can be set for a server that the command line starts: each key with its default and its meaning.

The options of a servable are not written here: they are those of `ServableStartConfig`, by their names.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, get_type_hints

from mindspore_serving.options import DEFAULTS, ServableSettings
from mindspore_serving.server.start.page_choice import METRICS_ALIASES, PAGES
from mindspore_serving.server.start.servable_start_config import ServableStartConfig
from mindspore_serving.server.telemetry.access_log.observer import STDOUT

GRPC = "127.0.0.1:5500"
REST = "127.0.0.1:1500"
LOG_LEVELS = ("debug", "info", "warning", "error")
_NOT_IN_FILES = ("servable_directory", "servable_name", "model_path", "dec_key")
"""Options that other keys stand for: a path, a name, and the place of a key."""


def _key(help_text: str, default: Any = MISSING) -> Any:
    """A key of a dataclass, with its meaning."""
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Certificate and key of all front ends, in PEM."""

    certificate: str = _key("File with the certificate chain of the server.")
    private_key: str = _key("File with its private key, which has no passphrase.")
    custom_ca: str | None = _key(
        "File with the certificates that clients' certificates are checked against.", None
    )
    verify_client: bool = _key("Refuse clients without a certificate that `custom_ca` vouches for.", False)
    client_identities: tuple[str, ...] = _key(
        "Names in certificates of the clients that are accepted, as `NAME [rights=infer,view,manage]`; none for all.",
        (),
    )


@dataclass(frozen=True, kw_only=True)
class Log:
    """What the server writes beside its output."""

    level: str | None = _key(f"Lowest level that is logged: {', '.join(LOG_LEVELS)}.", None)
    directory: str | None = _key(
        "Folder for log files of the main process; the log goes to stderr without it.", None
    )


@dataclass(frozen=True, kw_only=True)
class Servable:
    """One servable: a folder, or the file of a model. Further keys are parameters of ServableStartConfig."""

    path: str = _key("The servable's folder, or the file of its model; relative to this file.")
    name: str | None = _key(
        "Name of the servable; by default that of the folder, or of the file without suffix.", None
    )
    dec_key_file: str | None = _key("File with the key of encrypted models, 16, 24 or 32 bytes.", None)
    dec_key_env: str | None = _key("Environment variable with the key of encrypted models.", None)
    options: Mapping[str, Any] = _key("", MISSING)
    """Parameters of `ServableStartConfig` by name; in a file they stand beside the others."""


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """A whole server."""

    models: tuple[Servable, ...] = _key("What is served, at least one.")
    grpc: str | None = _key("Address of the gRPC server, `ip:port` or `unix:path`; null for none.", GRPC)
    rest: str | None = _key("Address of the RESTful server, `ip:port`; null for none.", REST)
    admin: str | None = _key(
        "Address for the pages that tell of the server, `ip:port`; null leaves them on the RESTful server.",
        None,
    )
    metrics: str | None = _key("Address for `GET /metrics` alone, `ip:port`; null for none.", None)
    tls: Tls | None = field(default=None, metadata={"help": "TLS of all front ends; null for plain text."})
    api_keys: str | None = _key(
        "File with the API keys of clients, a key on each line, as `KEY [name=NAME] [rights=infer,view,manage]`; null "
        "accepts every client.",
        None,
    )
    pages: tuple[str, ...] | None = _key(
        f"Pages of the RESTful server, of {', '.join(PAGES)}; null for all without an address of their own.",
        None,
    )
    public_pages: tuple[str, ...] = _key("Pages that everybody may see, also without a key.", ())
    metrics_aliases: tuple[str, ...] = _key(
        f"Servers whose names metrics have as well: {', '.join(METRICS_ALIASES)}.", ()
    )
    cors_origins: tuple[str, ...] = _key("Origins of web pages whose scripts may ask the server, or `*`.", ())
    max_msg_mb_size: int = _key("Largest message in MB (2**20 bytes), 1 to 512.", 100)
    max_connections: int = _key("Most connections at a time of each front end.", 10000)
    max_enqueued_requests: int | None = _key("Most requests that may be pending in the whole server.", None)
    max_enqueued_instances: int | None = _key("Most instances that pending requests may have together.", None)
    max_enqueued_bytes: int | None = _key("Most bytes that pending requests may have together.", None)
    drain_timeout_s: float | None = _key(
        "Seconds that admitted requests have to finish when the server stops.", None
    )
    allow_client_shared_memory: bool = _key(
        "Let clients on this machine pass tensors in shared memory.", False
    )
    default_servable: str = _key(
        "What requests mean that name no servable, as those of Paddle Serving: SERVABLE or SERVABLE.METHOD. Not needed "
        "where there is one servable.",
        "",
    )
    access_log: str | None = _key("A line for each request, `text` or `json`; null for none.", None)
    access_log_file: str = _key(
        "File that these lines are appended to, relative to this file; or `stdout`.", STDOUT
    )
    enable_lite: bool = _key("Run MindIR models with MindSpore Lite.", False)
    tracing: bool = _key(
        "Trace requests with OpenTelemetry; its environment variables, OTEL_*, say where spans go, and which requests "
        "are sampled.",
        False,
    )
    log: Log = field(default=Log(), metadata={"help": "What is logged, and where to."})


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """One key of a dataclass, for those who read and describe files.

    Attributes:
        name: Its name.
        hint: Its type.
        default: Where it is not there; MISSING where it has to be.
        help: What it means.
    """

    name: str
    hint: Any
    default: Any
    help: str


def keys_of(kind: type) -> dict[str, KeyInfo]:
    """The keys of a dataclass of this module, by name; of a servable with those of `ServableStartConfig`."""
    hints = get_type_hints(kind)
    keys = {
        one.name: KeyInfo(one.name, hints[one.name], one.default, one.metadata["help"])
        for one in fields(kind)
        if one.name != "options"
    }
    return keys | servable_options() if kind is Servable else keys


def servable_options() -> dict[str, KeyInfo]:
    """The options of a servable that a file may have, by name."""
    hints, meanings = get_type_hints(ServableSettings), _meanings()
    return {
        name: KeyInfo(name, hints[name], DEFAULTS[name], meanings.get(name, ""))
        for name in DEFAULTS
        if name not in _NOT_IN_FILES
    }


def _meanings() -> dict[str, str]:
    """What the docstring of `ServableStartConfig` says of each parameter; nothing where Python has no docstrings."""
    _, _, rest = (inspect.getdoc(ServableStartConfig) or "").partition("Args:\n")
    arguments, _, _ = rest.partition("\n\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", arguments, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text) for name, text in entries}
