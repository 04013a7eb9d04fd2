"""The program stands alone: it needs no server and no client library of the protocol."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import oip_conformance
import pytest
from oip_conformance.areas import all_checks

_FOLDER = Path(oip_conformance.__file__).parent
_ALLOWED = {"grpc", "google", "numpy", "oip_conformance"}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("path", sorted(_FOLDER.rglob("*.py")), ids=lambda path: path.stem)
def test_only_the_named_packages_are_imported(path: Path) -> None:
    others = {name for name in _imports(path) if name not in sys.stdlib_module_names}
    assert others <= _ALLOWED


def test_every_check_has_its_rule_and_source() -> None:
    for check in all_checks():
        assert check.title and check.says.endswith((".", "refused.")), check.id
        assert check.source.document and check.source.heading, check.id
        assert check.transport in ("http", "grpc", "both"), check.id
