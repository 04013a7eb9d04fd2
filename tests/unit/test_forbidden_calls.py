"""The package runs nothing that it was sent: no call that makes code of data is in it, held by reading its files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "mindspore_serving"
MODULES = frozenset(("pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle"))
BUILT_INS = frozenset(("eval", "exec", "compile", "__import__"))
ATTRIBUTES = frozenset(
    (
        ("os", "system"),
        ("os", "popen"),
        ("yaml", "load"),
        ("yaml", "unsafe_load"),
        ("builtins", "eval"),
        ("builtins", "exec"),
    )
)
ARGUMENTS = frozenset(("shell", "allow_pickle"))


def complaints(source: str) -> Iterator[str]:
    """What is forbidden in a source text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in MODULES:
                yield str(node.module)
        elif isinstance(node, ast.Name):
            if node.id in BUILT_INS:
                yield node.id
        elif isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and (node.value.id, node.attr) in ATTRIBUTES:
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.keyword):
            is_off = isinstance(node.value, ast.Constant) and node.value.value is False
            if node.arg in ARGUMENTS and not is_off:
                yield str(node.arg)


def test_nothing_makes_code_of_data() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if "_pb2" not in path.name]
    assert len(files) > 100
    found = {path.name: list(complaints(path.read_text())) for path in files}
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "import dill.session",
        "eval('1')",
        "run = exec",
        "os.system('ls')",
        "yaml.load(text)",
        "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=flag)",
        "numpy.load(path, allow_pickle=True)",
    ],
)
def test_the_check_finds_what_is_forbidden(source: str) -> None:
    assert list(complaints(source))


@pytest.mark.parametrize("source", ["re.compile('a')", "subprocess.run(['ls'], shell=False)", "model.eval()"])
def test_the_check_leaves_the_rest(source: str) -> None:
    assert not list(complaints(source))
