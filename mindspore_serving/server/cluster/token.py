"""The shared token of a cluster, and how both sides prove that they know it without sending it.

Each side chooses a nonce. The proof of a side is HMAC-SHA-256 (RFC 2104), keyed with the token, of the side's role and
both nonces, so that no proof can be used again or sent back.

Without a token, everything stays on one machine, and the user at the other end has to be the same one, or root.
"""

from __future__ import annotations

import hmac
import os
import secrets

from mindspore_serving import log
from mindspore_serving.loopback import ANY_ADDRESS, is_loopback
from mindspore_serving.private_files import user_name
from mindspore_serving.server.host.child_environment import TOKEN_VARIABLE
from mindspore_serving.server.host.peer_user import UNKNOWN_USER

_NONCE_BYTES = 32
_LOOPBACK = "127.0.0.1"


def new_nonce() -> str:
    """Random text that is used once."""
    return secrets.token_hex(_NONCE_BYTES)


def proof(token: str, role: str, master_nonce: str, worker_nonce: str) -> str:
    """What shows that a side knows the token.

    Args:
        token: The token.
        role: `master` or `worker`: whose proof it is.
        master_nonce: Nonce of the `Challenge`.
        worker_nonce: Nonce of the `Join`.
    """
    text = "\n".join((role, master_nonce, worker_nonce))
    return hmac.new(token.encode(), text.encode(), "sha256").hexdigest()


def is_proof(given: str, token: str, role: str, master_nonce: str, worker_nonce: str) -> bool:
    """Whether a proof is right; takes equally long for all wrong ones."""
    return hmac.compare_digest(given.encode(), proof(token, role, master_nonce, worker_nonce).encode())


def without_token(user: int, what: str) -> str:
    """How it reads that a process of another user is refused.

    Args:
        user: User id of that process, or `UNKNOWN_USER`.
        what: What only processes of this user may do.
    """
    who = "whose user the system does not tell" if user == UNKNOWN_USER else f"of {user_name(user)}"
    return (
        f"it is a process {who}, and without a token only those of {user_name(os.geteuid())} {what}: set the "
        f"environment variable {TOKEN_VARIABLE} to the same secret for both"
    )


def warn_of_open_way(ip: str, token: str, server: str = "master") -> None:
    """Say so where nothing shows that who listens on another machine is the one that is meant.

    Args:
        ip: Where this process is to connect.
        token: Shared token.
        server: How the warning calls who listens there.
    """
    if not token and not is_loopback(ip) and ip not in ANY_ADDRESS:
        log.warning(
            "Environment variable %s is not set: whoever listens at %s is taken for the %s. Set the same token here "
            "and there.",
            TOKEN_VARIABLE,
            ip,
            server,
        )


def listening_ip(ip: str, token: str, server: str = "master", peers: str = "workers") -> str:
    """Where a server may listen: anywhere with a token, on this machine only without one.

    Args:
        ip: What the user asked for.
        token: Shared token.
        server: How the warning calls who listens.
        peers: How it calls those who join.
    """
    if token or is_loopback(ip):
        return ip
    log.warning(
        "Environment variable %s is not set: the %s listens on %s instead of %s, and %s of this machine only can reach "
        "it. Set the same token for the %s and its %s to use other machines.",
        TOKEN_VARIABLE,
        server,
        _LOOPBACK,
        ip,
        peers,
        server,
        peers,
    )
    return _LOOPBACK
