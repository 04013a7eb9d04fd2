"""Outcomes of a batch on their way to the master of a cluster."""

import pytest

from mindspore_serving.errors import Failure, StatusCode
from mindspore_serving.rows import FailedRows, Rows
from mindspore_serving.server.cluster.member import messages_of
from tests.support.rows import numbered, numbers_in

FAILED = FailedRows(Failure(StatusCode.FAILED, "no"), 3)
ROW_BYTES = numbered(1).byte_size


def test_a_small_outcome_is_one_message() -> None:
    rows = numbered(3)
    [(start, groups)] = messages_of([rows, FAILED])
    assert start == 0
    assert groups[0] is rows
    assert groups[1] is FAILED


@pytest.mark.parametrize("most", [1, 2, 3, 7, 100])
def test_messages_hold_so_many_rows_at_most(most: int) -> None:
    reply = [numbered(10), FAILED, numbered(5, 10)]
    expected_start, numbers, failed = 0, [], 0
    for start, groups in messages_of(reply, most_bytes=most * ROW_BYTES):
        assert start == expected_start
        rows = [group for group in groups if isinstance(group, Rows)]
        assert sum(group.count for group in rows) <= most
        expected_start += sum(group.count for group in groups)
        numbers += numbers_in(rows)
        failed += sum(group.count for group in groups if isinstance(group, FailedRows))
    assert (expected_start, failed) == (18, 3)
    assert numbers == list(range(15))


def test_an_instance_that_no_message_can_hold_gets_an_error() -> None:
    [(_, groups)] = messages_of([numbered(2)], largest_instance=ROW_BYTES - 1, most_bytes=ROW_BYTES)
    assert [type(group) for group in groups] == [FailedRows, FailedRows]
    assert groups[0].failure.text == (
        f"The results of this instance have {ROW_BYTES} bytes, at most {ROW_BYTES - 1} can be sent"
    )
