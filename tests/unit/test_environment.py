"""Variables of the environment are read where processes are started, and by nobody else."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "mindspore_serving"
ALLOWED = ("server.start", "server.host", "client", "lite", "cli", "serve")
EXCEPTIONS = {
    "log": "the ground, which every process uses, also the client: it reads its own settings at first use",
    "forked_grpc": "the ground: gRPC reads the variable at its import, which is before any of our code can pass it on",
    "server": "sets what gRPC reads at its import",
    "server.backend.mindspore.runtime": "sets what MindSpore reads at its import",
    "server.backend.mindspore.ranks": "sets what MindSpore reads when ranks meet, and unsets it afterwards",
    "server.backend.paddle.library": "sets what Paddle reads at its import, and unsets what that sets",
}
NAMES = {"environ", "environb", "getenv", "putenv", "unsetenv"}


def uses_environment(text: str) -> bool:
    """Whether a module has the environment of its process in hand, under whatever name it imports it."""
    nodes = list(ast.walk(ast.parse(text)))
    attributes = [ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)]
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "os"]
    imported = {alias.name for node in imports for alias in node.names}
    return bool(NAMES & imported or {f"os.{name}" for name in NAMES} & set(attributes))


def users() -> set[str]:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if uses_environment(path.read_text()):
            found.add(name)
    return found


def test_only_start_and_host_read_the_environment() -> None:
    elsewhere = {name for name in users() if not any(f"{name}.".startswith(f"{room}.") for room in ALLOWED)}
    assert elsewhere == set(EXCEPTIONS)


def test_the_check_finds_a_use() -> None:
    assert uses_environment("import os\nx = os.environ['A']")
    assert uses_environment("import os\ndef f(e=os.environ): pass")
    assert uses_environment("import os\nx = os.getenv('A')")
    assert uses_environment("from os import environ")
    assert not uses_environment("def f(environ):\n    return environ['A']")
