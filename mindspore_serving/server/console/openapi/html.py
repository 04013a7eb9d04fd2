"""HTML of small pages: a frame, with headers under which a browser runs and loads nothing of strangers."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from html import escape
from typing import Final

from mindspore_serving.server.transport.http_routes import HttpReply

HTML_TYPE: Final = "text/html; charset=utf-8"
_STYLE: Final = """\
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
code { overflow-wrap: anywhere; }
td { padding: 0.1rem 1rem 0.1rem 0; vertical-align: top; }
"""
_STYLE_HASH: Final = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_NOTHING: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_COMMON: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
)


def safe_headers(policy: str = "") -> tuple[tuple[str, str], ...]:
    """Headers of a page, which may load what a policy names, and else nothing.

    Args:
        policy: Further directives of `Content-Security-Policy`.
    """
    return (("Content-Security-Policy", f"{_NOTHING}; {policy}" if policy else _NOTHING), *_COMMON)


def page_of(title: str, body: str) -> HttpReply:
    """A page without scripts.

    Args:
        title: Any text.
        body: HTML, in which all that is not ours is escaped.
    """
    text = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width">\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )
    return HttpReply(200, text.encode(), HTML_TYPE, safe_headers(f"style-src 'sha256-{_STYLE_HASH}'"))


def link(target: str, text: str = "") -> str:
    """A link.

    Args:
        target: Where to, relative to the page.
        text: What it is called; "" for the target.
    """
    return f'<a href="{escape(target)}">{escape(text or target)}</a>'
