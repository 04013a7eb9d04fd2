"""Puts every decision record below `Decisions` in the navigation, so that a new one needs no entry in mkdocs.yml."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Called by MkDocs once the configuration is read; fills the empty section `Decisions`."""
    records = sorted(Path(config.docs_dir, "adr").glob("*.md"))
    for section in config.nav:
        for entry in section.get("Inside", ()):
            if "Decisions" in entry:
                entry["Decisions"] = [{_title_of(record): f"adr/{record.name}"} for record in records]
    return config


def _title_of(page: Path) -> str:
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
