"""The pictures and paths of docs/architecture.md show the package as it is."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
DRAW = runpy.run_path(str(IMAGES / "draw.py"))
PICTURES = DRAW["pictures"]()


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_a_picture_is_what_the_script_draws(name: str) -> None:
    drawn = PICTURES[name]
    ElementTree.fromstring(drawn)
    assert (IMAGES / name).read_text(encoding="utf-8") == drawn, "run .venv/bin/python docs/images/draw.py"


def test_a_worker_loads_no_front_end_and_main_no_backend() -> None:
    rooms = {
        first: {DRAW["room_of"](name) for name in DRAW["loaded"](first)}
        for first in ("start/server.py", "worker/process.py")
    }
    assert {"dispatch", "transport"} <= rooms["start/server.py"]
    assert "worker" not in rooms["start/server.py"]
    assert {"backend", "register"} <= rooms["worker/process.py"]
    assert not {"dispatch", "transport", "supervision"} & rooms["worker/process.py"]


def test_paths_in_the_text_exist() -> None:
    repository = IMAGES.parents[1]
    named = re.findall(
        r"`([a-z_]+/[a-z_/]*(?:\.py)?)`", (IMAGES.parent / "architecture.md").read_text(encoding="utf-8")
    )
    assert len(named) > 50
    places = (repository / "mindspore_serving" / "server", repository)
    assert [path for path in named if not any((place / path).exists() for place in places)] == []
