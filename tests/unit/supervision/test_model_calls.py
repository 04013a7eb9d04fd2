"""What a worker without a device asks of models that other workers hold: each call is answered once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mindspore_serving.errors import ChannelError
from mindspore_serving.rows import FailedRows, Group
from mindspore_serving.server.channel.messages import ModelCall, ModelReply
from mindspore_serving.server.dispatch.counting import Relayed
from mindspore_serving.server.supervision.model_calls import pass_model_call
from tests.support.plans import worker_plan
from tests.support.rows import numbered

PLAN = worker_plan(has_device=False, remote_models=True)
ROWS = 8, 5
SLOT = PLAN.first_call_slot
CALL = ModelCall(7, SLOT, "@call_a_0", (numbered(2), numbered(1)))


class Link:
    """Keeps what is sent.

    Args:
        broken: Whether the results cannot be passed on.
    """

    def __init__(self, broken: bool) -> None:
        self.broken = broken
        self.sent: list[ModelReply] = []
        self.calls: set[Any] = set()

    def send(self, message: ModelReply) -> None:
        if self.broken and not isinstance(message.groups[0], FailedRows):
            raise OSError("no memory")
        self.sent.append(message)


async def replies_to(
    call: ModelCall, outcome: list[Group] | None, *, broken: bool = False
) -> list[ModelReply]:
    """What a worker is sent when its call has an outcome; None where the call is given up."""
    reply: asyncio.Future[list[Group]] = asyncio.get_running_loop().create_future()
    asked: list[Any] = []
    ran = Relayed()
    ran.model_rows, ran.padding_rows = ROWS

    def relay(servable: Any, method: str, groups: Any, *, trace: Any) -> Any:
        asked.append((method, groups))
        return SimpleNamespace(future=reply, relayed=ran)

    link: Any = Link(broken)
    worker: Any = SimpleNamespace(servable=None, plan=PLAN, copy=None)
    pass_model_call(cast(Any, SimpleNamespace(relay=relay)), worker, link, call)
    assert asked == [(call.method, call.groups)]
    assert link.calls == {reply}
    if outcome is None:
        reply.cancel()
    else:
        reply.set_result(outcome)
    await asyncio.sleep(0)
    assert not link.calls
    return list(link.sent)


def test_the_outcome_of_a_call_goes_back_to_its_slot() -> None:
    rows = numbered(3)
    assert asyncio.run(replies_to(CALL, [rows])) == [ModelReply(7, SLOT, (rows,), *ROWS)]


def test_a_call_whose_results_cannot_be_passed_on_is_answered_all_the_same() -> None:
    [reply] = asyncio.run(replies_to(CALL, [numbered(3)], broken=True))
    assert (reply.call_id, reply.slot) == (7, SLOT)
    [failed] = reply.groups
    assert isinstance(failed, FailedRows)
    assert failed.count == 3
    assert failed.failure.text == "The results cannot be passed on: OSError('no memory')"


def test_a_call_of_a_worker_that_is_gone_is_not_answered() -> None:
    assert asyncio.run(replies_to(CALL, None)) == []


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (replace(CALL, slot=SLOT - 1), f"in slot {SLOT - 1}, which is none for calls of its own"),
        (
            replace(CALL, slot=PLAN.first_method_call_slot),
            f"in slot {SLOT + 4}, which is none for calls of its own",
        ),
        (replace(CALL, groups=()), "without instances"),
    ],
)
def test_a_call_that_nobody_could_answer_breaks_the_protocol(call: ModelCall, text: str) -> None:
    worker: Any = SimpleNamespace(servable=None, plan=PLAN, copy=None)
    with pytest.raises(ChannelError, match=text):
        pass_model_call(cast(Any, None), worker, cast(Any, None), call)


def test_a_worker_with_models_of_its_own_calls_none() -> None:
    worker: Any = SimpleNamespace(servable=None, plan=worker_plan())
    with pytest.raises(ChannelError, match="none for calls of its own"):
        pass_model_call(cast(Any, None), worker, cast(Any, None), CALL)
