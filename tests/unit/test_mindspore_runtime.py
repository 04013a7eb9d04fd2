"""How copies share the cores."""

import pytest

from mindspore_serving.server.worker.backend.mindspore_runtime import share_of_cores


@pytest.mark.parametrize(
    ("cores", "copies", "shares"),
    [
        ([0, 1], 1, [(0, 1)]),
        ([1, 0], 2, [(0,), (1,)]),
        ([0, 1, 2, 3, 4], 2, [(0, 1), (2, 3, 4)]),
        ([4, 5, 6, 7], 3, [(4,), (5,), (6, 7)]),
        ([3], 2, [(3,), (3,)]),
        ([0, 1], 3, [(0, 1), (0, 1), (0, 1)]),
    ],
    ids=["one copy", "a core each", "an odd core", "a part of the machine", "one core", "too few cores"],
)
def test_share_of_cores(cores, copies, shares):
    assert [share_of_cores(cores, copies, index) for index in range(copies)] == shares
