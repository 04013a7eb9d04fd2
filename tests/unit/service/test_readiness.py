"""What follows for health checks from how the workers are."""

from __future__ import annotations

from mindspore_serving.server.service.readiness import ServableHealth, ServerHealth, WorkerHealth

LOST = "no worker: was lost"


def health_of(name: str, version: int, *reasons: str) -> ServableHealth:
    """A version with a worker for each reason; "" is one that serves."""
    return ServableHealth(
        name, version, tuple([WorkerHealth(name, version, "device0", "", not one, one) for one in reasons])
    )


def test_services_are_servables_and_their_versions() -> None:
    health = ServerHealth("", (health_of("a", 1, ""), health_of("a", 2, LOST), health_of("b", 1, LOST)))
    services = ("a", "a/1", "a/2", "b", "b/1", "", "c", "a/3", "a/", "/1", "A")
    assert [health.serves(service) for service in services] == [True, True, *[False] * 4, *[None] * 5]


def test_the_worker_from_which_most_is_to_be_hoped_tells_the_reason() -> None:
    assert health_of("a", 1, LOST, "starting").reason == "starting"
    assert health_of("a", 1, LOST).reason == LOST
    assert health_of("a", 1, LOST, "").reason == ""
