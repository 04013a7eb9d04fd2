"""Who is authenticated: clients that show an API key, or a certificate for a name that is listed; and with what rights.

Which right is needed is said by the routes of dialects, which are unknown here: a front end compares.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, Final, TypeAlias

from mindspore_serving import log
from mindspore_serving.loopback import stays_here
from mindspore_serving.server.access.api_keys import ApiKeys, KeySource
from mindspore_serving.server.access.identity import STRANGER, Identity, described
from mindspore_serving.server.access.tls import SSLConfig

KEY_FIELDS: Final = frozenset((b"authorization", b"x-api-key"))
"""Headers in which a key may come."""
OpenToAll: TypeAlias = Callable[[bytes, bytes], bool]
"""Given verb and target of an HTTP request, whether everybody may ask that: the right of its route is `NONE`."""
_SAY_EVERY_S = 10.0
_NAMES_IN_CALLS = ("x509_common_name", "peer_dns", "peer_uri", "peer_email")
_NAMES_IN_CERTIFICATES = ("DNS", "URI", "email")


class Guard:
    """Decides who is authenticated at one front end.

    Args:
        keys: API keys; None for none.
        identities: Names of which a client certificate has to have one, each with rights as a key has them, but no name
            of its own; empty where certificates authenticate nobody. TLS has checked a certificate before its names are
            looked at.
        now: A monotonic clock, in seconds.

    Attributes:
        identities: Who a client is that has a certificate, by the name in it.
        refusal: What rejected clients read.
        rejected: How many requests were rejected.

    Raises:
        InvalidParameter: A name stands there with a right that is none.
    """

    def __init__(
        self,
        keys: ApiKeys | None,
        identities: Iterable[str],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.identities = dict(map(_listed, identities))
        self._keys = keys
        self._now = now
        self.rejected = 0
        self._refused = 0
        self._next_line = 0.0
        ways = []
        if keys is not None:
            ways.append("a valid API key, as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
        if self.identities:
            ways.append("a client certificate for a name that this server admits")
        self.refusal = f"Not let in, this server asks for {', or '.join(ways)}"

    def __repr__(self) -> str:
        return f"<Guard {self._keys} {len(self.identities)} identities>"

    def door(self, transport: asyncio.BaseTransport, open_to_all: OpenToAll) -> Door:
        """What checks the requests of one HTTP connection.

        Args:
            transport: Of the connection.
            open_to_all: What everybody may ask.
        """
        identity = None
        if self.identities:
            identity = self._listed_among(_names_in(transport.get_extra_info("peercert") or {}))
        peer = transport.get_extra_info("peername")
        return Door(self, str(peer[0]) if peer else "?", open_to_all, identity)

    def identity_in_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> Identity | None:
        """Whose key the metadata of a gRPC call holds; None for nobody's."""
        return self.identity_in_fields(
            {name.encode(): value.encode() for name, value in metadata if isinstance(value, str)}
        )

    def identity_in_certificate(self, auth_context: Mapping[str, Iterable[bytes]]) -> Identity | None:
        """Whose the client certificate of a gRPC call is; None where it has no name that is listed."""
        names = (name for kind in _NAMES_IN_CALLS for name in auth_context.get(kind, ()))
        return self._listed_among({name.decode(errors="replace") for name in names})

    def identity_in_fields(self, fields: Mapping[bytes, bytes]) -> Identity | None:
        """Whose key headers hold, names in lower case; None for nobody's."""
        if self._keys is None:
            return None
        scheme, _, token = fields.get(b"authorization", b"").partition(b" ")
        bearer = token.strip() if scheme.lower() == b"bearer" else b""
        return self._keys.identify((bearer, fields.get(b"x-api-key", b"").strip()))

    def _listed_among(self, names: Set[str]) -> Identity | None:
        """Who has one of several names; of two that are listed, the one that is listed first."""
        return next((identity for name, identity in self.identities.items() if name in names), None)

    def note_refusal(self, peer: str) -> None:
        """Count a rejected request; the log has a line about them every ten seconds at most.

        Args:
            peer: Address of the client.
        """
        self.rejected += 1
        self._refused += 1
        now = self._now()
        if now >= self._next_line:
            self._next_line = now + _SAY_EVERY_S
            log.warning("%s requests were not let in, the last one of %s", self._refused, peer)
            self._refused = 0


class Door:
    """Where the requests of one HTTP connection are authenticated or rejected.

    Args:
        guard: Who decides.
        peer: Address of the client.
        open_to_all: What everybody may ask.
        identity: Who the client is by its certificate; None where that does not say it.
    """

    __slots__ = ("_guard", "_identity", "_open_to_all", "_peer")

    def __init__(
        self, guard: Guard, peer: str, open_to_all: OpenToAll, identity: Identity | None = None
    ) -> None:
        self._guard = guard
        self._peer = peer
        self._open_to_all = open_to_all
        self._identity = identity

    @property
    def refusal(self) -> str:
        """What rejected clients read."""
        return self._guard.refusal

    def identify(self, fields: Mapping[bytes, bytes]) -> Identity | None:
        """Who asks, by a request of which only the head has arrived: first by its key, then by the certificate.

        Args:
            fields: Headers, names in lower case; at least `KEY_FIELDS` of them.

        Returns:
            None for a client that is not authenticated.
        """
        return self._guard.identity_in_fields(fields) or self._identity

    def admit(self, method: bytes, target: bytes, fields: Mapping[bytes, bytes]) -> Identity | None:
        """Who asks, where a client that is not authenticated may ask what everybody may.

        Not so with a body, which would have to be kept.

        Args:
            method: The verb.
            target: As it was sent.
            fields: Headers, names in lower case; at least `KEY_FIELDS`, and those that tell of a body.

        Returns:
            `STRANGER` for a client that is not authenticated; None for one that is rejected.
        """
        identity = self.identify(fields)
        if identity is not None:
            return identity
        if self._open_to_all(method, target) and not _announce_body(fields):
            return STRANGER
        self._guard.note_refusal(self._peer)
        return None


def guard_for(address: str, api_keys: KeySource | None, ssl_config: SSLConfig | None) -> Guard | None:
    """Who decides at a front end; None where nobody needs to be authenticated.

    Args:
        address: Where it listens.
        api_keys: Keys, or the path of a file with keys; None for none.
        ssl_config: TLS; None for plain text.

    Raises:
        InvalidParameter: The keys are none, or cannot be read.
    """
    identities = ssl_config.client_identities if ssl_config else ()
    if api_keys is None:
        return Guard(None, identities) if identities else None
    keys = ApiKeys(api_keys)
    if ssl_config is None and not stays_here(address):
        log.warning("API keys are sent to %s without TLS: whoever listens on the way can read them", address)
    return Guard(keys, identities)


def _listed(text: str) -> tuple[str, Identity]:
    """A name in certificates, and who has it."""
    name, _, rights = described("The item of parameter 'client_identities'", text)
    return name, Identity(name, rights)


def _announce_body(fields: Mapping[bytes, bytes]) -> bool:
    return b"transfer-encoding" in fields or fields.get(b"content-length", b"").strip(b"0") != b""


def _names_in(certificate: Mapping[str, Any]) -> set[str]:
    """Common name, and DNS, URI and mail names, of a certificate as the module ssl has it."""
    names = {value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"}
    return names | {
        value for kind, value in certificate.get("subjectAltName", ()) if kind in _NAMES_IN_CERTIFICATES
    }
