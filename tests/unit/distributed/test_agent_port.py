"""What passes between a distributed worker and its agents."""

from __future__ import annotations

import numpy as np
import pytest

from mindspore_serving.errors import ModelError
from mindspore_serving.server.channel.agent_messages import RunGraph
from mindspore_serving.server.channel.frames import LARGEST_FRAME, frame_of
from mindspore_serving.server.distributed.agent_port import one_row


def test_all_arrays_of_a_batch_are_one_row() -> None:
    arrays = [np.ones((2, 3), np.float32), np.zeros(5, np.int8)]
    rows = one_row(arrays)
    assert rows.count == 1
    for column, array in zip(rows.columns, arrays, strict=True):
        np.testing.assert_array_equal(column[0], array)
    assert one_row([]).columns == ()


def test_what_is_too_large_for_a_message_is_refused_before_it_is_sent() -> None:
    arrays = [np.zeros(8, np.int8)] * 4
    assert len(frame_of(RunGraph(1, 0, one_row(arrays, 32)))) > 32
    with pytest.raises(ModelError, match=r"have 32 bytes, at most 31 can be sent .* smaller batch"):
        one_row(arrays, 31)


def test_the_limit_is_below_what_a_peer_accepts() -> None:
    too_large = np.broadcast_to(np.int8(0), (LARGEST_FRAME,))  # takes no memory
    with pytest.raises(ModelError, match=f"have {LARGEST_FRAME} bytes"):
        one_row([too_large])
