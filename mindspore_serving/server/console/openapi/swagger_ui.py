"""Swagger UI, as the package swagger-ui-bundle has it: its files are served from where they are installed.

The release in that package reads OpenAPI up to 3.0. What is described here is the same to it, but for keywords of
schemas that it does not show; so it is told that the document is of 3.0.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import MappingProxyType
from typing import Final

PACKAGE: Final = "swagger-ui-bundle"
_MODULE: Final = "swagger_ui_bundle"
FILE_TYPES: Final = MappingProxyType(
    {
        "swagger-ui.css": "text/css; charset=utf-8",
        "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
        "favicon-32x32.png": "image/png",
    }
)
"""What is served of the package, and its media type."""
SCRIPT_NAME: Final = "show.js"
POLICY: Final = "script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"
"""What the page may load."""
_READS_3_1: Final = 5
"""Major release of Swagger UI from which on it reads OpenAPI 3.1."""
PAGE: Final = f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>MindSpore Serving: what it answers</title>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="docs">Loading</div>
<noscript>This page needs JavaScript. <a href="openapi.json">openapi.json</a> is what it shows.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/{SCRIPT_NAME}"></script>
</body>
</html>
"""
_SCRIPT: Final = """\
"use strict";
fetch("openapi.json").then(async (reply) => {
  if (!reply.ok) {
    throw new Error(await reply.text());
  }
  const spec = await reply.json();
  if (TOLD_VERSION) {
    spec.openapi = TOLD_VERSION;
  }
  spec.servers = [{ url: new URL(".", location.href).href.replace(/\\/$/, "") }];
  SwaggerUIBundle({ spec, dom_id: "#docs", docExpansion: "none", validatorUrl: null });
}).catch((error) => {
  document.getElementById("docs").textContent = "openapi.json cannot be shown: " + error.message;
});
"""


def folder_of_package() -> Path | None:
    """Where the files are; None where the package is not installed."""
    try:
        folder = Path(str(importlib.import_module(_MODULE).swagger_ui_path))
    except (ImportError, AttributeError):
        return None
    return folder if all((folder / name).is_file() for name in FILE_TYPES) else None


def script_for(folder: Path) -> str:
    """The script that shows the document.

    Args:
        folder: Of the package's files, whose name says the release.
    """
    major = re.search(r"(\d+)\.", folder.name)
    told = "null" if major and int(major[1]) >= _READS_3_1 else '"3.0.3"'
    return _SCRIPT.replace("TOLD_VERSION", told)
