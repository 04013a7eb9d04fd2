"""Rules for versions, and for the server: limits, refusals, restarts, memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mindspore_serving.server.console.status.document import Limit, StatusDocument, VersionStatus
from mindspore_serving.server.console.status.rules import FEWEST_REQUESTS, WINDOW, Found

MANY_RESTARTS: Final = 3
RESTARTS_WITHIN_S: Final = 600.0
NEAR_LIMIT: Final = 0.8
NEAR_MEMORY: Final = 0.9
IDLE_S: Final = 300.0
_LIMIT_OF: Final = {
    "requests": "set_max_enqueued_requests",
    "instances": "set_max_enqueued_instances",
    "bytes": "set_max_enqueued_bytes",
}


# --- Versions ---


def not_ready(version: VersionStatus) -> Found | None:
    """Nobody serves it."""
    if version.state == "ready":
        return None
    ready = sum(copy.state == "ready" for copy in version.copies)
    why = f": {version.reason}" if version.reason else ""
    return Found(
        f"{version.servable} version {version.version} is {version.state}{why}.",
        {"copies": len(version.copies), "copies_ready": ready},
    )


def restarts(version: VersionStatus) -> Found | None:
    """Workers end again and again."""
    recent = [one for one in version.last_restarts if one.ago_s <= RESTARTS_WITHIN_S]
    if len(recent) < MANY_RESTARTS:
        return None
    last = recent[-1]
    return Found(
        f"Workers of {version.servable} version {version.version} ended {len(recent)} times in the last "
        f"{RESTARTS_WITHIN_S / 60:.0f} minutes, the last one {last.worker} ({last.reason}): its log has the reason.",
        {"restarts": len(recent), "last_ago_s": last.ago_s},
    )


def version_limit(version: VersionStatus) -> Found | None:
    """What is pending comes near a limit of the version."""
    return _near(version.limits, f" of {version.servable} version {version.version}")


# --- Server ---


def server_not_ready(document: StatusDocument) -> Found | None:
    """The server refuses requests, whatever its versions could do."""
    if document.ready or any(version.state != "ready" for version in document.versions):
        return None
    return Found(f"The server is not ready: {document.reason}.", {"versions": len(document.versions)})


def server_limit(document: StatusDocument) -> Found | None:
    """What is pending comes near a limit of the server."""
    return _near([one for one in document.limits if one.name.startswith("pending")], "")


def _near(limits: Sequence[Limit], of: str) -> Found | None:
    nearest = max(limits, key=lambda one: one.share, default=None)
    if nearest is None or nearest.share < NEAR_LIMIT:
        return None
    what = nearest.name.removeprefix("pending_")
    return Found(
        f"{nearest.used} of {nearest.most} {what}{of} are pending: soon requests are refused. Add copies (device_ids), "
        f"or raise the limit (max_enqueued_{what}).",
        {"used": nearest.used, "most": nearest.most, "share": nearest.share},
    )


def refusals(document: StatusDocument) -> Found | None:
    """A limit has refused requests."""
    window = document.windows.get(WINDOW)
    refused = {} if window is None else {why: window.refused.get(why, 0) for why in (*_LIMIT_OF, "replies")}
    worst = max(refused, key=lambda why: refused[why], default="")
    if window is None or not refused.get(worst):
        return None
    count = sum(refused.values())
    if worst == "replies":
        how = "clients do not take their replies: look at them"
    else:
        how = f"add copies (device_ids), let clients send less at a time, or raise the limit ({_LIMIT_OF[worst]})"
    return Found(
        f"{count} requests were refused in the last {window.seconds:.0f} s, most by the limit of {worst}: {how}.",
        {"refused": count, "refused_per_s": round(count / window.seconds, 3)},
    )


def unauthorized(document: StatusDocument) -> Found | None:
    """Strangers ask."""
    window = document.windows.get(WINDOW)
    count = 0 if window is None else window.refused.get("unauthorized", 0)
    if window is None or count < FEWEST_REQUESTS:
        return None
    return Found(
        f"{count} requests without a valid key came in the last {window.seconds:.0f} s: the log says from where.",
        {"unauthorized": count},
    )


def memory(document: StatusDocument) -> Found | None:
    """The processes come near the memory that there is."""
    limit = next((one for one in document.limits if one.name == "memory_bytes"), None)
    if limit is None or limit.share < NEAR_MEMORY:
        return None
    return Found(
        f"The server's processes take {limit.used >> 20} MiB of the {limit.most >> 20} MiB that they may: at the end "
        "the system kills workers. Serve fewer copies, or give it more memory.",
        {"used_bytes": limit.used, "most_bytes": limit.most, "share": limit.share},
    )


def connections(document: StatusDocument) -> Found | None:
    """There are nearly as many connections as may be."""
    limits = [one for one in document.limits if one.name == "connections"]
    nearest = max(limits, key=lambda one: one.share, default=None)
    if nearest is None or nearest.share < NEAR_LIMIT:
        return None
    return Found(
        f"{nearest.used} of {nearest.most} connections of {nearest.of} are open: let clients keep theirs for many "
        "requests, or raise max_connections.",
        {"used": nearest.used, "most": nearest.most, "share": nearest.share},
    )


def idle(document: StatusDocument) -> Found | None:
    """Nobody asks."""
    window = document.windows.get("5m")
    pending = document.pending_requests
    if window is None or window.seconds < IDLE_S or window.requests or window.refused or pending:
        return None
    return Found(
        f"No request has ended in the last {window.seconds:.0f} s: the server is idle.",
        {"seconds": window.seconds},
    )
