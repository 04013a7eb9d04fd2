"""What the REST server answers without a key."""

from __future__ import annotations

from typing import Any, cast

import pytest

from mindspore_serving.server.transport.http.rest_gateway import RestHandler


@pytest.mark.parametrize(
    ("verb", "target", "is_open"),
    [
        (b"GET", b"/healthz/live", True),
        (b"HEAD", b"/healthz/ready", True),
        (b"GET", b"http://host/healthz/live?now", True),
        (b"GET", b"/healthz", False),
        (b"GET", b"/healthz/other", False),
        (b"GET", b"/healthz/live/../../model/a:b", False),
        (b"POST", b"/healthz/live", False),
        (b"POST", b"/healthz/../model/a:b", False),
        (b"GET", b"/model/a:b", False),
        (b"GET", b"/", False),
    ],
)
def test_only_health_checks_are_open_to_all(verb: bytes, target: bytes, is_open: bool) -> None:
    nothing = cast("Any", None)
    assert RestHandler(nothing, nothing, nothing, False).open_to_all(verb, target) == is_open
