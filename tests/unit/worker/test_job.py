"""What is reported of a job: each row once, in order, and the last result once."""

from __future__ import annotations

import pytest

from mindspore_serving.errors import Failure, StatusCode
from mindspore_serving.rows import FailedRows, Group
from mindspore_serving.server.channel.call_page import HeldRows
from mindspore_serving.server.channel.messages import Batch, Result
from mindspore_serving.server.worker.job import BatchJob, CallJob
from tests.support.rows import numbered

FAILED = FailedRows(Failure(StatusCode.FAILED, "no"), 1)


def values_of(groups: tuple[Group, ...]) -> list[float | str]:
    return [
        value
        for group in groups
        for value in (
            [group.failure.text] * group.count if isinstance(group, FailedRows) else group.columns[0]
        )
    ]


def shown(results: list[Result]) -> list[tuple[int, list[float | str], bool]]:
    assert all((result.batch_id, result.slot) == (7, 2) for result in results)
    return [(result.start, values_of(result.groups), result.final) for result in results]


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([[(0, numbered(4))]], [(0, [0, 1, 2, 3], True)]),
        # Rows leave in any order, and are told in theirs.
        ([[(2, numbered(2, 2)), (0, numbered(1)), (1, FAILED)]], [(0, [0, "no", 2, 3], True)]),
        # A gap ends a message, and so does what was told before.
        (
            [[(1, FAILED)], [(0, numbered(1)), (2, numbered(2, 2))]],
            [(1, ["no"], False), (0, [0], False), (2, [2, 3], True)],
        ),
        ([[(3, numbered(1, 3)), (0, numbered(1))]], [(0, [0], False), (3, [3], False)]),
        ([[(0, numbered(3))], [(3, FAILED)]], [(0, [0, 1, 2], False), (3, ["no"], True)]),
    ],
)
def test_results_of_a_batch(
    reports: list[list[tuple[int, Group]]], expected: list[tuple[int, list[float | str], bool]]
) -> None:
    sent: list[Result] = []
    job = BatchJob(Batch(7, 2, "method", (numbered(4),)), 0.0, sent.append)
    for outcomes in reports:
        for start, group in outcomes:
            job.add(start, group)
        job.report()
    assert shown(sent) == expected


@pytest.mark.parametrize(
    ("came", "steps", "times_us"),
    [
        (7.5, [(9.0, 9.25)], (1_500_000, 250_000)),
        (None, [(8.5, 9.0), (8.25, 8.75), (10.0, 11.0)], (250_000, 2_750_000)),
        (7.0, [], (1_000_000, 0)),  # without stages
        (0.0, [(5000.0, 10_000.0)], (2**32 - 1, 2**32 - 1)),
        (9.0, [(8.0, 8.5)], (0, 500_000)),
    ],
)
def test_the_last_result_says_how_long_the_batch_waited_and_ran(
    came: float | None, steps: list[tuple[float, float]], times_us: tuple[int, int]
) -> None:
    sent: list[Result] = []
    job = BatchJob(Batch(7, 2, "method", (numbered(4),)), 8.0, sent.append, came)
    for begun, ended in steps:
        job.note_step(begun, ended)
    for start in (0, 2):
        job.add(start, numbered(2))
        job.report()
    assert [(result.wait_us, result.run_us) for result in sent] == [(0, 0), times_us]


def test_where_rows_of_a_batch_come_from() -> None:
    job = BatchJob(Batch(7, 2, "method", (numbered(4),)), 0.0, lambda _: None)
    assert job.origin(1, 2) == (HeldRows(7, 1, 2),)


def test_outputs_of_a_call_are_in_the_order_of_its_instances() -> None:
    job = CallJob("method", [numbered(4)], 0.0, (HeldRows(7, 1, 1),))
    assert job.origin(2, 1) == (HeldRows(7, 1, 1),)
    job.add(2, numbered(2, 2))
    job.report()
    job.add(0, numbered(2))
    job.report()
    assert job.wait() == [(0,), (1,), (2,), (3,)]
