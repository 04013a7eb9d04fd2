"""Asks a server how it is."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlencode

from mindspore_serving.cli.asking.address import Access, Address
from mindspore_serving.cli.asking.session import NotHttp, Session, WireReply, WireRequest, open_session
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import REFUSED, USAGE

Document: TypeAlias = "Mapping[str, Any]"
"""What `GET /status` says."""
_LONGEST_ANSWER = 300


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a server.

    Attributes:
        address: Where it is.
        access: What opens it.
        timeout_s: Seconds to wait for a reply.
        servable: Only this one; "" for all.
        explained: Whether with advice.
    """

    address: Address
    access: Access
    timeout_s: float
    servable: str = ""
    explained: bool = False

    @property
    def path(self) -> str:
        """Path and query."""
        fields = {"servable": self.servable} if self.servable else {}
        if self.explained:
            fields["explain"] = "1"
        return f"/status?{urlencode(fields)}" if fields else "/status"


def ask_once(question: Question) -> Document:
    """Ask a server.

    Raises:
        CommandError: No server answers, or it does not tell.
    """
    with _session(question) as session:
        return ask(session, question)


@contextlib.contextmanager
def _session(question: Question) -> Iterator[Session]:
    with open_session(question.address, question.access, question.timeout_s) as session:
        if session.over != "rest":
            raise _not_rest(session.address)
        yield session


def ask(session: Session, question: Question) -> Document:
    """Ask a server to which there is a connection.

    Raises:
        CommandError: No server answers, or it does not tell.
    """
    try:
        reply = session.ask(WireRequest(question.path, verb="GET"))
    except NotHttp as cause:
        raise _not_rest(session.address) from cause
    document = _json_of(reply)
    if not reply.ok:
        raise _refused(session, reply, document)
    if "versions" not in document or "windows" not in document:
        raise CommandError(
            f"What {session.address} answers to GET /status is not the status of a MindSpore Serving server",
            "Is it another server? See --help.",
            REFUSED,
        )
    return document


class Asker:
    """Asks a server again and again, on one connection while that holds.

    Args:
        question: What is asked.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._open = contextlib.ExitStack()
        self._session: Session | None = None

    def ask(self) -> Document:
        """Ask once more; errors as of `ask_once`."""
        try:
            if self._session is None:
                self._session = self._open.enter_context(_session(self._question))
            return ask(self._session, self._question)
        except CommandError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._session = None
        self._open.close()


def _not_rest(address: Address) -> CommandError:
    return CommandError(
        f"{address} does not speak HTTP, and the status is told over REST",
        "Give the address of the REST server, or that of start_admin_server.",
        USAGE,
    )


def _json_of(reply: WireReply) -> dict[str, Any]:
    try:
        found = json.loads(reply.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _refused(session: Session, reply: WireReply, document: Mapping[str, Any]) -> CommandError:
    said = str(document.get("error_msg") or "")[:_LONGEST_ANSWER]
    text = f"{session.address} does not tell its status ({reply.status})" + (f": {said}" if said else "")
    if reply.status in ("401", "403"):
        step = (
            "Give a key that may see it with --api-key KEY, --api-key @FILE, or the variable SERVING_API_KEY."
        )
    elif reply.status in ("404", "405"):
        step = "Is it a MindSpore Serving server? The page may be at the address of start_admin_server."
    else:
        step = "Try again later, or look at the server's log."
    return CommandError(text, step, REFUSED)
