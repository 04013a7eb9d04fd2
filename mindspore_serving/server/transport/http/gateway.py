"""What the connections of one server share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.transport.http.answering import Answering, Found
from mindspore_serving.server.transport.http.cors import Cors
from mindspore_serving.server.transport.http.limits import HttpLimits
from mindspore_serving.server.transport.http.reply_heads import ReplyHeads
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies
from mindspore_serving.server.transport.untaken_replies import UntakenReplies

if TYPE_CHECKING:
    from mindspore_serving.server.transport.http.connection import HttpConnection


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the connections of one server share.

    Attributes:
        answering: Answers what dialects have routes for, and refuses.
        find: Who answers a verb and a target; None where that is a route of the user's own.
        limits: What a client may take.
        heads: Of replies.
        now: A monotonic clock, in seconds.
        opened: Called with each connection once it is open.
        closed: Called with it when it is no more.
        untaken: The replies that clients have not taken, of all connections.
        unfinished: The bodies that all connections are receiving.
        guard: Decides who may ask; None where everybody may.
        cors: Which pages may ask; None where none may.
    """

    answering: Answering
    find: Callable[[str, str], Found | None]
    limits: HttpLimits
    heads: ReplyHeads
    now: Callable[[], float]
    opened: Callable[[HttpConnection], None]
    closed: Callable[[HttpConnection], None]
    untaken: UntakenReplies
    unfinished: UnfinishedBodies
    guard: Guard | None = None
    cors: Cors | None = None
