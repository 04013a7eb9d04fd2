"""Replies of dialects as aiohttp's responses, for connections that are not ours, and where middlewares see them."""

from __future__ import annotations

from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from mindspore_serving.server.transport.http_routes import VERSION_HEADER, HttpReply


def response_of(reply: HttpReply) -> web.Response:
    """A reply as aiohttp writes it."""
    headers = CIMultiDict(reply.headers)
    if reply.content_type:
        headers["Content-Type"] = reply.content_type
    if reply.version:
        headers[VERSION_HEADER] = str(reply.version)
    return web.Response(status=reply.status, body=reply.body, headers=headers)


LEFT_TO_DIALECTS: Final = web.StreamResponse()
"""What an application gives a connection of ours where a dialect answers; it is not written."""
