"""A module imports only from below: the direction in which data flows, held by reading the imports."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "mindspore_serving"

# Lowest first. Modules of one entry may import each other; of two entries on one level, neither imports the other.
LAYERS: list[dict[str, list[str]]] = [
    {
        "ground": [
            "",
            "errors",
            "log",
            "check_type",
            "deprecation",
            "proto",
            "api_key",
            "loopback",
            "named_file",
            "forked_grpc",
            "json_text",
            "private_files",
            "line_writer",
        ]
    },
    {"data": ["tensor", "rows", "signature", "wire", "options", "version_folders"]},
    {
        "client": ["client"],
        "lite": ["lite"],
        "host": ["server", "server.host", "server.common", "common"],
    },
    {"settings": ["server.master"]},
    {"channel": ["server.channel"], "register": ["server.register"]},
    {"backend": ["server.backend"]},
    {"worker": ["server.worker"], "dispatch": ["server.dispatch"]},
    {"service": ["server.service"], "access": ["server.access"]},
    {"supervision": ["server.supervision"]},
    {"cluster": ["server.cluster"]},
    {"distributed": ["server.distributed"]},
    {"transport": ["server.transport"]},
    {
        "native dialect": ["server.dialect.native"],
        "health": ["server.dialect.health"],
        "reflection": ["server.dialect.reflection"],
        "open inference dialect": ["server.dialect.open_inference"],
        "v1 dialect": ["server.dialect.kserve_v1"],
        "paddle dialect": ["server.dialect.paddle"],
        "dialects": ["server.dialect"],
        "telemetry": ["server.telemetry"],
        "console": ["server.console"],
    },
    {"start": ["server.start"]},
    {"earlier releases": ["master", "worker"]},
    {"command line": ["cli", "serve", "__main__"]},
]
# All that a dialect may know of the transports: routes as data, and what they say of failures and codings.
PLAIN_ROUTES = (
    "server.transport.description",
    "server.transport.routes",
    "server.transport.http_routes",
    "server.transport.grpc_routes",
    "server.transport.grpc_failure",
    "server.transport.reply_coding",
)
# Dispatch knows rows, and no wire.
PROTOBUF = ("google.protobuf", "mindspore_serving.proto")
# These offer the public names: they refer upwards, lazily. `server` is a mere folder to everybody else.
FACADE = "server"
FACADES = (FACADE, "server.distributed")


def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if "_pb2" not in name:
            found[name] = path
    return found


def place_of(module: str) -> tuple[int, str]:
    """Level and entry of a module, by the longest prefix that a layer names."""
    best: tuple[int, int, str] | None = None
    for level, entries in enumerate(LAYERS):
        for entry, prefixes in entries.items():
            for prefix in prefixes:
                exact = module == prefix
                below = bool(prefix) and prefix != "server" and module.startswith(prefix + ".")
                if (exact or below) and (best is None or len(prefix) > best[0]):
                    best = (len(prefix), level, entry)
    assert best is not None, f"{module or 'mindspore_serving'} belongs to no layer: add it to LAYERS"
    return best[1], best[2]


def named_in(path: Path, known: set[str]) -> set[str]:
    """Modules that a file imports, wherever the import stands."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            source = node.module or ""
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                imported.add(inner if inner.removeprefix("mindspore_serving.") in known else source)
    return imported


def imports_of(path: Path, known: set[str]) -> set[str]:
    """Modules of the package that a file imports, by their names in it."""
    prefix = "mindspore_serving"
    named = named_in(path, known)
    return {name.removeprefix(prefix).removeprefix(".") for name in named if name.split(".")[0] == prefix}


def is_in(module: str, folder: str) -> bool:
    return module == folder or module.startswith(folder + ".")


def complaint(module: str, imported: str) -> str | None:
    (level, entry), (other_level, other_entry) = place_of(module), place_of(imported)
    if other_level > level:
        return f"{module} ({entry}) imports {imported} ({other_entry}), which is above it"
    if other_level == level and other_entry != entry:
        return f"{module} ({entry}) imports {imported} ({other_entry}), which is beside it"
    if (
        is_in(module, "server.dialect")
        and is_in(imported, "server.transport")
        and imported not in PLAIN_ROUTES
    ):
        return f"{module} ({entry}) imports {imported}, but of transports a dialect may know {PLAIN_ROUTES}"
    return None


def test_modules_import_only_from_below() -> None:
    known = modules()
    complaints = [
        text
        for module, path in known.items()
        if module not in FACADES
        for imported in imports_of(path, set(known))
        if (text := complaint(module, imported))
    ]
    assert len(known) > 40
    assert complaints == []


def test_dispatch_knows_no_protobuf() -> None:
    known = modules()
    room = {module: path for module, path in known.items() if is_in(module, "server.dispatch")}
    named = {module: named_in(path, set(known)) for module, path in room.items()}
    found = [
        (module, name)
        for module, names in named.items()
        for name in names
        for wire in PROTOBUF
        if is_in(name, wire)
    ]
    assert len(room) > 5
    assert found == []


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("server.dispatch.servable", "server.worker.engine"),
        ("server.worker.engine", "server.dispatch.servable"),
        ("server.channel.frames", "server.register.model"),
        ("tensor", "server.channel.frames"),
        ("server.dispatch.dispatcher", "server.transport.grpc.server"),
        ("client.python.client", "server.access.tls"),
        ("server.transport.grpc.server", "server.dialect.native.predict"),
        ("server.access.guard", "server.transport.routes"),
        ("server.dialect.health.grpc", "server.dialect.native.predict_codec"),
        ("server.dialect.native.rest", "server.transport.failure_log"),
        ("server.dialect.native.rest", "server.transport.http.small_body"),
        ("server.dialect.health.grpc", "server.transport"),
    ],
)
def test_the_check_finds_a_wrong_import(module: str, imported: str) -> None:
    assert complaint(module, imported) is not None
